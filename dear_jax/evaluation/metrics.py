"""PSNR, SSIM and L1 between batches of images, as pure JAX functions.

Every measure takes prediction and target, float32 [B, H, W, 3] in [0, 1], and
returns one value per image, [B]. Nothing is clipped, rounded or cropped unless asked.

Super-resolution papers leave out a border and often compare luma alone: on the
benchmarks (Set5 to Urban100) channels="luma" and a border of `scale` pixels, on DIV2K
channels="rgb" and `scale + 6`. Some round to grey levels first.
"""

import jax
import jax.numpy as jnp
import numpy as np

from dear_jax.errors import InputError

SSIM_WINDOW = 11

# ITU-R BT.601, studio swing: RGB in [0, 1] to luma in [16, 235] / 255.
_LUMA = np.array([65.481, 128.553, 24.966], np.float32) / 255
_LUMA_OFFSET = 16 / 255


def luma(images: jax.Array) -> jax.Array:
    """Luma [B, H, W, 1], as MATLAB's rgb2ycbcr has it, of [B, H, W, 3] in [0, 1]."""
    # A sum rather than a matrix product: full float32 precision on accelerators.
    weighted = images * jnp.broadcast_to(_LUMA, images.shape)
    return jnp.sum(weighted, axis=-1, keepdims=True) + _LUMA_OFFSET


def counted(images: jax.Array, channels: str = "rgb", border: int = 0) -> jax.Array:
    """The part of [B, H, W, 3] images in [0, 1] that a measure looks at.

    Args:
      images: [B, H, W, 3].
      channels: "rgb" or "luma", see `luma`.
      border: pixels left out along every side.

    Raises:
      InputError: if nothing is left, or the channels are unknown.
    """
    height, width = images.shape[1:3]
    if 2 * border >= min(height, width):
        raise InputError(
            f"images of {width} x {height} pixels: nothing is left without a border "
            f"of {border}; give larger images"
        )
    if channels not in ("rgb", "luma"):
        raise InputError(f"channels {channels!r}; choose from 'rgb', 'luma'")
    inner = images[:, border : height - border, border : width - border]
    return luma(inner) if channels == "luma" else inner


def psnr(
    prediction: jax.Array,
    target: jax.Array,
    *,
    data_range: float = 1.0,
    channels: str = "rgb",
    border: int = 0,
) -> jax.Array:
    """Peak signal-to-noise ratio over all pixels and channels.

    Args:
      prediction: [B, H, W, 3].
      target: [B, H, W, 3].
      data_range: distance between the smallest and the largest possible value.
      channels, border: what is compared, see `counted`.

    Returns:
      [B] in dB, infinite for identical images.

    Raises:
      InputError: if the shapes differ or are not [B, H, W, C].
    """
    _check_shapes(prediction, target)
    prediction, target = (
        counted(images, channels, border) for images in (prediction, target)
    )
    error = jnp.mean(jnp.square(prediction - target), axis=(1, 2, 3))
    return 10 * jnp.log10(data_range**2 / error)


def l1(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Mean absolute error of two [B, H, W, 3] batches over pixels and channels, [B].

    Raises:
      InputError: if the shapes differ or are not [B, H, W, C].
    """
    _check_shapes(prediction, target)
    return jnp.mean(jnp.abs(prediction - target), axis=(1, 2, 3))


def ssim(
    prediction: jax.Array,
    target: jax.Array,
    *,
    data_range: float = 1.0,
    sigma: float = 1.5,
    window: int = SSIM_WINDOW,
    k1: float = 0.01,
    k2: float = 0.03,
    channels: str = "rgb",
    border: int = 0,
) -> jax.Array:
    """Structural similarity (Wang et al. 2004), per channel, then averaged.

    Means, variances and covariance are weighted by a Gaussian window; only
    windows that lie wholly inside the image count.

    Args:
      prediction: [B, H, W, 3], H and W at least `window`.
      target: [B, H, W, 3].
      data_range: distance between the smallest and the largest possible value.
      sigma: standard deviation of the Gaussian, in pixels.
      window: side of the Gaussian's support, in pixels, odd.
      k1: stabiliser of the mean term.
      k2: stabiliser of the variance term.
      channels, border: what is compared, see `counted`.

    Returns:
      [B] in [-1, 1], 1 for identical images.

    Raises:
      InputError: if the shapes differ, or an image is smaller than the window.
    """
    _check_shapes(prediction, target)
    prediction, target = (
        counted(images, channels, border) for images in (prediction, target)
    )
    height, width = prediction.shape[1:3]
    if min(height, width) < window:
        raise InputError(
            f"images of {width} x {height} pixels: SSIM needs at least "
            f"{window} x {window}; give larger images"
        )
    # The variances do not change, but in float32 they lose less to cancellation.
    centre = data_range / 2
    x, y = prediction - centre, target - centre

    def smooth(values):
        return _gaussian_valid(values, sigma, window)

    mean_x, mean_y = smooth(x), smooth(y)
    variances = smooth(x * x + y * y) - mean_x**2 - mean_y**2
    covariance = smooth(x * y) - mean_x * mean_y
    mean_x, mean_y = mean_x + centre, mean_y + centre
    c1, c2 = (k1 * data_range) ** 2, (k2 * data_range) ** 2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity /= (mean_x**2 + mean_y**2 + c1) * (variances + c2)
    return jnp.mean(similarity, axis=(1, 2, 3))


def _gaussian_valid(values: jax.Array, sigma: float, window: int) -> jax.Array:
    """Gaussian means of [B, H, W, C] where the window fits, [B, H-10, W-10, C]."""
    offsets = np.arange(window) - (window - 1) / 2
    weights = np.exp(-(offsets**2) / (2 * sigma**2))
    weights = (weights / weights.sum()).tolist()
    # Sums of shifted slices rather than a convolution: full float32 precision on
    # every accelerator, whatever its default for matrix products.
    for axis in (1, 2):
        size = values.shape[axis] - window + 1
        values = sum(
            weight * jax.lax.slice_in_dim(values, i, i + size, axis=axis)
            for i, weight in enumerate(weights)
        )
    return values


def _check_shapes(prediction: jax.Array, target: jax.Array) -> None:
    if prediction.shape != target.shape or len(prediction.shape) != 4:
        raise InputError(
            f"prediction {prediction.shape} and target {target.shape}: "
            "both must be [B, H, W, C] of the same size"
        )
