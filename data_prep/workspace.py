"""The folder of a set while it is being made: one run at a time, and what is done.

Everything that is not yet sure lies in a hidden folder, OUT/.unfinished: the lock,
partial files, and the facts of finished work, each under a digest of all that
decided it. Facts that nobody asks for by their digest count for nothing.
"""

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dear_jax.data import manifest
from dear_jax.errors import InputError
from dear_jax.files import replacing

HIDDEN = manifest.UNFINISHED
_PARTIAL = "partial-"


class Workspace:
    """A set's folder in the hands of this run; made by `workspace`."""

    def __init__(self, out: Path):
        self.out = out
        self._hidden = out / HIDDEN
        # Each run has its own: without locks, another may be at work.
        self.partial = Path(tempfile.mkdtemp(prefix=_PARTIAL, dir=self._hidden))
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
        """Removes shards that earlier runs wrote here and are not among these paths.

        Those of other sets below, even of the same name, are left alone.
        """
        for name in self._written() - set(kept):
            path = self.out / name
            folders = path.parents[: name.count("/")]
            if any(map(_is_set, folders)) or not path.is_file():
                continue
            path.unlink()
            for folder in folders:
                if not any(folder.iterdir()):
                    folder.rmdir()

    def _written(self) -> set[str]:
        """Paths of all shards that runs in this folder have kept facts of."""
        kept = (self._hidden / "facts").glob("*.json")
        facts = (self.facts(path.stem) for path in kept)
        return {f["shard"]["path"] for f in facts if isinstance(f, dict)}

    def _facts(self, key: str) -> Path:
        return self._hidden / "facts" / f"{key}.json"


def _is_set(folder: Path) -> bool:
    """Whether a folder is a set of its own, finished or not."""
    return (folder / HIDDEN).is_dir() or (folder / manifest.NAME).is_file()


@contextmanager
def workspace(out: Path) -> Iterator[Workspace]:
    """Takes a folder for this run, made if it is not there.

    Raises:
      InputError: if it holds something else, cannot be written in, or another run
        has it.
    """
    try:
        if out.is_dir() and not _is_set(out) and any(out.iterdir()):
            raise InputError(f"{out}: holds other files; give a new or an empty folder")
        with _lock(out) as alone:
            if alone:
                _remove_partial(out / HIDDEN)
            yield Workspace(out)
    except OSError as error:
        raise InputError(
            f"{error.filename or out}: cannot be written ({error.strerror}); "
            "mend it, then the same command continues"
        ) from None


@contextmanager
def _lock(out: Path) -> Iterator[bool]:
    """Holds OUT/.unfinished/lock, which the system frees whatever ends the process.

    Gives False where the file system has no locks.
    """
    import fcntl

    path = out / HIDDEN / "lock"
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w") as file:
            alone = True
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
                alone = False
            # A run that ended just now may have removed the file that was opened.
            if not _is_at(file.fileno(), path):
                continue
            try:
                yield alone
            finally:
                if (out / manifest.NAME).is_file():
                    _remove(path.parent)
            return


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _remove_partial(hidden: Path) -> None:
    """Removes the partial files of all runs."""
    for folder in hidden.glob(f"{_PARTIAL}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _remove(hidden: Path) -> None:
    """Removes the hidden folder of a finished set, the lock last."""
    _remove_partial(hidden)
    shutil.rmtree(hidden / "facts", ignore_errors=True)
    try:
        (hidden / "lock").unlink()
        hidden.rmdir()
    except OSError:
        pass  # Another run has begun to use it.
