"""A photo through DEAR's networks, stage by stage, in the memory that its plan allows.

Embedding in tiles, attention in blocks, importance; what `DEAR.encode` does in one go.
Maps are padded to one of few sizes, so that few programs serve all photos; only the
paper's towers are compiled for each size (in steps of 4), because they mirror edges.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dear_jax.model.attention import cells, spread_over_pixels, unmask_attention
from dear_jax.model.blocks import BLOCK, NEVER, attend_in_blocks, padded_to_block
from dear_jax.model.near import TILE, attend_near, with_means
from dear_jax.registry import build
from dear_jax.systems.devices import Placed, mesh_for, per_device, share_of, spread
from dear_jax.systems.levels import to_floats
from dear_jax.systems.plan import Plan, padded_size
from dear_jax.systems.tiles import bucket
from dear_jax.weights import freeze

# Attention weights of photos that are taken together on one device.
TOGETHER = 2**24


@flax.struct.dataclass
class Maps:
    """What rendering reads, at one of few sizes.

    Attributes:
      seen: what the decoder sees of each pixel, [B, H', W', D], see `DEAR.join`; with
        `feature_unfold` its first layer of that.
      base: what colours are added to, [B, H', W', 3] in [-1, 1], or None.
    """

    seen: jax.Array
    base: jax.Array | None


def encode(
    placed: Placed,
    images: np.ndarray,
    masks: np.ndarray,
    plan: Plan,
    advance: Callable[[float], None],
) -> tuple[Maps, jax.Array | None]:
    """Encodes photos of one size.

    Args:
      placed: the model.
      images: [B, H, W, 3], uint8 or float32 in [0, 1].
      masks: bool [B, H, W].
      plan: for their size.
      advance: is told of work done, in the units of `Plan.work`.

    Returns:
      The maps, and the importance [B, H', W', 1] or None.
    """
    model, mesh, photos = freeze(placed.model), mesh_for(len(images)), len(images)
    size = np.array(masks.shape[1:], np.int32)
    variables = placed.variables_for(photos)
    shape = tuple(map(bucket, padded_size(masks.shape[1:], placed.model)))
    images, masks = (spread(array) for array in _padded(images, masks, shape))
    base = _preparation(model, mesh)(variables, images, masks, size)
    tiling, kept = plan.tiling, _blank(model, images.shape[:3], mesh)
    embed = _embedding(model, tiling.rows, tiling.columns, mesh)
    for read, keep in tiling.places():
        places = np.array([read, keep], np.int32)
        kept = embed(variables, kept, images, masks, base, size, places)
        if tiling.count > 1:
            jax.block_until_ready(kept)
        advance(plan.work.embedding / tiling.count)
    if not placed.model["attention"]:
        attended = None
    elif plan.attention == "exact" and _together(placed.model, images.shape, mesh):
        return _joining(model, mesh, True)(variables, kept, masks, size, None, base)
    else:
        how = _attend_exactly if plan.attention == "exact" else _attend_windowed
        each = functools.partial(how, model, kept[0], masks, size)
        work = plan.work.attention / photos
        found = [each(b, lambda share: advance(share * work)) for b in range(photos)]
        attended = jnp.concatenate(found) if photos > 1 else found[0]
    return _joining(model, mesh, False)(variables, kept, masks, size, attended, base)


def _padded(
    images: np.ndarray, masks: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Photos and masks at a larger size; what is added is missing."""
    pads = ((0, 0), *((0, m - n) for m, n in zip(shape, masks.shape[1:], strict=True)))
    images = np.pad(images, (*pads, (0, 0)))
    return images, np.pad(masks, pads, constant_values=True)


def _inside(shape: tuple[int, int], size: jax.Array, low: Any = (0, 0)) -> jax.Array:
    """[1, H, W, 1], 1 where an array that begins at `low` lies inside the photo."""
    rows, columns = (
        start + jnp.arange(n) < end
        for n, end, start in zip(shape, size, low, strict=True)
    )
    both = rows[:, None] & columns[None, :]
    return both[None, :, :, None].astype(jnp.float32)


def _channel(masks: jax.Array) -> jax.Array:
    return masks[..., None].astype(jnp.float32)


@functools.lru_cache(maxsize=32)
def _preparation(model: tuple, mesh: Mesh | None):
    module = build(dict(model))

    def prepare(variables, images, masks, size):
        if module.residual == "none":
            return None
        inside = jnp.broadcast_to(_inside(masks.shape[1:], size), (*masks.shape, 1))
        arguments = (to_floats(images), _channel(masks), inside)
        return module.apply(variables, *arguments, method="prepare")[1]

    return jax.jit(per_device(prepare, mesh, "-bb-"))


def _blank(model: tuple, shape: tuple, mesh: Mesh | None) -> tuple:
    """F and K_p to be filled."""
    fields = dict(model)
    lite = fields["network"] == "lite"
    channels = fields["widths"][0] if lite else fields["width"]
    taps = fields["importance_kernel"] ** 2 if fields["importance"] else 0
    blank = [jnp.zeros((*shape, c), jnp.float32) for c in (channels, taps)]
    return tuple(blank if mesh is None else map(spread, blank))


@functools.lru_cache(maxsize=32)
def _embedding(model: tuple, rows: Any, columns: Any, mesh: Mesh | None):
    """Embeds one tile, and puts what is kept of it where it belongs."""
    module = build(dict(model))

    def embed(variables, kept, images, masks, base, size, places):
        (row, column), keep = places

        def tile(array):
            start = (0, row, column) + (0,) * (array.ndim - 3)
            shape = (len(array), rows.read, columns.read, *array.shape[3:])
            return jax.lax.dynamic_slice(array, start, shape)

        image, mask = to_floats(tile(images)), _channel(tile(masks))
        inside = _inside(mask.shape[1:3], size, (row, column))
        inside = jnp.broadcast_to(inside, mask.shape)
        shown = None if base is None else tile(base)
        centred = jnp.where(mask > 0, 0.0, 2 * image - 1)
        parts = module.apply(variables, centred, mask, inside, shown, method="embed")
        row, column = keep[0] - row, keep[1] - column
        result = []
        for whole, part in zip(kept, parts, strict=True):
            if part is not None:
                shape = (len(part), rows.core, columns.core, part.shape[3])
                part = jax.lax.dynamic_slice(part, (0, row, column, 0), shape)
                part = part.astype(whole.dtype)
                whole = jax.lax.dynamic_update_slice(whole, part, (0, *keep, 0))
            result.append(whole)
        return tuple(result)

    return jax.jit(per_device(embed, mesh, "-bbbb--"), donate_argnums=1)


def _together(model: dict[str, Any], shape: tuple, mesh: Mesh | None) -> bool:
    """Whether photos are attended to together; on a CPU one by one is quicker."""
    if mesh is not None or jax.default_backend() == "cpu":
        return mesh is not None
    cells = math.prod(shape[1:3]) // model["attention_pool"] ** 2
    return share_of(shape[0]) * cells**2 <= TOGETHER


@functools.lru_cache(maxsize=32)
def _joining(model: tuple, mesh: Mesh | None, attend: bool):
    module = build(dict(model))

    def join(variables, kept, masks, size, attended, base):
        embedding, kernels = kept
        shape = embedding.shape[1:3]
        valid = jnp.broadcast_to(_inside(shape, size), (*masks.shape, 1))
        pool, keys = module.attention_pool, module.attention_keys
        if attend:
            count = math.prod(shape) // pool**2
            chunk = max(1, TOGETHER // (len(embedding) * count))
            attended = unmask_attention(
                embedding, _channel(masks), valid, keys, pool, chunk
            )
        elif attended is not None:
            attended = spread_over_pixels(attended, shape, pool)
        seen, importance = module.apply(
            variables, embedding, attended, kernels, valid, method="join"
        )
        if module.feature_unfold:
            seen = module.apply(variables, seen, method="project")
        return Maps(seen, base), importance

    return jax.jit(per_device(join, mesh, "-bb-bb"))


def _attend_exactly(
    model: tuple,
    embedding: jax.Array,
    masks: jax.Array,
    size: np.ndarray,
    photo: int,
    advance: Callable[[float], None],
) -> jax.Array:
    """What the cells of one photo attend to, [1, h, w, C]."""
    order, attend, place = _blocks(model)
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
def _blocks(model: tuple):
    """Sorts a photo's cells, attends from a block of them, puts them back."""
    fields = dict(model)
    keys, pool = fields["attention_keys"], fields["attention_pool"]

    def order(embedding, masks, size, photo):
        query, key, usable, asking = (
            x.reshape(-1, x.shape[-1]) if x.ndim == 3 else x.reshape(-1)
            for x in _cells_of(embedding, masks, size, photo, keys, pool)
        )
        extra = padded_to_block(len(query)) - len(query)

        def first(flags, rows):
            places = jnp.argsort(~flags, stable=True)
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


def _attend_windowed(
    model: tuple,
    embedding: jax.Array,
    masks: jax.Array,
    size: np.ndarray,
    photo: int,
    advance: Callable[[float], None],
) -> jax.Array:
    """As `_attend_exactly`, by the approximation of `dear_jax.model.near`."""
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


def _cells_of(embedding, masks, size, photo, keys, pool):
    """Queries and keys [h, w, C] of one photo, and [h, w] which are usable and ask."""
    embedding, mask = (
        jax.lax.dynamic_slice_in_dim(x, photo, 1) for x in (embedding, masks)
    )
    mask = _channel(mask)
    valid = _inside(mask.shape[1:3], size)
    query, key, usable = cells(embedding, mask, valid, keys, pool)
    known = cells(1 - mask, mask, valid, "all", pool)[0][..., 0] > 0
    return query[0], key[0], usable[0], known[0]


def _mean(keys: jax.Array, usable: jax.Array) -> jax.Array:
    """The mean [C] of the usable keys [N, C]."""
    total = jnp.where(usable[:, None], keys, 0).astype(jnp.float32).sum(axis=0)
    count = jnp.maximum(usable.sum(), 1).astype(jnp.float32)
    return (total / count).astype(keys.dtype)
