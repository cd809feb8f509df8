"""A photo through DEAR's networks, tile by tile, in the memory that its plan allows.

What `DEAR.encode` does in one go. Models with attention or importance embed all of the
photo, attend in blocks and join what they found. Of others only Z, the embedding at a
quarter of the photo's size, is kept whole; the rest is computed where a picture is
rendered, see `project`. Arrays are padded to one of few sizes, so that few programs
serve all photos; only the paper's towers are compiled for each size (in steps of 4),
because they mirror edges.
"""

import functools
import math
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Float, Float32, Int, Num, Shaped

from dear_jax.inference.attending import attend_photos, channel, within
from dear_jax.inference.devices import (
    Placed,
    compiled,
    mesh_for,
    per_device,
    share_of,
    spread,
    to_floats,
)
from dear_jax.inference.plan import Plan, padded_size
from dear_jax.inference.progress import Advance
from dear_jax.inference.tiles import Tiling, bucket
from dear_jax.models.dear.attention import spread_over_pixels, unmask_attention
from dear_jax.models.dear.dear import QUARTER, Tile, centre
from dear_jax.models.dear.geometry import Geometry
from dear_jax.models.registry import build
from dear_jax.typing import Array
from dear_jax.weights import freeze

# Attention weights of photos that are taken together on one device.
TOGETHER = 2**24


@flax.struct.dataclass
class Maps:
    """What rendering reads, at one of few sizes.

    Attributes:
      base: what colours are added to, in [-1, 1], or None.
      projection: the decoder's first layer; None if it is computed block by block, of
        the following.
      kept: Z of models that stream, at a quarter of the size; of others what the
        decoder sees of each pixel, see `DEAR.join`.
      photos: images, masks, levels and size, which models that stream read with Z.
      block: side of such blocks in the photo, pixels; 0 with a `projection`.
    """

    base: Float[Array, "B H W 3"] | None
    projection: Float[Array, "B H W K"] | None = None
    kept: Float[Array, "B h w D"] | None = None
    photos: tuple[Array, ...] | None = None
    block: int = flax.struct.field(pytree_node=False, default=0)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W)."""
        seen = self.photos[1] if self.photos else self.kept
        seen = seen if self.projection is None else self.projection
        assert seen is not None
        height, width = seen.shape[1:3]
        return height, width


def encode(
    placed: Placed,
    images: Num[Array, "B H W 3"],
    masks: Bool[Array, "B H W"],
    levels: Float32[Array, " B"],
    plan: Plan,
    advance: Advance,
) -> tuple[Maps, Float[jax.Array, "B h w 1"] | None]:
    """Encodes photos of one size.

    Args:
      placed: the model.
      images: uint8 or float32 in [0, 1].
      masks: True = missing.
      levels: in [0, 1], how degraded each is; for models with that input.
      plan: for their size.
      advance: is called with the work done, in the units of `Plan.work`.

    Returns:
      The maps, and the importance, at their size, or None.
    """
    tiling, work = plan.tiling, plan.work
    assert tiling is not None and work is not None  # As DEAR's plans have them.
    model, mesh, count = freeze(placed.model), mesh_for(len(images)), len(images)
    height, width = masks.shape[1:]
    size = np.array((height, width), np.int32)
    variables, module = placed.variables_for(count), build(placed.model)
    geometry, streams, holes = module.geometry, module.streams, masks
    height, width = map(bucket, padded_size((height, width), geometry))
    padded = _padded(images, masks, (height, width))
    images, masks = (spread(array) for array in padded)
    levels = spread(levels)
    if mesh is None:  # Once, not for each tile.
        images, masks = jax.device_put((images, masks))
    if streams and not plan.block:
        maps = _whole(model, mesh)(variables, images, masks, levels, size)
        advance(work.embedding)
        return maps, None
    base = _preparation(model, mesh)(variables, images, masks, size)
    kept = _blank(model, images.shape[:3], mesh)
    embed = _embedding(model, tiling.rows, tiling.columns, mesh)
    tiles = list(tiling.places())
    if streams and plan.holes_only:
        tiles = [t for t in tiles if _reached(holes, tiling, t[1], geometry)]
    for tile in tiles:
        places = np.array(tile, np.int32)
        kept = embed(variables, kept, images, masks, base, levels, size, places)
        if tiling.count > 1:
            jax.block_until_ready(kept)
        advance(work.embedding / len(tiles))
    if streams:
        photos = images, masks, levels, jnp.asarray(size)
        return Maps(base, kept=kept[0], photos=photos, block=plan.block), None
    if not placed.model["attention"]:
        attended, together = None, False
    elif together := _together(placed.model, images.shape, mesh):
        attended = None
        advance(work.attention)
    else:
        share = work.attention / count
        attended = attend_photos(
            model, kept[0], masks, size, lambda x: advance(x * share)
        )
    join = _joining(model, mesh, together, plan.block)
    return join(variables, kept, masks, size, attended, base)


def project(
    placed: Placed, maps: Maps, low: tuple[int, int], shape: tuple[int, int]
) -> tuple[
    Float[jax.Array, "B {shape[0]} {shape[1]} K"],
    Float[jax.Array, "B {shape[0]} {shape[1]} 3"] | None,
]:
    """The decoder's first layer and the base of one block.

    Args:
      placed: the model.
      maps: of photos, with a `block`.
      low: row and column of its first pixel, multiples of 4.
      shape: its rows and columns, multiples of 4.

    Returns:
      What is right from `DEAR.block_halo` pixels on inside a border that is not the
      photo's; and the base or None.
    """
    photos = len(jax.tree.leaves(maps)[0])
    run = _projection(freeze(placed.model), shape, mesh_for(photos))
    variables, place = placed.variables_for(photos), np.array(low, np.int32)
    given = maps.photos or (None, None, None, None)
    return run(variables, maps.kept, maps.base, *given, place)


def _reached(
    holes: Bool[Array, "B H W"],
    tiling: Tiling,
    keep: tuple[int, int],
    geometry: Geometry,
) -> bool:
    """Whether what is kept of a tile is read for any of the holes."""
    halo = geometry.surface.halo + QUARTER
    rows, columns = (
        slice(max(0, first - halo), first + side.core + halo)
        for first, side in zip(keep, tiling, strict=True)
    )
    return bool(holes[:, rows, columns].any())


def _padded(
    images: Num[Array, "B H W 3"], masks: Bool[Array, "B H W"], shape: tuple[int, int]
) -> tuple[Num[np.ndarray, "B h w 3"], Bool[np.ndarray, "B h w"]]:
    """Photos and masks at a larger size; what is added is missing."""
    pads = ((0, 0), *((0, m - n) for m, n in zip(shape, masks.shape[1:], strict=True)))
    images = np.pad(images, (*pads, (0, 0)))
    return images, np.pad(masks, pads, constant_values=True)


def _inside(
    masks: Shaped[Array, "B H W *C"], size: Int[Array, " 2"], low: Any = (0, 0)
) -> Float32[jax.Array, "B H W 1"]:
    """1 where arrays that begin at `low` lie inside the photo."""
    photos, height, width = masks.shape[:3]
    inside = within((height, width), size, low)
    return jnp.broadcast_to(inside, (photos, height, width, 1))


def cut(
    array: Shaped[Array, "B H W *C"], low: Int[Array, " 2"], shape: tuple[int, int]
) -> Shaped[jax.Array, "B {shape[0]} {shape[1]} *C"]:
    """The window of an array that begins at `low`."""
    start = (0, *low) + (0,) * (array.ndim - 3)
    size = (len(array), *shape, *array.shape[3:])
    return jax.lax.dynamic_slice(array, start, size)


@functools.lru_cache(maxsize=32)
def _whole(model: tuple, mesh: Mesh | None):
    """The model's own way, for photos that are one block."""
    module = build(dict(model))

    def encode(variables, images, masks, levels, size):
        arguments = to_floats(images), channel(masks), _inside(masks, size), levels
        features = module.apply(variables, *arguments, method="encode")
        return Maps(features.base, features.projection)

    return compiled(per_device(encode, mesh, "-bbb-"))


@functools.lru_cache(maxsize=32)
def _preparation(model: tuple, mesh: Mesh | None):
    module = build(dict(model))

    def prepare(variables, images, masks, size):
        if module.residual == "none":
            return None
        arguments = (to_floats(images), channel(masks), _inside(masks, size))
        return module.apply(variables, *arguments, method="prepare")[1]

    return compiled(per_device(prepare, mesh, "-bb-"))


def _blank(model: tuple, shape: tuple, mesh: Mesh | None) -> tuple:
    """What tiles fill: Z, or F and K_p."""
    module, (photos, height, width) = build(dict(model)), shape
    geometry = module.geometry
    if module.streams:
        quarter = height // QUARTER, width // QUARTER
        shapes = [(photos, *quarter, geometry.deep.channels)]
    else:
        channels = geometry.embedding.channels, module.taps
        shapes = [(*shape, count) for count in channels]
    blank = [jnp.zeros(shape, jnp.float32) for shape in shapes]
    return tuple(blank if mesh is None else map(spread, blank))


@functools.lru_cache(maxsize=32)
def _embedding(model: tuple, rows: Any, columns: Any, mesh: Mesh | None):
    """Embeds one tile, and puts what is kept of it where it belongs."""
    module = build(dict(model))
    step = QUARTER if module.streams else 1

    def embed(variables, kept, images, masks, base, levels, size, places):
        low, keep = places
        shape = rows.read, columns.read
        tile = _tile(images, masks, base, levels, size, low, shape)
        if module.streams:
            parts = (module.apply(variables, tile, method="deep"),)
        else:
            parts = module.apply(variables, tile, method="embed")
        offset, keep, result = (keep - low) // step, keep // step, []
        core = rows.core // step, columns.core // step
        for whole, part in zip(kept, parts, strict=True):
            if part is not None:
                part = cut(part, offset, core).astype(whole.dtype)
                whole = jax.lax.dynamic_update_slice(whole, part, (0, *keep, 0))
            result.append(whole)
        return tuple(result)

    return compiled(per_device(embed, mesh, "-bbbbb--"), donate_argnums=1)


def _tile(images, masks, base, levels, size, low, shape) -> Tile:
    """A window of photos, as the model's encoder takes it."""
    image, mask = (cut(array, low, shape) for array in (images, masks))
    mask, shown = channel(mask), None if base is None else cut(base, low, shape)
    inside = _inside(mask, size, low)
    return Tile(centre(to_floats(image), mask), mask, inside, shown, levels)


@functools.lru_cache(maxsize=32)
def _projection(model: tuple, shape: tuple[int, int], mesh: Mesh | None):
    module = build(dict(model))

    def project(variables, kept, base, images, masks, levels, size, low):
        shown = None if base is None else cut(base, low, shape)
        if not module.streams:
            seen = cut(kept, low, shape)
            return module.apply(variables, seen, method="project"), shown
        tile = _tile(images, masks, base, levels, size, low, shape)
        z = cut(kept, low // QUARTER, (shape[0] // QUARTER, shape[1] // QUARTER))
        return module.apply(variables, z, tile, method="surface"), shown

    return compiled(per_device(project, mesh, "-bbbbb--"))


def _together(model: dict[str, Any], shape: tuple, mesh: Mesh | None) -> bool:
    """Whether photos are attended to together; on a CPU one by one is quicker."""
    if mesh is not None or jax.default_backend() == "cpu":
        return mesh is not None
    cells = math.prod(shape[1:3]) // model["attention_pool"] ** 2
    return share_of(shape[0]) * cells**2 <= TOGETHER


@functools.lru_cache(maxsize=32)
def _joining(model: tuple, mesh: Mesh | None, attend: bool, block: int):
    module = build(dict(model))

    def join(variables, kept, masks, size, attended, base):
        embedding, kernels = kept
        shape, valid = embedding.shape[1:3], _inside(masks, size)
        pool, keys = module.attention_pool, module.attention_keys
        if attend:
            cells = math.prod(shape) // pool**2
            chunk = max(1, TOGETHER // (len(embedding) * cells))
            attended = unmask_attention(
                embedding, channel(masks), valid, keys, pool, chunk
            )
        elif attended is not None:
            attended = spread_over_pixels(attended, shape, pool)
        seen, importance = module.apply(
            variables, embedding, attended, kernels, valid, method="join"
        )
        if block:
            return Maps(base, kept=seen, block=block), importance
        projection = module.apply(variables, seen, method="project")
        return Maps(base, projection), importance

    return compiled(per_device(join, mesh, "-bb-bb"))
