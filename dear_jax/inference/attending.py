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

from dear_jax.inference.progress import Advance
from dear_jax.models.dear.attention import cells, key_pool_of
from dear_jax.models.dear.blocks import BLOCK, NEVER, attend_in_blocks, padded_to_block
from dear_jax.models.dear.near import TILE, attend_near, with_means


def within(shape: tuple[int, int], size: jax.Array, low: Any = (0, 0)) -> jax.Array:
    """[1, H, W, 1], 1 where an array that begins at `low` lies inside the photo."""
    rows, columns = (
        start + jnp.arange(n) < end
        for n, end, start in zip(shape, size, low, strict=True)
    )
    both = rows[:, None] & columns[None, :]
    return both[None, :, :, None].astype(jnp.float32)


def channel(masks: jax.Array) -> jax.Array:
    """Masks [B, H, W] as the networks take them, float32 [B, H, W, 1]."""
    return masks[..., None].astype(jnp.float32)


def attend_exactly(
    model: tuple,
    embedding: jax.Array,
    masks: jax.Array,
    size: np.ndarray,
    photo: int,
    advance: Advance,
) -> jax.Array:
    """What the cells of one photo attend to, [1, h, w, C]."""
    fields = dict(model)
    most = fields["attention_most_keys"]
    key_pool = key_pool_of(size, fields["attention_pool"], most)
    order, attend, place = _blocks(model, key_pool)
    asked = order(embedding, masks, size, np.int32(photo))
    count = max(1, int(asked["queries_asking"]))
    step = min(BLOCK, len(asked["queries"]))
    answers = asked.pop("answers")
    for start in range(0, count, step):
        answers = attend(answers, asked, np.int32(start))
        if count > step:
            jax.block_until_ready(answers)
        advance(min(step, count - start) / count)
    return place(answers, asked["place"], embedding)


@functools.lru_cache(maxsize=32)
def _blocks(model: tuple, key_pool: int):
    """Sorts a photo's cells, attends from a block of them, puts them back."""
    fields = dict(model)
    keys, pool = fields["attention_keys"], fields["attention_pool"]

    def order(embedding, masks, size, photo):
        query, key, usable, asking = (
            x.reshape(-1, x.shape[-1]) if x.ndim == 3 else x.reshape(-1)
            for x in _cells_of(embedding, masks, size, photo, keys, pool, key_pool)
        )

        def first(flags, rows):
            places = jnp.argsort(~flags, stable=True)
            extra = padded_to_block(len(rows)) - len(rows)
            return places, jnp.pad(rows[places], ((0, extra), (0, 0)))

        places, queries = first(asking, query)
        _, in_order = first(usable, key)
        # If no key is usable, all are alike: see `attend`.
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

    def attend(answers, asked, start):
        step = min(BLOCK, len(answers))
        queries = jax.lax.dynamic_slice_in_dim(asked["queries"], start, step)
        found = attend_in_blocks(
            queries, asked["keys"], asked["bias"], asked["keys_usable"]
        )
        return jax.lax.dynamic_update_slice_in_dim(answers, found, start, axis=0)

    def place(answers, places, embedding):
        height, width = (-(-side // pool) for side in embedding.shape[1:3])
        return answers[places].reshape(1, height, width, -1)

    return jax.jit(order), jax.jit(attend, donate_argnums=0), jax.jit(place)


def attend_windowed(
    model: tuple,
    embedding: jax.Array,
    masks: jax.Array,
    size: np.ndarray,
    photo: int,
    advance: Advance,
) -> jax.Array:
    """As `attend_exactly`, by the approximation of `dear_jax.models.dear.near`."""
    begin, attend = _windows(model)
    asked, asking, answers = begin(embedding, masks, size, np.int32(photo))
    tiles = np.argwhere(np.asarray(asking)) * TILE
    for tile in tiles.astype(np.int32):
        answers = attend(answers, asked, tile)
        jax.block_until_ready(answers)
        advance(1 / len(tiles))
    pool = dict(model)["attention_pool"]
    height, width = (-(-side // pool) for side in embedding.shape[1:3])
    return answers[None, :height, :width]


@functools.lru_cache(maxsize=32)
def _windows(model: tuple):
    """Prepares a photo's cells, and attends from a tile of them."""
    fields = dict(model)
    keys, pool = fields["attention_keys"], fields["attention_pool"]

    def begin(embedding, masks, size, photo):
        query, key, usable, asking = _cells_of(
            embedding, masks, size, photo, keys, pool
        )
        asked = with_means(query, key, usable, asking)
        mean = _mean(key.reshape(-1, key.shape[-1]), usable.reshape(-1))
        answers = jnp.broadcast_to(mean, asked.keys.shape)
        rows, columns = (n // TILE for n in asked.asking.shape)
        tiles = asked.asking.reshape(rows, TILE, columns, TILE)
        return asked, tiles.any(axis=(1, 3)), answers

    def attend(answers, asked, tile):
        found = attend_near(asked, tile)
        # Who does not ask attends to all alike, near or far.
        row, column = tile
        before = jax.lax.dynamic_slice(answers, (row, column, 0), found.shape)
        asking = jax.lax.dynamic_slice(asked.asking, (row, column), found.shape[:2])
        found = jnp.where(asking[..., None], found, before)
        return jax.lax.dynamic_update_slice(answers, found, (row, column, 0))

    return jax.jit(begin), jax.jit(attend, donate_argnums=0)


def _cells_of(embedding, masks, size, photo, keys, pool, key_pool=1):
    """Queries [h, w, C] and keys [h', w', C] of one photo, which keys are usable, and
    which queries ask."""
    embedding, mask = (
        jax.lax.dynamic_slice_in_dim(x, photo, 1) for x in (embedding, masks)
    )
    mask = channel(mask)
    valid = within(mask.shape[1:3], size)
    query, key, usable = cells(embedding, mask, valid, keys, pool, key_pool)
    known = cells(1 - mask, mask, valid, "all", pool)[0][..., 0] > 0
    return query[0], key[0], usable[0], known[0]


def _mean(keys: jax.Array, usable: jax.Array) -> jax.Array:
    """The mean [C] of the usable keys [N, C]."""
    total = jnp.where(usable[:, None], keys, 0).astype(jnp.float32).sum(axis=0)
    count = jnp.maximum(usable.sum(), 1).astype(jnp.float32)
    return (total / count).astype(keys.dtype)
