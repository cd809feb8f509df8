"""Windowed attention: what is near exactly, what is far by its means.

An approximation of `dear_jax.models.dear.attention` whose work grows with the number of
pixels, not its square. A query attends to every key within `MARGIN` cells of its tile,
and to the rest of the photo through means of `FAR` x `FAR` cells, each counting as many
keys as it is the mean of. It is exact where the photo is no larger than a window, or
where far keys are alike.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from dear_jax.models.dear.blocks import NEVER, attend_in_blocks, padded_to_block

# In cells: the side of a tile of queries, what is near around it, the side of what is
# taken together far away. Margin and tile are multiples of the last.
TILE, MARGIN, FAR = 32, 48, 8


class Cells(NamedTuple):
    """Queries and keys of one photo.

    Attributes:
      queries, keys: [h, w, C]; sides are multiples of `TILE`.
      usable: [h, w] bool, which keys count.
      asking: [h, w] bool, which queries are asked for.
      means: [h / FAR, w / FAR, C] of the usable keys.
      counts: [h / FAR, w / FAR] how many those are.
    """

    queries: jax.Array
    keys: jax.Array
    usable: jax.Array
    asking: jax.Array
    means: jax.Array
    counts: jax.Array


def with_means(
    queries: jax.Array, keys: jax.Array, usable: jax.Array, asking: jax.Array
) -> Cells:
    """Pads [h, w, C] twice and [h, w] twice to whole tiles, and takes the means."""
    pads = [(0, -n % TILE) for n in usable.shape]
    queries, keys = (jnp.pad(x, (*pads, (0, 0))) for x in (queries, keys))
    usable, asking = jnp.pad(usable, pads), jnp.pad(asking, pads)

    def summed(x: jax.Array) -> jax.Array:
        rows, columns = (n // FAR for n in x.shape[:2])
        x = x.reshape(rows, FAR, columns, FAR, -1)
        return x.astype(jnp.float32).sum(axis=(1, 3))

    counts = summed(usable[..., None])
    means = summed(jnp.where(usable[..., None], keys, 0)) / jnp.maximum(counts, 1)
    means = means.astype(keys.dtype)
    return Cells(queries, keys, usable, asking, means, counts[..., 0])


def attend_near(cells: Cells, tile: jax.Array) -> jax.Array:
    """Answers the queries of one tile.

    Args:
      cells: of the photo.
      tile: (2,) int32, its first row and column, multiples of `TILE`.

    Returns:
      [TILE, TILE, C].
    """
    height, width, channels = cells.keys.shape
    spans = [min(TILE + 2 * MARGIN, n) for n in (height, width)]
    starts = [
        jnp.clip(at - MARGIN, 0, n - span)
        for at, n, span in zip(tile, (height, width), spans, strict=True)
    ]
    near = jax.lax.dynamic_slice(cells.keys, (*starts, 0), (*spans, channels))
    usable = jax.lax.dynamic_slice(cells.usable, starts, spans)
    # Far is what lies outside the window, whose borders are borders of means.
    beyond = [
        (jnp.arange(n) * FAR < start) | (jnp.arange(n) * FAR >= start + span)
        for n, start, span in zip(cells.counts.shape, starts, spans, strict=True)
    ]
    far = (beyond[0][:, None] | beyond[1][None, :]) & (cells.counts > 0)
    keys = jnp.concatenate(
        [near.reshape(-1, channels), cells.means.reshape(-1, channels)]
    )
    bias = jnp.concatenate(
        [
            jnp.where(usable, 0.0, NEVER).reshape(-1),
            jnp.where(far, jnp.log(jnp.maximum(cells.counts, 1)), NEVER).reshape(-1),
        ]
    )
    extra = padded_to_block(len(keys)) - len(keys)
    queries = jax.lax.dynamic_slice(
        cells.queries, (tile[0], tile[1], 0), (TILE, TILE, channels)
    )
    found = attend_in_blocks(
        queries.reshape(-1, channels),
        jnp.pad(keys, ((0, extra), (0, 0))),
        jnp.pad(bias, (0, extra), constant_values=NEVER),
        jnp.int32(len(keys) + extra),
    )
    return found.reshape(TILE, TILE, channels)
