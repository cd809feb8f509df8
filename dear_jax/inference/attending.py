"""DEAR's attention, a photo at a time and in blocks: memory is linear in its pixels.

Masked queries are not asked: they attend uniformly, which is the mean. What asks and
what is a key is sorted to the front, so that only as many blocks are computed as it
takes, in programs that few sizes share.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Float32, Int, Int32

from dear_jax.inference.progress import Advance
from dear_jax.models.dear.attention import cells
from dear_jax.models.dear.blocks import BLOCK, NEVER, attend_in_blocks, padded_to_block
from dear_jax.typing import Array


def within(
    shape: tuple[int, int], size: Int[Array, " 2"], low: Any = (0, 0)
) -> Float32[jax.Array, "1 {shape[0]} {shape[1]} 1"]:
    """1 where an array that begins at `low` lies inside the photo."""
    rows, columns = (
        start + jnp.arange(n) < end
        for n, end, start in zip(shape, size, low, strict=True)
    )
    both = rows[:, None] & columns[None, :]
    return both[None, :, :, None].astype(jnp.float32)


def channel(masks: Bool[Array, "B H W"]) -> Float32[jax.Array, "B H W 1"]:
    """Masks as the networks take them."""
    return jnp.astype(masks[..., None], jnp.float32)


def attend_photos(
    model: tuple,
    embedding: Float[Array, "B H W C"],
    masks: Bool[Array, "B H W"],
    size: Int32[np.ndarray, " 2"],
    advance: Advance,
) -> Float[jax.Array, "B h w C"]:
    """What the cells of photos attend to, one photo after the other.

    Args:
      model: frozen fields, see `dear_jax.weights.freeze`.
      embedding: F.
      masks: True = missing.
      size: of the photos in these arrays, (H, W).
      advance: is called with the share done of a photo.
    """
    found = [
        _attend_one(model, embedding, masks, size, np.int32(photo), advance)
        for photo in range(len(masks))
    ]
    return jnp.concatenate(found) if len(found) > 1 else found[0]


def _attend_one(
    model: tuple,
    embedding: Float[Array, "B H W C"],
    masks: Bool[Array, "B H W"],
    size: Int32[np.ndarray, " 2"],
    photo: np.int32,
    advance: Advance,
) -> Float[jax.Array, "1 h w C"]:
    order, attend_some, place = _blocks(model)
    asked = order(embedding, masks, size, photo)
    count = max(1, int(asked["queries_asking"]))
    step = min(BLOCK, len(asked["queries"]))
    answers = asked.pop("answers")
    for start in range(0, count, step):
        answers = attend_some(answers, asked, np.int32(start))
        if count > step:
            jax.block_until_ready(answers)
        advance(min(step, count - start) / count)
    return place(answers, asked["place"], embedding)


@functools.lru_cache(maxsize=32)
def _blocks(model: tuple):
    """Sorts a photo's cells, attends from a block of them, puts them back."""
    fields = dict(model)
    keys, pool = fields["attention_keys"], fields["attention_pool"]

    def order(embedding, masks, size, photo):
        query, key, usable, asking = (
            x.reshape(-1, x.shape[-1]) if x.ndim == 3 else x.reshape(-1)
            for x in _cells_of(embedding, masks, size, photo, keys, pool)
        )

        def first(flags, rows):
            places = jnp.argsort(~flags, stable=True)
            extra = padded_to_block(len(rows)) - len(rows)
            return places, jnp.pad(rows[places], ((0, extra), (0, 0)))

        places, queries = first(asking, query)
        _, in_order = first(usable, key)
        # If no key is usable, all are alike: see `attention.attend`.
        count = jnp.where(usable.any(), usable.sum(), len(usable)).astype(jnp.int32)
        number = jnp.arange(len(in_order))
        mean = _mean(in_order, number < count)
        return {
            "queries": queries,
            "queries_asking": asking.sum(),
            "keys": in_order,
            "bias": jnp.where(number < count, 0.0, NEVER),
            "keys_usable": count,
            "place": jnp.argsort(places),
            # Who does not ask attends uniformly.
            "answers": jnp.broadcast_to(mean, queries.shape),
        }

    def attend_some(answers, asked, start):
        step = min(BLOCK, len(answers))
        queries = jax.lax.dynamic_slice_in_dim(asked["queries"], start, step)
        found = attend_in_blocks(
            queries, asked["keys"], asked["bias"], asked["keys_usable"]
        )
        return jax.lax.dynamic_update_slice_in_dim(answers, found, start, axis=0)

    def place(answers, places, embedding):
        height, width = (-(-side // pool) for side in embedding.shape[1:3])
        return answers[places].reshape(1, height, width, -1)

    return jax.jit(order), jax.jit(attend_some, donate_argnums=0), jax.jit(place)


def _cells_of(
    embedding: Float[Array, "B H W C"],
    masks: Bool[Array, "B H W"],
    size: Int32[Array, " 2"],
    photo: Int32[Array, ""],
    keys: str,
    pool: int,
) -> tuple[
    Float[Array, "h w C"],
    Float[Array, "h w C"],
    Bool[Array, "h w"],
    Bool[Array, "h w"],
]:
    """Queries and keys of one photo, which keys are usable, and which queries ask."""
    seen, mask = (jax.lax.dynamic_slice_in_dim(x, photo, 1) for x in (embedding, masks))
    mask = channel(mask)
    height, width = mask.shape[1:3]
    valid = within((height, width), size)
    query, key, usable = cells(seen, mask, valid, keys, pool)
    assert usable is not None  # For `valid` is given.
    known = cells(1 - mask, mask, valid, "all", pool)[0][..., 0] > 0
    return query[0], key[0], usable[0], known[0]


def _mean(keys: Float[Array, "N C"], usable: Bool[Array, " N"]) -> Float[Array, " C"]:
    """The mean of the usable keys."""
    total = jnp.where(usable[:, None], keys, 0).astype(jnp.float32).sum(axis=0)
    count = jnp.maximum(usable.sum(), 1).astype(jnp.float32)
    return (total / count).astype(keys.dtype)
