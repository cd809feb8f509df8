"""Systems without weights: Telea's fill, bilinear and bicubic enlargement.

Together, as "telea+bicubic", they are the classical row that a learned model has to
beat.
"""

import numpy as np
from jaxtyping import Bool, Float32, Num, UInt8

from dear_jax.errors import InputError
from dear_jax.images import resize
from dear_jax.inference.restorer import Restorer

# Radius of the neighbourhood a hole pixel is filled from, in low-resolution pixels.
RADIUS = 3


class Interpolation(Restorer):
    """Enlarges with one of Pillow's filters, "bilinear" or "bicubic"."""

    def restore(
        self,
        images: Num[np.ndarray, "B H W 3"],
        masks: Bool[np.ndarray, "B H W"],
        target: tuple[int, int],
        levels: Float32[np.ndarray, " B"] | None = None,
    ) -> Num[np.ndarray, "B {target[0]} {target[1]} 3"]:
        """See `Restorer.restore`. Holes are black and stay."""
        shown = np.where(masks[..., None], images.dtype.type(0), images)
        enlarge = {"bilinear": resize.bilinear, "bicubic": resize.bicubic}[self.name]
        return np.stack([enlarge(photo, target) for photo in shown])

    def facts(self) -> list:
        """See `Restorer.facts`."""
        return [*super().facts(), self.name]


class Telea(Restorer):
    """Fills holes by fast marching (Telea 2004, as OpenCV has it), in 8 bits."""

    def check(self, source: tuple[int, int], target: tuple[int, int]) -> None:
        """Raises InputError unless the size stays the same."""
        if source != target:
            raise InputError("telea keeps the size; 'telea+bicubic' enlarges")

    def restore(
        self,
        images: Num[np.ndarray, "B H W 3"],
        masks: Bool[np.ndarray, "B H W"],
        target: tuple[int, int],
        levels: Float32[np.ndarray, " B"] | None = None,
    ) -> Num[np.ndarray, "B {target[0]} {target[1]} 3"]:
        """See `Restorer.restore`; mid-grey everywhere if nothing at all is known.

        Raises:
          InputError: if OpenCV is not installed.
        """
        grey_levels = images
        if images.dtype != np.uint8:
            known = np.where(masks[..., None], 0, images)
            grey_levels = np.round(255 * known).astype(np.uint8)
        filled = np.stack(
            [fill(*pair) for pair in zip(grey_levels, masks, strict=True)]
        )
        if images.dtype != np.uint8:
            filled = filled.astype(np.float32) / 255
        return np.where(masks[..., None], filled, images.astype(filled.dtype))

    def facts(self) -> list:
        """See `Restorer.facts`."""
        return [*super().facts(), RADIUS]


def fill(
    image: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Fills the holes of a photo where `mask` is True."""
    if mask.all():
        return np.full_like(image, 128)
    if not mask.any():
        return image
    try:
        import cv2
    except ImportError:
        raise InputError(
            "OpenCV is not installed: the classical row needs it; "
            "pip install opencv-python-headless"
        ) from None
    known = np.where(mask[..., None], np.uint8(0), image)
    return cv2.inpaint(known, mask.astype(np.uint8), RADIUS, cv2.INPAINT_TELEA)
