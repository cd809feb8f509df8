"""Grain for what is filled in: as strong and as coarse as in the photo around it.

A fill is the mean of what may have been there, smooth where its surroundings have the
grain of film or the noise of a sensor. That is measured by second differences in both
directions (Immerkaer, "Fast noise variance estimation", 1996), which planes and edges
do not have, between neighbours and between every third pixel: white noise has as much
of both, coarse grain less of the first. Their medians pass over texture.
"""

import functools
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Num
from scipy import ndimage

from dear_jax.images.masks import dilated

# Pixels around a hole in which grain is measured, and the fewest that tell anything.
_AROUND, _FEWEST = 24, 200
# Holes nearer than this are measured and filled as one.
_TOGETHER = 8
# Standard deviations, in pixels, of the blur that makes white noise coarse.
_SIZES = np.linspace(0, 1.5, 16)
_STEPS = (1, 3)
_MEDIAN = 0.6745  # Of the absolute value of normal numbers of deviation 1.
_SECOND = np.array([1.0, -2.0, 1.0]) / np.sqrt(6)


def with_grain(
    result: Num[np.ndarray, "H W 3"],
    image: Num[np.ndarray, "H W 3"],
    mask: Bool[np.ndarray, "H W"],
    seed: int = 0,
) -> Num[np.ndarray, "H W 3"]:
    """Adds grain to what was missing of a photo; known pixels stay.

    Args:
      result: the photo filled in, of its own size; uint8, or float in [0, 1].
      image: the photo, of the same kind.
      mask: True = missing.
      seed: of the grain.
    """
    if not mask.any() or mask.all():
        return result
    top = 255 if result.dtype == np.uint8 else 1
    rounding = 1 / 12 / 255**2 if top == 255 else 0.0
    filled = result.astype(np.float32) / np.float32(top)
    photo = np.where(
        mask[..., None], filled, image.astype(np.float32) / np.float32(top)
    )
    known = ~dilated(mask, 4)  # As far as differences reach.
    rng = np.random.default_rng(seed)
    labels: Any = ndimage.label(dilated(mask, _TOGETHER))
    groups = labels[0]
    for number, window in enumerate(ndimage.find_objects(groups), 1):
        window = tuple(
            slice(max(side.start - _AROUND, 0), side.stop + _AROUND) for side in window
        )
        hole = mask[window] & (groups[window] == number)
        near = dilated(hole, _AROUND) & known[window]
        grain = _grain(rng, photo[window], hole, near, rounding)
        filled[window][hole] += grain[hole]
    grained = filled.clip(0, 1) * top
    if top == 255:
        grained = np.rint(grained)
    return np.where(mask[..., None], grained.astype(result.dtype), result)


def _grain(
    rng: np.random.Generator,
    photo: Float32[np.ndarray, "h w 3"],
    hole: Bool[np.ndarray, "h w"],
    near: Bool[np.ndarray, "h w"],
    rounding: float,
) -> Float32[np.ndarray, "h w 3"]:
    """What a hole lacks of the grain near it; `rounding` is the variance of levels."""
    if near.sum() < _FEWEST:
        return np.zeros_like(photo)
    fine, coarse = (_differences(photo, step) for step in _STEPS)
    around, apart, inside = (
        _deviation(values, rounding)
        for values in (fine[near], coarse[near], coarse[hole])
    )
    # Colours are as alike as around.
    alike = np.corrcoef(np.clip(fine[near], -3 * around, 3 * around).T + 0.0)
    alike = np.nan_to_num(alike, nan=0.0) * 0.98 + 0.02 * np.eye(3)
    noise = rng.standard_normal(photo.shape) @ np.linalg.cholesky(alike).T
    gains, ratio = _gains(), (around / np.maximum(apart, 1e-9)).mean()
    size = int(np.abs(gains[:, 0] / gains[:, 1] - ratio).argmin())
    if _SIZES[size]:
        noise = ndimage.gaussian_filter(noise, (_SIZES[size], _SIZES[size], 0))
    lacking = np.sqrt(np.maximum(apart**2 - inside**2, 0)) / gains[size, 1]
    lacking = np.where(lacking > 3 * np.sqrt(rounding), lacking, 0)
    return (noise * lacking).astype(np.float32)


def _differences(
    photo: Float[np.ndarray, "h w C"], step: int
) -> Float[np.ndarray, "h w C"]:
    """Second differences down and across, between pixels `step` apart."""
    kernel = np.zeros(2 * step + 1)
    kernel[::step] = _SECOND
    down = ndimage.correlate1d(photo, kernel, 0, mode="nearest")
    return ndimage.correlate1d(down, kernel, 1, mode="nearest")


def _deviation(
    values: Float[np.ndarray, "N C"], rounding: float
) -> Float[np.ndarray, " C"]:
    """The standard deviation of normal numbers, by their median, without rounding's."""
    variance = (np.median(np.abs(values), 0) / _MEDIAN) ** 2 - rounding
    return np.sqrt(np.maximum(variance, 0))


@functools.cache
def _gains() -> Float[np.ndarray, "sizes 2"]:
    """How large the differences of noise of deviation 1 are, by how it is blurred."""
    noise = np.random.default_rng(0).standard_normal((256, 256, 1))
    blurred = (ndimage.gaussian_filter(noise, (s, s, 0)) for s in _SIZES)
    return np.array([[_differences(b, step).std() for step in _STEPS] for b in blurred])
