"""Fixed-scale upscalers as a system: EDSR or ELAN, one set of weights per scale.

An upscaler knows nothing of holes: they are black to it, and stay.
"""

import functools
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from dear_jax.errors import NoWeights
from dear_jax.images import resize
from dear_jax.inference.choices import RestorerOfChoices
from dear_jax.inference.compiling import compiled
from dear_jax.inference.devices import Placed, in_portions, mesh_for, per_device, spread
from dear_jax.inference.levels import to_floats, to_kind
from dear_jax.models.registry import build
from dear_jax.weights import Weights, freeze


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
        images: np.ndarray,
        masks: np.ndarray,
        target: tuple[int, int],
        levels: np.ndarray | None = None,
    ) -> np.ndarray:
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


def _enlarge(placed: Placed, images: np.ndarray, masks: np.ndarray) -> np.ndarray:
    variables = placed.variables_for(len(images))
    apply = _apply(freeze(placed.model), mesh_for(len(images)))
    return np.array(apply(variables, spread(images), spread(masks)))


@functools.lru_cache(maxsize=32)
def _apply(model: tuple, mesh: Mesh | None):
    module = build(dict(model))
    low, high = module.value_range

    def apply(variables, images, masks):
        shown = jnp.where(masks[..., None], 0.0, to_floats(images))
        answer = module.apply(variables, low + (high - low) * shown)
        return to_kind((answer - low) / (high - low), images.dtype)

    return compiled(per_device(apply, mesh, "-bb"))
