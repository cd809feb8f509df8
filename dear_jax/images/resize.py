"""Resizing photos and masks as the evaluation protocol does.

Photos are reduced and enlarged with Pillow's bicubic filter on uint8 (Keys' kernel,
a = -0.5, widened when reducing; both passes rounded to grey levels); masks with
Pillow's nearest neighbour, so they stay binary.
"""

import math

import numpy as np
from PIL import Image

WEIGHT_BITS = 22  # Of Pillow's weights after the binary point.


def bicubic(photo: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a photo [H, W, 3] to `size` = (h, w) with Pillow's bicubic.

    uint8 gives uint8; floats in [0, 1] give float32 in [0, 1], without rounding.
    """
    return _resize(photo, size, Image.Resampling.BICUBIC)


def bilinear(photo: np.ndarray, size: tuple[int, int]) -> np.ndarray:
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


def nearest(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a boolean mask [H, W] to `size` = (h, w) with Pillow's nearest."""
    height, width = size
    grey = Image.fromarray(mask.astype(np.uint8) * 255)
    return np.asarray(grey.resize((width, height), Image.Resampling.NEAREST)) > 127


def bicubic_taps(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the weights of Pillow's bicubic from `old` pixels in a row to `new` ones.

    Returns:
      starts, int32 [new], the first pixel of each sum, and taps, int32 [new, K], the
      weights of that and the next pixels in units of 2^-22; 0 past the last pixel.
    """
    step = old / new
    wide = max(step, 1.0)
    reach = 2 * wide
    centres = (np.arange(new) + 0.5) * step
    starts = np.maximum((centres - reach + 0.5).astype(np.int32), 0)
    ends = np.minimum((centres + reach + 0.5).astype(np.int32), old)
    pixels = starts[:, None] + np.arange(2 * math.ceil(reach) + 1)
    weights = keys_cubic((pixels - centres[:, None] + 0.5) / wide)
    weights[pixels >= ends[:, None]] = 0
    weights /= weights.sum(1, keepdims=True)
    return starts, _rounded(weights * 2**WEIGHT_BITS)


def keys_cubic(x: np.ndarray) -> np.ndarray:
    """Keys' kernel with a = -0.5, at distances in pixels."""
    x, a = np.abs(x), -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _rounded(x: np.ndarray) -> np.ndarray:
    """The nearest int32; halves away from zero, as Pillow rounds weights."""
    return np.trunc(x + np.copysign(0.5, x)).astype(np.int32)
