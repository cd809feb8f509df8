"""Work that takes long: its progress bar, and many jobs in several processes.

Processes are started afresh ("spawn") and end when the process that started them
does, however it ends.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import Any

from dear_jax.errors import InputError


class _Stopped(Exception):
    """The run was given up; what this process does is no longer wanted."""


def usual_count() -> int:
    """Returns the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def progress(total: int, what: str, done: int = 0) -> Any:
    """Returns a tqdm bar over `total` images, of which `done` were there before.

    `bar.update(n)` counts n more. In a log file it adds a line twice a minute.
    """
    from tqdm import tqdm

    pause = 0.3 if sys.stderr.isatty() else 30
    return tqdm(
        total=total,
        initial=done,
        desc=what,
        unit=" images",
        mininterval=pause,
        dynamic_ncols=True,
    )


def work(
    function: Callable, jobs: Sequence[Any], count: int, bar: Any
) -> Iterator[tuple[Any, Any]]:
    """Yields (job, function(job, tick)) as they come, in no certain order.

    Args:
      function: picklable, as are the jobs and results; calls `tick()` for every
        image.
      jobs: what there is to do.
      count: number of processes; with 1 or a single job, the work is done here.
      bar: its `update(n)` is told of every tick.

    Raises:
      InputError: from `function`, or if a process died.
    """
    count = min(count, len(jobs))
    if count > 1:
        yield from _pooled(function, jobs, count, bar)
        return
    for job in jobs:
        yield job, function(job, bar.update)


def _pooled(
    function: Callable, jobs: Sequence[Any], count: int, bar: Any
) -> Iterator[tuple[Any, Any]]:
    context = multiprocessing.get_context("spawn")
    ticks, stop = context.Value("q", 0), context.Event()
    shown = 0
    with futures.ProcessPoolExecutor(
        count, context, initializer=_start, initargs=(function, ticks, stop)
    ) as pool:
        try:
            waiting = {pool.submit(_call, job): job for job in jobs}
            while waiting:
                ready, _ = futures.wait(waiting, 0.2, futures.FIRST_COMPLETED)
                now = ticks.value
                bar.update(now - shown)
                shown = now
                for future in ready:
                    yield waiting.pop(future), future.result()
        except BrokenProcessPool:
            raise InputError(
                "a working process died, perhaps for want of memory; the same "
                "command continues, with fewer --workers if it happens again"
            ) from None
        finally:
            # After an error or Ctrl-C: no process works longer than on one image.
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)


def _start(function: Callable, ticks: Any, stop: Any) -> None:
    """Begins the life of a working process."""
    global _function, _tick
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle.
    threading.Thread(target=_end_with_parent, daemon=True).start()

    def tick() -> None:
        with ticks.get_lock():
            ticks.value += 1
        if stop.is_set():
            raise _Stopped

    _function, _tick = function, tick


def _end_with_parent() -> None:
    connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _call(job: Any) -> Any:
    return _function(job, _tick)
