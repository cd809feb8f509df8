"""Photos one after the other: progress, what fails, and what there is already."""

import os
import time
from collections.abc import Callable, Sequence

from dear_jax.cli.jobs import Job
from dear_jax.cli.progress import ProgressDisplay, duration
from dear_jax.errors import InputError
from dear_jax.files import make_folder, printable

# Does the work of one photo, and returns what to say of it.
Work = Callable[[Job, ProgressDisplay], str]


def unfinished(jobs: Sequence[Job], overwrite: bool) -> list[Job]:
    """The jobs whose outputs are not there yet, or are to be made again."""
    return [job for job in jobs if overwrite or not os.path.exists(job.out)]


def make_folders(jobs: Sequence[Job]) -> None:
    """Makes the folders of the outputs; InputError if one cannot be made."""
    for folder in dict.fromkeys(job.out.parent for job in jobs):
        make_folder(folder.absolute())  # A ~ is a name here.


def run_single(job: Job, todo: bool, work: Work) -> int:
    """Does the only photo, unless its output exists; returns the exit status."""
    done = "is there already; --overwrite makes it again"
    if todo:
        with ProgressDisplay(1) as display:
            done = work(job, display)
    print(printable(f"{job.out}: {done}"))
    return 0


def run_all(
    todo: Sequence[Job], existing: int, work: Work, began: float, done: str
) -> int:
    """Does photos, also after one that fails; returns the exit status.

    Args:
      todo: the photos to do.
      existing: number of others, whose outputs exist.
      work: of one photo.
      began: when the command did, see `time.monotonic`.
      done: what becomes of a photo, such as "restored".
    """
    failures: list[str] = []
    with ProgressDisplay(len(todo)) as display:
        for job in todo:
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
