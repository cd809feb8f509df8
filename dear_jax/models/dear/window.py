"""Parts of maps, as slices whatever is known of the sizes.

NumPy's way of indexing becomes a gather where sizes are left open, which costs more
and which other formats than StableHLO do not all have.
"""

import jax
import jax.numpy as jnp


def window(
    x: jax.Array, start: tuple[int, int], size: tuple, step: tuple[int, int] = (1, 1)
) -> jax.Array:
    """The window of x [B, H, W, C] that begins at pixel `start`, [B, h, w, C].

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


def framed(x: jax.Array, before: tuple[int, int], after: tuple[int, int]) -> jax.Array:
    """x [B, H, W, C] with rows and columns of zeros before and after it."""
    return jnp.pad(x, ((0, 0), *zip(before, after, strict=True), (0, 0)))
