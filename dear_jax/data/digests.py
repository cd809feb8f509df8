"""What files hold, told by hash: computed once while a file stays as it is."""

import hashlib
import os
import time
from collections.abc import Callable
from pathlib import Path

DIGITS = 16
# A file system's clock ticks coarsely: a file that was written so recently may be
# written again without its time changing.
_RECENT_NS = 10**9
_known: dict[tuple, str] = {}


def digest(data: bytes) -> str:
    """Returns the first hex digits of the SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()[:DIGITS]


def digest_of(
    path: Path, record: int, size: int, changed: int, read: Callable[[], bytes]
) -> str:
    """Returns the digest of a file, or of a record in it.

    It is remembered for the rest of the process; several threads may ask.

    Args:
      path: the file.
      record: number of the record, 0 for a file that is no collection.
      size: the file's, in bytes.
      changed: when it last was, in nanoseconds.
      read: returns the content.
    """
    key = os.path.abspath(path), record, size, changed
    if key not in _known:
        recent = time.time_ns() - changed < _RECENT_NS
        found = digest(read())
        if recent:
            return found
        _known[key] = found
    return _known[key]
