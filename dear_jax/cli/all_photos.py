"""All photos of a run of `dear restore`, or one part of them.

Photo i of the sorted list is in part i modulo their number, whatever is there already,
so that each is done once however often the commands are started.
"""

import argparse
import gc
import os
import time
from collections.abc import Sequence
from typing import Any

from dear_jax.cli.jobs import Job, find_jobs
from dear_jax.cli.progress import Progress, duration
from dear_jax.cli.quantities import parse_part
from dear_jax.cli.start import interrupts_end, keep_compiled
from dear_jax.cli.wishes import Wishes
from dear_jax.errors import InputError
from dear_jax.files import make_folder, printable

_SIZES = 64  # Photos of so many sizes, then compiled programs are let go.


def restore_all(flags: argparse.Namespace, wishes: Wishes) -> int:
    """Restores the photos, or the part of them that is asked for.

    Args:
      flags: those of `dear restore`.
      wishes: what is wanted of each photo.

    Returns:
      The exit status: 1 if some of several photos could not be restored.

    Raises:
      InputError: for photos, masks and outputs that do not go together, a model that
        cannot be loaded, or what is wrong with the only photo.
    """
    began = time.monotonic()
    part, parts = parse_part(flags.part) if flags.part else (1, 1)
    beside = [kind for kind in ("preview", "importance") if getattr(wishes, kind)]
    jobs = find_jobs(flags.photos, flags.out, flags.mask, flags.recursive, beside)
    single, jobs = len(jobs) == 1, jobs[part - 1 :: parts]
    todo = [job for job in jobs if flags.overwrite or not os.path.exists(job.out)]
    with interrupts_end():
        restorer = _prepare(todo, flags, wishes) if todo else None
    last, failures = _work(todo, restorer, wishes, single)
    if single and jobs:
        last = last or "is there already; --overwrite makes it again"
        print(printable(f"{jobs[0].out}: {last}"))
        return 0
    if failures:
        lines = ["These could not be restored:", *(f"  {line}" for line in failures)]
        print(printable("\n".join(lines)))
    there = f"{len(jobs) - len(todo)} there already"
    if len(jobs) > len(todo):
        there += " (--overwrite makes them again)"
    restored = len(todo) - len(failures)
    print(
        f"{restored} restored, {there}, {len(failures)} failed; "
        f"{duration(time.monotonic() - began)}"
    )
    return 1 if failures else 0


def _work(
    todo: Sequence[Job], restorer: Any, wishes: Wishes, single: bool
) -> tuple[str, list[str]]:
    """Restores photos; InputError only if it is a single one, else it goes on.

    Returns:
      What was done with the last photo, and the failures as lines.
    """
    last, failures = "", []
    if not todo:
        return last, failures
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
                failures.append(_failure(job, error))
                progress.tell(f"failed: {failures[-1]}")
                continue
            _forget_programs(sizes, done.sizes)
            last = f"{done}, {duration(time.monotonic() - began)}"
            if not single and not progress.on_terminal:
                progress.tell(progress.numbered(f"{job.name}: {last}"))
    return last, failures


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
    keep_compiled()
    from dear_jax.cli.one_photo import check_wishes
    from dear_jax.inference.loading import load

    restorer = load(flags.model, weights=flags.weights, texture=wishes.texture)
    check_wishes(restorer, wishes)
    for folder in dict.fromkeys(job.out.parent for job in todo):
        make_folder(folder.absolute())  # A ~ is a name here.
    return restorer


def _failure(job: Job, error: InputError) -> str:
    """What went wrong, in one line that names the photo."""
    line = " ".join(str(error).split())
    return line if str(job.photo) in line else f"{job.photo}: {line}"
