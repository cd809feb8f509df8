"""Parts of maps, as slices whatever is known of the sizes.

NumPy's way of indexing becomes a gather where sizes are left open, which costs more
and which other formats than StableHLO do not all have.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Shaped

from dear_jax.typing import Array


def window(
    x: Shaped[Array, "B H W C"],
    start: tuple,
    size: tuple,
    step: tuple[int, int] = (1, 1),
) -> Shaped[Array, "B h w C"]:
    """The window of a map that begins at pixel `start`.

    Args:
      x: a map.
      start: first row and column.
      size: (h, w); with a step, of what is stepped through.
      step: rows from one that is taken to the next, and columns.
    """
    stops = [low + count for low, count in zip(start, size, strict=True)]
    return jax.lax.slice(
        x, (0, *start, 0), (x.shape[0], *stops, x.shape[3]), (1, *step, 1)
    )


def framed(
    x: Shaped[Array, "B H W C"], before: tuple[int, int], after: tuple[int, int]
) -> Shaped[Array, "B h w C"]:
    """x with rows and columns of zeros before and after it."""
    return jnp.pad(x, ((0, 0), *zip(before, after, strict=True), (0, 0)))
