"""Structural similarity in Gaussian windows, after Wang et al. 2004."""

import jax
import jax.numpy as jnp
import numpy as np

from dear_jax.errors import InputError
from dear_jax.metrics.compared import compared

SSIM_WINDOW = 11


def ssim(
    prediction: jax.Array,
    target: jax.Array,
    *,
    data_range: float = 1.0,
    channels: str = "rgb",
    border: int = 0,
    rounded: bool = False,
    window: int = SSIM_WINDOW,
    sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
) -> jax.Array:
    """Structural similarity, per channel, then averaged.

    Means, variances and covariance are weighted by a Gaussian window; only
    windows that lie wholly inside the image count.

    Args:
      prediction: [B, H, W, 3] in [0, data_range], H and W without the border at
        least `window`.
      target: [B, H, W, 3].
      data_range, channels, border, rounded: see `dear_jax.metrics`.
      window: side of the Gaussian's support, in pixels, odd.
      sigma: standard deviation of the Gaussian, in pixels, above 0.
      k1: stabiliser of the mean term.
      k2: stabiliser of the variance term.

    Returns:
      [B] in [-1, 1], 1 for identical images.

    Raises:
      InputError: for images or options that `compared` refuses, if window or sigma
        cannot have its value, or if an image is smaller than the window.
    """
    whole = isinstance(window, int | np.integer) and not isinstance(window, bool)
    if not whole or window < 1 or window % 2 == 0:
        raise InputError(
            f"window {window!r}; give an odd whole number of pixels, e.g. {SSIM_WINDOW}"
        )
    if not 0 < sigma < np.inf:
        raise InputError(f"sigma {sigma!r}; give pixels above 0, e.g. 1.5")
    prediction, target = compared(
        prediction,
        target,
        data_range=data_range,
        channels=channels,
        border=border,
        rounded=rounded,
    )
    height, width = prediction.shape[1:3]
    if min(height, width) < window:
        raise InputError(
            f"images of {width} x {height} pixels: SSIM needs at least "
            f"{window} x {window}; give larger images or a smaller window"
        )
    # The variances do not change, but in float32 they lose less to cancellation.
    x, y = prediction - 0.5, target - 0.5

    def smooth(values):
        return _gaussian_valid(values, sigma, window)

    mean_x, mean_y = smooth(x), smooth(y)
    variances = smooth(x * x + y * y) - mean_x**2 - mean_y**2
    covariance = smooth(x * y) - mean_x * mean_y
    mean_x, mean_y = mean_x + 0.5, mean_y + 0.5
    c1, c2 = k1**2, k2**2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity /= (mean_x**2 + mean_y**2 + c1) * (variances + c2)
    return jnp.mean(similarity, axis=(1, 2, 3))


def _gaussian_valid(values: jax.Array, sigma: float, window: int) -> jax.Array:
    """Gaussian means of [B, H, W, C] where the window fits, [B, H-10, W-10, C]."""
    offsets = np.arange(window) - (window - 1) / 2
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    weights = (weights / weights.sum()).tolist()
    # Sums of shifted slices rather than a convolution: full float32 precision on
    # every accelerator, whatever its default for matrix products. Planes [H, W] lie
    # whole in memory, and the first sums are kept: a compiler that fuses the two
    # passes computes them once for every sum of the second.
    values = values.transpose(0, 3, 1, 2)
    for axis in (2, 3):
        values = jax.lax.optimization_barrier(values)
        size = values.shape[axis] - window + 1
        values = sum(
            weight * jax.lax.slice_in_dim(values, i, i + size, axis=axis)
            for i, weight in enumerate(weights)
        )
    return values.transpose(0, 2, 3, 1)
