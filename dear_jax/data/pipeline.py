"""Batches of training examples as a pure function of (configuration, seed, number).

`data` is the `data` part of a configuration:
  photos: tuple of parts, as `open_photos` takes them
  masks: as `open_masks` takes it: a folder, say, or "generated" or "lama"
  skip_unreadable: leave unreadable photos out instead of stopping at them
  side: low-resolution side in pixels, or several, of which each batch has one
  side_weights: optional, how often each of them comes, alike if absent or empty; see
    `dear_jax.data.sides`
  scale: (low, high) of the random target side / low-resolution side
  queries: high-resolution pixels asked for in each example; 0 for the whole crop,
    which needs low = high
  enlarge: optional, whether photos smaller than a crop are enlarged to it (also if
    absent); otherwise the scale is drawn only as large as the photo allows
  clean: optional, share of examples with an empty mask, 0 if absent
  degrade: optional, see `dear_jax.data.degradations.Degradations`
  damage: optional, see `dear_jax.data.damage.Damages`
  augment: optional, "flip" (left to right, also if absent) or "dihedral" (all eight
    flips and turns)
  render: optional, where examples are made: on the "host" (also if absent), or by
    devices whose memory holds all photos, "resident"; see `dear_jax.data.resident`
  threads: reading threads, 0 to read in the caller's thread; each makes a whole batch
  workers: reading processes, 0 for none; each has so many threads
"""

import dataclasses
import hashlib
import json
import multiprocessing
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

from dear_jax.data import settings
from dear_jax.data.lasting import Lasting
from dear_jax.data.masks import open_masks
from dear_jax.data.sides import SeveralSides, batch_sizes
from dear_jax.data.sources import Photos, open_photos
from dear_jax.errors import InputError
from dear_jax.typing import Config

# Finished batches that may wait for the step, besides one in the hands of each thread.
_WAITING = 2


def training_batches(
    data: Config,
    batch_size: int,
    seed: int,
    start: int = 0,
    process: tuple[int, int] = (0, 1),
) -> Iterator[dict[str, np.ndarray]]:
    """Returns an endless iterator over batches, beginning with number `start`.

    Batch k holds the same examples whatever the threads, workers, `start` and
    processes: put side by side, the processes' parts of it are the whole.

    Args:
      data: see the head of this file.
      batch_size: examples in a batch of the first side, over all processes.
      seed: of order, crops, masks and queries; at least 0.
      start: number of the first batch, e.g. the steps already trained.
      process: (index, count) of this process.

    Returns:
      Iterator over what `MakeExample` or `NumberExample` makes, as `data.render` says,
      with a leading axis of batch_size / count or, of a batch of another side, see
      `dear_jax.data.sides`, of its size / count.

    Raises:
      InputError: if a value cannot be used or a folder is missing or empty. The
        iterator raises it for an unreadable photo or mask, and when the reading
        processes keep dying.
    """
    _check(data, batch_size, seed, start, process)
    photos = open_photos(settings.parts(data), data.skip_unreadable)

    def batches_from(number: int) -> Iterator[dict[str, np.ndarray]]:
        return iter(_dataset(data, photos, batch_size, seed, number, process))

    return Lasting(batches_from, start) if data.workers else batches_from(start)


def _examples(
    data: Config, photos: Photos, batch_size: int
) -> tuple[Any, dict[int, Any]]:
    """What examples are made of, and for each side the transform that makes them."""
    from dear_jax.data.examples import MakeExample, NumberExample

    # Masks are opened, and remembered, once for all sides.
    chooser = settings.chooser(data)
    choosers = {
        side: dataclasses.replace(
            chooser, side=side, queries=chooser.queries * (batch_size // size)
        )
        for side, size in batch_sizes(data, batch_size).items()
    }
    if settings.render(data) == "host":
        conditions = settings.degradations(data), settings.damages(data)
        return photos, {s: MakeExample(c, *conditions) for s, c in choosers.items()}
    from dear_jax.data.resident import size_of_all

    size = size_of_all(photos, choosers[max(choosers)].sides[-1])
    numbers = {side: NumberExample(c, size) for side, c in choosers.items()}
    return range(len(photos)), numbers


def _dataset(
    data: Config,
    photos: Photos,
    batch_size: int,
    seed: int,
    start: int,
    process: tuple[int, int],
) -> Any:
    """The batches from number `start` on as a grain dataset."""
    import grain

    index, count = process
    source, examples = _examples(data, photos, batch_size)
    order = grain.MapDataset.source(source).seed(seed).shuffle().repeat()
    # Random numbers come from an example's place in the whole order.
    made = {side: order.random_map(example) for side, example in examples.items()}
    if len(made) > 1:
        several: Any = SeveralSides(made, data, batch_size, seed, process)
        batches = grain.MapDataset.source(several).slice(slice(start, None))
    else:
        # Of the parts of all batches in their order, a process has every count-th.
        parts = made.popitem()[1].batch(batch_size // count, drop_remainder=True)
        batches = parts.slice(slice(start * count + index, None, count))
    ahead = grain.ReadOptions(
        num_threads=data.threads, prefetch_buffer_size=data.threads + _WAITING
    )
    iterable = batches.to_iter_dataset(ahead)
    return _in_processes(iterable, data.workers) if data.workers else iterable


def _in_processes(iterable: Any, workers: int) -> Any:
    import grain
    from absl import flags

    # grain hands the parsed flags to its workers and fails where, as in a
    # notebook, nobody parsed them.
    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()
    options = grain.MultiprocessingOptions(num_workers=workers)
    return iterable.mp_prefetch(options, worker_init_fn=_end_with_run)


def _end_with_run(*_) -> None:
    """In a reading process: ends it when the run is gone, killed, say."""

    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def fingerprint(data: Config, seed: int, batch_size: int) -> str:
    """Returns 16 hexadecimal digits that change when the batches would.

    They depend on the names and sizes of the photo and mask files, not on where
    they lie, be it in folders or in prepared sets of unchanged files, and not on
    render, threads or workers.

    Raises:
      InputError: as `training_batches`.
    """
    _check(data, batch_size, seed, 0, (0, 1))
    facts = {
        "photos": open_photos(settings.parts(data), data.skip_unreadable).facts(),
        "masks": open_masks(data.masks).facts(),
        "side": _one_or_all(settings.sides(data)),
        "scale": [float(s) for s in data.scale],
        "queries": data.queries,
        "clean": float(settings.clean(data)),
        "seed": seed,
        "batch_size": batch_size,
    }
    # Left out at their defaults, so that runs older than these settings go on.
    if settings.augment(data) != "flip":
        facts["augment"] = settings.augment(data)
    if not settings.enlarge(data):
        facts["enlarge"] = False
    if len(settings.sides(data)) > 1:
        facts["side_weights"] = settings.side_weights(data)
    conditions = {
        "degrade": settings.degradations(data),
        "damage": settings.damages(data),
    }
    for name, condition in conditions.items():
        if condition:
            facts[name] = dataclasses.asdict(condition)
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:16]


def _one_or_all(sides: tuple[int, ...]) -> int | tuple[int, ...]:
    return sides[0] if len(sides) == 1 else sides


def _check(
    data: Config,
    batch_size: int,
    seed: int,
    start: int,
    process: tuple[int, int],
) -> None:
    """Raises InputError for a value that cannot be used."""
    settings.check(data)
    index, count = process
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
    for side, size in batch_sizes(data, batch_size).items():
        if size % count:
            raise InputError(
                f"config.data.side: photos in a batch of side {side}: {size}, no "
                f"multiple of the {count} processes; set a larger "
                "config.train.batch_size"
            )
