"""Means of scores and how sure they are, for many systems and metrics at once.

What is estimated goes by a key of the caller's, such as a system's name; answers by
that key and the metric.
"""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from dear_jax.evaluation import statistics
from dear_jax.evaluation.per_photo import Column, Results, by_photo

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Estimate:
    """A mean and how sure it is.

    Attributes:
      mean: of all results; may be infinite.
      low, high: 95 % bootstrap interval over photos; NaN where there is one photo.
      results: how many results the mean is of.
      photos: of how many photos they are.
    """

    mean: float
    low: float
    high: float
    results: int
    photos: int


@dataclass(frozen=True)
class Difference:
    """How much two systems differ on the same images.

    Attributes:
      mean: of the differences.
      low, high: its 95 % bootstrap interval over photos; NaN where there is one.
      p: of the two-sided sign-flip test over photos; NaN where a difference is
        infinite.
    """

    mean: float
    low: float
    high: float
    p: float


def estimate(results: Mapping[Key, Results]) -> dict[tuple[Key, str], Estimate]:
    """Estimates the mean of every metric of all results."""
    columns, found = _columns(results), {}
    for keys, sums, numbers in _stacked(columns):
        values = (*_means(sums, numbers), numbers.sum(axis=0))
        for key, *ours in zip(keys, *map(np.ndarray.tolist, values), strict=True):
            found[key] = Estimate(*ours, photos=len(sums))
    return {key: found[key] for key in columns}


def compare(differences: Mapping[Key, Results]) -> dict[tuple[Key, str], Difference]:
    """Tests every metric of differences, see `per_photo.difference`."""
    columns, found = _columns(differences), {}
    for keys, sums, numbers in _stacked(columns):
        # A photo's differences flip together; their sum is its part of the mean.
        values = (*_means(sums, numbers), statistics.sign_flip(sums))
        for key, *ours in zip(keys, *map(np.ndarray.tolist, values), strict=True):
            found[key] = Difference(*ours)
    return {key: found[key] for key in columns}


def _columns(results: Mapping[Key, Results]) -> dict[tuple[Key, str], Column]:
    return {
        (key, metric): column
        for key, found in results.items()
        for metric, column in by_photo(found).items()
    }


def _stacked(
    columns: Mapping[tuple[Key, str], Column],
) -> Iterator[tuple[list[tuple[Key, str]], np.ndarray, np.ndarray]]:
    """Columns of the same photos together: keys, sums [N, K] and numbers [N, K]."""
    groups: dict[tuple[str, ...], list[tuple[Key, str]]] = {}
    for key, column in columns.items():
        groups.setdefault(column.photos, []).append(key)
    for keys in groups.values():
        sums, numbers = (
            np.stack([getattr(columns[key], what) for key in keys], axis=1)
            for what in ("sums", "numbers")
        )
        yield keys, sums, numbers


def _means(sums: np.ndarray, numbers: np.ndarray) -> tuple[np.ndarray, ...]:
    """Means of all results and the ends of their intervals, [K] each."""
    with np.errstate(invalid="ignore"):
        mean = sums.sum(axis=0) / numbers.sum(axis=0)
    return mean, *statistics.bootstrap(sums, numbers)
