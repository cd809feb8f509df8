"""How degraded a photo is, as one number from 0 (clean) to 1, known or estimated.

The level is the root mean square of three severities, each 1 at the hardest draw
of training: blur, noise and JPEG compression. As FFDNet's noise level it lets one
network serve clean and degraded photos without hedging between them.

Estimated (`denoise="auto"`): JPEG quality comes from the file or shows in the pixels.
Noise shows where the photo is smoothest, for there texture adds least to it (as in Liu,
Tanaka and Okutomi, "Single-image noise level estimation for blind denoising", 2013),
and it is about as strong in most places, which the diagonal Haar coefficients measure
(Donoho and Johnstone's median absolute deviation); texture is not. Blur shows at the
sharpest edges, by the share of a step over three pixels that lies between the middle
two. A photo that is neither noisy nor compressed counts as clean, however soft it is: a
soft subject and a blurred photo look alike.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Float32, Num, Shaped

from dear_jax.images.jpeg_quality import LUMA_WEIGHTS, quality_of_pixels

# The hardest draws of training: standard deviations of blur, in pixels of the
# degraded photo, and of noise, in grey levels of 255; and the JPEG quality.
HARDEST_BLUR, HARDEST_NOISE, HARDEST_QUALITY = 2.6, 24.0, 20


def quantiser_scale(quality: float) -> float:
    """How much a JPEG quality, 1 to 100, scales the standard's tables, percent.

    As the Independent JPEG Group's encoder defines quality: 50 gives 100, 100 gives 0.
    """
    return 5000 / quality if quality < 50 else 200 - 2 * quality


def degradation_level(
    blur: float = 0.0, noise: float = 0.0, quality: float = 100
) -> float:
    """The level of a photo, in [0, 1].

    Args:
      blur: standard deviation of the blur in pixels of the degraded photo.
      noise: standard deviation of the noise in grey levels of 255.
      quality: JPEG quality, 1 to 100; 100 for none.

    Returns:
      0 for a clean photo, 1 at and beyond the hardest draws of training.
    """
    severities = (
        blur / HARDEST_BLUR,
        noise / HARDEST_NOISE,
        quantiser_scale(quality) / quantiser_scale(HARDEST_QUALITY),
    )
    return math.sqrt(sum(min(s, 1.0) ** 2 for s in severities) / len(severities))


# Large photos are sampled by so many tiles, whose sides are whole JPEG blocks.
_TILE, _MOST_TILES = 128, 64
# Smoothness is this quantile of what planes leave in windows of such sides; edges are
# the steps from that quantile on.
_SMALL, _LARGE, _SMOOTHEST, _SHARPEST = 3, 7, 0.05, 0.95
_SHARPEST_SHARE = 0.5  # Beyond it a step is noise.
_FEWEST = 24  # Places of which quantiles mean something.
# Median absolute deviation of a normal distribution, in standard deviations.
_MAD = 0.6745
# Added before logarithms: levels lost in rounding, and a share.
_ROUNDING, _LEAST_SHARE = 0.3, 0.02
# Qualities from which on compression is no sign of an old photo.
_FINE = 98

# Fits to training photos of 64 to 128 pixels, degraded by rule or clean, for photos
# without compression and with it. Terms: 1, the logarithms of the smoothness in small
# and large windows, of sharpness and of the diagonal deviation, severity of JPEG.
# The log-odds that there is noise, by logistic regression:
_NOISY = (-4.36, 13.73, -2.54, -10.73, -8.36, 0.0)
_NOISY_COMPRESSED = (-0.42, 3.97, -0.78, -2.38, -0.71, 1.69)
# log(1 + noise) of noisy photos, by least squares:
_NOISE = (0.68, 1.28, 0.65, -0.45, -1.00, 0.0)
_NOISE_COMPRESSED = (1.02, 0.85, 0.23, -0.24, -0.37, 1.02)
# Blur in pixels, likewise:
_BLUR = (-2.45, 0.93, 0.13, -4.27, -1.26, 0.0)
_BLUR_COMPRESSED = (-3.64, 0.27, 0.15, -5.22, -0.53, -0.04)
# Probabilities of noise from which on an uncompressed photo is not taken as clean at
# all, and is taken as noisy without reserve: clean photos must stay what they are.
_DOUBTFUL, _CERTAIN = 0.5, 0.9


def estimate_level(
    image: Num[np.ndarray, "H W 3"],
    mask: Bool[np.ndarray, "H W"],
    quality: float | None = None,
) -> float:
    """The level of a photo, in [0, 1]; what is missing of it has no effect.

    Args:
      image: uint8 or float in [0, 1].
      mask: True = missing.
      quality: JPEG quality of its file, 1 to 100; None: as the pixels show it.

    Returns:
      See `degradation_level`; 0 for photos without contrast, and where next to nothing
      is known.
    """
    if quality is None:
        quality = quality_of_pixels(image, ~mask)
    compressed = quality < _FINE
    traits = _traits(_tiles(image, mask))
    if traits is None:
        return 0.0
    severity = quantiser_scale(quality) / quantiser_scale(HARDEST_QUALITY)
    terms = 1.0, *traits, min(severity, 1.0)
    noisy = 1 / (1 + math.exp(-_dot(compressed, terms, _NOISY, _NOISY_COMPRESSED)))
    noise = math.expm1(_dot(compressed, terms, _NOISE, _NOISE_COMPRESSED))
    noise = min(max(noise, 0.0), HARDEST_NOISE)
    blur = _dot(compressed, terms, _BLUR, _BLUR_COMPRESSED)
    blur = min(max(blur, 0.0), HARDEST_BLUR)
    if compressed:
        return degradation_level(blur, noisy * noise, quality)
    share = min(max((noisy - _DOUBTFUL) / (_CERTAIN - _DOUBTFUL), 0.0), 1.0)
    return degradation_level(share * blur, share * noise, quality)


def _dot(
    compressed: bool,
    terms: Sequence[float],
    plain_fit: Sequence[float],
    compressed_fit: Sequence[float],
) -> float:
    fit = compressed_fit if compressed else plain_fit
    return sum(a * b for a, b in zip(fit, terms, strict=True))


def _tiles(
    image: Num[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"]
) -> list[tuple[Float32[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]]:
    """Luma in [0, 255], and what is known, of tiles of a photo."""
    from scipy import ndimage  # It takes its time.

    # Beside a hole there may be what is left of the damage.
    known = np.logical_not(ndimage.binary_dilation(mask, np.ones((3, 3))))
    rows, columns = (range(0, side, _TILE) for side in mask.shape)
    places = [(i, j) for i in rows for j in columns]
    if len(places) > _MOST_TILES:
        chosen = np.linspace(0, len(places) - 1, _MOST_TILES).astype(int)
        places = [places[k] for k in chosen]
    top = 1 if image.dtype == np.uint8 else 255
    tiles = []
    for i, j in places:
        here = slice(i, i + _TILE), slice(j, j + _TILE)
        luma = image[here].astype(np.float32) @ (top * LUMA_WEIGHTS).astype(np.float32)
        tiles.append((np.where(mask[here], np.float32(0), luma), known[here]))
    return tiles


def _traits(tiles: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, ...] | None:
    """Logarithms of smoothness (twice), sharpness and diagonal deviation.

    None if there are too few places to measure them, or no contrast.
    """
    smooth = []
    for side in (_SMALL, _LARGE):
        left = np.concatenate([_left_by_planes(*tile, side) for tile in tiles])
        if len(left) < _FEWEST and side == _SMALL:
            return None
        # Of small photos, or between many holes, there may be no large window.
        smooth.append(np.quantile(left, _SMOOTHEST) if len(left) else smooth[0])
    near, far = np.concatenate([_steps(*tile) for tile in tiles], axis=1)
    if not far.any():
        return None
    edges = far >= np.quantile(far, _SHARPEST)
    share = min(near[edges].sum() / far[edges].sum(), _SHARPEST_SHARE)
    diagonal = np.concatenate([_diagonal(*tile) for tile in tiles])
    deviation = np.median(diagonal) / _MAD
    return (
        *(math.log(s + _ROUNDING) for s in smooth),
        math.log(share + _LEAST_SHARE),
        math.log(deviation + _ROUNDING),
    )


def _left_by_planes(
    luma: Float[np.ndarray, "h w"], known: Bool[np.ndarray, "h w"], side: int
) -> Float[np.ndarray, " N"]:
    """Standard deviations from planes fitted to known windows of side x side."""
    from scipy import ndimage

    if min(luma.shape) < side:
        return np.zeros(0)
    half, luma = side // 2, luma - luma.mean()  # Squares keep more digits so.
    ramp = np.arange(-half, half + 1.0)
    mean = ndimage.uniform_filter(luma, side)
    square = ndimage.uniform_filter(luma * luma, side)
    rest = (square - mean * mean) * side**2
    for axis in (0, 1):
        slope = ndimage.correlate1d(luma, ramp, axis=axis)
        slope = ndimage.uniform_filter1d(slope, side, axis=1 - axis) * side
        rest -= slope * slope / (side * (ramp * ramp).sum())
    inner = slice(half, -half)
    whole = ndimage.minimum_filter(known, side)[inner, inner]
    return np.sqrt(np.maximum(rest[inner, inner][whole], 0) / (side**2 - 3))


def _diagonal(
    luma: Float[np.ndarray, "h w"], known: Bool[np.ndarray, "h w"]
) -> Float[np.ndarray, " N"]:
    """Sizes of the finest diagonal Haar coefficients, at all places."""

    def corners(
        a: Shaped[np.ndarray, "h w"],
    ) -> tuple[Shaped[np.ndarray, "h-1 w-1"], ...]:
        return a[1:, 1:], a[1:, :-1], a[:-1, 1:], a[:-1, :-1]

    a, b, c, d = corners(luma)
    return (np.abs(a - b - c + d) / 2)[np.logical_and.reduce(corners(known))]


def _steps(
    luma: Float[np.ndarray, "h w"], known: Bool[np.ndarray, "h w"]
) -> Float[np.ndarray, "2 N"]:
    """Steps between the middle two and the outer two of four pixels in line."""
    near, far = [], []
    for a, k in ((luma, known), (luma.T, known.T)):
        whole = k[:, 3:] & k[:, 2:-1] & k[:, 1:-2] & k[:, :-3]
        near.append(np.abs(a[:, 2:-1] - a[:, 1:-2])[whole])
        far.append(np.abs(a[:, 3:] - a[:, :-3])[whole])
    return np.stack([np.concatenate(near), np.concatenate(far)])
