"""PSNR and L1: what differs pixel by pixel."""

import jax
import jax.numpy as jnp

from dear_jax.metrics.compared import compared


def psnr(
    prediction: jax.Array,
    target: jax.Array,
    *,
    data_range: float = 1.0,
    channels: str = "rgb",
    border: int = 0,
    rounded: bool = False,
) -> jax.Array:
    """Peak signal-to-noise ratio over all pixels and channels.

    Args:
      prediction: [B, H, W, 3] in [0, data_range].
      target: [B, H, W, 3].
      data_range, channels, border, rounded: see `dear_jax.metrics`.

    Returns:
      [B] in dB, infinite for identical images.

    Raises:
      InputError: for images or options that `compared` refuses.
    """
    prediction, target = compared(
        prediction,
        target,
        data_range=data_range,
        channels=channels,
        border=border,
        rounded=rounded,
    )
    error = jnp.mean(jnp.square(prediction - target), axis=(1, 2, 3))
    return 10 * jnp.log10(1 / error)


def l1(
    prediction: jax.Array,
    target: jax.Array,
    *,
    data_range: float = 1.0,
    channels: str = "rgb",
    border: int = 0,
    rounded: bool = False,
) -> jax.Array:
    """Mean absolute error over all pixels and channels, as a share of the range.

    Args:
      prediction: [B, H, W, 3] in [0, data_range].
      target: [B, H, W, 3].
      data_range, channels, border, rounded: see `dear_jax.metrics`.

    Returns:
      [B] in [0, 1], 0 for identical images.

    Raises:
      InputError: for images or options that `compared` refuses.
    """
    prediction, target = compared(
        prediction,
        target,
        data_range=data_range,
        channels=channels,
        border=border,
        rounded=rounded,
    )
    return jnp.mean(jnp.abs(prediction - target), axis=(1, 2, 3))
