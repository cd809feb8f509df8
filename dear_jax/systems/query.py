"""A query model as a system: DEAR, LIIF or LTE, at any scale.

Photos are encoded once; the target grid is then decoded in chunks of a fixed number
of pixels, those of all photos together, so memory does not grow with the output.
DEAR's photos are padded to one of few sizes (a validity mask says where they end), and
every decoder's features are, so few sizes are compiled.
"""

import functools
import math
from collections import deque
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dear_jax.model.coordinates import to_coordinates
from dear_jax.registry import build
from dear_jax.systems.devices import (
    Placed,
    in_portions,
    mesh_for,
    per_device,
    share_of,
    spread,
)
from dear_jax.systems.levels import to_floats, to_kind
from dear_jax.systems.restorer import Restorer, check_image, check_mask
from dear_jax.weights import Weights, freeze

# Target pixels decoded at once by a CPU (where more is slower: they leave the cache)
# and by an accelerator, and how many of each photo at least; see
# benchmarks/results/baselines.md.
CHUNK = {"cpu": 2**11}
CHUNK_ELSEWHERE = 2**15
LEAST_CHUNK = 2**9
CHUNKS_AT_ONCE = 4
# Attention weights held at once; beyond it, queries are taken in chunks.
ATTENTION_BUDGET = 2**24


class QueryRestorer(Restorer):
    """Completes and enlarges photos with one query model.

    Args:
      weights: of the model.
      name: what to call it.
      trained: whether they are.
    """

    def __init__(self, weights: Weights, name: str, trained: bool = True):
        super().__init__(name, weights.provenance, trained)
        self._placed = Placed(weights)

    @property
    def model(self) -> dict[str, Any]:
        """The fields of the model, see `dear_jax.registry`."""
        return self._placed.model

    @property
    def variables(self) -> Any:
        """Its parameters; may be replaced by others of the same shapes."""
        return self._placed.variables

    @variables.setter
    def variables(self, variables: Any) -> None:
        self._placed = self._placed.replaced(variables)

    def facts(self) -> list:
        """See `Restorer.facts`."""
        return [*super().facts(), self._placed.digest]

    def restore(
        self, images: np.ndarray, masks: np.ndarray, target: tuple[int, int]
    ) -> np.ndarray:
        """See `Restorer.restore`."""

        def restore(images: np.ndarray, masks: np.ndarray) -> np.ndarray:
            maps, _ = self._encode(images, masks)
            return self._decode(maps, images, target)

        return in_portions(restore, images, masks)

    def importance(
        self, image: np.ndarray, mask: np.ndarray | None = None
    ) -> np.ndarray | None:
        """Importance map W [H, W] in [0, 1] of a photo; None without that part."""
        if not self.model.get("importance"):
            return None
        image = check_image(image)
        mask = check_mask(mask, image)
        _, importance = self._encode(image[None], mask[None])
        return np.asarray(importance)[0, : image.shape[0], : image.shape[1], 0]

    def _encode(self, images: np.ndarray, masks: np.ndarray) -> tuple[Any, Any]:
        """What decoding reads, [B, ...] at one of few sizes, and the importance."""
        size, model = masks.shape[1:], self.model
        shape, share = padded_size(size, model), share_of(len(images))
        pads = ((0, 0), (0, shape[0] - size[0]), (0, shape[1] - size[1]))
        images = np.pad(images, (*pads, (0, 0)))
        masks = np.pad(masks, pads, constant_values=True)
        if "attention_pool" in model:
            cells = math.prod(shape) // model["attention_pool"] ** 2
            whole = share * cells**2 <= ATTENTION_BUDGET
            chunk = 0 if whole else max(1, ATTENTION_BUDGET // (share * cells))
            model = {**model, "attention_chunk": chunk}
        return _encoder(freeze(model), mesh_for(len(images)))(
            self._placed.variables_for(len(images)),
            spread(images),
            spread(masks),
            np.array(size, np.int32),
        )

    def _decode(
        self, maps: Any, images: np.ndarray, target: tuple[int, int]
    ) -> np.ndarray:
        """Colours [B, h, w, 3] of the whole target grid, of the kind of `images`."""
        mesh = mesh_for(len(images))
        decode = _decoder(freeze(self.model), images.dtype, mesh)
        variables = self._placed.variables_for(len(images))
        size = np.array(images.shape[1:3], np.int32)
        cell = np.float32(2) / np.float32(target)
        total, chunk = math.prod(target), chunk_of(share_of(len(images)), target)
        colours = np.empty((len(images), total, 3), images.dtype)
        # A few chunks are under way at once, so that none waits for another's end.
        under_way: deque[tuple[int, jax.Array]] = deque()

        def finish_one() -> None:
            start, answer = under_way.popleft()
            stop = min(start + chunk, total)
            colours[:, start:stop] = np.asarray(answer)[:, : stop - start]

        for start in range(0, total, chunk):
            # The last chunk runs over the end; its spare queries repeat the last one.
            flat = np.minimum(np.arange(start, start + chunk), total - 1)
            index = np.stack(np.divmod(flat, target[1]), axis=-1)
            queries = to_coordinates(index, target)
            under_way.append((start, decode(variables, maps, queries, cell, size)))
            if len(under_way) == CHUNKS_AT_ONCE:
                finish_one()
        while under_way:
            finish_one()
        return colours.reshape(-1, *target, 3)


def chunk_of(photos: int, target: tuple[int, int]) -> int:
    """How many pixels of each of the photos on a device are decoded at once."""
    most = CHUNK.get(jax.default_backend(), CHUNK_ELSEWHERE)
    most = max(LEAST_CHUNK, most // 2 ** math.ceil(math.log2(photos)))
    return min(most, 2 ** math.ceil(math.log2(math.prod(target))))


def padded_size(source: tuple[int, int], model: dict[str, Any]) -> tuple[int, int]:
    """The size (H, W) at which a photo is encoded.

    The paper's towers are compiled per multiple of 4; `dear-lite` does not mind
    padding, so it is compiled for few sizes; LIIF and LTE take photos as they are.
    """
    network = model.get("network")
    if network == "paper":
        return tuple(max(12, side + -side % 4) for side in source)
    return tuple(map(bucket, source)) if network == "lite" else source


def bucket(side: int) -> int:
    """Rounds a side up, by a quarter or to 8: 8, 16, 24, ... 64, 80, ... 128, 160."""
    step = max(8, 2 ** (math.floor(math.log2(side)) - 2))
    return side + -side % step


def _pad_to_bucket(x: jax.Array) -> jax.Array:
    """A map at one of few sizes; queries never reach the padding."""
    height, width = x.shape[1:3]
    pads = ((0, 0), (0, bucket(height) - height), (0, bucket(width) - width), (0, 0))
    return jnp.pad(x, pads)


@functools.lru_cache(maxsize=32)
def _encoder(model: tuple, mesh: Mesh | None):
    module = build(dict(model))

    def encode(variables, images, masks, size):
        inside = [
            jnp.arange(n) < end for n, end in zip(masks.shape[1:], size, strict=True)
        ]
        valid = inside[0][:, None] & inside[1][None, :]
        valid = jnp.broadcast_to(valid, masks.shape)
        maps = [x[..., None].astype(jnp.float32) for x in (masks, valid)]
        features = module.apply(variables, to_floats(images), *maps, method="encode")
        read = jax.tree.map(_pad_to_bucket, features.for_decoding())
        return read, getattr(features, "importance", None)

    return jax.jit(per_device(encode, mesh, "-bb-"))


@functools.lru_cache(maxsize=32)
def _decoder(model: tuple, dtype: np.dtype, mesh: Mesh | None):
    module = build(dict(model))

    def decode(variables, maps, queries, cell, size):
        photos = len(jax.tree.leaves(maps)[0])
        queries = jnp.broadcast_to(queries, (photos, *queries.shape))
        cell = jnp.broadcast_to(cell, queries.shape)
        if hasattr(module, "clip_cell"):
            cell = module.clip_cell(cell, size)
        colours = module.apply(variables, maps, queries, cell, size, method="decode")
        return to_kind((colours + 1) / 2, dtype)

    return jax.jit(per_device(decode, mesh, "-b---"))
