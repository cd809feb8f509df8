"""ArrayRecord files ("shards") of images: a record is the bytes of an image file."""

import os
import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from dear_jax.data import manifest
from dear_jax.errors import InputError

SUFFIX = ".array_record"
_REMEDY = "copy it, or prepare the set again"
_NUMBERED = re.compile(r"(.*)-\d{5}-of-(\d{5})")


class RecordFile:
    """The images in one ArrayRecord file, named as its set's manifest names them.

    Args:
      path: the file.
      name: what it is called in the names of its records where there is no manifest.

    Raises:
      InputError: if it is no such file, or not the one that its manifest describes.
    """

    def __init__(self, path: Path, name: str):
        from array_record.python import array_record_data_source

        self._path, self._name = path, name
        self._entry = manifest.shard_of(path)
        try:
            self._records = array_record_data_source.ArrayRecordDataSource(
                [os.fspath(path)]
            )
        except Exception as error:  # Its kind depends on what is damaged.
            reason = str(error).splitlines()[0]
            raise InputError(
                f"{path}: not an ArrayRecord file, or damaged ({reason}); {_REMEDY}"
            ) from None
        if self._entry and len(self) != len(self._entry.records):
            raise InputError(
                f"{path}: {len(self)} records, not the {len(self._entry.records)} of "
                f"its manifest; {_REMEDY}"
            )
        status = path.stat()
        self._version = status.st_size, status.st_mtime_ns

    def __len__(self) -> int:
        return len(self._records)

    def name(self, number: int) -> str:
        """The record's name, such as "b/17.png", or "p.array_record record 17"."""
        if self._entry:
            return self._entry.records[number].name
        return f"{self._name} record {number}"

    def fact(self, number: int) -> str:
        """Name and size in bytes as one text; without a manifest, the file's size."""
        if self._entry:
            return f"{self.name(number)} {self._entry.records[number].bytes}"
        return f"{self._name} {self._version[0]} record {number}"

    def title(self, number: int) -> str:
        """Where the record lies, for messages."""
        named = f" ({self.name(number)})" if self._entry else ""
        return f"{self._path}, record {number}{named}"

    def version(self, number: int) -> tuple:
        """Changes when the record may have changed."""
        return self._path, number, *self._version

    def data(self, number: int) -> bytes:
        """The record.

        Raises:
          InputError: if the file is damaged there, or gone.
        """
        try:
            return self._records[number]
        except Exception:  # Its kind depends on what is damaged.
            raise InputError(f"{self.title(number)}: damaged; {_REMEDY}") from None


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
