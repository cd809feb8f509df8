"""Resizing photos and masks as the evaluation protocol does.

Photos are reduced and enlarged with Pillow's bicubic filter on uint8 (Keys' kernel,
a = -0.5, widened when reducing; both passes rounded to grey levels); masks with
Pillow's nearest neighbour, so they stay binary.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int32, Num
from PIL import Image

from dear_jax.typing import Array

WEIGHT_BITS = 22  # Of Pillow's weights after the binary point.


def bicubic(
    photo: Num[np.ndarray, "H W 3"], size: tuple[int, int]
) -> Num[np.ndarray, "{size[0]} {size[1]} 3"]:
    """Resizes a photo to `size` = (h, w) with Pillow's bicubic.

    uint8 gives uint8; floats in [0, 1] give float32 in [0, 1], without rounding.
    """
    return _resize(photo, size, Image.Resampling.BICUBIC)


def bilinear(
    photo: Num[np.ndarray, "H W 3"], size: tuple[int, int]
) -> Num[np.ndarray, "{size[0]} {size[1]} 3"]:
    """As `bicubic`, with Pillow's bilinear filter."""
    return _resize(photo, size, Image.Resampling.BILINEAR)


def _resize(
    photo: np.ndarray, size: tuple[int, int], method: Image.Resampling
) -> np.ndarray:
    height, width = size
    if photo.dtype == np.uint8:
        return np.asarray(Image.fromarray(photo).resize((width, height), method))
    channels = [
        Image.fromarray(np.asarray(photo[..., c], np.float32)) for c in range(3)
    ]
    resized = [np.asarray(c.resize((width, height), method)) for c in channels]
    return np.clip(np.stack(resized, axis=-1), 0, 1)


def nearest(
    mask: Bool[np.ndarray, "H W"], size: tuple[int, int]
) -> Bool[np.ndarray, "{size[0]} {size[1]}"]:
    """Resizes a mask to `size` = (h, w) with Pillow's nearest."""
    height, width = size
    grey = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(grey.resize((width, height), Image.Resampling.NEAREST)) > 127


def bicubic_taps(
    old: int, new: int
) -> tuple[Int32[np.ndarray, " {new}"], Int32[np.ndarray, "{new} K"]]:
    """Returns the weights of Pillow's bicubic from `old` pixels in a row to `new` ones.

    Returns:
      The first pixel of each sum, and the weights of that and the next pixels in
      units of 2^-22; 0 past the last pixel.
    """
    step = old / new
    wide = max(step, 1.0)
    reach = 2 * wide
    centres = (np.arange(new) + 0.5) * step
    starts = np.maximum((centres - reach + 0.5).astype(np.int32), 0)
    ends = np.minimum((centres + reach + 0.5).astype(np.int32), old)
    pixels = starts[:, None] + np.arange(2 * math.ceil(reach) + 1)
    weights: Any = keys_cubic((pixels - centres[:, None] + 0.5) / wide)
    weights[pixels >= ends[:, None]] = 0
    weights /= weights.sum(1, keepdims=True)
    return starts, _rounded(weights * 2**WEIGHT_BITS)


def keys_cubic(x: Float[Array, "*shape"], xp: Any = np) -> Float[Array, "*shape"]:
    """Keys' kernel with a = -0.5, at distances in pixels; by `numpy` or `jax.numpy`."""
    x, a = xp.abs(x), -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return xp.where(x < 1, near, xp.where(x < 2, far, xp.zeros_like(x)))


def _rounded(x: Float[np.ndarray, "*shape"]) -> Int32[np.ndarray, "*shape"]:
    """The nearest numbers; halves away from zero, as Pillow rounds weights."""
    return np.trunc(x + np.copysign(0.5, x)).astype(np.int32)
