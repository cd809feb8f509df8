"""Attention in blocks of queries and keys: exact, in memory that grows with neither.

A running softmax (Milakov and Gimelshein, 2018; Rabe and Staats, 2021) keeps for every
query the largest score so far, the sum of the weights and the weighted sum of the keys,
all relative to that score; a block of keys after the other is taken in. Forward only:
training holds whole rows of weights, see `dear_jax.models.dear.attention`.

The number of key blocks is not compiled in, so few programs serve all sizes, and what
is never asked for, or never a key, costs nothing once it is sorted to the end.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32, Int

from dear_jax.models.layers import product
from dear_jax.typing import Array

# Of the scores held at once: 16 MiB, and 2048 each way is the quickest on CPUs.
BLOCK = 2048
# Added to the scores of what is no key; finite, so that nothing becomes NaN.
NEVER = -1e30


def attend_in_blocks(
    queries: Float[Array, "N C"],
    keys: Float[Array, "M C"],
    bias: Float32[Array, " M"],
    count: Int[Array, ""] | int | np.integer,
) -> Float[Array, "N C"]:
    """softmax(Q K^T / sqrt(C) + bias) K.

    Args:
      queries: as many as are to be held at once.
      keys: which are the values too; M is a multiple of the block, which is `BLOCK` or
        M if that is less.
      bias: 0 for a key, `NEVER` for none, log(n) for the mean of n keys.
      count: keys to look at; the others are never read.

    Returns:
      An answer to each query, in the dtype of the keys.
    """
    number, channels = queries.shape
    block = min(BLOCK, keys.shape[0])

    def take_in(i: jax.Array, state: tuple) -> tuple:
        largest, total, mixed = state
        part = jax.lax.dynamic_slice_in_dim(keys, i * block, block)
        shift = jax.lax.dynamic_slice_in_dim(bias, i * block, block)
        scores = product(queries, part, (((1,), (1,)), ((), ()))) / channels**0.5
        scores += jnp.broadcast_to(shift, scores.shape)
        now = jnp.maximum(largest, scores.max(axis=1, keepdims=True))
        weights, fade = jnp.exp(scores - now), jnp.exp(largest - now)
        added = product(weights.astype(keys.dtype), part, (((1,), (0,)), ((), ())))
        total = total * fade + weights.sum(axis=1, keepdims=True)
        return now, total, mixed * fade + added

    start = (
        jnp.full((number, 1), NEVER, jnp.float32),
        jnp.zeros((number, 1), jnp.float32),
        jnp.zeros((number, channels), jnp.float32),
    )
    _, total, mixed = jax.lax.fori_loop(0, -(-count // block), take_in, start)
    return (mixed / total).astype(keys.dtype)


def padded_to_block(count: int) -> int:
    """The number of keys that `attend_in_blocks` takes, `count` or a few more.

    Few different ones, so that few programs are compiled.
    """
    block = min(BLOCK, 8 * 2 ** max(0, (max(count, 1) - 1).bit_length() - 3))
    return -(-count // block) * block
