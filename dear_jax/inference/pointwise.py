"""LIIF and LTE as systems: a picture is a list of places, decoded in chunks.

Their authors' rule for the pixels around a place depends on rounded coordinates, so
every place has its own; DEAR's regular grids are in `dear_jax.inference.rendering`.
"""

import functools
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Float, Float32, Num

from dear_jax.inference.devices import (
    compiled,
    mesh_for,
    per_device,
    share_of,
    spread,
    to_floats,
    to_kind,
)
from dear_jax.inference.plan import Plan, Work
from dear_jax.inference.progress import Advance
from dear_jax.inference.query import QueryRestorer
from dear_jax.inference.rendering import View, chunk_of, few_at_once
from dear_jax.inference.tiles import bucket
from dear_jax.models.dear.coordinates import to_coordinates
from dear_jax.models.registry import build
from dear_jax.weights import freeze


class PointwiseRestorer(QueryRestorer):
    """Enlarges photos with LIIF or LTE, holes as they learned them.

    See `QueryRestorer`.
    """

    def plan(
        self,
        source: tuple[int, int],
        target: tuple[int, int],
        max_memory: float | None = None,
    ) -> Plan:
        """See `Restorer.plan`. Photos are taken whole."""
        plan = super().plan(source, target, max_memory)
        # Of EDSR's trunk and of LIIF's MLP; LTE's differ little.
        embedding, decoding = 2.4e6 * math.prod(source), 1.6e6 * math.prod(target)
        return plan._replace(work=Work(embedding, 0.0, decoding))

    def _encode(
        self,
        images: Num[np.ndarray, "B H W 3"],
        masks: Bool[np.ndarray, "B H W"],
        levels: Float32[np.ndarray, " B"],
        plan: Plan,
        advance: Advance,
    ) -> tuple[Any, Float[jax.Array, "B h w 1"] | None]:
        """What `_render` reads, [B, ...], and the importance or None."""
        run = _encoder(freeze(self.model), mesh_for(len(images)))
        assert plan.work is not None
        variables = self._placed.variables_for(len(images))
        maps = run(variables, spread(images), spread(masks))
        advance(plan.work.embedding)
        return maps, None

    def _render(
        self,
        maps: Any,
        source: tuple[int, int],
        view: View,
        kind: np.dtype,
        advance: Advance,
    ) -> Num[np.ndarray, "B {view.size[0]} {view.size[1]} 3"]:
        """Colours of a view, of the kind uint8 or float32."""
        photos, total = len(jax.tree.leaves(maps)[0]), math.prod(view.size)
        decode = _decoder(freeze(self.model), kind, mesh_for(photos))
        decode = functools.partial(decode, self._placed.variables_for(photos), maps)
        low, high = np.array(view.window).reshape(2, 2) / source
        size, cell = np.array(source, np.int32), 2 * (high - low) / view.size
        chunk = chunk_of(share_of(photos), total)
        colours = np.empty((photos, total, 3), kind)

        def answers() -> Iterator[tuple[int, jax.Array]]:
            for start in range(0, total, chunk):
                # The last chunk runs over the end; its spare queries repeat the last.
                flat = np.minimum(np.arange(start, start + chunk), total - 1)
                index = np.stack(np.divmod(flat, view.size[1]), axis=-1)
                queries = to_coordinates(index, view.size)
                if view.window != (0, 0, *source):
                    queries = (2 * low + (queries + 1) * (high - low) - 1).astype("f4")
                yield start, decode(queries, np.float32(cell), size)

        for start, answer in few_at_once(answers()):
            stop = min(start + chunk, total)
            colours[:, start:stop] = answer[:, : stop - start]
            advance((stop - start) / total)
        return colours.reshape(-1, *view.size, 3)


def _pad_to_bucket(x: Float[jax.Array, "B H W C"]) -> Float[jax.Array, "B h w C"]:
    """A map at one of few sizes; queries never reach the padding."""
    height, width = x.shape[1:3]
    pads = ((0, 0), (0, bucket(height) - height), (0, bucket(width) - width), (0, 0))
    return jnp.pad(x, pads)


@functools.lru_cache(maxsize=32)
def _encoder(model: tuple, mesh: Mesh | None):
    module = build(dict(model))

    def encode(variables, images, masks):
        mask = masks[..., None].astype(jnp.float32)
        photos = to_floats(images)
        features = module.apply(variables, photos, mask, method="encode")
        return jax.tree.map(_pad_to_bucket, features)

    return compiled(per_device(encode, mesh, "-bb"))


@functools.lru_cache(maxsize=32)
def _decoder(model: tuple, dtype: np.dtype, mesh: Mesh | None):
    module = build(dict(model))

    def decode(variables, maps, queries, cell, size):
        photos = len(jax.tree.leaves(maps)[0])
        queries = jnp.broadcast_to(queries, (photos, *queries.shape))
        cell = jnp.broadcast_to(cell, queries.shape)
        if hasattr(module, "clip_cell"):
            cell = module.clip_cell(cell, size)
        arguments = maps, queries, cell, size
        colours = module.apply(variables, *arguments, method="decode")
        return to_kind((colours + 1) / 2, dtype)

    return compiled(per_device(decode, mesh, "-b---"))
