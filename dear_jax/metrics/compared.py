"""What of two batches of images a measure compares: range, border, channels, rounding.

Every measure brings both batches to [0, 1] float32 here, so that its formula has one
range only.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dear_jax.errors import InputError

# ITU-R BT.601, studio swing: RGB in [0, 1] to luma in [16, 235] / 255.
_LUMA = np.array([65.481, 128.553, 24.966], np.float32) / 255
_LUMA_OFFSET = 16 / 255


def luma(images: jax.Array) -> jax.Array:
    """Luma [B, H, W, 1], as MATLAB's rgb2ycbcr has it, of [B, H, W, 3] in [0, 1]."""
    # A sum rather than a matrix product: full float32 precision on accelerators.
    weighted = images * jnp.broadcast_to(_LUMA, images.shape)
    return jnp.sum(weighted, axis=-1, keepdims=True) + _LUMA_OFFSET


def compared(
    prediction: jax.Array,
    target: jax.Array,
    *,
    data_range: float = 1.0,
    channels: str = "rgb",
    border: int = 0,
    rounded: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """Takes from two batches what is compared.

    Args:
      prediction: [B, H, W, 3] in [0, data_range].
      target: the same shape.
      data_range: the value of white; black is 0.
      channels: "rgb", or "luma", see `luma`.
      border: pixels left out along every side.
      rounded: round to the 256 grey levels of an image file first.

    Returns:
      Both as float32 [B, H - 2 border, W - 2 border, 3, or 1 for luma] in [0, 1].

    Raises:
      InputError: if the shapes differ or are not [B, H, W, 3], if the border leaves
        nothing, or if an option cannot have its value.
    """
    if prediction.shape != target.shape or prediction.ndim != 4:
        raise InputError(
            f"prediction {prediction.shape} and target {target.shape}: "
            "both must be [B, H, W, 3] of the same size"
        )
    height, width, depth = prediction.shape[1:]
    if depth != 3:
        raise InputError(f"images of {depth} channels; give RGB, [B, H, W, 3]")
    if border < 0 or 2 * border >= min(height, width):
        raise InputError(
            f"images of {width} x {height} pixels: nothing is left without a border "
            f"of {border}; give larger images or a border of at least 0"
        )
    if channels not in ("rgb", "luma"):
        raise InputError(f"channels {channels!r}; choose from 'rgb', 'luma'")
    if not data_range > 0:
        raise InputError(f"data_range {data_range}; give the value of white, e.g. 1")

    def taken(images: jax.Array) -> jax.Array:
        images = images[:, border : height - border, border : width - border]
        images = jnp.asarray(images, jnp.float32) / data_range
        if rounded:
            images = jnp.round(images * 255) / 255
        return luma(images) if channels == "luma" else images

    return taken(prediction), taken(target)
