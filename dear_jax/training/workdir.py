"""The folder of a training run, and which run it belongs to.

    WORKDIR/config.json           the configuration, and a fingerprint of its data
    WORKDIR/checkpoints/STEP/     whole states, the last few
    WORKDIR/damaged/STEP/         those that were found damaged
    WORKDIR/best.safetensors      the EMA that scored best so far
    WORKDIR/metrics.jsonl, tensorboard/, sheets/    reports

A run is continued by the same command. Whatever would make it another run is refused,
or accepted by --accept_changes, printed and noted in config.json. The weights of a run
are read by `dear_jax.inference.runs`.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from flax.traverse_util import flatten_dict

from dear_jax.checkpoint import saved_steps
from dear_jax.errors import InputError
from dear_jax.files import make_folder, write_text
from dear_jax.inference.runs import CONFIG, read_config
from dear_jax.typing import Config

# What may differ when a run goes on: how it is fed, watched and saved, all of it
# without effect on a single bit. Photos and masks may move: the fingerprint knows them
# by name and size.
MAY_CHANGE = (
    *("checkpoint.", "evaluate.", "log."),
    *("data.render", "data.threads", "data.workers", "data.photos", "data.masks"),
)
# What shapes the state, so that it cannot change even if accepted.
MUST_STAY = ("model.", "objective.name", "objective.width", "objective.layers")
_FLAG = "--accept_changes"


def claim_workdir(
    workdir: Path,
    config: Config,
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
      say: called with a line for each difference.
      start: facts of the weights that it starts from, see
        `dear_jax.training.state.Start`; None: random ones, or what is known already.

    Raises:
      InputError: if it cannot be made or written, or belongs to a run of another
        configuration or other data, naming what differs.
    """
    run = {"config": json.loads(config.to_json()), "data": fingerprint}
    if start:
        run["started_from"] = dict(start)
    path = workdir / CONFIG
    if path.exists():
        before = read_config(workdir)  # Refuses what no run has written.
        steps = saved_steps(workdir)
        if steps:
            lines = _changes(workdir, before, run, accept_changes)
            if not start and "started_from" in before:
                run["started_from"] = before["started_from"]
            for line in lines:
                say(line)
            notes = [f"step {steps[-1]}: {line}" for line in lines]
            if notes := before.get("accepted", []) + notes:
                run["accepted"] = notes
    else:
        make_folder(workdir)
        if any(not p.name.startswith(".") for p in workdir.iterdir()):
            raise InputError(
                f"{workdir} is not empty and not a training workdir; choose another"
            )
    write_text(path, json.dumps(run, indent=1) + "\n")


def _changes(workdir: Path, before: dict, now: dict, accept: bool) -> list[str]:
    """What differs, a line each; InputError for what may not."""
    may_change, optimizer = MAY_CHANGE, now["config"]["optimizer"]
    if optimizer["schedule"] != "cosine" and not optimizer["decay"]:
        may_change += ("train.steps",)  # It does not shape the other schedules.
    old: dict[str, Any] = flatten_dict(before["config"], sep=".")
    new: dict[str, Any] = flatten_dict(now["config"], sep=".")
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
    if before["data"] != now["data"]:
        if not accept:
            raise InputError(
                f"{workdir} belongs to a run on other photos or masks than those in "
                "config.data now; choose another --workdir or put the files back "
                f"(or take them with {_FLAG})"
            )
        lines.append(f"batches of config.data: {before['data']} -> {now['data']}")
    return lines
