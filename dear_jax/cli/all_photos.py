"""All photos of a run of `dear restore`, or the share of one of several processes.

Photo i of the sorted list is done by process i modulo their number, whatever is there
already, so that each is done once however often the command is started.
"""

import argparse
import gc
import hashlib
import json
import os
import socket
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from dear_jax.cli.jobs import Job, find_jobs
from dear_jax.cli.progress import Progress, duration
from dear_jax.cli.start import interrupts_end, keep_compiled
from dear_jax.cli.wishes import Wishes
from dear_jax.errors import InputError
from dear_jax.files import make_folder, printable

_TOLD = 1000  # Failures of one process that are told at the end.
_SIZES = 64  # Photos of so many sizes, then compiled programs are let go.


def restore_all(flags: argparse.Namespace, wishes: Wishes) -> int:
    """Restores this process's share of the photos.

    Args:
      flags: those of `dear restore`.
      wishes: what is wanted of each photo.

    Returns:
      The exit status of all processes: 1 if some photos could not be restored.

    Raises:
      InputError: for photos, masks and outputs that do not go together, a model that
        cannot be loaded, or what is wrong with the only photo.
    """
    import jax

    from dear_jax.distributed import processes

    began = time.monotonic()
    beside = [kind for kind in ("preview", "importance") if getattr(wishes, kind)]
    jobs = processes.agreed(
        lambda: find_jobs(flags.photos, flags.out, flags.mask, flags.recursive, beside)
    )
    listed = "\n".join(str(job.out) for job in jobs)
    processes.check_alike(
        "the list of photos", hashlib.sha256(os.fsencode(listed)).hexdigest()
    )
    mine = jobs
    if processes.several():
        mine = jobs[jax.process_index() :: jax.process_count()]
    todo = [job for job in mine if flags.overwrite or not os.path.exists(job.out)]
    outcome = _work(todo, flags, _with_own_memory(wishes), single=len(jobs) == 1)
    outcome["there"] = len(mine) - len(todo)
    outcomes = [json.loads(each) for each in processes.gathered(json.dumps(outcome))]
    seconds = time.monotonic() - began
    processes.on_first(lambda: _tell_end(jobs, outcomes, seconds))
    return 1 if any(each["failed"] for each in outcomes) else 0


def _work(
    todo: Sequence[Job], flags: argparse.Namespace, wishes: Wishes, single: bool
) -> dict[str, Any]:
    """Restores photos; InputError only if it is a single one, else it goes on.

    Returns:
      How many were restored, how many failed, the first failures as lines, and what
      was done with the last photo.
    """
    from dear_jax.distributed import processes

    # Of several processes the others must hear of it, see `together`.
    with nullcontext() if processes.several() else interrupts_end():
        restorer = processes.agreed(lambda: _prepare(todo, flags, wishes))
    outcome = {"restored": 0, "failed": 0, "failures": [], "last": ""}
    if not todo:
        return outcome
    from dear_jax.cli.one_photo import restore_photo

    sizes: set[str] = set()
    with Progress(len(todo)) as progress:
        for job in todo:
            began = time.monotonic()
            try:
                with progress.on(job.name) as inside:
                    done = restore_photo(job, restorer, wishes, inside, progress.tell)
            except InputError as error:
                if single:
                    raise
                line = _failure(job, error)
                progress.tell(f"failed: {line}")
                outcome["failed"] += 1
                if len(outcome["failures"]) < _TOLD:
                    outcome["failures"].append(line)
                continue
            outcome["restored"] += 1
            _forget_programs(sizes, done.sizes)
            outcome["last"] = f"{done}, {duration(time.monotonic() - began)}"
            if not single and not progress.on_terminal:
                progress.tell(progress.numbered(f"{job.name}: {outcome['last']}"))
    return outcome


def _forget_programs(sizes: set[str], done: str) -> None:
    """Keeps memory from growing over a folder of photos of many sizes.

    JAX holds a few MiB for each size it has met, whatever becomes of the programs.

    Args:
      sizes: of the photos since the last time, added to here.
      done: sizes of the last photo, e.g. "64 x 48 to 384 x 288".
    """
    sizes.add(done)
    if len(sizes) < _SIZES:
        return
    import jax

    jax.clear_caches()
    gc.collect()
    sizes.clear()


def _prepare(todo: Sequence[Job], flags: argparse.Namespace, wishes: Wishes):
    """The model, able to do what is wished, and folders for the results."""
    if not todo:
        return None
    keep_compiled()
    from dear_jax.cli.one_photo import check_wishes
    from dear_jax.inference.loading import load

    restorer = load(flags.model, weights=flags.weights, texture=wishes.texture)
    check_wishes(restorer, wishes)
    for folder in dict.fromkeys(job.out.parent for job in todo):
        make_folder(folder.absolute())  # A ~ is a name here.
    return restorer


def _with_own_memory(wishes: Wishes) -> Wishes:
    """Where processes share a machine, each counts on its part of the memory."""
    from dear_jax.distributed import processes

    if not processes.several():
        return wishes
    here = socket.gethostname()
    beside = processes.gathered(here).count(here)
    if wishes.max_memory or beside == 1:
        return wishes
    from dear_jax.inference.plan import allowed_memory

    return wishes._replace(max_memory=allowed_memory() // beside)


def _failure(job: Job, error: InputError) -> str:
    """What went wrong, in one line that names the photo."""
    line = " ".join(str(error).split())
    return line if str(job.photo) in line else f"{job.photo}: {line}"


def _tell_end(jobs: Sequence[Job], outcomes: list[dict], seconds: float) -> None:
    """Prints what all processes have done."""
    count = {
        kind: sum(each[kind] for each in outcomes)
        for kind in ("restored", "there", "failed")
    }
    if len(jobs) == 1:
        there = "is there already; --overwrite makes it again"
        said = next((each["last"] for each in outcomes if each["last"]), there)
        print(printable(f"{jobs[0].out}: {said}"))
        return
    failures = [f"  {line}" for each in outcomes for line in each["failures"]]
    if count["failed"] > len(failures):
        failures.append(f"  and {count['failed'] - len(failures)} more")
    if failures:
        print(printable("\n".join(["These could not be restored:", *failures])))
    there = f"{count['there']} there already"
    if count["there"]:
        there += " (--overwrite makes them again)"
    print(
        f"{count['restored']} restored, {there}, {count['failed']} failed; "
        f"{duration(seconds)}"
    )
