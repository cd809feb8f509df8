"""Inpainters as a system: MISF or LaMa, weights for photos of one or more sizes.

Only holes are changed: the known pixels go out as they came. Sizes that a network
does not take are padded at the bottom and right by mirroring, edge included, photo
and mask alike, and cropped back.
"""

import functools
import math
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dear_jax.errors import InputError
from dear_jax.inference.choices import RestorerOfChoices
from dear_jax.inference.compiling import compiled
from dear_jax.inference.devices import Placed, in_portions, mesh_for, per_device, spread
from dear_jax.inference.levels import to_floats, to_kind
from dear_jax.models.registry import build
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
        self,
        images: np.ndarray,
        masks: np.ndarray,
        target: tuple[int, int],
        levels: np.ndarray | None = None,
    ) -> np.ndarray:
        """See `Restorer.restore`."""
        nearest = self._nearest(images.shape[1:3])
        return in_portions(functools.partial(_fill, nearest), images, masks)

    def _nearest(self, size: tuple[int, int]) -> Placed:
        def distance(side: int) -> float:
            return abs(math.log(side / math.sqrt(math.prod(size))))

        return self._choices[min(sorted(self._choices), key=distance)]


def trained_side(weights: Weights | Placed) -> int:
    """Side, in pixels, of the photos that an inpainter was trained on."""
    config = weights.provenance.get("config", {})
    return config.get("data", {}).get("side", USUAL_SIDE)


def _fill(placed: Placed, images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    if not masks.any():
        return images.copy()
    variables = placed.variables_for(len(images))
    apply, multiple = _apply(freeze(placed.model), mesh_for(len(images)))
    height, width = masks.shape[1:]
    pads = ((0, 0), (0, -height % multiple), (0, -width % multiple))
    shown = np.pad(images, (*pads, (0, 0)), "symmetric")
    holes = np.pad(masks, pads, "symmetric")
    filled = np.asarray(apply(variables, spread(shown), spread(holes)))
    return filled[:, :height, :width].copy()


@functools.lru_cache(maxsize=32)
def _apply(model: tuple, mesh: Mesh | None):
    """The compiled module, and what its sides must be a multiple of."""
    module = build(dict(model))

    def apply(variables, images, masks):
        holes = masks[..., None]
        shown = jnp.where(holes, 0.0, to_floats(images))
        filled = module.apply(variables, shown, holes.astype(jnp.float32))
        return jnp.where(holes, to_kind(filled, images.dtype), images)

    return compiled(per_device(apply, mesh, "-bb")), module.multiple
