"""A query model as a system: encoded once, rendered at any scale.

Photos are encoded once; pictures of any part and size are then rendered from what was
encoded, a number of pixels at a time, so memory does not grow with the picture. How,
`dear_jax.inference.dear` says for DEAR and `dear_jax.inference.pointwise` for LIIF and
LTE.
"""

import copy
import dataclasses
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np

from dear_jax.errors import InputError
from dear_jax.inference.denoise import Denoise
from dear_jax.inference.devices import Placed, in_portions
from dear_jax.inference.plan import Plan
from dear_jax.inference.progress import Advance, Counted, Progress
from dear_jax.inference.rendering import View
from dear_jax.inference.restorer import Restorer, check_image, check_mask, target_size
from dear_jax.inference.texture import check_texture, mixed
from dear_jax.weights import Weights, read_weights


@dataclasses.dataclass(frozen=True)
class Encoded:
    """A photo as a model sees it, from which pictures are rendered.

    Attributes:
      size: of the photo, (H, W).
      kind: what its pixels were, and what rendering returns: uint8 or float32.
      maps: on the device, for the system that made them.
      importance: W [H, W] in (0, 1), or None.
      plan: by which it was encoded.
    """

    size: tuple[int, int]
    kind: np.dtype
    maps: Any
    importance: np.ndarray | None
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

    def with_texture(self, texture: float) -> "QueryRestorer":
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
        images: np.ndarray,
        masks: np.ndarray,
        target: tuple[int, int],
        levels: np.ndarray | None = None,
    ) -> np.ndarray:
        """See `Restorer.restore`."""

        def restore(images: np.ndarray, masks: np.ndarray, levels: np.ndarray):
            plan = self.plan(masks.shape[1:], target, max_memory=math.inf)
            return self._restore(images, masks, levels, plan, None)

        levels = self.levels(0.0, len(images)) if levels is None else levels
        return in_portions(restore, images, masks, levels)

    def restore_one(
        self,
        image: np.ndarray,
        mask: np.ndarray,
        target: tuple[int, int],
        plan: Plan | None,
        progress: Progress | None,
        levels: np.ndarray | None = None,
    ) -> np.ndarray:
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

    def encode(
        self,
        image: np.ndarray,
        mask: np.ndarray | None = None,
        plan: Plan | None = None,
        progress: Progress | None = None,
        denoise: Denoise = None,
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
        counted = Counted(progress, plan.work.embedding + plan.work.attention)
        photo = image[None], mask[None]
        enlarged = tuple(plan.target) != mask.shape
        levels = self.settled_levels(denoise, *photo, enlarged, quality)
        maps, importance = self._encode(*photo, levels, plan, counted.advance)
        if importance is not None:
            height, width = mask.shape
            importance = np.asarray(importance)[0, :height, :width, 0]
        counted.finish()
        return Encoded(mask.shape, image.dtype, maps, importance, plan)

    def render(
        self,
        encoded: Encoded,
        window: tuple[float, float, float, float] | None = None,
        size: tuple[int, int] | None = None,
        progress: Progress | None = None,
    ) -> np.ndarray:
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
          [h, w, 3], uint8 or float32 in [0, 1] as the photo was.

        Raises:
          InputError: for a window outside the photo, or a size smaller than it.
        """
        whole = (0.0, 0.0, *map(float, encoded.size))
        window = whole if window is None else tuple(map(float, window))
        sides = [window[i + 2] - window[i] for i in (0, 1)]
        inside = all(low <= at for low, at in zip((0, 0), window, strict=False))
        inside &= all(a <= n for a, n in zip(window[2:], encoded.size, strict=True))
        if not inside or min(sides) <= 0:
            raise InputError(
                f"window={window}: give (top, left, bottom, right) within the photo's "
                f"{encoded.size[0]} rows and {encoded.size[1]} columns"
            )
        least = tuple(max(1, math.floor(side)) for side in sides)
        size = target_size(least, size=least if size is None else size)
        counted = Counted(progress, 1.0)
        result = self._render(
            encoded.maps,
            encoded.size,
            View(window, size),
            encoded.kind,
            counted.advance,
        )[0]
        counted.finish()
        return result

    def importance(
        self, image: np.ndarray, mask: np.ndarray | None = None
    ) -> np.ndarray | None:
        """Importance map W [H, W] in [0, 1] of a photo; None without that part."""
        if not self.model.get("importance"):
            return None
        return self.encode(image, mask).importance

    def _restore(
        self,
        images: np.ndarray,
        masks: np.ndarray,
        levels: np.ndarray,
        plan: Plan,
        progress: Progress | None,
    ) -> np.ndarray:
        """Encodes photos and renders the whole of them."""
        counted, size = Counted(progress, sum(plan.work)), masks.shape[1:]
        needed = masks if plan.holes_only else None
        if needed is not None and not needed.any():
            counted.finish()
            return images.copy()
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
        images: np.ndarray,
        masks: np.ndarray,
        levels: np.ndarray,
        plan: Plan,
        advance: Advance,
    ) -> tuple[Any, jax.Array | None]:
        """What `_render` reads, [B, ...], and the importance [B, H', W', 1] or None."""
        raise NotImplementedError

    def _render(
        self,
        maps: Any,
        source: tuple[int, int],
        view: View,
        kind: np.dtype,
        advance: Advance,
    ) -> np.ndarray:
        """Colours [B, h, w, 3] of a view, of the kind uint8 or float32."""
        raise NotImplementedError
