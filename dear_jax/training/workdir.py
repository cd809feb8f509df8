"""The folder of a training run, and whose it is.

    WORKDIR/config.json           the configuration, and a fingerprint of its data
    WORKDIR/checkpoints/STEP/     whole states, the last few
    WORKDIR/best.safetensors      the EMA that scored best so far
    WORKDIR/metrics.jsonl, tensorboard/, sheets/    what the run told

A run is continued by the same command. Whatever would make it another run is
refused.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_collections
from flax.traverse_util import flatten_dict

from dear_jax.errors import InputError
from dear_jax.files import make_folder, replacing
from dear_jax.registry import build, init_shapes
from dear_jax.training.checkpoints import read_ema
from dear_jax.weights import Weights, read_weights

BEST = "best.safetensors"

# What may differ when a run goes on: how it is fed, watched and saved. Photos and
# masks may move: the fingerprint knows them by name and size.
MAY_CHANGE = (
    *("checkpoint.", "evaluate.", "log."),
    *("data.threads", "data.workers", "data.photos", "data.masks"),
)


def claim_workdir(
    workdir: Path, config: ml_collections.ConfigDict, fingerprint: str
) -> None:
    """Makes the workdir this run's, or checks that it is.

    Raises:
      InputError: if it cannot be made, or belongs to a run of another configuration
        or other data, naming what differs.
    """
    mine = {"config": json.loads(config.to_json()), "data": fingerprint}
    path = workdir / "config.json"
    if path.exists():
        theirs = _read_config(path)  # Refuses what no run has written.
        if any((workdir / "checkpoints").glob("[0-9]*")):
            _check_same(workdir, theirs, mine)
    else:
        make_folder(workdir)
        if any(not p.name.startswith(".") for p in workdir.iterdir()):
            raise InputError(
                f"{workdir} is not empty and not a training workdir; choose another"
            )
    with replacing(path) as partial:
        partial.write_text(json.dumps(mine, indent=1) + "\n", encoding="utf-8")


def read_run(workdir: Path, which: str = "latest") -> Weights:
    """Reads the EMA weights of a run: of its "latest" checkpoint or its "best".

    Raises:
      InputError: if the folder is no training workdir or has no such weights yet.
    """
    path = workdir / "config.json"
    if not path.is_file():
        raise InputError(f"{workdir}: not a training workdir (no config.json in it)")
    config = _read_config(path)["config"]
    if which == "best":
        if not (workdir / BEST).is_file():
            raise InputError(f"{workdir}: no best weights yet; use which='latest'")
        return read_weights(workdir / BEST)
    found = read_ema(workdir, init_shapes(build(config["model"])))
    if found is None:
        raise InputError(f"{workdir}: no checkpoint yet; let the training go on")
    variables, step = found
    return Weights(variables, config["model"], provenance(config, step))


def provenance(config: Mapping[str, Any], step: int, **more: Any) -> dict[str, Any]:
    """What weights files say of their making."""
    return {"config": config, "step": step, **more}


def _check_same(workdir: Path, theirs: dict, mine: dict) -> None:
    may_change = MAY_CHANGE
    if mine["config"]["optimizer"]["schedule"] != "cosine":
        may_change += ("train.steps",)  # It does not shape the other schedules.
    old, new = (flatten_dict(c["config"], sep=".") for c in (theirs, mine))
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key) and not key.startswith(may_change):
            raise InputError(
                f"{workdir} belongs to a run with config.{key}={old.get(key)!r}, "
                f"not {new.get(key)!r}; choose another --workdir or set it back"
            )
    if theirs["data"] != mine["data"]:
        raise InputError(
            f"{workdir} belongs to a run on other photos or masks than those in "
            "config.data now; choose another --workdir or put the files back"
        )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not (isinstance(content["config"]["model"], dict) and content["data"]):
            raise ValueError("no configuration in it")
        return content
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error}); choose another workdir") from None
