"""Systems of fixed-scale networks: upscalers (EDSR, ELAN) and inpainters (MISF, LaMa).

An upscaler has one set of weights for each scale; it has no input for holes, which are
black to it and stay. An inpainter has weights for photos of one or more sizes and only
changes holes: known pixels go out as they came. Sizes that an inpainter's network does
not take are padded at the bottom and right by mirroring, edge included, photo and mask
alike, and cropped back.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Float32, Num

from dear_jax.errors import InputError, NoWeights
from dear_jax.images import resize
from dear_jax.inference.devices import (
    Placed,
    compiled,
    in_portions,
    mesh_for,
    per_device,
    spread,
    to_floats,
    to_kind,
)
from dear_jax.inference.restorer import Restorer
from dear_jax.models.registry import build
from dear_jax.weights import Weights, freeze


class RestorerOfChoices(Restorer):
    """The base of upscalers (by scale) and inpainters (by side).

    Args:
      choices: weights of one architecture; of two with one key, the last counts.
      key: what tells them apart.
      name: what to call the system.
      trained: whether the weights are.
    """

    def __init__(
        self,
        choices: Sequence[Weights],
        key: Callable[[Weights], int],
        name: str,
        trained: bool,
    ):
        super().__init__(name, choices[-1].provenance, trained)
        self._choices = {key(weights): Placed(weights) for weights in choices}

    @property
    def variables(self) -> Any:
        """Of its only weights; may be replaced by others of the same shapes."""
        (placed,) = self._choices.values()
        return placed.variables

    @variables.setter
    def variables(self, variables: Any) -> None:
        ((key, placed),) = self._choices.items()
        self._choices = {key: placed.replaced(variables)}

    def facts(self) -> list:
        """See `Restorer.facts`."""
        every = sorted(self._choices.items())
        return [*super().facts(), [[key, placed.digest] for key, placed in every]]


class Upscaler(RestorerOfChoices):
    """Enlarges photos by the whole numbers it has weights for.

    Args:
      choices: weights, of different scales.
      name: what to call it.
      trained: whether they are.
    """

    def __init__(self, choices: Sequence[Weights], name: str, trained: bool = True):
        super().__init__(choices, lambda w: w.model["scale"], name, trained)

    def check(self, source: tuple[int, int], target: tuple[int, int]) -> None:
        """Raises NoWeights unless it has weights for the scale."""
        self._scale(source, target)

    def remark(self, source: tuple[int, int], target: tuple[int, int]) -> str:
        """Says when the scale is not whole because of rounded sizes (43 -> 256)."""
        scale = self._scale(source, target)
        height, width = (scale * side for side in source)
        if (height, width) == target:
            return ""
        return (
            f"{self.name}: its {width} x {height} brought to {target[1]} x {target[0]} "
            "by bicubic"
        )

    def restore(
        self,
        images: Num[np.ndarray, "B H W 3"],
        masks: Bool[np.ndarray, "B H W"],
        target: tuple[int, int],
        levels: Float32[np.ndarray, " B"] | None = None,
    ) -> Num[np.ndarray, "B {target[0]} {target[1]} 3"]:
        """See `Restorer.restore`, and `remark`."""
        placed = self._choices[self._scale(images.shape[1:3], target)]
        result = in_portions(functools.partial(_enlarge, placed), images, masks)
        if result.shape[1:3] == target:
            return result
        return np.stack([resize.bicubic(photo, target) for photo in result])

    def _scale(self, source: tuple[int, int], target: tuple[int, int]) -> int:
        def gap(scale: int) -> float:
            gaps = (abs(t - scale * s) for s, t in zip(source, target, strict=True))
            return max(gaps) / scale

        scale = min(sorted(self._choices), key=gap)
        # As sizes are rounded: the source is round(target / scale).
        if gap(scale) <= 1 / 2:
            return scale
        known = ", ".join(f"x{scale}" for scale in sorted(self._choices))
        raise NoWeights(
            f"{self.name} has weights for {known} only, not for {source[1]} x "
            f"{source[0]} to {target[1]} x {target[0]}; train or give others"
        )


def _enlarge(
    placed: Placed,
    images: Num[np.ndarray, "B H W 3"],
    masks: Bool[np.ndarray, "B H W"],
) -> Num[np.ndarray, "B h w 3"]:
    variables = placed.variables_for(len(images))
    apply = _compiled_upscaler(freeze(placed.model), mesh_for(len(images)))
    return np.array(apply(variables, spread(images), spread(masks)))


@functools.lru_cache(maxsize=32)
def _compiled_upscaler(model: tuple, mesh: Mesh | None):
    module = build(dict(model))
    low, high = module.value_range

    def apply(variables, images, masks):
        shown = jnp.where(masks[..., None], 0.0, to_floats(images))
        answer = module.apply(variables, low + (high - low) * shown)
        return to_kind((answer - low) / (high - low), images.dtype)

    return compiled(per_device(apply, mesh, "-bb"))


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
        images: Num[np.ndarray, "B H W 3"],
        masks: Bool[np.ndarray, "B H W"],
        target: tuple[int, int],
        levels: Float32[np.ndarray, " B"] | None = None,
    ) -> Num[np.ndarray, "B {target[0]} {target[1]} 3"]:
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


def _fill(
    placed: Placed,
    images: Num[np.ndarray, "B H W 3"],
    masks: Bool[np.ndarray, "B H W"],
) -> Num[np.ndarray, "B H W 3"]:
    if not masks.any():
        return images.copy()
    variables = placed.variables_for(len(images))
    apply, multiple = _compiled_inpainter(freeze(placed.model), mesh_for(len(images)))
    height, width = masks.shape[1:]
    pads = ((0, 0), (0, -height % multiple), (0, -width % multiple))
    shown = np.pad(images, (*pads, (0, 0)), "symmetric")
    holes = np.pad(masks, pads, "symmetric")
    filled = np.asarray(apply(variables, spread(shown), spread(holes)))
    return filled[:, :height, :width].copy()


@functools.lru_cache(maxsize=32)
def _compiled_inpainter(model: tuple, mesh: Mesh | None):
    """The compiled module, and what its sides must be a multiple of."""
    module = build(dict(model))

    def apply(variables, images, masks):
        holes = masks[..., None]
        shown = jnp.where(holes, 0.0, to_floats(images))
        filled = module.apply(variables, shown, holes.astype(jnp.float32))
        return jnp.where(holes, to_kind(filled, images.dtype), images)

    return compiled(per_device(apply, mesh, "-bb")), module.multiple
