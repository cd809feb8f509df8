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
      [B] in dB, infinite for identical images, where the gradient is zero.

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
    # Nothing is done for identical images: there log10 would have a gradient of NaN,
    # which spoils that of a whole batch.
    identical = error == 0
    error = jnp.where(identical, 1.0, error)
    return jnp.where(identical, jnp.inf, 10 * jnp.log10(1 / error))


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
      [B] in [0, 1], 0 for identical images; the gradient at equal values is zero.

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
    difference = prediction - target
    # The gradient of jnp.abs at 0 is 1, which would spoil pixels that are right.
    sign = jnp.sign(jax.lax.stop_gradient(difference))
    return jnp.mean(difference * sign, axis=(1, 2, 3))
