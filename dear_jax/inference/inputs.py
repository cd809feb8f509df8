"""What photos, masks and sizes systems take: checked before any work."""

import math
import numbers
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Num

from dear_jax.errors import InputError
from dear_jax.typing import Array

# What no picture has: libraries could not count its rows or its bytes.
TOO_LONG, TOO_MANY = 2**31, 2**40


def target_size(
    source: tuple[int, int],
    scale: float | None = None,
    size: Sequence[int] | None = None,
) -> tuple[int, int]:
    """Settles the target size (h, w) for a photo of size `source` (H, W).

    Raises:
      InputError: if both or nonsense are given, or the target is smaller.
    """
    if scale is not None and size is not None:
        raise InputError(f"scale={scale} and size={size}: give one of them")
    if size is None:
        scale = 1 if scale is None else scale
        if not isinstance(scale, numbers.Real) or not 1 <= scale < math.inf:
            raise InputError(f"scale={scale!r}: give a number of at least 1")
        if max(source) * scale >= TOO_LONG:
            raise InputError(
                f"scale={scale}: sides of {source[0]} x {source[1]} pixels become "
                f"longer than {TOO_LONG}; give a smaller one"
            )
        size = (round(source[0] * scale), round(source[1] * scale))
    sides = tuple(size) if np.iterable(size) else (size,)
    if len(sides) != 2 or not all(isinstance(s, numbers.Integral) for s in sides):
        raise InputError(f"size={size!r}: give two whole numbers, (height, width)")
    height, width = map(int, sides)
    if max(height, width) >= TOO_LONG or height * width >= TOO_MANY:
        raise InputError(
            f"target {height} x {width} has more pixels than any picture; give a "
            "smaller size"
        )
    if height < source[0] or width < source[1]:
        raise InputError(
            f"target {height} x {width} is smaller than the photo's {source[0]} x "
            f"{source[1]} (height x width); this model only keeps or enlarges, reduce "
            "the photo first"
        )
    return height, width


def check_image(image: Array) -> Num[np.ndarray, "H W 3"]:
    """Returns the photo as an array; InputError unless [H, W, 3] uint8 or [0, 1]."""
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] != 3 or 0 in image.shape:
        raise InputError(f"image has shape {image.shape}; give [H, W, 3], not empty")
    if image.dtype == np.uint8 or np.issubdtype(image.dtype, np.floating):
        return image
    raise InputError(f"image is {image.dtype}; give uint8, or float in [0, 1]")


def check_mask(
    mask: Array | None, image: Num[np.ndarray, "H W 3"]
) -> Bool[np.ndarray, "H W"]:
    """Returns the mask, True = missing; InputError if it does not fit the photo."""
    given = np.zeros(image.shape[:2], bool) if mask is None else np.asarray(mask)
    if given.shape != image.shape[:2]:
        raise InputError(
            f"mask has shape {given.shape}, the image {image.shape}; give a mask "
            "[H, W] of the image's size, non-zero where it is missing"
        )
    missing = np.not_equal(given, 0)
    if np.issubdtype(image.dtype, np.floating) and not missing.all():
        known = image[~missing]
        low, high = known.min(), known.max()
        if not (-1e-6 <= low and high <= 1 + 1e-6):
            raise InputError(
                f"image has values from {low:.8g} to {high:.8g}; float images must lie "
                "in [0, 1], divide by 255 or clip"
            )
    return missing


def check_batch(
    images: Array | Sequence[Array], masks: Array | Sequence[Array] | None
) -> tuple[Num[np.ndarray, "B H W 3"], Bool[np.ndarray, "B H W"]]:
    """Photos and masks, True = missing; InputError as for one photo."""
    try:
        images = np.asarray(images)
        masks = np.zeros(images.shape[:3], bool) if masks is None else np.asarray(masks)
    except ValueError:
        raise InputError("images or masks of several sizes; batch each size") from None
    if images.ndim != 4 or not len(images):
        raise InputError(
            f"images have shape {images.shape}; give [B, H, W, 3], not empty"
        )
    if masks.shape[:1] != images.shape[:1]:
        raise InputError(
            f"images have shape {images.shape}, masks {masks.shape}; give a mask "
            "[H, W] for each"
        )
    for image, mask in zip(images, masks, strict=True):
        check_mask(mask, check_image(image))
    return images, masks != 0
