"""How alike two batches of images are: PSNR, SSIM, L1 and LPIPS.

Pure functions, differentiable and fit for jit. Each takes prediction and target,
[B, H, W, 3] RGB, and returns one value per image, [B]; what they return is a mean
over the image only, so mean them over images as you like. Options, named alike:

  data_range  the value of white, 1 by default; 255 for grey levels
  channels    "rgb", or "luma" (BT.601 studio swing) [not lpips]
  border      pixels left out along every side, none by default
  rounded     round to the 256 grey levels of an image file first, off by default
  window      side of SSIM's Gaussian, 11
  network     LPIPS's features, "alexnet" or "vgg16"

Nothing is clipped, rounded or cropped unless asked. Conventions of super-resolution
papers, for an enlargement by `scale` and outputs clipped to [0, 1]:

  Set5 ... Urban100     psnr, ssim: channels="luma", border=scale
  DIV2K                 psnr: border=scale + 6
  EDSR's own scores     as those of Set5, rounded=True

Every measure brings both batches to [0, 1] float32 first, so that its formula has one
range only. All raise InputError if the shapes differ or are not [B, H, W, 3], if the
border leaves nothing, or if an option cannot have its value.
"""

import functools
import operator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32

from dear_jax.errors import InputError
from dear_jax.typing import Array

__all__ = ["SSIM_WINDOW", "l1", "lpips", "luma", "psnr", "ssim"]

SSIM_WINDOW = 11

# ITU-R BT.601, studio swing: RGB in [0, 1] to luma in [16, 235] / 255.
_LUMA = np.array([65.481, 128.553, 24.966], np.float32) / 255
_LUMA_OFFSET = 16 / 255


def luma(images: Float[Array, "B H W 3"]) -> Float[jax.Array, "B H W 1"]:
    """Luma, as MATLAB's rgb2ycbcr has it, of RGB in [0, 1]."""
    # A sum rather than a matrix product: full float32 precision on accelerators.
    weighted = images * jnp.broadcast_to(_LUMA, images.shape)
    return jnp.sum(weighted, axis=-1, keepdims=True) + _LUMA_OFFSET


def psnr(
    prediction: Array,
    target: Array,
    *,
    data_range: float = 1.0,
    channels: str = "rgb",
    border: int = 0,
    rounded: bool = False,
) -> Float32[jax.Array, " B"]:
    """Peak signal-to-noise ratio over all pixels and channels.

    Args:
      prediction: [B, H, W, 3] in [0, data_range].
      target: [B, H, W, 3].
      data_range, channels, border, rounded: see `dear_jax.metrics`.

    Returns:
      In dB, infinite for identical images, where the gradient is zero.
    """
    prediction, target = _compared(
        prediction, target, data_range, channels, border, rounded
    )
    error = jnp.mean(jnp.square(prediction - target), axis=(1, 2, 3))
    # Nothing is done for identical images: there log10 would have a gradient of NaN,
    # which spoils that of a whole batch.
    identical = error == 0
    error = jnp.where(identical, 1.0, error)
    return jnp.where(identical, jnp.inf, 10 * jnp.log10(1 / error))


def l1(
    prediction: Array,
    target: Array,
    *,
    data_range: float = 1.0,
    channels: str = "rgb",
    border: int = 0,
    rounded: bool = False,
) -> Float32[jax.Array, " B"]:
    """Mean absolute error over all pixels and channels, as a share of the range.

    Args:
      prediction: [B, H, W, 3] in [0, data_range].
      target: [B, H, W, 3].
      data_range, channels, border, rounded: see `dear_jax.metrics`.

    Returns:
      In [0, 1], 0 for identical images; the gradient at equal values is zero.
    """
    prediction, target = _compared(
        prediction, target, data_range, channels, border, rounded
    )
    difference = prediction - target
    # The gradient of jnp.abs at 0 is 1, which would spoil pixels that are right.
    sign = jnp.sign(jax.lax.stop_gradient(difference))
    return jnp.mean(difference * sign, axis=(1, 2, 3))


def ssim(
    prediction: Array,
    target: Array,
    *,
    data_range: float = 1.0,
    channels: str = "rgb",
    border: int = 0,
    rounded: bool = False,
    window: Any = SSIM_WINDOW,
    sigma: float = 1.5,
    k1: float = 0.01,
    k2: float = 0.03,
) -> Float32[jax.Array, " B"]:
    """Structural similarity, per channel, then averaged.

    Means, variances and covariance are weighted by a Gaussian window; only
    windows that lie wholly inside the image count.

    Args:
      prediction: [B, H, W, 3] in [0, data_range], H and W without the border at
        least `window`.
      target: [B, H, W, 3].
      data_range, channels, border, rounded: see `dear_jax.metrics`.
      window: side of the Gaussian's support, an odd whole number of pixels.
      sigma: standard deviation of the Gaussian, in pixels, above 0.
      k1: stabiliser of the mean term.
      k2: stabiliser of the variance term.

    Returns:
      In [-1, 1], 1 for identical images.

    Raises:
      InputError: also if an image is smaller than the window.
    """
    whole = isinstance(window, int | np.integer) and not isinstance(window, bool)
    if not whole or window < 1 or window % 2 == 0:
        raise InputError(
            f"window {window!r}; give an odd whole number of pixels, e.g. {SSIM_WINDOW}"
        )
    if not 0 < sigma < np.inf:
        raise InputError(f"sigma {sigma!r}; give pixels above 0, e.g. 1.5")
    prediction, target = _compared(
        prediction, target, data_range, channels, border, rounded
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
        return _gaussian_valid(values, sigma, int(window))

    mean_x, mean_y = smooth(x), smooth(y)
    variances = smooth(x * x + y * y) - mean_x**2 - mean_y**2
    covariance = smooth(x * y) - mean_x * mean_y
    mean_x, mean_y = mean_x + 0.5, mean_y + 0.5
    c1, c2 = k1**2, k2**2
    similarity = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    similarity /= (mean_x**2 + mean_y**2 + c1) * (variances + c2)
    return jnp.mean(similarity, axis=(1, 2, 3))


def lpips(
    prediction: Array,
    target: Array,
    *,
    data_range: float = 1.0,
    border: int = 0,
    rounded: bool = False,
    network: str = "alexnet",
    weights: str | Path | None = None,
) -> Float32[jax.Array, " B"]:
    """Learned perceptual distance, version 0.1 (Zhang et al. 2018); lower is better.

    As a loss it makes the weights a constant of the compiled program; to pass them
    as an argument, use `dear_jax.models.lpips.LPIPS`.

    Args:
      prediction: [B, H, W, 3] in [0, data_range]. Without the border H and W are at
        least 31 for AlexNet, 16 for VGG16, see `dear_jax.models.lpips.SMALLEST`.
      target: [B, H, W, 3].
      data_range, border, rounded: see `dear_jax.metrics`.
      network: whose features, "alexnet" or "vgg16".
      weights: the weights file, made by `python -m dear_jax.convert`. None for the
        bundled ones, which are AlexNet's.

    Returns:
      0 for identical images, rarely above 1.

    Raises:
      InputError: also if an image is too small for the network, or for lack of weights,
        saying how to make them.
    """
    from dear_jax.models.lpips import check_size
    from dear_jax.weights import weights_path

    path = weights_path(network, weights)
    prediction, target = _compared(
        prediction, target, data_range, "rgb", border, rounded
    )
    check_size(prediction.shape, network)
    parameters = _parameters(network, path, path.stat().st_mtime_ns)
    return _distance(parameters, prediction, target, network)


def _compared(
    prediction: Array,
    target: Array,
    data_range: float,
    channels: str,
    border: int,
    rounded: bool,
) -> tuple[Float32[jax.Array, "B h w C"], Float32[jax.Array, "B h w C"]]:
    """What is compared of two batches in [0, 1], as `dear_jax.metrics` says."""
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

    def taken(images: Array) -> jax.Array:
        images = images[:, border : height - border, border : width - border]
        images = jnp.asarray(images, jnp.float32) / data_range
        if rounded:
            images = jnp.round(images * 255) / 255
        return luma(images) if channels == "luma" else images

    return taken(prediction), taken(target)


def _gaussian_valid(
    values: Float32[jax.Array, "B H W C"], sigma: float, window: int
) -> Float32[jax.Array, "B h w C"]:
    """Gaussian means where the window fits."""
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
        weighted = (
            weight * jax.lax.slice_in_dim(values, i, i + size, axis=axis)
            for i, weight in enumerate(weights)
        )
        values = functools.reduce(operator.add, weighted)
    return values.transpose(0, 2, 3, 1)


@functools.lru_cache(maxsize=4)
def _parameters(network: str, path: Path, changed: int) -> dict[str, Any]:
    """The parameters on the device; `changed` lets a new file be noticed."""
    from dear_jax.weights import read_lpips

    parameters = read_lpips(network, path)
    # Arrays rather than parts of a program, should the caller be compiling one.
    with jax.ensure_compile_time_eval():
        return jax.tree.map(jnp.asarray, parameters)


@functools.partial(jax.jit, static_argnames="network")
def _distance(
    parameters: dict[str, Any],
    prediction: Float32[Array, "B H W 3"],
    target: Float32[Array, "B H W 3"],
    network: str,
) -> Float32[jax.Array, " B"]:
    from dear_jax.models.lpips import LPIPS

    distances = LPIPS(network).apply({"params": parameters}, prediction, target)
    assert isinstance(distances, jax.Array)
    return distances
