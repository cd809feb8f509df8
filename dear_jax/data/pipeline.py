"""Batches of training examples as a pure function of (configuration, seed, number).

`data` is the `data` part of a configuration:
  photos: tuple of parts, as `open_photos` takes them
  masks: as `open_masks` takes it: a folder, say, or "generated" or "lama"
  skip_unreadable: leave unreadable photos out instead of stopping at them
  side: low-resolution side in pixels
  scale: (low, high) of the random target side / low-resolution side
  queries: high-resolution pixels asked for in each example; 0 for the whole crop,
    which needs low = high
  clean: optional, share of examples with an empty mask, 0 if absent
  augment: optional, "flip" (left to right, also if absent) or "dihedral" (all eight
    flips and turns)
  threads: reading threads, 0 to read in the caller's thread
  workers: reading processes, 0 for none
"""

import hashlib
import json
from collections.abc import Iterator

import ml_collections
import numpy as np

from dear_jax.data.masks import open_masks
from dear_jax.data.photos import open_photos
from dear_jax.errors import InputError

_BATCHES_AHEAD = 4
_AUGMENTATIONS = ("flip", "dihedral")


def training_batches(
    data: ml_collections.ConfigDict,
    batch_size: int,
    seed: int,
    start: int = 0,
    process: tuple[int, int] = (0, 1),
) -> Iterator[dict[str, np.ndarray]]:
    """Returns an endless iterator over batches, beginning with number `start`.

    Batch k holds the same examples whatever the threads, workers and `start`; with
    several processes it is dealt out among them.

    Args:
      data: see the head of this file.
      batch_size: examples in a batch, over all processes.
      seed: of order, crops, masks and queries; at least 0.
      start: number of the first batch, e.g. the steps already trained.
      process: (index, count) of this process.

    Returns:
      Iterator over what `MakeExample` makes, with a leading axis of
      batch_size / count.

    Raises:
      InputError: if a value cannot be used or a folder is missing or empty. The
        iterator raises it for an unreadable photo or mask.
    """
    import grain

    from dear_jax.data.examples import MakeExample

    index, count = process
    _check(data, batch_size, seed, start, process)
    photos = open_photos(_parts(data), data.skip_unreadable)
    make = MakeExample(
        open_masks(data.masks),
        data.side,
        data.scale,
        data.queries,
        _clean(data),
        _augment(data),
    )
    examples = (
        grain.MapDataset.source(photos).seed(seed).shuffle().repeat().random_map(make)
    )
    # The slice follows random_map: an example's random numbers come from its place
    # in the whole order, so they are the same for any number of processes.
    batches = (
        examples.slice(slice(index, None, count))
        .batch(batch_size // count, drop_remainder=True)
        .slice(slice(start, None))
    )
    ahead = grain.ReadOptions(
        num_threads=data.threads, prefetch_buffer_size=_BATCHES_AHEAD
    )
    iterable = batches.to_iter_dataset(ahead)
    if data.workers:
        iterable = _in_processes(iterable, data.workers)
    return iter(iterable)


def fingerprint(data: ml_collections.ConfigDict, seed: int, batch_size: int) -> str:
    """Returns 16 hexadecimal digits that change when the batches would.

    They depend on the names and sizes of the photo and mask files, not on where
    they lie, be it in folders or in prepared sets of unchanged files, and not on
    threads or workers.

    Raises:
      InputError: as `training_batches`.
    """
    _check(data, batch_size, seed, 0, (0, 1))
    facts = {
        "photos": open_photos(_parts(data), data.skip_unreadable).facts(),
        "masks": open_masks(data.masks).facts(),
        "side": data.side,
        "scale": [float(s) for s in data.scale],
        "queries": data.queries,
        "clean": float(_clean(data)),
        "seed": seed,
        "batch_size": batch_size,
    }
    # Left out at its default, so that runs older than this setting go on.
    if _augment(data) != "flip":
        facts["augment"] = _augment(data)
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _parts(data: ml_collections.ConfigDict) -> str | tuple[str, ...]:
    return data.photos if isinstance(data.photos, str) else tuple(data.photos)


def _clean(data: ml_collections.ConfigDict) -> float:
    return data.get("clean", 0.0)


def _augment(data: ml_collections.ConfigDict) -> str:
    return data.get("augment", "flip")


def _in_processes(iterable, workers: int):
    import grain
    from absl import flags

    # grain hands the parsed flags to its workers and fails where, as in a
    # notebook, nobody parsed them.
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    return iterable.mp_prefetch(grain.MultiprocessingOptions(num_workers=workers))


def _check(
    data: ml_collections.ConfigDict,
    batch_size: int,
    seed: int,
    start: int,
    process: tuple[int, int],
) -> None:
    """Raises InputError for a value that cannot be used."""
    index, count = process
    least = {"side": 1, "queries": 0, "threads": 0, "workers": 0}
    for key, bound in least.items():
        if data[key] < bound:
            raise InputError(f"config.data.{key}={data[key]}: must be at least {bound}")
    low, high = _pair(data.scale)
    if not 1 <= low <= high < float("inf"):
        raise InputError(
            f"config.data.scale={tuple(data.scale)}: needs 1 <= low <= high"
        )
    if not data.queries and low != high:
        raise InputError(
            f"config.data.scale={tuple(data.scale)}: config.data.queries=0 takes "
            "whole crops, all of one size; give the same scale twice"
        )
    if _augment(data) not in _AUGMENTATIONS:
        raise InputError(
            f"config.data.augment={_augment(data)!r}: choose from "
            f"{', '.join(map(repr, _AUGMENTATIONS))}"
        )
    if not 0 <= _clean(data) <= 1:
        raise InputError(f"config.data.clean={_clean(data)}: must lie in [0, 1]")
    if not 0 <= seed < 2**32:
        raise InputError(f"seed {seed}: must be a whole number from 0 to 2**32 - 1")
    if start < 0:
        raise InputError(f"start {start}: the first batch has number 0")
    if not 0 <= index < count:
        raise InputError(f"process {process}: needs 0 <= index < count")
    if batch_size < 1 or batch_size % count:
        raise InputError(
            f"batch size {batch_size}: must be a positive multiple of the {count} "
            "processes"
        )


def _pair(scale) -> tuple[float, float]:
    try:
        low, high = scale
    except (TypeError, ValueError):
        raise InputError(
            f"config.data.scale={scale}: give two numbers, (low, high)"
        ) from None
    return low, high
