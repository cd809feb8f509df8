"""Regular grids of queries, one axis at a time: what a picture of any scale asks for.

The pixels of a target picture stand in rows and columns, so which pixels of the photo
answer them, how far those are and how much each counts, is a matter of two short lists.
They are made on the host in float64; `dear_jax.models.dear.coordinates` has the same
rule for queries anywhere.
"""

import functools
from typing import Any, NamedTuple

import jax
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
    given = positions, (0, size - 1), origin, length, residual
    index, relative, weight, base = axis_between(*given)
    return Axis(
        index,
        relative.astype(np.float32),
        weight.astype(np.float32),
        None if base is None else base.astype(np.float32),
    )


def axis_between(
    positions: Float[Array, " n"],
    edges: tuple[Any, Any],
    origin: int,
    length: int,
    residual: str,
    xp: Any = np,
) -> Axis:
    """`grid_axis`, in the precision of the positions, by NumPy or in JAX's programs.

    Args:
      positions: see `grid_axis`.
      edges: first and last pixel of the photo.
      origin, length: of the window.
      residual: see `grid_axis`.
      xp: `numpy`, or `jax.numpy`, where positions, edges and sizes may be open.
    """
    low, high = edges
    first = xp.floor(positions)
    fraction = positions - first
    index = xp.clip(xp.stack([first, first + 1]), low, high)
    weight, base = xp.stack([1 - fraction, fraction]), None
    if residual == "bilinear":
        base = _matrix(index - origin, weight, length, xp)
    elif residual == "fill":
        taps = xp.stack([first + i for i in range(-1, 3)])
        within = (taps >= low) & (taps <= high)
        cubic = keys_cubic(positions[None] - taps, xp) * within.astype(positions.dtype)
        cubic = cubic / cubic.sum(axis=0)[None]
        base = _matrix(xp.clip(taps, low, high) - origin, cubic, length, xp)
    relative = 2 * (positions[None] - index)
    return Axis((index - origin).astype(np.int32), relative, weight, base)


def _matrix(
    places: Float[Array, "t n"], weights: Float[Array, "t n"], length: int, xp: Any
) -> Float[Array, "n {length}"]:
    """The matrix that sums pixels at those places of a row, so weighted."""
    pixels = jax.lax.iota(places.dtype, length) if xp is not np else np.arange(length)
    parts = (
        (at[:, None] == pixels[None]).astype(by.dtype) * by[:, None]
        for at, by in zip(places, weights, strict=True)
    )
    return functools.reduce(xp.add, parts)


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
