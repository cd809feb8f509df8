"""Batches of several low-resolution sides: which side a batch has, and how many photos.

Larger sides have fewer photos, so that a batch has about as many pixels: the largest
divisor of the batch size with which it has no more than a batch of the first side. The
number of queries in a batch is always the same: of fewer photos, each is asked for
more.
"""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

from dear_jax.data import settings
from dear_jax.typing import Config

Batch = dict[str, np.ndarray]


def batch_sizes(data: Config, batch_size: int) -> dict[int, int]:
    """Photos in a batch of each side, over all processes.

    Args:
      data: see `dear_jax.data.pipeline`.
      batch_size: photos in a batch of the first side; the most that any has.
    """
    first, *_ = sides = settings.sides(data)
    divisors = [n for n in range(1, batch_size + 1) if batch_size % n == 0]
    return {
        side: max(n for n in divisors if n == 1 or n * side**2 <= batch_size * first**2)
        for side in sides
    }


def mean_batch_size(data: Config, batch_size: int) -> float:
    """Photos in a batch on average; arguments as above."""
    sizes, weights = batch_sizes(data, batch_size), settings.side_weights(data)
    return sum(n * w for n, w in zip(sizes.values(), weights, strict=True))


def side_of_batch(data: Config, seed: int, number: int) -> int:
    """The side of batch `number`, drawn from nothing but that and the seed."""
    ends = np.cumsum(settings.side_weights(data))
    at = np.searchsorted(ends, np.random.default_rng((seed, number)).random(), "right")
    return settings.sides(data)[min(int(at), len(ends) - 1)]


class SeveralSides:
    """Batches by their number, each of one side; a source for grain.

    Batch k is made of the first photos of the k-th `batch_size` in the order. Those
    that larger sides leave out are others in each epoch.

    Args:
      examples: for each side all examples in their order, a dataset of grain's.
      data: see `dear_jax.data.pipeline`.
      batch_size: photos in a batch of the first side.
      seed: of the sides.
      process: (index, count) of this process, which has that part of each batch.
    """

    def __init__(
        self,
        examples: Mapping[int, Any],
        data: Config,
        batch_size: int,
        seed: int,
        process: tuple[int, int],
    ):
        self._examples, self._seed, self._process = examples, seed, process
        self._data, self._batch_size = data, batch_size
        self._sizes = batch_sizes(data, batch_size)

    def __len__(self) -> int:
        return sys.maxsize // self._batch_size

    def __getitem__(self, number: int) -> Batch:
        """This process's part of batch `number`."""
        side = side_of_batch(self._data, self._seed, number)
        index, count = self._process
        size = self._sizes[side] // count
        first = number * self._batch_size + index * size
        made = [self._examples[side][first + i] for i in range(size)]
        return {key: np.stack([one[key] for one in made]) for key in made[0]}
