"""Regular grids of queries, one axis at a time: what a picture of any scale asks for.

The pixels of a target picture stand in rows and columns, so which pixels of the photo
answer them, how far those are and how much each counts, is a matter of two short lists.
They are made on the host in float64; `dear_jax.models.dear.coordinates` has the same
rule for queries anywhere.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int

from dear_jax.images.resize import keys_cubic
from dear_jax.typing import Array


class Axis(NamedTuple):
    """The rows, or the columns, of a part of a target picture, n of them.

    They look into a window of m pixels of the photo.

    Attributes:
      index: the two pixels of the window that answer.
      relative: twice the distance from them, in pixels.
      weight: how much each counts; the two add up to 1.
      base: what the base of the colours is made of, or None.
    """

    index: Int[Array, "2 n"]
    relative: Float[Array, "2 n"]
    weight: Float[Array, "2 n"]
    base: Float[Array, "n m"] | None


def grid_axis(
    positions: Float[np.ndarray, " n"],
    size: int,
    window: tuple[int, int] | None = None,
    residual: str = "none",
) -> Axis:
    """The axis for target pixels at given places.

    Args:
      positions: in pixels of the photo: the centre of pixel i is at i.
      size: pixels of the photo along this axis.
      window: (first pixel, number of pixels) of the window, None: the photo. It must
        hold the pixels that `reach` names.
      residual: base of the colours: "none", "bilinear" or "fill" (bicubic), see
        `dear_jax.models.dear.residual`.
    """
    origin, length = window or (0, size)
    first = np.floor(positions)
    fraction = positions - first
    index = np.clip(np.stack([first, first + 1]), 0, size - 1)
    relative = 2 * (positions - index)
    base = None
    if residual != "none":
        if residual == "bilinear":
            taps, weights = index, np.stack([1 - fraction, fraction])
        else:
            taps = first + np.arange(-1, 3)[:, None]
            weights = keys_cubic(positions - taps)
            weights[(taps < 0) | (taps >= size)] = 0
            weights /= weights.sum(axis=0)
            taps = np.clip(taps, 0, size - 1)
        base = np.zeros((len(positions), length))
        places = (taps - origin).astype(int)
        np.add.at(base, (np.arange(len(positions)), places), weights)
        base = base.astype(np.float32)
    return Axis(
        (index - origin).astype(np.int32),
        relative.astype(np.float32),
        np.stack([1 - fraction, fraction]).astype(np.float32),
        base,
    )


def reach(positions: Float[np.ndarray, " n"], size: int) -> tuple[int, int]:
    """First and last pixel of the photo that positions read, for any base."""
    low, high = np.floor(positions.min()) - 1, np.floor(positions.max()) + 2
    return int(np.clip(low, 0, size - 1)), int(np.clip(high, 0, size - 1))


def grid_positions(
    start: float, stop: float, count: int
) -> Float64[np.ndarray, " {count}"]:
    """Places of pixels that divide the photo from edge to edge.

    `start` and `stop` count pixels from the photo's edge; 0 and the photo's size are
    the whole.
    """
    return start + (stop - start) * (np.arange(count) + 0.5) / count - 0.5
