"""Scores of one system, added up by photo, and differences of two systems."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from dear_jax.evaluation.scores import Score


class Results(NamedTuple):
    """What a system scored.

    Attributes:
      images: (photo, mask, bin) of each, sorted, each once.
      values: metric -> [n], in that order; only metrics that every image has.
    """

    images: list[tuple[str, str, str]]
    values: dict[str, np.ndarray]


class Column(NamedTuple):
    """Values of one metric by photo.

    Attributes:
      photos: N names, sorted.
      sums: [N], of each photo's values.
      numbers: [N], how many values those are.
    """

    photos: tuple[str, ...]
    sums: np.ndarray
    numbers: np.ndarray


def gather(scores: Sequence[Score], metrics: Iterable[str]) -> Results:
    """Takes metrics from scores, which may come in any order.

    Raises:
      ValueError: if an image was scored twice.
    """
    scores = sorted(scores, key=_image)
    images = [_image(score) for score in scores]
    if len(set(images)) < len(images):
        raise ValueError("an image is there twice")
    values = {metric: [getattr(s, metric) for s in scores] for metric in metrics}
    measured = {m: np.array(v, float) for m, v in values.items() if None not in v}
    return Results(images, measured if images else {})


def difference(results: Results, others: Results) -> Results:
    """results - others, on the images and by the metrics that both have.

    Two perfect results, infinite both, differ by 0.
    """
    shared = set(results.images) & set(others.images)
    ours, theirs = _only(results, shared), _only(others, shared)
    both = [metric for metric in others.values if metric in results.values]
    values = {m: _minus(ours.values[m], theirs.values[m]) for m in both}
    return Results(ours.images, values if shared else {})


def by_photo(results: Results) -> dict[str, Column]:
    """Adds up each photo's values: metric -> column."""
    names = [photo for photo, *_ in results.images]
    starts = [i for i, name in enumerate(names) if i == 0 or name != names[i - 1]]
    photos = tuple(names[i] for i in starts)
    numbers = np.diff([*starts, len(names)])
    with np.errstate(invalid="ignore"):  # infinite differences of both signs
        return {
            metric: Column(photos, np.add.reduceat(values, starts), numbers)
            for metric, values in results.values.items()
        }


def _image(score: Score) -> tuple[str, str, str]:
    return score.photo, score.mask, score.bin


def _only(results: Results, shared: set[tuple[str, str, str]]) -> Results:
    chosen = np.array([image in shared for image in results.images], bool)
    images = [image for image in results.images if image in shared]
    return Results(images, {m: v[chosen] for m, v in results.values.items()})


def _minus(values: np.ndarray, others: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return np.where(values == others, 0.0, values - others)
