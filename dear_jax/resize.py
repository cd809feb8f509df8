"""Resizing photos and masks as the evaluation protocol does.

Photos are reduced and enlarged with Pillow's bicubic filter on uint8 (Keys'
kernel, a = -0.5, widened when reducing; both passes rounded to grey levels);
masks with Pillow's nearest neighbour, so they stay binary. The second half of
the file is the same bicubic in JAX, for work that should stay on a device.
"""

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image


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


def bicubic_on_device(photos: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Pillow's uint8 bicubic in JAX.

    Two passes, width first, each rounded to whole grey levels as Pillow does. At
    least 99.9 % of values are equal (99.7 % at thirds, where many means fall between
    two levels) and the rest differ by one level.

    Args:
      photos: [B, H, W, C] values in [0, 255].
      size: target (h, w).

    Returns:
      [B, h, w, C] float32 of whole numbers in [0, 255].
    """
    batch, height, _, channels = photos.shape
    for shape in (
        (batch, height, size[1], channels),
        (batch, size[0], size[1], channels),
    ):
        photos = jax.image.resize(photos.astype(jnp.float32), shape, "cubic")
        photos = jnp.clip(jnp.floor(photos + 0.5), 0, 255)
    return photos
