"""How much of a photo's damage is found, and how much is found that is none.

A pixel that is found is right within two pixels of damage, and damage is found within
two pixels of what is; F1, precision and recall are of the pixels of all photos
together. Of thin damage, at least four times as long as wide, the length that is found
counts too, by its contrast where that is known.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float32, Float64, Int
from scipy import ndimage

from dear_jax.evaluation.protocol_damage import Pair
from dear_jax.images.masks import dilated

TOLERANCE = 2
# Ends of the ranges of contrast, and how often a line is as long as wide.
CONTRASTS = (0.0, 0.05, 0.1, 0.15, 0.3, 1.01)
_THIN = 4
_LEAST_LENGTH = 8
_LEAST = 1e-9


class Counts(NamedTuple):
    """Numbers of pixels of one photo.

    Attributes:
      pixels: all.
      found, right: marked, and of them those near damage.
      damaged, met: damaged, and of them those near what is marked.
      length, length_met: of centre lines of thin damage, in each range of contrast, and
        of them those near what is marked; the last is of unknown contrast.
      lines: thin pieces of damage in each range of contrast.
    """

    pixels: int
    found: int
    right: int
    damaged: int
    met: int
    length: Int[np.ndarray, " ranges"]
    length_met: Int[np.ndarray, " ranges"]
    lines: Int[np.ndarray, " ranges"]


def count(pair: Pair, found: Bool[np.ndarray, "H W"]) -> Counts:
    """Compares what was found in a photo with its damage."""
    near_damage, near_found = (dilated(mask, TOLERANCE) for mask in (pair.mask, found))
    ranges = len(CONTRASTS)
    length, met, lines = (np.zeros(ranges, int) for _ in range(3))
    for centre, contrast in thin_pieces(pair.mask, pair.contrast):
        at = ranges - 1
        if contrast is not None:
            at = int(np.searchsorted(CONTRASTS, contrast, "right")) - 1
        lines[at] += 1
        length[at] += len(centre)
        met[at] += near_found[tuple(centre.T)].sum()
    return Counts(
        found.size,
        int(found.sum()),
        int((found & near_damage).sum()),
        int(pair.mask.sum()),
        int((pair.mask & near_found).sum()),
        length,
        met,
        lines,
    )


def thin_pieces(
    mask: Bool[np.ndarray, "H W"], contrast: Float32[np.ndarray, "H W"] | None = None
) -> list[tuple[Int[np.ndarray, "N 2"], float | None]]:
    """The pieces of damage that are at least four times as long as wide.

    Returns:
      The places (y, x) of each one's centre line, and its contrast: the mean of the
      pixels that it changed; None if it is not known.
    """
    import cv2

    # The border of the photo is none of the damage.
    padded = np.pad(mask, 1).astype(np.uint8)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    depth = depth[1:-1, 1:-1]
    centre = mask & (depth >= ndimage.maximum_filter(depth, 3))
    labels: Any = ndimage.label(mask, np.ones((3, 3)))[0]  # type: ignore
    pieces = []
    windows: Any = ndimage.find_objects(labels)
    for number, window in enumerate(windows, 1):
        piece = labels[window] == number
        places = np.argwhere(piece & centre[window])
        length = len(places)
        if length < _LEAST_LENGTH or length**2 < _THIN * piece.sum():
            continue
        places += [side.start for side in window]
        pieces.append((places, _contrast(contrast, window, piece)))
    return pieces


def _contrast(
    contrast: Float32[np.ndarray, "H W"] | None, window, piece: Bool[np.ndarray, "h w"]
) -> float | None:
    """The mean of what changed in a piece of a window, where that is known."""
    if contrast is None:
        return None
    changed = contrast[window][piece & (contrast[window] > 0)]
    return float(changed.mean()) if changed.size else 0.0


class Summary(NamedTuple):
    """What all photos together say of a detector; NaN where there is nothing.

    Attributes:
      f1, precision, recall: of pixels.
      spread: half of the 95 % interval of `f1`.
      length: share of the length of thin damage that is found.
      wrong: share of all pixels that are found and not damaged.
      by_contrast: F1 of thin damage in each range of contrast.
      lines: how many pieces each range has.
    """

    f1: float
    spread: float
    precision: float
    recall: float
    length: float
    wrong: float
    by_contrast: list[float]
    lines: list[int]


def summarise(counts: Sequence[Counts]) -> Summary:
    """Sums up the counts of photos."""
    sums = [np.array(column).astype(float) for column in zip(*counts, strict=True)]
    pixels, found, right, damaged, met, length, length_met, lines = sums
    precision, recall = _share(right, found), _share(met, damaged)
    by_contrast = [
        _f1(precision, _share(a, b))
        for a, b in zip(length_met.T, length.T, strict=True)
    ]
    return Summary(
        _f1(precision, recall),
        _spread(np.stack([right, found, met, damaged])),
        precision,
        recall,
        _share(length_met, length),
        _share(found - right, pixels),
        by_contrast,
        lines.sum(0).astype(int).tolist(),
    )


def _share(part: Float64[np.ndarray, "..."], whole: Float64[np.ndarray, "..."]) -> Any:
    total = whole.sum()
    return float(part.sum() / total) if total else float("nan")


def _f1(precision: Any, recall: Any) -> Any:
    """Of numbers or arrays; 0 where nothing is found, and precision means nothing."""
    precision = np.nan_to_num(precision)
    return 2 * precision * recall / np.maximum(precision + recall, _LEAST)


def _spread(columns: Float64[np.ndarray, "4 photos"]) -> float:
    """Half of the 95 % interval of F1 over photos."""
    if columns.shape[1] < 2 or not (columns[1].any() and columns[3].any()):
        return float("nan")

    def f1(*drawn, axis):
        right, found, met, damaged = (column.sum(axis) for column in drawn)
        return _f1(right / np.maximum(found, 1), met / np.maximum(damaged, 1))

    interval = scipy.stats.bootstrap(
        tuple(columns), f1, paired=True, n_resamples=2000, method="percentile", rng=0
    ).confidence_interval
    return float(interval.high - interval.low) / 2
