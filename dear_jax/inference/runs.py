"""What a training run leaves in its folder for others to read: its EMA weights.

WORKDIR/config.json has the configuration and a fingerprint of its data,
WORKDIR/best.safetensors the EMA that scored best so far, WORKDIR/checkpoints/ the
newest one; see `dear_jax.training.workdir`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dear_jax.checkpoint import read_ema
from dear_jax.errors import InputError
from dear_jax.models.registry import build, init_shapes
from dear_jax.weights import Weights, read_weights

CONFIG, BEST = "config.json", "best.safetensors"


def read_run(workdir: Path, which: str = "latest") -> Weights:
    """Reads the EMA weights of a run: of its "latest" checkpoint or its "best".

    Raises:
      InputError: if the folder is no training workdir or has no such weights yet.
    """
    if not (workdir / CONFIG).is_file():
        raise InputError(f"{workdir}: not a training workdir (no {CONFIG} in it)")
    run = read_config(workdir)
    config = run["config"]
    if which == "best":
        if not (workdir / BEST).is_file():
            raise InputError(f"{workdir}: no best weights yet; use which='latest'")
        return read_weights(workdir / BEST)
    found = read_ema(workdir, init_shapes(build(config["model"])))
    if found is None:
        raise InputError(f"{workdir}: no checkpoint yet; let the training go on")
    variables, step = found
    facts = provenance(config, run["data"], step, run.get("started_from"))
    return Weights(variables, config["model"], facts)


def read_config(workdir: Path) -> dict[str, Any]:
    """Reads config.json of a run: its configuration, fingerprint and notes.

    Raises:
      InputError: if it is missing or damaged.
    """
    path = workdir / CONFIG
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not (isinstance(content["config"]["model"], dict) and content["data"]):
            raise ValueError("no configuration in it")
        return content
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error}); choose another workdir") from None


def provenance(
    config: Mapping[str, Any],
    fingerprint: str,
    step: int,
    start: Mapping[str, Any] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """What weights files say of their making: all that decides them.

    Args:
      config: the run's configuration, seed included.
      fingerprint: of its batches, see `dear_jax.data.pipeline.fingerprint`.
      step: how many steps it took.
      start: name, hash and terms of the weights that it began from, if any.
      more: other facts.
    """
    facts = {"config": config, "fingerprint": fingerprint, "step": step, **more}
    return facts | ({"started_from": dict(start)} if start else {})
