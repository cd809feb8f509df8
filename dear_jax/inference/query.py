"""A query model as a system: encoded once, rendered at any scale.

Photos are encoded once; pictures of any part and size are then rendered from what was
encoded, a number of pixels at a time, so memory does not grow with the picture. How,
`dear_jax.inference.dear` says for DEAR and `dear_jax.inference.pointwise` for LIIF and
LTE.
"""

import copy
import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float, Float32, Num

from dear_jax.errors import InputError
from dear_jax.inference.denoise import Denoise, default_denoise
from dear_jax.inference.devices import Placed, in_portions, on_host
from dear_jax.inference.inputs import check_image, check_mask, target_size
from dear_jax.inference.plan import Plan
from dear_jax.inference.progress import Advance, Counted, Progress
from dear_jax.inference.rendering import View
from dear_jax.inference.restorer import Restorer
from dear_jax.inference.texture import check_texture, mixed
from dear_jax.typing import Array
from dear_jax.weights import Weights, read_weights


@dataclasses.dataclass(frozen=True)
class Encoded:
    """A photo as a model sees it, from which pictures are rendered.

    Attributes:
      size: of the photo, (H, W).
      kind: what its pixels were, and what rendering returns: uint8 or float32.
      maps: on the device, for the system that made them.
      importance: W in (0, 1), or None.
      plan: by which it was encoded.
    """

    size: tuple[int, int]
    kind: np.dtype
    maps: Any
    importance: Float[np.ndarray, "H W"] | None
    plan: Plan


class QueryRestorer(Restorer):
    """Completes and enlarges photos with one query model.

    Args:
      weights: of the model.
      name: what to call it.
      trained: whether they are.

    Attributes:
      texture_file: where the texture weights of its model lie, perhaps missing; None
        where there can be none.
    """

    texture_file: Path | None = None

    def __init__(self, weights: Weights, name: str, trained: bool = True):
        super().__init__(name, weights.provenance, trained)
        self._placed = self._fidelity = Placed(weights)

    @property
    def model(self) -> dict[str, Any]:
        """The fields of the model, see `dear_jax.models.registry`."""
        return self._placed.model

    @property
    def variables(self) -> Any:
        """Its parameters; may be replaced by others of the same shapes."""
        return self._placed.variables

    @variables.setter
    def variables(self, variables: Any) -> None:
        self._placed = self._fidelity = self._placed.replaced(variables)

    def with_texture(self, texture: Any) -> "QueryRestorer":
        """See `Restorer.with_texture`; raises InputError for unfit weights too."""
        texture, file = check_texture(texture), self.texture_file
        other, placed = copy.copy(self), self._fidelity
        if texture:
            if file is None or not file.is_file():
                missing = f"{file}: no such file" if file else "they lie beside a file"
                raise InputError(
                    f"texture={texture:g}: {self.name} has no texture weights "
                    f"({missing}); take 0"
                )
            fidelity = Weights(placed.variables, placed.model, placed.provenance)
            try:
                placed = Placed(mixed(fidelity, read_weights(file), texture))
            except InputError as error:
                where = "" if str(error).startswith(str(file)) else f"{file}: "
                raise InputError(f"{where}{error}") from None
        other._placed, other.provenance = placed, placed.provenance
        return other

    def facts(self) -> list:
        """See `Restorer.facts`."""
        return [*super().facts(), self._placed.digest]

    def restore(
        self,
        images: Num[np.ndarray, "B H W 3"],
        masks: Bool[np.ndarray, "B H W"],
        target: tuple[int, int],
        levels: Float32[np.ndarray, " B"] | None = None,
    ) -> Num[np.ndarray, "B {target[0]} {target[1]} 3"]:
        """See `Restorer.restore`."""

        def restore(images: np.ndarray, masks: np.ndarray, levels: np.ndarray):
            plan = self.plan(masks.shape[1:], target, max_memory=math.inf)
            return self._restore(images, masks, levels, plan, None)

        levels = self.levels(0.0, len(images)) if levels is None else levels
        return in_portions(restore, images, masks, levels)

    def restore_one(
        self,
        image: Num[np.ndarray, "H W 3"],
        mask: Bool[np.ndarray, "H W"],
        target: tuple[int, int],
        plan: Plan | None,
        progress: Progress | None,
        levels: Float32[np.ndarray, " 1"] | None = None,
    ) -> Num[np.ndarray, "{target[0]} {target[1]} 3"]:
        """See `Restorer.restore_one`."""
        plan = plan or self.plan(mask.shape, target)
        if tuple(plan.target) != target:
            raise InputError(
                f"plan is for results of {plan.target}, this one is {target}; make "
                "another"
            )
        self._check_plan(plan, mask.shape)
        levels = self.levels(0.0, 1) if levels is None else levels
        return self._restore(image[None], mask[None], levels, plan, progress)[0]

    @on_host
    def encode(
        self,
        image: Array,
        mask: Array | None = None,
        plan: Plan | None = None,
        progress: Progress | None = None,
        denoise: Denoise | Sequence[Denoise] = None,
        quality: float | None = None,
    ) -> Encoded:
        """Does all that depends on the photo alone, for `render`.

        Args:
          image: [H, W, 3], uint8 or float in [0, 1].
          mask: [H, W], non-zero = missing, or None.
          plan: see `plan`; made for the photo's own size if left out.
          progress: called as progress(done, total) from time to time.
          denoise: how degraded the photo is, see `Restorer.__call__`; enlarged is
            what the plan's target says, without a plan the level is 0.
          quality: JPEG quality of the photo's file, see `Restorer.__call__`.

        Raises:
          InputError: for a photo or mask that cannot be used, or too little memory.
        """
        image = check_image(image)
        mask = check_mask(mask, image)
        if image.dtype != np.uint8:
            image = image.astype(np.float32)
        plan = plan or self.plan(mask.shape, mask.shape)
        self._check_plan(plan, mask.shape)
        assert plan.work is not None
        counted = Counted(progress, plan.work.embedding + plan.work.attention)
        photo = image[None], mask[None]
        enlarged = tuple(plan.target) != mask.shape
        default = default_denoise(enlarged)
        levels = self.settled_levels(denoise, *photo, default, quality)
        maps, importance = self._encode(*photo, levels, plan, counted.advance)
        if importance is not None:
            height, width = mask.shape
            importance = np.asarray(importance)[0, :height, :width, 0]
        counted.finish()
        return Encoded(mask.shape, image.dtype, maps, importance, plan)

    @on_host
    def render(
        self,
        encoded: Encoded,
        window: tuple[float, float, float, float] | None = None,
        size: Sequence[int] | None = None,
        progress: Progress | None = None,
    ) -> Num[np.ndarray, "h w 3"]:
        """Renders a picture of a photo, or of a part of it.

        Parts that divide the whole evenly are, put together, the picture of the whole.

        Args:
          encoded: of the photo, by this system.
          window: (top, left, bottom, right) in pixels of the photo from its upper left
            edge, fractions allowed; None for all of it.
          size: of the picture (h, w), no smaller than the window; None for as many
            pixels as the window has.
          progress: called as progress(done, total) from time to time.

        Returns:
          uint8 or float32 in [0, 1] as the photo was.

        Raises:
          InputError: for a window outside the photo, or a size smaller than it.
        """
        height, width = encoded.size
        window = (0, 0, height, width) if window is None else window
        top, left, bottom, right = map(float, window)
        sides = bottom - top, right - left
        inside = 0 <= top and 0 <= left and bottom <= height and right <= width
        if not inside or min(sides) <= 0:
            raise InputError(
                f"window={(top, left, bottom, right)}: give (top, left, bottom, right) "
                f"within the photo's {height} rows and {width} columns"
            )
        least = max(1, math.floor(sides[0])), max(1, math.floor(sides[1]))
        size = target_size(least, size=least if size is None else size)
        counted = Counted(progress, 1.0)
        result = self._render(
            encoded.maps,
            encoded.size,
            View((top, left, bottom, right), size),
            encoded.kind,
            counted.advance,
        )[0]
        counted.finish()
        return result

    @on_host
    def importance(
        self, image: Array, mask: Array | None = None
    ) -> Float[np.ndarray, "H W"] | None:
        """Importance map W in [0, 1] of a photo; None without that part."""
        if not self.model.get("importance"):
            return None
        return self.encode(image, mask).importance

    def _restore(
        self,
        images: Num[np.ndarray, "B H W 3"],
        masks: Bool[np.ndarray, "B H W"],
        levels: Float32[np.ndarray, " B"],
        plan: Plan,
        progress: Progress | None,
    ) -> Num[np.ndarray, "B h w 3"]:
        """Encodes photos and renders the whole of them, or a plan's windows."""
        assert plan.work is not None
        counted, size = Counted(progress, sum(plan.work)), masks.shape[1:]
        needed = masks if plan.holes_only else None
        if needed is not None and not needed.any():
            counted.finish()
            return images.copy()
        if plan.windows:
            result = images.copy()
            for (rows, columns), part in plan.windows:
                here, holes = images[:, rows, columns], masks[:, rows, columns]
                filled = self._restore(here, holes, levels, part, None)
                result[:, rows, columns][holes] = filled[holes]
                counted.advance(sum(part.work or ()))
            counted.finish()
            return result
        maps, _ = self._encode(images, masks, levels, plan, counted.advance)
        view, kind = View((0, 0, *size), plan.target, needed), images.dtype
        share = plan.work.decoding
        result = self._render(
            maps, size, view, kind, lambda done: counted.advance(done * share)
        )
        counted.finish()
        return result

    def _check_plan(self, plan: Plan, source: tuple[int, int]) -> None:
        """Raises InputError if a plan is for other photos or another model."""
        if tuple(plan.source) != source:
            raise InputError(
                f"plan is for photos of {plan.source}, this one is {source}; "
                "make another"
            )
        if not self._fits(plan):
            raise InputError("plan is of another model; make one with this one's plan")

    def _fits(self, plan: Plan) -> bool:
        """Whether a plan is such as this model makes."""
        return plan.work is not None

    def _encode(
        self,
        images: Num[np.ndarray, "B H W 3"],
        masks: Bool[np.ndarray, "B H W"],
        levels: Float32[np.ndarray, " B"],
        plan: Plan,
        advance: Advance,
    ) -> tuple[Any, Float[jax.Array, "B h w 1"] | None]:
        """What `_render` reads, [B, ...], and the importance or None."""
        raise NotImplementedError

    def _render(
        self,
        maps: Any,
        source: tuple[int, int],
        view: View,
        kind: np.dtype,
        advance: Advance,
    ) -> Num[np.ndarray, "B {view.size[0]} {view.size[1]} 3"]:
        """Colours of a view, of the kind uint8 or float32."""
        raise NotImplementedError
