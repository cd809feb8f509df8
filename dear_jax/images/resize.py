"""Resizing photos and masks as the evaluation protocol does.

Photos are reduced and enlarged with Pillow's bicubic filter on uint8 (Keys'
kernel, a = -0.5, widened when reducing; both passes rounded to grey levels);
masks with Pillow's nearest neighbour, so they stay binary. The second half of
the file is the same bicubic in JAX, equal to the last bit, for work that should stay
on a device: Pillow's sums are of whole numbers, which floats can hold exactly.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

_BITS = 22  # Of Pillow's weights after the binary point.
_HALF = 1 << (_BITS // 2)


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
    """Returns what Pillow's bicubic makes of `old` pixels in a row for `new` ones.

    Returns:
      starts, int32 [new], the first pixel that a new one is made of, and taps, int32
      [new, K], the weights of that and the next ones in units of 2^-22. They are 0
      past the last pixel.
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
    return starts, _rounded(weights * 2**_BITS)


def bicubic_on_device(photos: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Pillow's uint8 bicubic in JAX: square photos come out the same.

    So do others of which the width is to be resized first. Some releases of Pillow
    begin with the height where that is less work, as in tall photos; a few values then
    differ by one level.

    Args:
      photos: [B, H, W, C] whole numbers in [0, 255].
      size: target (h, w).

    Returns:
      [B, h, w, C] int32 in [0, 255].
    """
    rows, columns = (
        jnp.asarray(_matrix(old, new))[None]
        for old, new in zip(photos.shape[1:3], size, strict=True)
    )
    return resampled(jnp.asarray(photos), rows, columns)


@jax.jit
def resampled(photos: jax.Array, rows: jax.Array, columns: jax.Array) -> jax.Array:
    """Makes new pixels of old ones, as Pillow does: width first, both times rounded.

    Args:
      photos: [B, H, W, C] whole numbers in [0, 255].
      rows: int32 [B or 1, h, H], weights of old rows in units of 2^-22.
      columns: int32 [B or 1, w, W], those of old columns.

    Returns:
      [B, h, w, C] int32 in [0, 255].
    """
    return _weighted(
        _weighted(photos, columns, "bhwc,bnw->bhnc"), rows, "bhwc,bnh->bnwc"
    )


def _weighted(photos: jax.Array, weights: jax.Array, rule: str) -> jax.Array:
    """One pass of `resampled`."""
    weights = jnp.broadcast_to(weights, (len(photos), *weights.shape[1:]))
    axis = rule.partition("->")[2].index("n")
    # Floats hold whole numbers below 2^24. With weights in halves, sums stay below
    # when reducing up to 15 times, and beyond hardly reach a level's last bits.
    high = (weights + (_HALF >> 1)) // _HALF
    halves = jnp.concatenate([high, weights - high * _HALF], 1)
    sums = jnp.einsum(
        rule,
        photos.astype(jnp.float32),
        halves.astype(jnp.float32),
        precision=jax.lax.Precision.HIGHEST,
    )
    high, low = jnp.split(sums.astype(jnp.int32), 2, axis)
    levels = (high * _HALF + low + (1 << (_BITS - 1))) >> _BITS
    return jnp.clip(levels, 0, 255)


@functools.lru_cache(maxsize=64)
def _matrix(old: int, new: int) -> np.ndarray:
    """The taps as int32 [new, old]."""
    starts, taps = bicubic_taps(old, new)
    matrix = np.zeros((new, old + taps.shape[1]), np.int32)
    places = starts[:, None] + np.arange(taps.shape[1])
    np.put_along_axis(matrix, places, taps, 1)
    return matrix[:, :old]


def keys_cubic(x: np.ndarray) -> np.ndarray:
    """Keys' kernel with a = -0.5, at distances in pixels."""
    x, a = np.abs(x), -0.5
    near = ((a + 2) * x - (a + 3)) * x * x + 1
    far = (((x - 5) * x + 8) * x - 4) * a
    return np.where(x < 1, near, np.where(x < 2, far, 0))


def _rounded(x: np.ndarray) -> np.ndarray:
    """The nearest int32; halves away from zero, as Pillow rounds weights."""
    return np.trunc(x + np.copysign(0.5, x)).astype(np.int32)
