"""Prepared sets for tests: ArrayRecord files with a manifest, made of folders."""

import hashlib
import itertools
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from dear_jax.data.manifest import Manifest, Record, Shard, write_manifest
from dear_jax.images.io import list_photos, read_photo


def write_records(path: Path, records: Iterable[bytes]) -> Path:
    """Writes one ArrayRecord file; returns its path."""
    from array_record.python import array_record_module

    path.parent.mkdir(parents=True, exist_ok=True)
    writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()
    return path


def write_set(
    root: Path, source: Path, groups: Mapping[str, str], shards: int = 2
) -> Path:
    """Packs folders unchanged, as data_prep does.

    Args:
      root: the set's folder.
      source: folder of images.
      groups: folder of shards below `root` -> folder of images below `source`, whose
        records are named below it.
      shards: files in each group.

    Returns:
      `root`.
    """
    written = []
    for place, folder in groups.items():
        paths = list_photos(source / folder)
        for i, run in enumerate(np.array_split(np.arange(len(paths)), shards)):
            name = f"{place}/{root.name}-{i:05d}-of-{shards:05d}.array_record"
            chosen = [paths[k] for k in run]
            write_records(root / name, (path.read_bytes() for path in chosen))
            records = tuple(_record(source / folder, path) for path in chosen)
            written.append(Shard(name, *_facts(root / name), records))
    write_manifest(root, Manifest(str(source), {}, tuple(written)))
    return root


def first(count: int, batches: Iterable[dict]) -> list[dict]:
    """The first batches of an endless iterator."""
    return list(itertools.islice(batches, count))


def assert_equal_batches(some: list[dict], others: list[dict]) -> None:
    """Checks that two lists of batches hold the same arrays."""
    assert len(some) == len(others) > 0
    for one, other in zip(some, others, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def _record(source: Path, path: Path) -> Record:
    height, width = read_photo(path).shape[:2]
    name = path.relative_to(source).as_posix()
    return Record(name, width, height, *_facts(path))


def _facts(path: Path) -> tuple[int, str]:
    content = path.read_bytes()
    return len(content), hashlib.sha256(content).hexdigest()
