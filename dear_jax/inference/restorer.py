"""What every system is: a function from a damaged photo to a complete one.

Photos come as uint8 or as floats in [0, 1] and go out as the same; a system does
its work in floats.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Num

from dear_jax.errors import InputError
from dear_jax.inference import damage, known
from dear_jax.inference.denoise import Denoise, default_denoise, settled_level
from dear_jax.inference.devices import on_host
from dear_jax.inference.inputs import (
    check_batch,
    check_image,
    check_mask,
    target_size,
)
from dear_jax.inference.plan import Plan
from dear_jax.inference.progress import Progress
from dear_jax.inference.texture import check_texture
from dear_jax.typing import Array


class Restorer:
    """Completes and enlarges photos; the base of all systems.

    Attributes:
      name: what to call it in tables.
      provenance: how its weights were made, from what and under which terms.
      trained: False if its weights, or some of them, are random.
      files: names of the weights files that were found for it by name.
    """

    def __init__(
        self,
        name: str,
        provenance: dict[str, Any] | None = None,
        trained: bool = True,
    ):
        self.name = name
        self.provenance = provenance or {}
        self.trained = trained
        self.files: tuple[str, ...] = ()

    @on_host
    def __call__(
        self,
        image: Array,
        mask: Array | None = None,
        scale: float | None = None,
        size: tuple[int, int] | None = None,
        plan: Plan | None = None,
        progress: Progress | None = None,
        denoise: Denoise | Sequence[Denoise] = None,
        quality: float | None = None,
        keep_known: bool | None = None,
    ) -> Num[np.ndarray, "h w 3"]:
        """Restores one photo.

        Args:
          image: [H, W, 3], uint8 or float in [0, 1].
          mask: [H, W], non-zero = missing, or None for a photo without holes.
          scale: target size is round(H scale) x round(W scale); default 1.
          size: the target size (h, w) itself, in place of `scale`.
          plan: how, see `plan`; None: as the machine's memory allows.
          progress: called as progress(done, total) from time to time.
          denoise: how degraded the photo is, in [0, 1], see
            `dear_jax.inference.degradation`; 0: clean, known pixels are as good
            as true. "auto": as `dear_jax.inference.degradation` finds, 0 for
            models without this input. None: "auto" where the photo is enlarged, since
            its noise would be enlarged too, else 0, and 0 with `keep_known`.
          quality: JPEG quality of the photo's file, which "auto" takes into account,
            see `ImageFile.quality`; None: as the pixels show it.
          keep_known: whether known pixels are those of the photo to the last bit, at
            the photo's own size, where then only what the holes need is computed;
            larger results: see `dear_jax.inference.known.keep_known`. None: at the
            photo's own size, with `denoise` 0.

        Returns:
          uint8 for uint8, float32 in [0, 1] for float.

        Raises:
          InputError: for a photo, mask, scale or size that cannot be used, one that
            needs more memory than there is, or `keep_known` with a level above 0.
        """
        image = check_image(image)
        mask = check_mask(mask, image)
        target = target_size(image.shape[:2], scale, size)
        self.check(mask.shape, target)
        photo, enlarged = (image[None], mask[None]), target != mask.shape
        default = default_denoise(enlarged, bool(keep_known))
        levels = self.settled_levels(denoise, *photo, default, quality)
        if image.dtype != np.uint8:
            image = image.astype(np.float32)
        keeps = _keeps(keep_known, enlarged, levels)
        if keeps and not enlarged:
            plan = plan._replace(holes_only=True) if plan else self.plan_holes(mask)
        result = self.restore_one(image, mask, target, plan, progress, levels)
        return known.keep_known(result, image, mask) if keeps else result

    @on_host
    def batch(
        self,
        images: Array | Sequence[Array],
        masks: Array | Sequence[Array] | None = None,
        size: tuple[int, int] | None = None,
        denoise: Denoise | Sequence[Denoise] | Array = None,
        keep_known: bool | None = None,
    ) -> Num[np.ndarray, "B h w 3"]:
        """Restores photos of one size together, each as if it were alone.

        On an accelerator all at once; where their number is a multiple of that of
        the devices, each device takes as many.

        Args:
          images: [B, H, W, 3], uint8 or float in [0, 1], at least one.
          masks: [B, H, W], non-zero = missing, or None for photos without holes.
          size: the target size (h, w), None for that of the photos.
          denoise: as for `__call__`, one for all or one for each photo.
          keep_known: as for `__call__`, where None is decided for each photo.

        Returns:
          uint8 for uint8, float32 in [0, 1] for float; equal to those of `__call__`
          but for the rounding of floats.

        Raises:
          InputError: as `__call__`.
        """
        images, masks = check_batch(images, masks)
        target = target_size(masks.shape[1:], size=size)
        if images.dtype != np.uint8:
            images = images.astype(np.float32)
        self.check(masks.shape[1:], target)
        enlarged = target != masks.shape[1:]
        default = default_denoise(enlarged, bool(keep_known))
        levels = self.settled_levels(denoise, images, masks, default)
        keeps = [_keeps(keep_known, enlarged, level) for level in levels]
        results = self.restore(images, masks, target, levels)
        for i in np.flatnonzero(keeps):
            results[i] = known.keep_known(results[i], images[i], masks[i])
        return results

    def with_texture(self, texture: Any) -> "Restorer":
        """The same system at another place between fidelity and texture.

        Args:
          texture: a number in [0, 1]; 0: the fidelity weights, 1: the texture weights,
            between them interpolated, see `dear_jax.inference.texture`.

        Raises:
          InputError: for anything else, or more than 0 without texture weights.
        """
        if check_texture(texture):
            raise InputError(
                f"texture={texture:g}: {self.name} has no texture weights, only one "
                "model at any scale can have them; take 0"
            )
        return self

    @property
    def takes_denoise(self) -> bool:
        """Whether `denoise` may be more than 0: whether the model has that input."""
        return False

    def settled_levels(
        self,
        denoise: Any,
        images: Num[np.ndarray, "B H W 3"],
        masks: Bool[np.ndarray, "B H W"],
        default: float | str,
        quality: float | None = None,
    ) -> Float32[np.ndarray, " B"]:
        """Levels of degradation of what `denoise` may be.

        Args:
          denoise: see `__call__`; one for all or one for each photo.
          images: uint8 or float in [0, 1].
          masks: True = missing.
          default: what None stands for, see `default_denoise`.
          quality: JPEG quality of the photos' files, None if it is not known.

        Raises:
          InputError: as `levels`.
        """
        each = [denoise] * len(images)
        if np.ndim(denoise) and not isinstance(denoise, str):
            each = list(denoise)
        each = [default if d is None else d for d in each]
        if len(each) != len(images):
            return self.levels(denoise, len(images))  # Which says what is wrong.
        settled = [
            settled_level(d, image, mask, self.takes_denoise, quality)
            for d, image, mask in zip(each, images, masks, strict=True)
        ]
        return self.levels(settled, len(images))

    def levels(self, denoise: Any, photos: int) -> Float32[np.ndarray, " {photos}"]:
        """Levels of degradation, of one number or so many.

        Raises:
          InputError: for anything but numbers in [0, 1], and for more than 0 where the
            model has no such input.
        """
        try:
            levels = np.broadcast_to(np.float32(denoise), (photos,))
        except (TypeError, ValueError):
            levels = None
        if levels is None or not ((levels >= 0) & (levels <= 1)).all():
            raise InputError(
                f"denoise={denoise!r}: give a number from 0 (clean) to 1, or one for "
                f"each of the {photos} photos"
            )
        if levels.any() and not self.takes_denoise:
            raise InputError(
                f"denoise={denoise!r}: {self.name} was not trained to remove noise; "
                "leave it 0"
            )
        return levels

    def plan(
        self,
        source: tuple[int, int],
        target: tuple[int, int],
        max_memory: float | None = None,
    ) -> Plan:
        """Settles how a photo will be restored, before any work.

        Args:
          source: size (H, W) of the photo.
          target: size (h, w) of the result.
          max_memory: bytes that the process may take at most, where this system can
            choose; None: most of what is free.

        Raises:
          InputError: if it cannot be done in that memory, or by this system.
        """
        del max_memory
        self.check(source, target)
        return Plan(source, target)

    def plan_holes(
        self, mask: Bool[np.ndarray, "H W"], max_memory: float | None = None
    ) -> Plan:
        """As `plan`, for one photo at its own size whose known pixels stay.

        Args:
          mask: True = missing.
          max_memory: see `plan`.
        """
        return self.plan(mask.shape, mask.shape, max_memory)._replace(holes_only=True)

    def check(self, source: tuple[int, int], target: tuple[int, int]) -> None:
        """Raises InputError if it cannot bring a photo of size `source` to `target`."""

    def remark(self, source: tuple[int, int], target: tuple[int, int]) -> str:
        """What a reader of its results should know of such sizes; may be empty."""
        return ""

    def restore(
        self,
        images: Num[np.ndarray, "B H W 3"],
        masks: Bool[np.ndarray, "B H W"],
        target: tuple[int, int],
        levels: Float32[np.ndarray, " B"] | None = None,
    ) -> Num[np.ndarray, "B {target[0]} {target[1]} 3"]:
        """Restores photos that have been checked; see `batch`.

        Args:
          images: uint8 or float32.
          masks: True = missing.
          target: (h, w).
          levels: see `levels`; None: all 0.

        Returns:
          A new array of the same kind.
        """
        raise NotImplementedError

    def restore_one(
        self,
        image: Num[np.ndarray, "H W 3"],
        mask: Bool[np.ndarray, "H W"],
        target: tuple[int, int],
        plan: Plan | None,
        progress: Progress | None,
        levels: Float32[np.ndarray, " 1"] | None = None,
    ) -> Num[np.ndarray, "{target[0]} {target[1]} 3"]:
        """Restores one photo that has been checked; see `__call__`.

        Systems without choices restore a batch of one.
        """
        del plan
        result = self.restore(image[None], mask[None], target, levels)[0]
        if progress:
            progress(1, 1)
        return result

    def find_damage(
        self,
        image: Array,
        sensitivity: float = damage.SENSITIVITY,
        dilate: int = damage.DILATE,
    ) -> Bool[np.ndarray, "H W"]:
        """Finds where a photo is damaged, for a mask that nobody has to paint.

        Args:
          image: [H, W, 3], uint8 or float in [0, 1].
          sensitivity, dilate: see `dear_jax.inference.damage.damaged`.

        Returns:
          The mask, True = damaged, as `__call__` takes it.
        """
        return damage.found_damage(image, sensitivity, dilate)

    def damage_probability(self, image: Array) -> Float32[np.ndarray, "H W"]:
        """How likely each pixel of a photo is damaged, from 0 to 1."""
        return damage.bundled_detector().probability(image)

    def fingerprint(self) -> str:
        """A short hash of all that decides its results: weights, models, filters.

        Names of systems and files do not matter, nor what else is known of weights.
        """
        return hashlib.sha256(repr(self.facts()).encode()).hexdigest()[:16]

    def facts(self) -> list:
        """What `fingerprint` is the hash of; systems add what is theirs."""
        return [type(self).__name__]

    def importance(
        self, image: Array, mask: Array | None = None
    ) -> Float[np.ndarray, "H W"] | None:
        """Importance map in [0, 1] of a photo; None unless DEAR has it."""
        return None


def _keeps(keep_known: bool | None, enlarged: bool, levels: Any) -> bool:
    """Whether known pixels are kept, see `Restorer.__call__`.

    Raises:
      InputError: if they are to be, of a photo that is restored at a level above 0.
    """
    if keep_known and np.any(levels):
        raise InputError(
            f"denoise={float(np.max(levels)):g}: changes known pixels, which "
            "keep_known=True keeps; give one of them"
        )
    return not (enlarged or np.any(levels)) if keep_known is None else keep_known
