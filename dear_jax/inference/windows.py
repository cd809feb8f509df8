"""Windows around the holes of a photo, which give there what the whole photo gives.

Where known pixels stay at the photo's own size only the holes are computed. A network
without attention sees no farther than its halo, and the fill of `residual.fill_holes`
no farther than the cells of its pyramid in which something is known: those of the first
power of two above the hole's extent, and one more around. So a window with that margin,
which begins at a multiple of that power, is filled as the whole photo is.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Int

# Windows that overlap become one; with more of them all is computed at once.
_MOST = 64
# Part of the photo's pixels that windows may have in all.
_SHARE = 0.5
_CELL = 16  # Pixels: sides of the grid that windows are joined on.

Window = tuple[slice, slice]


def hole_windows(
    mask: Bool[np.ndarray, "H W"], halo: int, stride: int
) -> list[Window] | None:
    """Windows of a photo that its holes need; None if that is most of it.

    Args:
      mask: True = missing; something is.
      halo: pixels around one that the network depends on.
      stride: windows begin at multiples of it; a power of two.
    """
    import cv2

    _, _, found, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8))
    left, top, width, height = found[1:, :4].astype(np.int64).T  # 0 is what is known.
    units = 2 ** (np.floor(np.log2(np.maximum(width, height))).astype(np.int64) + 1)
    units = np.maximum(units, max(stride, _CELL))
    margins = np.maximum(units, halo)
    low = np.stack([top, left], -1) - margins[:, None]
    high = np.stack([top + height, left + width], -1) + margins[:, None]
    while True:
        low, high = _snapped(low, high, units, mask.shape)
        labels = _overlapping(low, high, mask.shape)
        count = labels.max() + 1
        if count == len(low):
            break
        low, high, units = (
            _of_each(labels, values, worst)
            for values, worst in (
                (low, np.minimum), (high, np.maximum), (units, np.maximum),
            )
        )  # fmt: skip
    if count > _MOST or (high - low).prod(-1).sum() > _SHARE * mask.size:
        return None
    return [
        (slice(a, c), slice(b, d))
        for (a, b), (c, d) in zip(low.tolist(), high.tolist(), strict=True)
    ]


def _snapped(
    low: Int[np.ndarray, "N 2"],
    high: Int[np.ndarray, "N 2"],
    units: Int[np.ndarray, " N"],
    size: tuple[int, int],
) -> tuple[Int[np.ndarray, "N 2"], Int[np.ndarray, "N 2"]]:
    """Grown to multiples of their units, and cut at the photo's border."""
    units = units[:, None]
    low, high = low // units * units, -(-high // units) * units
    return np.maximum(low, 0), np.minimum(high, size)


def _overlapping(
    low: Int[np.ndarray, "N 2"], high: Int[np.ndarray, "N 2"], size: tuple[int, int]
) -> Int[np.ndarray, " N"]:
    """Numbers from 0, the same of windows that overlap or touch."""
    import cv2

    cells = np.zeros([-(-side // _CELL) for side in size], bool)
    for (top, left), (bottom, right) in zip(
        low // _CELL, -(-high // _CELL), strict=True
    ):
        cells[top:bottom, left:right] = True
    labels: Any
    _, labels = cv2.connectedComponents(cells.view(np.uint8), connectivity=8)
    first = low // _CELL
    return labels[first[:, 0], first[:, 1]].astype(np.int64) - 1


def _of_each(
    labels: Int[np.ndarray, " N"], values: Int[np.ndarray, "N ..."], worst: np.ufunc
) -> Int[np.ndarray, "M ..."]:
    """The least or the largest of the values of each number."""
    order = np.argsort(labels, kind="stable")
    starts = np.flatnonzero(np.diff(labels[order], prepend=-1))
    return worst.reduceat(values[order], starts, axis=0)
