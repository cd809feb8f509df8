"""The folder of a training run, and whose it is.

    WORKDIR/config.json           the configuration, and a fingerprint of its data
    WORKDIR/checkpoints/STEP/     whole states, the last few
    WORKDIR/damaged/STEP/         those that were found damaged
    WORKDIR/best.safetensors      the EMA that scored best so far
    WORKDIR/metrics.jsonl, tensorboard/, sheets/    what the run told

A run is continued by the same command. Whatever would make it another run is
refused, or told and noted in config.json if the command says to accept it.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ml_collections
from flax.traverse_util import flatten_dict

from dear_jax.checkpoint import read_ema, saved_steps
from dear_jax.errors import InputError
from dear_jax.files import make_folder, write_text
from dear_jax.models.registry import build, init_shapes
from dear_jax.weights import Weights, read_weights

BEST = "best.safetensors"

# What may differ when a run goes on: how it is fed, watched and saved, all of it
# without effect on a single bit. Photos and masks may move: the fingerprint knows them
# by name and size.
MAY_CHANGE = (
    *("checkpoint.", "evaluate.", "log."),
    *("data.render", "data.threads", "data.workers", "data.photos", "data.masks"),
)
# What shapes the state, so that it cannot change even if told so.
MUST_STAY = ("model.", "objective.name", "objective.width", "objective.layers")
_FLAG = "--accept_changes"


def claim_workdir(
    workdir: Path,
    config: ml_collections.ConfigDict,
    fingerprint: str,
    accept_changes: bool = False,
    say: Callable[[str], Any] = print,
    start: Mapping[str, Any] | None = None,
) -> None:
    """Makes the workdir this run's, or checks that it is; for one process only.

    Args:
      workdir: folder of the run.
      config: its configuration.
      fingerprint: of its batches.
      accept_changes: take over what differs from the run so far, where that can be.
      say: is then told of each difference, a line each.
      start: name, hash and terms of the weights that it begins from, see
        `dear_jax.training.start`; None: random ones, or what is known already.

    Raises:
      InputError: if it cannot be made or written, or belongs to a run of another
        configuration or other data, naming what differs.
    """
    mine = {"config": json.loads(config.to_json()), "data": fingerprint}
    if start:
        mine["started_from"] = dict(start)
    path = workdir / "config.json"
    if path.exists():
        theirs = _read_config(path)  # Refuses what no run has written.
        steps = saved_steps(workdir)
        if steps:
            lines = _check_changes(workdir, theirs, mine, accept_changes)
            if not start and "started_from" in theirs:
                mine["started_from"] = theirs["started_from"]
            for line in lines:
                say(line)
            notes = [f"step {steps[-1]}: {line}" for line in lines]
            if notes := theirs.get("accepted", []) + notes:
                mine["accepted"] = notes
    else:
        make_folder(workdir)
        if any(not p.name.startswith(".") for p in workdir.iterdir()):
            raise InputError(
                f"{workdir} is not empty and not a training workdir; choose another"
            )
    write_text(path, json.dumps(mine, indent=1) + "\n")


def read_run(workdir: Path, which: str = "latest") -> Weights:
    """Reads the EMA weights of a run: of its "latest" checkpoint or its "best".

    Raises:
      InputError: if the folder is no training workdir or has no such weights yet.
    """
    path = workdir / "config.json"
    if not path.is_file():
        raise InputError(f"{workdir}: not a training workdir (no config.json in it)")
    run = _read_config(path)
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


def started_from(workdir: Path) -> dict[str, Any] | None:
    """Name, hash and terms of the weights that a run began from; None: random ones."""
    return _read_config(workdir / "config.json").get("started_from")


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
      start: of the weights that it began from, see `started_from`.
      more: other facts.
    """
    facts = {"config": config, "fingerprint": fingerprint, "step": step, **more}
    return facts | ({"started_from": dict(start)} if start else {})


def _check_changes(workdir: Path, theirs: dict, mine: dict, accept: bool) -> list[str]:
    """What differs, a line each; InputError for what may not."""
    may_change, optimizer = MAY_CHANGE, mine["config"]["optimizer"]
    if optimizer["schedule"] != "cosine" and not optimizer["decay"]:
        may_change += ("train.steps",)  # It does not shape the other schedules.
    old, new = (flatten_dict(c["config"], sep=".") for c in (theirs, mine))
    # Runs older than this setting began from random weights.
    old.setdefault("train.start_from", "")
    changed = [
        key
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and not key.startswith(may_change)
    ]
    for key in changed:
        fixed = key.startswith(MUST_STAY)
        if fixed or not accept:
            raise InputError(
                f"{workdir} belongs to a run with config.{key}={old.get(key)!r}, not "
                f"{new.get(key)!r}; choose another --workdir or set it back "
                + (f"({_FLAG} cannot help)" if fixed else f"(or take it with {_FLAG})")
            )
    lines = [f"config.{key}: {old.get(key)!r} -> {new.get(key)!r}" for key in changed]
    if theirs["data"] != mine["data"]:
        if not accept:
            raise InputError(
                f"{workdir} belongs to a run on other photos or masks than those in "
                "config.data now; choose another --workdir or put the files back "
                f"(or take them with {_FLAG})"
            )
        lines.append(f"batches of config.data: {theirs['data']} -> {mine['data']}")
    return lines


def _read_config(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not (isinstance(content["config"]["model"], dict) and content["data"]):
            raise ValueError("no configuration in it")
        return content
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: damaged ({error}); choose another workdir") from None
