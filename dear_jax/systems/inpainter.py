"""Inpainters as a system: MISF or LaMa, weights for photos of one or more sizes.

Only holes are changed: the known pixels go out as they came. Sizes that a network
does not take are padded at the bottom and right by mirroring, edge included, photo
and mask alike, and cropped back.
"""

import functools
import math
from collections.abc import Sequence

import numpy as np

from dear_jax.errors import InputError
from dear_jax.registry import build
from dear_jax.systems.choices import RestorerOfChoices
from dear_jax.systems.compiling import compiled
from dear_jax.systems.restorer import to_floats, to_kind_of
from dear_jax.weights import Weights, freeze

# Authors train at this side; so do weights that do not say otherwise.
USUAL_SIDE = 256


class Inpainter(RestorerOfChoices):
    """Fills the holes of photos, with the weights that were trained nearest in size.

    Args:
      choices: weights, trained on photos of different sides.
      name: what to call it.
      trained: whether they are.
    """

    def __init__(self, choices: Sequence[Weights], name: str, trained: bool = True):
        super().__init__(choices, trained_side, name, trained)

    def check(self, source: tuple[int, int], target: tuple[int, int]) -> None:
        """Raises InputError unless the size stays the same."""
        if source != target:
            raise InputError(
                f"{self.name} fills holes and keeps the size, {source[1]} x "
                f"{source[0]}; to enlarge too, name an upscaler, as in "
                f"'{self.name}+bicubic'"
            )

    def remark(self, source: tuple[int, int], target: tuple[int, int]) -> str:
        """Says when it was trained on photos of another size."""
        side = trained_side(self._nearest(target))
        if not self.trained or {side} == set(target):
            return ""
        size = f"{target[1]} x {target[0]}"
        return f"{self.name}: trained at {side} x {side}, used at {size}"

    def restore(
        self, image: np.ndarray, mask: np.ndarray, target: tuple[int, int]
    ) -> np.ndarray:
        """See `Restorer.restore`."""
        if not mask.any():
            return image.copy()
        weights = self._nearest(image.shape[:2])
        shown = np.where(mask[..., None], 0, to_floats(image))
        apply, multiple = _apply(freeze(weights.model))
        pads = tuple((0, -side % multiple) for side in mask.shape)
        shown = np.pad(shown, (*pads, (0, 0)), "symmetric")
        holes = np.pad(mask, pads, "symmetric").astype(np.float32)
        filled = apply(weights.variables, shown[None], holes[None, ..., None])
        filled = np.asarray(filled[0, : mask.shape[0], : mask.shape[1]])
        return np.where(mask[..., None], to_kind_of(image, filled), image)

    def _nearest(self, size: tuple[int, int]) -> Weights:
        def distance(side: int) -> float:
            return abs(math.log(side / math.sqrt(math.prod(size))))

        return self._choices[min(sorted(self._choices), key=distance)]


def trained_side(weights: Weights) -> int:
    """Side, in pixels, of the photos that an inpainter was trained on."""
    config = weights.provenance.get("config", {})
    return config.get("data", {}).get("side", USUAL_SIDE)


@functools.lru_cache(maxsize=32)
def _apply(model: tuple):
    """The compiled module, and what its sides must be a multiple of."""
    module = build(dict(model))
    return compiled(module.apply), module.multiple
