"""A photo through DEAR's networks, stage by stage, in the memory that its plan allows.

Embedding in tiles, attention in blocks, importance; what `DEAR.encode` does in one go.
Maps are padded to one of few sizes, so that few programs serve all photos; only the
paper's towers are compiled for each size (in steps of 4), because they mirror edges.
"""

import functools
import math
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dear_jax.inference.attending import (
    attend_exactly,
    attend_windowed,
    channel,
    within,
)
from dear_jax.inference.devices import (
    Placed,
    compiled,
    mesh_for,
    per_device,
    share_of,
    spread,
    to_floats,
)
from dear_jax.inference.plan import Plan, geometry_of, padded_size
from dear_jax.inference.progress import Advance
from dear_jax.inference.tiles import bucket
from dear_jax.models.dear.attention import (
    key_pool_of,
    spread_over_pixels,
    unmask_attention,
)
from dear_jax.models.dear.dear import centre
from dear_jax.models.registry import build
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
    levels: np.ndarray,
    plan: Plan,
    advance: Advance,
) -> tuple[Maps, jax.Array | None]:
    """Encodes photos of one size.

    Args:
      placed: the model.
      images: [B, H, W, 3], uint8 or float32 in [0, 1].
      masks: bool [B, H, W].
      levels: float32 [B] in [0, 1], how degraded each is; for models with that input.
      plan: for their size.
      advance: is told of work done, in the units of `Plan.work`.

    Returns:
      The maps, and the importance [B, H', W', 1] or None.
    """
    model, mesh, photos = freeze(placed.model), mesh_for(len(images)), len(images)
    size = np.array(masks.shape[1:], np.int32)
    variables = placed.variables_for(photos)
    shape = tuple(map(bucket, padded_size(masks.shape[1:], geometry_of(placed.model))))
    images, masks = (spread(array) for array in _padded(images, masks, shape))
    levels = spread(levels)
    if mesh is None:  # Once, not for each tile.
        images, masks = jax.device_put((images, masks))
    base = _preparation(model, mesh)(variables, images, masks, size)
    tiling, kept = plan.tiling, _blank(model, images.shape[:3], mesh)
    embed = _embedding(model, tiling.rows, tiling.columns, mesh)
    for read, keep in tiling.places():
        places = np.array([read, keep], np.int32)
        kept = embed(variables, kept, images, masks, base, levels, size, places)
        if tiling.count > 1:
            jax.block_until_ready(kept)
        advance(plan.work.embedding / tiling.count)
    pool, most = (placed.model[f"attention_{k}"] for k in ("pool", "most_keys"))
    key_pool = key_pool_of(tuple(size), pool, most)
    exact = plan.attention == "exact"
    if not placed.model["attention"]:
        attended = None
    elif exact and _together(placed.model, images.shape, mesh):
        advance(plan.work.attention)
        join = _joining(model, mesh, True, key_pool)
        return join(variables, kept, masks, size, None, base)
    else:
        how = attend_exactly if exact else attend_windowed
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


@functools.lru_cache(maxsize=32)
def _preparation(model: tuple, mesh: Mesh | None):
    module = build(dict(model))

    def prepare(variables, images, masks, size):
        if module.residual == "none":
            return None
        inside = jnp.broadcast_to(within(masks.shape[1:], size), (*masks.shape, 1))
        arguments = (to_floats(images), channel(masks), inside)
        return module.apply(variables, *arguments, method="prepare")[1]

    return compiled(per_device(prepare, mesh, "-bb-"))


def _blank(model: tuple, shape: tuple, mesh: Mesh | None) -> tuple:
    """F and K_p to be filled."""
    module = build(dict(model))
    channels = module.geometry.channels, module.taps
    blank = [jnp.zeros((*shape, c), jnp.float32) for c in channels]
    return tuple(blank if mesh is None else map(spread, blank))


@functools.lru_cache(maxsize=32)
def _embedding(model: tuple, rows: Any, columns: Any, mesh: Mesh | None):
    """Embeds one tile, and puts what is kept of it where it belongs."""
    module = build(dict(model))

    def embed(variables, kept, images, masks, base, levels, size, places):
        (row, column), keep = places

        def tile(array):
            start = (0, row, column) + (0,) * (array.ndim - 3)
            shape = (len(array), rows.read, columns.read, *array.shape[3:])
            return jax.lax.dynamic_slice(array, start, shape)

        image, mask = to_floats(tile(images)), channel(tile(masks))
        inside = within(mask.shape[1:3], size, (row, column))
        inside = jnp.broadcast_to(inside, mask.shape)
        shown = None if base is None else tile(base)
        centred = centre(image, mask)
        arguments = (centred, mask, inside, shown, levels)
        parts = module.apply(variables, *arguments, method="embed")
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

    return compiled(per_device(embed, mesh, "-bbbbb--"), donate_argnums=1)


def _together(model: dict[str, Any], shape: tuple, mesh: Mesh | None) -> bool:
    """Whether photos are attended to together; on a CPU one by one is quicker."""
    if mesh is not None or jax.default_backend() == "cpu":
        return mesh is not None
    cells = math.prod(shape[1:3]) // model["attention_pool"] ** 2
    return share_of(shape[0]) * cells**2 <= TOGETHER


@functools.lru_cache(maxsize=32)
def _joining(model: tuple, mesh: Mesh | None, attend: bool, key_pool: int = 1):
    module = build(dict(model))

    def join(variables, kept, masks, size, attended, base):
        embedding, kernels = kept
        shape = embedding.shape[1:3]
        valid = jnp.broadcast_to(within(shape, size), (*masks.shape, 1))
        pool, keys = module.attention_pool, module.attention_keys
        if attend:
            count = math.prod(shape) // pool**2
            chunk = max(1, TOGETHER // (len(embedding) * count))
            attended = unmask_attention(
                embedding, channel(masks), valid, keys, pool, chunk, key_pool
            )
        elif attended is not None:
            attended = spread_over_pixels(attended, shape, pool)
        seen, importance = module.apply(
            variables, embedding, attended, kernels, valid, method="join"
        )
        if module.feature_unfold:
            seen = module.apply(variables, seen, method="project")
        return Maps(seen, base), importance

    return compiled(per_device(join, mesh, "-bb-bb"))
