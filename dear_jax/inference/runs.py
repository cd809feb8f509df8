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
    if which == "best":
        if not (workdir / BEST).is_file():
            raise InputError(f"{workdir}: no best weights yet; use which='latest'")
        return read_weights(workdir / BEST)
    model = run["config"]["model"]
    found = read_ema(workdir, init_shapes(build(model)))
    if found is None:
        raise InputError(f"{workdir}: no checkpoint yet; let the training go on")
    variables, step = found
    return Weights(variables, model, provenance(run, step))


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


def provenance(run: Mapping[str, Any], step: int, **more: Any) -> dict[str, Any]:
    """The provenance of a run's weights: all that decides them.

    Args:
      run: its config.json: configuration, fingerprint of its batches, and name, hash
        and terms of the weights that it started from, if any.
      step: how many steps the weights took.
      more: other facts.
    """
    facts = {"config": run["config"], "fingerprint": run["data"], "step": step, **more}
    return facts | {k: run[k] for k in ("started_from",) if run.get(k)}
