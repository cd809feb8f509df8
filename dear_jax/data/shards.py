"""ArrayRecord files ("shards") of images: a record is the bytes of an image file."""

import functools
import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from dear_jax.data import manifest
from dear_jax.errors import InputError, Unreadable
from dear_jax.files import (
    HASH_DIGITS,
    TOO_MANY_OPEN,
    content_hash_of_file,
    too_many_open,
)

SUFFIX = ".array_record"
_REMEDY = "copy it, or prepare the set again"
# Of the 1024 files that may commonly be open; opening a shard again takes little.
_KEPT_OPEN = 200
# What ArrayRecord's reader raises for damaged files; its words tell no more.
_DAMAGE = (RuntimeError, ValueError, IndexError)
_NUMBERED = re.compile(r"(.*)-\d{5}-of-(\d{5})")


class RecordFile:
    """The images in one ArrayRecord file, named as in the folder it stands for.

    A pickled copy is small and reads nothing of the manifest until it is asked for
    names.

    Args:
      path: the file.
      name: its path below the opened folder. The names of its records start with the
        same folders and go on as the manifest says.

    Raises:
      InputError: if it is no such file, or not the one that its manifest describes.
    """

    def __init__(self, path: Path, name: str):
        self._path, self._name = path, name
        self._entry = manifest.shard_of(path)
        status = path.stat()
        self._version = status.st_size, status.st_mtime_ns
        try:
            self._count = self._reader().num_records()
        except _DAMAGE as error:
            _refuse_too_many_open(path, error)
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{path}: not an ArrayRecord file, or damaged ({reason}); {_REMEDY}"
            ) from None
        if self._entry and len(self) != len(self._entry.records):
            raise InputError(
                f"{path}: {len(self)} records, not the {len(self._entry.records)} of "
                f"its manifest; {_REMEDY}"
            )

    def __len__(self) -> int:
        return self._count

    def __getstate__(self) -> dict:
        state = self.__dict__.copy()
        state.pop("_entry", None)
        return state

    @functools.cached_property
    def _entry(self) -> manifest.Shard | None:
        return manifest.shard_of(self._path)

    def name(self, number: int) -> str:
        """The record's name, such as "b/17.png", or "p.array_record record 17"."""
        if self._entry:
            below = PurePosixPath(self._name).parent
            return str(below / self._entry.records[number].name)
        return f"{self._name} record {number}"

    def fact(self, number: int) -> str:
        """Name and size in bytes as one text; without a manifest, the file's size."""
        if self._entry:
            return f"{self.name(number)} {self._entry.records[number].bytes}"
        return f"{self._name} {self._version[0]} record {number}"

    def digest(self, number: int) -> str:
        """Hex digits of the record's SHA-256, by the manifest where there is one.

        Raises:
          InputError: if there is none and the record cannot be read.
        """
        if self._entry:
            return self._entry.records[number].sha256[:HASH_DIGITS]
        return content_hash_of_file(
            self._path, number, *self._version, lambda: self.data(number)
        )

    def title(self, number: int) -> str:
        """Where the record lies, for messages."""
        # In a worker's copy, a large manifest would be read for every title.
        named = f" ({self.name(number)})" if self.__dict__.get("_entry") else ""
        return f"{self._path}, record {number}{named}"

    def version(self, number: int) -> tuple:
        """Changes when the record may have changed."""
        return self._path, number, *self._version

    def data(self, number: int) -> bytes:
        """The record.

        Raises:
          Unreadable: if the file is damaged there.
          InputError: if it is gone or cannot be opened.
        """
        try:
            return self._reader().read([number])[0]
        except _DAMAGE as error:
            _reader.cache_clear()  # After an error a reader may give nothing more.
            _refuse_too_many_open(self._path, error)
            if not self._path.is_file():
                raise InputError(f"{self._path}: no such file; {_REMEDY}") from None
            raise Unreadable(f"{self.title(number)}: damaged; {_REMEDY}") from None

    def _reader(self):
        return _reader(os.fspath(self._path), self._version)


# What drops out of here is closed once no thread reads from it.
@functools.lru_cache(maxsize=_KEPT_OPEN)
def _reader(path: str, version: tuple):
    from array_record.python import (  # a compiled module, which has no stubs
        array_record_module,  # pyright: ignore[reportAttributeAccessIssue]
    )

    reader = array_record_module.ArrayRecordReader(
        path, options="readahead_buffer_size:0", file_reader_buffer_size=32768
    )
    if not reader.ok():
        reader.close()  # Raises what was wrong.
    return reader


def _refuse_too_many_open(path: Path, error: Exception) -> None:
    """Raises InputError if that is what an error in reading a shard means."""
    if not too_many_open(error):
        try:
            path.open("rb").close()
            return
        except OSError as own:
            if not too_many_open(own):
                return
    raise InputError(f"{path}: {TOO_MANY_OPEN}") from None


def check_complete(folder: Path, names: Sequence[str]) -> None:
    """Checks that all shards of a folder are there.

    Args:
      folder: where the shards lie, or their subfolders.
      names: their paths below it, as many as there are; at least one.

    Raises:
      InputError: naming what the manifest of their set, or the numbers in their own
        names, say is missing; or the splits to choose from, if this is a whole set.
    """
    if (folder / manifest.NAME).is_file() and all("/" in name for name in names):
        splits = sorted({folder / name.split("/")[0] for name in names})
        raise InputError(
            f"{folder}: a whole prepared set; name one part of it: "
            f"{' or '.join(map(str, splits))}"
        )
    missing = _missing_by_manifest(folder, names[0]) or _missing_by_number(names)
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"{folder}: {missing[0]} is missing{more}; {_REMEDY}")


def _missing_by_manifest(folder: Path, one: str) -> list[str]:
    """Paths below `folder` of shards that the manifest has there and nobody else."""
    path = Path(os.path.abspath(folder / one))
    entry = manifest.shard_of(path)
    if entry is None:
        return []
    root = path.parents[len(PurePosixPath(entry.path).parts) - 1]
    below = entry.path.removesuffix(one)
    return [
        shard.path.removeprefix(below)
        for shard in manifest.read_manifest(root).shards
        if shard.path.startswith(below) and not (root / shard.path).is_file()
    ]


def _missing_by_number(names: Sequence[str]) -> list[str]:
    """Shards that ought to be there by names such as p-00001-of-00008."""
    groups = {match.groups() for name in names if (match := _match(name))}
    expected = (
        f"{stem}-{i:05d}-of-{count}{SUFFIX}"
        for stem, count in sorted(groups)
        for i in range(int(count))
    )
    return [name for name in expected if name not in set(names)]


def _match(name: str) -> re.Match | None:
    return _NUMBERED.fullmatch(name.removesuffix(SUFFIX))
