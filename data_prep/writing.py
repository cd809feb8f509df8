"""One ArrayRecord file: what goes into it, writing it, and checking it."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import PIL

from data_prep.kinds import Member
from data_prep.records import Made, Recipe, make
from dear_jax.data.manifest import Record, Shard, shard_from, shard_values
from dear_jax.errors import InputError, Unreadable

# Raised when the bytes that the same members and recipe give are other than before.
_VERSION = 2


@dataclass(frozen=True)
class Job:
    """A shard to write: its path below the set's folder and its members in order."""

    path: str
    members: tuple[Member, ...]

    def key(self, recipe: Recipe) -> str:
        """Returns a digest of all that decides the shard's content."""
        rows = [[m.name, m.size, m.version] for m in self.members]
        # Another Pillow may encode the same pixels otherwise.
        version = [_VERSION, PIL.__version__]
        text = json.dumps([version, self.path, asdict(recipe), rows])
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class Written:
    """A finished shard, why files were left out, and where it is unless in the set."""

    shard: Shard
    bad: tuple[str, ...]
    partial: Path | None = None

    def values(self) -> dict[str, Any]:
        """Returns all but `partial` as plain values for JSON."""
        return {"shard": shard_values(self.shard), "bad": self.bad}

    @classmethod
    def of_values(cls, values: dict[str, Any]) -> "Written":
        """Makes again what `values` was made of."""
        return cls(shard_from(values["shard"]), tuple(values["bad"]))


def write_shard(
    source, recipe: Recipe, folder: Path, job: Job, tick: Callable[[], None]
) -> Written:
    """Writes one shard to a new file in `folder`, reads it back and checks it.

    Args:
      source: has the members' images.
      recipe: how to make records of them.
      folder: of partial files; the caller renames the file.
      job: path and members of the shard.
      tick: called after every member; what it raises stops the work.

    Raises:
      InputError: if the file cannot be written or holds something else afterwards,
        or a member cannot be read at all.
    """
    partial = folder / f"{job.key(recipe)}.{os.getpid()}"
    records, bad = [], []

    def data() -> Iterable[bytes]:
        for member in job.members:
            try:
                made = read_member(source, recipe, member)
            except Unreadable as error:
                bad.append(str(error))
            else:
                digest = hashlib.sha256(made.data).hexdigest()
                size = (made.width, made.height, len(made.data))
                records.append(Record(member.name, *size, digest, made.missing))
                yield made.data
            tick()

    # Group size 1: each record is found and decompressed alone, as shuffling needs.
    options = "group_size:1" + (",uncompressed" if recipe.raw else "")
    try:
        _write(partial, data(), options)
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or str(error).partition(";")[0]
        raise InputError(
            f"{job.path}: cannot be written below {folder} ({reason}); mend it, then "
            "the same command continues"
        ) from None
    check_records(partial, records)
    shard = Shard(job.path, partial.stat().st_size, file_digest(partial), (*records,))
    return Written(shard, (*bad,), partial)


def read_member(source, recipe: Recipe, member: Member) -> Made:
    """Reads a member and makes its record.

    Raises:
      Unreadable: if it is no image, damaged, or too small.
      InputError: if it cannot be read at all, or is another file than was listed.
    """
    data = source.read(member.where)
    place = source.place(member.where)
    if len(data) != member.size:
        raise InputError(
            f"{place}: {len(data)} bytes, but {member.size} when it was listed; "
            "let it be while it is read"
        )
    try:
        return make(data, place, recipe)
    except MemoryError:
        raise InputError(
            f"{place}: too little memory; the same command continues, with fewer "
            "--workers if it happens again"
        ) from None


def _write(path: Path, data: Iterable[bytes], options: str) -> None:
    from array_record.python import array_record_module

    writer = array_record_module.ArrayRecordWriter(str(path), options)
    try:
        for record in data:
            writer.write(record)
    finally:
        writer.close()
    with path.open("rb") as file:
        os.fsync(file.fileno())


def check_records(path: Path, records: Sequence[Record]) -> None:
    """Reads a shard record by record and compares it with what it should hold.

    Raises:
      InputError: at the first difference.
    """
    from array_record.python import array_record_module

    try:
        reader = array_record_module.ArrayRecordReader(str(path))
        same = reader.num_records() == len(records) and all(
            hashlib.sha256(reader.read([i])[0]).hexdigest() == record.sha256
            for i, record in enumerate(records)
        )
        reader.close()
    except (OSError, RuntimeError, ValueError):
        same = False
    if not same:
        raise InputError(
            f"{path}: read back, it holds other bytes than were written; "
            "check the disk, then the same command continues"
        )


def file_digest(path: Path) -> str:
    """Returns the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def same_file(path: Path, shard: Shard) -> bool:
    """Whether the file at `path` is there and is byte for byte that shard."""
    return (
        path.is_file()
        and path.stat().st_size == shard.bytes
        and file_digest(path) == shard.sha256
    )
