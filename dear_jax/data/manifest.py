"""What a prepared set holds: its manifest, written by `python -m data_prep`.

A set is a folder with manifest.json and ArrayRecord files ("shards") below it. A
record is the bytes of an image file. The manifest has the size and sha256 of every
shard and every record, in the order in which they are read.
"""

import functools
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dear_jax.errors import InputError
from dear_jax.files import replacing

NAME = "manifest.json"
UNFINISHED = ".unfinished"  # data_prep's folder in a set that it has not finished.
FORMAT = "dear_jax prepared set 1"
_REMEDY = "copy the set again or remake it with python -m data_prep"


@dataclass(frozen=True, slots=True)
class Record:
    """One image: `width` and `height` in pixels, `bytes` and `sha256` of its file.

    `name`, with forward slashes, is its path in the source, or below the folder there
    that stands for its split or bin. `missing` is the hole
    ratio of a mask, 0 to 1, and None for photos.
    """

    name: str
    width: int
    height: int
    bytes: int
    sha256: str
    missing: float | None = None


@dataclass(frozen=True)
class Shard:
    """One ArrayRecord file; `path`, with forward slashes, starts at the set's folder.

    `bytes` and `sha256` are those of the file, `records` are in the file's order.
    """

    path: str
    bytes: int
    sha256: str
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Manifest:
    """A whole set: where it came from, how it was made, and its shards in order."""

    source: str
    settings: dict[str, Any]
    shards: tuple[Shard, ...]


def write_manifest(folder: str | Path, manifest: Manifest) -> None:
    """Writes `folder`/manifest.json; one that is there is replaced whole.

    Raises:
      InputError: if it cannot be written.
    """
    with (
        replacing(Path(folder) / NAME) as partial,
        partial.open("w", encoding="utf-8", newline="\n") as file,
    ):
        file.writelines(_lines(manifest))
        # The set is complete once this file has its name, whatever happens then.
        file.flush()
        os.fsync(file.fileno())


def read_manifest(folder: str | Path) -> Manifest:
    """Reads `folder`/manifest.json.

    Raises:
      InputError: if there is none or it is not one of `write_manifest`.
    """
    path = Path(folder) / NAME
    if not path.is_file():
        raise InputError(
            f"{folder}: holds no {NAME}; prepare a set with python -m data_prep"
        )
    found = _read(path)
    if found is None:
        raise InputError(f"{path}: not the manifest of a prepared set; {_REMEDY}")
    return found[0]


def shard_of(path: str | Path) -> Shard | None:
    """Returns what the manifest of its set says of an ArrayRecord file.

    manifest.json is looked for in the file's folder and the two above. Without one,
    or where it is another tool's, the answer is None. The content is not read.

    Raises:
      InputError: if there is no such file, the manifest does not know it, it has
        another size than the manifest says (half copied, or damaged), or the set is
        not finished.
    """
    path = Path(os.path.abspath(path))
    if not path.is_file():
        raise InputError(f"{path}: no such file; {_REMEDY}")
    for folder in path.parents[:3]:
        if (folder / NAME).is_file() and (found := _read(folder / NAME)):
            shard = found[1].get(path.relative_to(folder).as_posix())
            return _checked(folder, path, shard)
        check_finished(folder)
    return None


def check_finished(folder: Path) -> None:
    """Raises InputError for a folder that `python -m data_prep` has yet to finish."""
    if (folder / UNFINISHED).is_dir() and not (folder / NAME).is_file():
        raise InputError(
            f"{folder}: unfinished; run the data_prep command again, it continues"
        )


def shard_from(values: dict[str, Any]) -> Shard:
    """Makes a Shard of what `shard_values` made of one.

    Raises:
      KeyError, TypeError: if that is not what `values` are.
    """
    records = tuple(Record(*row) for row in values["records"])
    return Shard(values["path"], values["bytes"], values["sha256"], records)


def shard_values(shard: Shard) -> dict[str, Any]:
    """Returns a shard as plain values for JSON, a record being one short list."""
    values = {"path": shard.path, "bytes": shard.bytes, "sha256": shard.sha256}
    return values | {"records": [_row(record) for record in shard.records]}


_COLUMNS = tuple(field.name for field in fields(Record))


def _row(record: Record) -> list:
    row = [getattr(record, name) for name in _COLUMNS]
    return row if record.missing is not None else row[:-1]


def _lines(manifest: Manifest) -> Iterable[str]:
    """Yields the file's text, JSON with one record a line, shard by shard."""
    head = {"format": FORMAT, "source": manifest.source, "settings": manifest.settings}
    for key, value in (head | {"record": _COLUMNS}).items():
        yield f"{'{' if key == 'format' else ''}{_json(key)}: {_json(value)},\n"
    yield '"shards": ['
    for i, shard in enumerate(manifest.shards):
        values = shard_values(shard)
        rows = values.pop("records")
        yield f'{"," if i else ""}\n{_json(values)[:-1]}, "records": [\n'
        yield ",\n".join(map(_json, rows))
        yield "\n]}"
    yield "\n]}\n"


def _json(value: Any) -> str:
    return json.dumps(value)


_Indexed = tuple[Manifest, dict[str, Shard]]


def _read(path: Path) -> _Indexed | None:
    try:
        status = path.stat()
        return _parse(path, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


# Opening a set asks for each of its shards; the manifest may be large.
@functools.lru_cache(maxsize=2)
def _parse(path: Path, size: int, modified: int) -> "_Indexed | None":
    """Reads a manifest; None if it is JSON of something else."""
    try:
        values = json.loads(path.read_bytes())
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            return None
        shards = tuple(shard_from(shard) for shard in values["shards"])
        manifest = Manifest(values["source"], values["settings"], shards)
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{path}: damaged; {_REMEDY}") from None
    return manifest, {shard.path: shard for shard in shards}


def _checked(folder: Path, path: Path, shard: Shard | None) -> Shard:
    """Checks what the manifest in `folder` says of the file at `path`."""
    if shard is None:
        raise InputError(
            f"{path}: {folder / NAME} does not know this file; remove it, or {_REMEDY}"
        )
    if (found := path.stat().st_size) != shard.bytes:
        raise InputError(
            f"{path}: {found} bytes, not the {shard.bytes} of its manifest; {_REMEDY}"
        )
    return shard
