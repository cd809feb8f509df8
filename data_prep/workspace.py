"""The folder of a set while it is being made: one run at a time, and what is done.

Everything that is not yet sure lies in a hidden folder, OUT/.unfinished: the lock,
partial files, and the facts of finished work, each under a digest of all that
decided it. Facts that nobody asks for by their digest count for nothing.
"""

import errno
import json
import os
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dear_jax.data import manifest
from dear_jax.errors import InputError
from dear_jax.files import replacing

HIDDEN = ".unfinished"
_SHARD = re.compile(r".+-\d{5}-of-\d{5}\.array_record")


class Workspace:
    """A set's folder in the hands of this run; made by `workspace`."""

    def __init__(self, out: Path):
        self.out = out
        self._hidden = out / HIDDEN
        self.partial = self._hidden / "partial"
        shutil.rmtree(self.partial, ignore_errors=True)
        self.partial.mkdir()
        (self._hidden / "facts").mkdir(exist_ok=True)

    def facts(self, key: str) -> Any:
        """Returns what was kept under a digest, or None."""
        try:
            return json.loads(self._facts(key).read_bytes())
        except (OSError, ValueError):
            return None

    def keep(self, key: str, values: Any) -> None:
        """Keeps plain values under a digest, for this run or a later one."""
        with replacing(self._facts(key)) as partial:
            partial.write_text(json.dumps(values))

    def move_in(self, partial: Path, path: str) -> None:
        """Gives a checked partial file its place in the set."""
        target = self.out / path
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(partial, target)

    def remove_shards_but(self, kept: Collection[str]) -> None:
        """Removes the shards of earlier runs that are not among these paths."""
        for path in list(self.out.rglob("*")):
            name = path.relative_to(self.out).as_posix()
            if _SHARD.fullmatch(path.name) and name not in kept:
                path.unlink()
                for folder in path.parents[: name.count("/")]:
                    if not any(folder.iterdir()):
                        folder.rmdir()

    def _facts(self, key: str) -> Path:
        return self._hidden / "facts" / f"{key}.json"


@contextmanager
def workspace(out: Path) -> Iterator[Workspace]:
    """Takes a folder for this run, made if it is not there.

    Raises:
      InputError: if it holds something else, cannot be written in, or another run
        has it.
    """
    mine = (out / HIDDEN).is_dir() or (out / manifest.NAME).is_file()
    try:
        if out.is_dir() and not mine and any(out.iterdir()):
            raise InputError(f"{out}: holds other files; give a new or an empty folder")
        with _lock(out):
            yield Workspace(out)
    except OSError as error:
        raise InputError(
            f"{error.filename or out}: cannot be written ({error.strerror}); "
            "mend it, then the same command continues"
        ) from None


@contextmanager
def _lock(out: Path) -> Iterator[None]:
    """Holds OUT/.unfinished/lock, which the system frees whatever ends the process."""
    import fcntl

    path = out / HIDDEN / "lock"
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(
                    f"{out}: another run is writing here; wait for it or end it"
                ) from None
            except OSError as error:
                # File systems without locks: two runs at once are then not noticed.
                if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                    raise
            # A run that ended just now may have removed the file that was opened.
            if not _is_at(file.fileno(), path):
                continue
            try:
                yield
            finally:
                if (out / manifest.NAME).is_file():
                    _remove(path.parent)
            return


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _remove(hidden: Path) -> None:
    """Removes the hidden folder of a finished set, the lock last."""
    for name in ("partial", "facts"):
        shutil.rmtree(hidden / name, ignore_errors=True)
    try:
        (hidden / "lock").unlink()
        hidden.rmdir()
    except OSError:
        pass  # Another run has begun to use it.
