"""Photos one after the other: progress, what fails, and what there is already."""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from dear_jax.cli.progress import ProgressDisplay, duration
from dear_jax.errors import InputError
from dear_jax.files import make_folder, printable
from dear_jax.workflow.jobs import Job, Jobs, mark_results

# Does the work of one photo, and returns what to say of it.
Work = Callable[[Job, ProgressDisplay], str]


def prepare_batch(
    found: Jobs,
    single: bool,
    overwrite: bool,
    load: Callable[[], Work],
    done: str,
) -> Callable[[], int]:
    """Loads what the work needs and makes its folders, before any photo is read.

    Args:
      found: the photos of this batch.
      single: whether there is only one photo in all, whose errors are raised.
      overwrite: whether outputs that exist are made again.
      load: returns the work of one photo; called only if there is some.
      done: what becomes of a photo, such as "restored".

    Returns:
      The work of all, a function that returns the exit status.

    Raises:
      InputError: if a folder cannot be made, or whatever `load` raises.
    """
    began = time.monotonic()
    jobs, passed_over = found
    todo = [job for job in jobs if overwrite or not os.path.exists(job.out)]
    work = load() if todo else None
    marked: set[Path] = set()
    for folder in sorted({job.out.parent for job in todo}):
        new = not os.path.isdir(folder) or not os.listdir(folder)
        make_folder(folder.absolute())  # A ~ is a name here.
        if new and not single and not marked & set(folder.parents):
            mark_results(folder)
            marked.add(folder)
    if single and jobs:
        run = partial(_run_single, jobs[0], work)
    else:
        run = partial(_run_all, todo, len(jobs) - len(todo), work, began, done)
    return partial(_run_and_say, run, passed_over)


def _run_and_say(run: Callable[[], int], sentences: Sequence[str]) -> int:
    """Does the work, then prints what was passed over."""
    status = run()
    if sentences:
        print(printable("\n".join(sentences)))
    return status


def _run_single(job: Job, work: Work | None) -> int:
    """Does the only photo, unless its output exists; returns the exit status."""
    done = "is there already; --overwrite makes it again"
    if work:
        with ProgressDisplay(1) as display:
            done = work(job, display)
    print(printable(f"{job.out}: {done}"))
    return 0


def _run_all(
    todo: Sequence[Job], existing: int, work: Work | None, began: float, done: str
) -> int:
    """Does photos, also after one that fails; returns the exit status."""
    failures: list[str] = []
    with ProgressDisplay(len(todo)) as display:
        for job in todo:
            assert work is not None
            try:
                line = work(job, display)
            except InputError as error:
                failures.append(_failure(job, error))
                display.print(f"failed: {failures[-1]}")
                continue
            if not display.on_terminal:
                display.print(display.numbered(f"{job.name}: {line}"))
    if failures:
        lines = [f"These could not be {done}:", *(f"  {line}" for line in failures)]
        print(printable("\n".join(lines)))
    there = f"{existing} there already"
    if existing:
        there += " (--overwrite makes them again)"
    print(
        f"{len(todo) - len(failures)} {done}, {there}, {len(failures)} failed; "
        f"{duration(time.monotonic() - began)}"
    )
    return 1 if failures else 0


def _failure(job: Job, error: InputError) -> str:
    """What went wrong, in one line that names the photo."""
    line = " ".join(str(error).split())
    return line if str(job.photo) in line else f"{job.photo}: {line}"
