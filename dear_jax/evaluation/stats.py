"""How sure means over photos are, and whether two systems differ.

The results of one photo, one per hole-ratio bin, depend on each other; photos do
not. So photos are what the bootstrap draws again and what the permutation test flips.
Many systems and metrics are estimated at once, by a key of the caller's; answers go by
that key and the metric. Seeds are fixed: the same numbers give the same answer.
"""

import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np
import scipy.stats
from jaxtyping import Float, Int, Num

from dear_jax.evaluation.scores import Score

RESAMPLES = 10_000
# More than 2^13: up to 13 photos all choices of signs are gone through.
FLIPS = 10_000
# Percentiles between which 95 % of the resampled means lie.
ENDS = 2.5, 97.5
# Numbers in a block of draws, so that many photos need no more memory than few.
BLOCK = 2**22
# Digits of means, relative to their size, that the order of sums does not reach.
_DIGITS = 12

Key = TypeVar("Key", bound=Hashable)
Answer = TypeVar("Answer")
Image = tuple[str, str, str]


class Results(NamedTuple):
    """What a system scored.

    Attributes:
      images: (photo, mask, bin) of each, sorted, each once.
      values: metric -> values in that order; only metrics that every image has.
    """

    images: list[Image]
    values: dict[str, Float[np.ndarray, " n"]]


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
    places = {image: i for i, image in enumerate(others.images)}
    shared = [image for image in results.images if image in places]
    ours = [i for i, image in enumerate(results.images) if image in places]
    theirs = [places[image] for image in shared]
    values = {}
    with np.errstate(invalid="ignore"):
        for metric in [m for m in others.values if m in results.values and shared]:
            one, other = results.values[metric][ours], others.values[metric][theirs]
            values[metric] = np.where(one == other, 0.0, one - other)
    return Results(shared, values)


def estimate(results: Mapping[Key, Results]) -> dict[tuple[Key, str], Estimate]:
    """Estimates the mean of every metric of all results."""

    def estimates(
        sums: Float[np.ndarray, "N K"], numbers: Int[np.ndarray, "N K"]
    ) -> list[Estimate]:
        columns = _transposed(_means(sums, numbers))
        results = numbers.sum(axis=0).tolist()
        return [
            Estimate(mean, low, high, count, len(sums))
            for (mean, low, high), count in zip(columns, results, strict=True)
        ]

    return _by_column(results, estimates)


def compare(differences: Mapping[Key, Results]) -> dict[tuple[Key, str], Difference]:
    """Tests every metric of differences, see `difference`."""

    def tested(
        sums: Float[np.ndarray, "N K"], numbers: Int[np.ndarray, "N K"]
    ) -> list[Difference]:
        # A photo's differences flip together; their sum is its part of the mean.
        columns = *_means(sums, numbers), sign_flip(sums)
        return [Difference(*column) for column in _transposed(columns)]

    return _by_column(differences, tested)


def bootstrap(
    sums: Float[np.ndarray, "N K"],
    numbers: Num[np.ndarray, "N K"],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """Percentile bootstrap: 95 % intervals of the means of all results.

    Photos are drawn with replacement, each with all its results; a mean is the sum
    of all drawn results / their number. All columns see the same draws.

    Args:
      sums: sum of the results of each photo; may be infinite or NaN.
      numbers: how many results that is, at least 1.
      resamples: how often to draw N photos.
      seed: of the draws.

    Returns:
      Lower and upper ends. NaN of one photo alone, which does not tell how photos
      differ, and of columns with a NaN; an end may be infinite.
    """
    photos, columns = sums.shape
    if photos < 2:
        return np.full(columns, np.nan), np.full(columns, np.nan)
    with np.errstate(invalid="ignore"):
        total = sums.sum(axis=0)  # infinite, or NaN, where the mean is
    infinite = np.isinf(sums).astype(float)
    finite = np.where(np.isfinite(sums), sums, 0.0)
    every = np.concatenate([finite, np.asarray(numbers, float), infinite], axis=1)

    def means(drawn: Int[np.ndarray, "B N"], axis: int) -> Float[np.ndarray, "K B"]:
        """Means of the photos drawn, by their indices."""
        rows = len(drawn)
        # How often each photo was drawn: that times its sums is quick.
        places = drawn + photos * np.arange(rows)[:, None]
        counts = np.bincount(places.ravel(), minlength=rows * photos)
        parts = np.split((counts.reshape(rows, photos) @ every).T, 3)
        return np.where(parts[2] > 0, total[:, None], parts[0] / parts[1])

    with warnings.catch_warnings(), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore")  # of its own ends, where means are infinite
        found = scipy.stats.bootstrap(
            (np.arange(photos),),
            means,
            n_resamples=resamples,
            batch=max(1, BLOCK // photos),
            vectorized=True,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).bootstrap_distribution
    # Not between two of the means: those may be infinite.
    low, high = (
        np.percentile(found, end, axis=-1, method=method)
        for end, method in zip(ENDS, ("higher", "lower"), strict=True)
    )
    undefined = np.isnan(total)
    return np.where(undefined, np.nan, low), np.where(undefined, np.nan, high)


def sign_flip(
    differences: Float[np.ndarray, "N K"], flips: int = FLIPS, seed: int = 0
) -> Float[np.ndarray, " K"]:
    """Two-sided paired permutation test: do the differences average to nought?

    If it made no difference which of two systems restored a photo, the sign of the
    photo's difference would be chance. p is the part of all choices of signs whose
    mean is at least as far from 0; with more than 13 photos, of random choices and
    the one observed: (1 + count) / (1 + flips).

    Args:
      differences: one a photo.
      flips: how many random choices of signs.
      seed: of those.

    Returns:
      p; 1 where all differences are 0, NaN where one is not finite.
    """
    photos = len(differences)
    finite = np.isfinite(differences).all(axis=0)
    if photos < 2:
        return np.where(finite, 1.0, np.nan)
    usable = np.where(finite, differences, 0.0)
    size = np.abs(usable).sum(axis=0)
    usable = usable / np.where(size > 0, size, 1.0)

    def distance(
        signs: Float[np.ndarray, "... N"], axis: int
    ) -> Float[np.ndarray, "... K"]:
        """How far means are from 0."""
        return np.round(np.abs(signs @ usable), _DIGITS)

    p = scipy.stats.permutation_test(
        (np.ones(photos),),
        distance,
        permutation_type="samples",
        vectorized=True,
        n_resamples=flips,
        batch=max(1, BLOCK // photos),
        alternative="greater",
        rng=np.random.default_rng(seed),
    ).pvalue
    return np.where(finite, p, np.nan)


def _by_column(
    results: Mapping[Key, Results],
    answer: Callable[[Float[np.ndarray, "N K"], Int[np.ndarray, "N K"]], list[Answer]],
) -> dict[tuple[Key, str], Answer]:
    """(key, metric) -> answer; columns of the same photos are answered together.

    `answer` is given sums and numbers of results of N photos.
    """
    groups: dict[tuple, dict[tuple[Key, str], tuple]] = {}
    for key, found in results.items():
        names = [photo for photo, *_ in found.images]
        starts = [i for i, name in enumerate(names) if i == 0 or name != names[i - 1]]
        photos, numbers = (
            tuple(names[i] for i in starts),
            np.diff([*starts, len(names)]),
        )
        with np.errstate(invalid="ignore"):  # infinite differences of both signs
            for metric, values in found.values.items():
                column = np.add.reduceat(values, starts), numbers
                groups.setdefault(photos, {})[key, metric] = column
    answers = {}
    for columns in groups.values():
        sums, numbers = (
            np.stack(parts, axis=1) for parts in zip(*columns.values(), strict=True)
        )
        answers.update(zip(columns, answer(sums, numbers), strict=True))
    order = [(key, metric) for key, found in results.items() for metric in found.values]
    return {key: answers[key] for key in order}


def _means(
    sums: Float[np.ndarray, "N K"], numbers: Int[np.ndarray, "N K"]
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """Means of all results and the ends of their intervals."""
    with np.errstate(invalid="ignore"):
        mean = sums.sum(axis=0) / numbers.sum(axis=0)
    return mean, *bootstrap(sums, numbers)


def _transposed(
    columns: Sequence[Float[np.ndarray, " K"]],
) -> Iterable[tuple[float, ...]]:
    return zip(*(column.tolist() for column in columns), strict=True)


def _image(score: Score) -> Image:
    return score.photo, score.mask, score.bin
