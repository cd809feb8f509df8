"""Files: written whole or not at all, and known by the hash of their content."""

import errno
import hashlib
import os
import re
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dear_jax.errors import InputError

TOO_MANY_OPEN = (
    "too many files are open at once, more than the system allows this process; "
    "raise the limit (ulimit -n)"
)

HASH_DIGITS = 16
# The clock of a file system ticks coarsely: a file written less long ago than this may
# be written again without its time changing.
_RECENT_NS = 10**9
_hashes: dict[tuple, str] = {}


def too_many_open(error: BaseException) -> bool:
    """Whether an error says that the limit of open files is reached.

    Libraries in other languages say it in words only.
    """
    number = getattr(error, "errno", None)
    return number in (errno.EMFILE, errno.ENFILE) or any(
        os.strerror(known) in str(error) for known in (errno.EMFILE, errno.ENFILE)
    )


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Gives a file to write to, which then takes the place of `path` whole.

    If anything goes wrong meanwhile, `path` stays as it was. The file gets the mode
    that new files have here, whatever it was written with.

    Raises:
      InputError: if the file cannot be written.
    """
    path = Path(path)
    # Beside the target, where a rename is atomic; the suffix tells Pillow the format.
    # Each writer has its own: two may write the same file.
    partial = path.with_name(f".partial-{os.getpid()}-{uuid.uuid4().hex}{path.suffix}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = _usual_mode(partial)
        yield partial
        partial.chmod(mode)
        os.replace(partial, path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); "
            "make room or choose another place"
        ) from None
    finally:
        try:
            partial.unlink(missing_ok=True)
        except OSError:
            pass  # Its folder cannot be read either; the error above says so.


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file (UTF-8); a file of that name is replaced whole.

    Raises:
      InputError: if it cannot be written.
    """
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _usual_mode(path: Path) -> int:
    """The mode of a new file at `path`; leaves none there."""
    # Asking the umask itself would change it for other threads for a moment.
    path.unlink(missing_ok=True)
    path.touch()
    mode = stat.S_IMODE(path.stat().st_mode)
    path.unlink()
    return mode


def make_folder(where: str | Path) -> Path:
    """Makes a folder for results before the work of computing them.

    Raises:
      InputError: if there can be no such folder or nothing can be written in it.
    """
    folder = Path(os.path.expanduser(where))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".write-test-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(
            f"{where}: cannot be a folder for results ({error.strerror}); name another"
        ) from None
    return folder


def as_name(title: str, longest: int) -> str:
    """A title as part of a file's name: letters, digits and _ + . - alone."""
    return re.sub(r"[^A-Za-z0-9_+.-]+", "-", title).strip("-")[:longest]


def content_hash(data: bytes) -> str:
    """The first hex digits of the SHA-256 of some bytes."""
    return hashlib.sha256(data).hexdigest()[:HASH_DIGITS]


def content_hash_of_file(
    path: Path, record: int, size: int, changed: int, read: Callable[[], bytes]
) -> str:
    """The hash of a file, or of a record in it, computed once while the file stays.

    It is remembered for the rest of the process; several threads may call.

    Args:
      path: the file.
      record: number of the record, 0 for a file that is no collection.
      size: of the file, in bytes.
      changed: when the file last was, in nanoseconds.
      read: returns the content.
    """
    key = os.path.abspath(path), record, size, changed
    if key not in _hashes:
        recent = time.time_ns() - changed < _RECENT_NS
        found = content_hash(read())
        if recent:
            return found
        _hashes[key] = found
    return _hashes[key]


def printable(text: str) -> str:
    """The text with escapes such as \\udce9 for what UTF-8 does not hold.

    Names of files are bytes: one that is not UTF-8 has surrogates in it
    (`os.fsdecode`), which no file or terminal in UTF-8 takes. Inside a string of JSON
    the escape is JSON's own: whoever reads it gets back the name as it was.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
