"""A query model as a system: DEAR, LIIF or LTE, at any scale.

The photo is encoded once; the target grid is then decoded in chunks of a fixed
number of pixels, so memory does not grow with the output. DEAR's photos are padded
to one of few sizes (a validity mask says where they end), and every decoder's
features are, so few sizes are compiled.
"""

import functools
import math
from collections import deque
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from dear_jax.model.coordinates import to_coordinates
from dear_jax.registry import build
from dear_jax.systems.restorer import (
    Restorer,
    check_image,
    check_mask,
    to_floats,
    to_kind_of,
)
from dear_jax.weights import Weights, freeze, on_device

# Target pixels decoded at once, on a CPU (where more is slower: it leaves the cache)
# and on accelerators; see benchmarks/results/baselines.md.
CHUNK = {"cpu": 2**11}
CHUNK_ELSEWHERE = 2**15
CHUNKS_AT_ONCE = 4
# Attention weights held at once; beyond it, queries are taken in chunks.
ATTENTION_BUDGET = 2**24


class QueryRestorer(Restorer):
    """Completes and enlarges photos with one query model.

    Attributes:
      model: the fields of the model, see `dear_jax.registry`.
      variables: its parameters; may be replaced by others of the same shapes.
    """

    def __init__(self, weights: Weights, name: str, trained: bool = True):
        super().__init__(name, weights.provenance, trained)
        self.model = weights.model
        self.variables = on_device(weights).variables

    def restore(
        self, image: np.ndarray, mask: np.ndarray, target: tuple[int, int]
    ) -> np.ndarray:
        """See `Restorer.restore`."""
        features = self.encode(image, mask)
        return to_kind_of(image, self._decode(features, image.shape[:2], target))

    def encode(self, image: np.ndarray, mask: np.ndarray) -> Any:
        """Encodes a photo [H, W, 3] and mask [H, W] bool; features may be padded."""
        height, width = image.shape[:2]
        shape, model = padded_size((height, width), self.model), self.model
        pads = ((0, shape[0] - height), (0, shape[1] - width))
        image = np.pad(to_floats(image), (*pads, (0, 0)))
        mask = np.pad(mask, pads, constant_values=True).astype(np.float32)
        valid = np.pad(np.ones((height, width), np.float32), pads)
        if "attention_pool" in model:
            cells = math.prod(shape) // model["attention_pool"] ** 2
            whole = cells**2 <= ATTENTION_BUDGET
            chunk = 0 if whole else max(1, ATTENTION_BUDGET // cells)
            model = {**model, "attention_chunk": chunk}
        return _encoder(freeze(model))(
            self.variables, image[None], mask[None, ..., None], valid[None, ..., None]
        )

    def importance(
        self, image: np.ndarray, mask: np.ndarray | None = None
    ) -> np.ndarray | None:
        """Importance map W [H, W] in [0, 1] of a photo; None without that part."""
        if not self.model.get("importance"):
            return None
        image = check_image(image)
        features = self.encode(image, check_mask(mask, image))
        return np.asarray(features.importance[0, : image.shape[0], : image.shape[1], 0])

    def _decode(
        self, features: Any, source: tuple[int, int], target: tuple[int, int]
    ) -> np.ndarray:
        """Colours [h, w, 3], nominally in [0, 1], of the whole target grid."""
        decode = _decoder(freeze(self.model))
        features = jax.tree.map(_pad_to_bucket, features.for_decoding())
        total = math.prod(target)
        most = CHUNK.get(jax.default_backend(), CHUNK_ELSEWHERE)
        chunk = min(most, 2 ** math.ceil(math.log2(total)))
        size = np.array(source, np.int32)
        colours = np.empty((total, 3), np.float32)
        # A few chunks are under way at once, so that none waits for another's end.
        under_way: deque[tuple[int, jax.Array]] = deque()

        def finish_one() -> None:
            start, answer = under_way.popleft()
            stop = min(start + chunk, total)
            colours[start:stop] = np.asarray(answer)[0, : stop - start]

        for start in range(0, total, chunk):
            # The last chunk runs over the end; its spare queries repeat the last one.
            flat = np.minimum(np.arange(start, start + chunk), total - 1)
            index = np.stack(np.divmod(flat, target[1]), axis=-1)
            queries = to_coordinates(index, target)
            cell = np.broadcast_to(np.float32(2) / np.float32(target), queries.shape)
            answer = decode(self.variables, features, queries[None], cell[None], size)
            under_way.append((start, answer))
            if len(under_way) == CHUNKS_AT_ONCE:
                finish_one()
        while under_way:
            finish_one()
        return colours.reshape(*target, 3)


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
def _encoder(model: tuple):
    return jax.jit(functools.partial(build(dict(model)).apply, method="encode"))


@functools.lru_cache(maxsize=32)
def _decoder(model: tuple):
    module = build(dict(model))

    def decode(variables, features, queries, cell, size):
        if hasattr(module, "clip_cell"):
            cell = module.clip_cell(cell, size)
        colours = module.apply(
            variables, features, queries, cell, size, method="decode"
        )
        return (colours + 1) / 2

    return jax.jit(decode)
