"""How sure a mean over photos is, and whether two systems differ.

The results of one photo, one per hole-ratio bin, depend on each other; photos do
not. So photos are what is drawn again and what flips. Arrays are float64 [N, K]: N
photos and K columns, such as metrics of several systems; all columns see the same
draws. Seeds are fixed: the same numbers give the same answer.
"""

from collections.abc import Iterator

import numpy as np

RESAMPLES = 10_000
FLIPS = 10_000
# What an interval leaves out at either end.
TAIL = 0.025
# Up to this many photos all 2^N ways to flip are gone through.
EXACT = 13
# Numbers in a block of draws, so that many photos need no more memory than few.
BLOCK = 2**22
# Sums of the same numbers in another order differ by this part of their size.
_ROUNDING = 1e-12


def bootstrap(
    sums: np.ndarray, numbers: np.ndarray, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Percentile bootstrap: 95 % intervals of the means of all results.

    Photos are drawn with replacement, each with all its results; a mean is the sum
    of all drawn results / their number.

    Args:
      sums: [N, K], sum of the results of each photo; may be infinite or NaN.
      numbers: [N, K], how many results that is, at least 1.
      resamples: how often to draw N photos.
      seed: of the draws.

    Returns:
      Lower and upper ends, [K] each. NaN of one photo alone, which does not tell how
      photos differ, and of columns with a NaN; an end may be infinite.
    """
    photos, columns = sums.shape
    if photos < 2:
        return np.full(columns, np.nan), np.full(columns, np.nan)
    with np.errstate(invalid="ignore"):
        total = sums.sum(axis=0)  # infinite, or NaN, where the mean is
    # 0 draws of an infinite result shall count 0, not NaN, so those go apart.
    parts = [np.where(np.isfinite(sums), sums, 0.0), np.asarray(numbers, float)]
    parts += [np.isinf(sums).astype(float)] * bool(np.isinf(sums).any())
    stacked = np.concatenate(parts, axis=1)
    means = []
    for counts in _counts(photos, resamples, np.random.default_rng(seed)):
        drawn, number, *infinite = np.split(counts @ stacked, len(parts), axis=1)
        block = drawn / number
        means += [np.where(infinite[0] > 0, total, block) if infinite else block]
    low, high = _ends(np.concatenate(means))
    undefined = np.isnan(total)
    return np.where(undefined, np.nan, low), np.where(undefined, np.nan, high)


def sign_flip(differences: np.ndarray, flips: int = FLIPS, seed: int = 0) -> np.ndarray:
    """Two-sided paired permutation test: do the differences average to nought?

    If it made no difference which of two systems restored a photo, the sign of the
    photo's difference would be chance. p is the part of all choices of signs whose
    mean is at least as far from 0; with more than 13 photos, of random choices and
    the one observed: (1 + count) / (1 + flips).

    Args:
      differences: [N, K], one a photo.
      flips: how many random choices of signs.
      seed: of those.

    Returns:
      p, [K]; 1 where all differences are 0, NaN where one is not finite.
    """
    photos = len(differences)
    finite = np.isfinite(differences).all(axis=0)
    usable = np.where(finite, differences, 0.0)
    total = usable.sum(axis=0)
    least = np.abs(total) - _ROUNDING * np.abs(usable).sum(axis=0)
    exact = photos <= EXACT
    blocks = _all_flips(photos) if exact else _random_flips(photos, flips, seed)
    count = np.zeros(differences.shape[1])
    for flipped in blocks:
        # Flipping a sign takes its difference away twice.
        count += np.sum(np.abs(total - 2 * (flipped @ usable)) >= least, axis=0)
    p = count / 2**photos if exact else (1 + count) / (1 + flips)
    return np.where(finite, p, np.nan)


def _counts(
    photos: int, resamples: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """How often each photo is drawn, [block, N], until there are `resamples` rows."""
    for rows in _blocks(resamples, photos):
        drawn = rng.integers(photos, size=(rows, photos))
        drawn += photos * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * photos)
        yield counts.reshape(rows, photos).astype(float)


def _all_flips(photos: int) -> Iterator[np.ndarray]:
    """All 0/1 vectors of length N, [2^N, N]."""
    yield (np.arange(2**photos)[:, None] >> np.arange(photos) & 1).astype(float)


def _random_flips(photos: int, flips: int, seed: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    for rows in _blocks(flips, photos):
        yield rng.integers(2, size=(rows, photos), dtype=np.uint8).astype(float)


def _blocks(rows: int, width: int) -> Iterator[int]:
    """Numbers of rows that add up to `rows`, each block about BLOCK numbers."""
    step = max(1, BLOCK // width)
    for start in range(0, rows, step):
        yield min(step, rows - start)


def _ends(means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the middle 95 %: equally many means [R, K] lie beyond either."""
    beyond = int(TAIL * len(means))
    # Order statistics, not between two of them: those may be infinite.
    ordered = np.sort(means, axis=0)
    return ordered[beyond], ordered[-1 - beyond]
