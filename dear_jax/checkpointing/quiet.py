"""Keeps from the terminal what Orbax tells of errors that it also raises.

A disk that is full while hundreds of arrays are being written gives thousands of
lines otherwise: of each thread, each pending write and each task thrown away.
"""

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator

_hook: Callable | None = None  # That was there before.


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silences Orbax and the event loops it leaves behind, and nothing else.

    After an error until the next time all goes well: of writes that were given up
    some end seconds later.
    """
    global _hook
    logs = [logging.getLogger("absl"), logging.getLogger("asyncio")]
    for log in logs:
        log.addFilter(_of_others)
    if sys.unraisablehook is not _tell_others:
        _hook, sys.unraisablehook = sys.unraisablehook, _tell_others
    yield
    for log in logs:
        log.removeFilter(_of_others)
    if sys.unraisablehook is _tell_others:
        sys.unraisablehook = _hook


def _of_others(record: logging.LogRecord) -> bool:
    told = f"{record.pathname} {record.getMessage()}"
    return "orbax" not in told and "was never retrieved" not in told


def _tell_others(unraisable) -> None:
    if "Event loop is closed" not in str(unraisable.exc_value):
        _hook(unraisable)
