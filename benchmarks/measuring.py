"""What a function takes in this process, seconds and peak memory; what others take.

Both sides of `restoring.py` measure with this file, so it needs the standard library
only. Memory is resident memory; its high-water mark is the kernel's, and on Linux it
can be reset (by writing 5 to /proc/self/clear_refs), so that stages are told apart.
Elsewhere there is the mark of the whole life of the process.
"""

import ctypes
import gc
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")
MIB = 2**20


def say(line: str) -> None:
    """Tells of progress, apart from the result."""
    print(line, file=sys.stderr, flush=True)


def limit_cores(count: int) -> None:
    """Keeps this process on the first `count` of its cores, where systems allow it.

    To be called before importing what starts threads: they count these cores.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])


def resident() -> float:
    """Resident memory now, in MiB; without /proc, its high-water mark."""
    return _status("VmRSS") or _mark_of_life()


def peak() -> float:
    """High-water mark of resident memory since `reset_peak`, in MiB."""
    return _status("VmHWM") or _mark_of_life()


def reset_peak() -> bool:
    """Sets the mark to what is resident now, after returning what is free.

    Returns:
      Whether the system could.
    """
    gc.collect()
    try:
        # Memory that the C library keeps would hide that it is needed again.
        ctypes.CDLL(None).malloc_trim(0)
        _RESET.write_text("5")
    except (AttributeError, OSError):
        return False
    return True


def measure(
    function: Callable[[], Any], imported: float, job: dict[str, Any]
) -> tuple[dict[str, Any], Any]:
    """Calls a function again and again.

    Args:
      function: blocks until its result is there.
      imported: memory in MiB once everything was imported.
      job: at most "runs" timed calls, at least one, until "seconds" have gone by.

    Returns:
      A record, and the result of the second call. The record holds "times", seconds
      of every call after two that warm up, or of the second if it alone takes longer
      than "seconds"; "start", seconds by which the first took longer; "peak", MiB
      above `imported` at most, with what was loaded but not its loading; "warm", MiB
      above what was resident before it that the second call needed, None if the
      system cannot tell.
    """
    reset_peak()
    start = time.perf_counter()
    function()
    first = time.perf_counter() - start
    highest = peak()
    can_reset = reset_peak()
    before = resident()
    start = time.perf_counter()
    result = function()
    second = time.perf_counter() - start
    warm = peak() - before if can_reset else None
    times = [second] if second > job["seconds"] else []
    while not times or (len(times) < job["runs"] and sum(times) < job["seconds"]):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    record = {
        "times": times,
        "start": max(0.0, first - statistics.median(times)),
        "peak": max(highest, peak()) - imported,
        "warm": warm,
    }
    return record, result


def busy_cores(seconds: float = 0.5) -> float:
    """How many cores other work keeps busy, over a moment; 0 where unknown."""
    path = Path("/proc/stat")
    if not path.exists():
        return 0.0

    def ticks() -> tuple[int, int]:
        values = [int(v) for v in path.read_text().splitlines()[0].split()[1:9]]
        return sum(values), sum(values[3:5])  # The fourth and fifth are idle time.

    before = ticks()
    time.sleep(seconds)
    spent, idle = (b - a for a, b in zip(before, ticks(), strict=True))
    cores = sum(
        line[3:4].isdigit()
        for line in path.read_text().splitlines()
        if line.startswith("cpu")
    )
    return cores * (1 - idle / spent) if spent else 0.0


def _status(key: str) -> float:
    """A line of /proc/self/status in MiB; 0 where there is none."""
    if _STATUS.exists():
        for line in _STATUS.read_text().splitlines():
            if line.startswith(f"{key}:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _mark_of_life() -> float:
    mark = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Kilobytes on Linux, bytes on macOS.
    return mark / (MIB if sys.platform == "darwin" else 1024)
