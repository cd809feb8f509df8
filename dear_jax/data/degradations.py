"""What age, cameras and files do to a whole photo: tone, blur, noise, JPEG.

The steps are those of Bringing-Old-Photos-Back-to-Life (Wan et al. 2020) and BSRGAN
(Zhang et al. 2021), milder. Tone is no degradation: the truth has the same. All else
happens at the low-resolution size, after the reduction, where blur and noise are
measured and where they cost little.
"""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from dear_jax.data.damage import Damage
from dear_jax.inference.degradation import degradation_level

# Float grey levels of 255, which may leave their range.
_Levels = Float32[np.ndarray, "h w 3"]

Resampling = Image.Resampling
# Kernels of the reduction with their shares.
_KERNELS = {
    Resampling.BICUBIC: 0.35,
    Resampling.BOX: 0.3,
    Resampling.BILINEAR: 0.27,
    Resampling.NEAREST: 0.08,
}
# Shares of degraded photos that take each step.
_BLURRED, _SHRUNK, _NOISY, _COMPRESSED = 0.8, 0.25, 0.8, 0.8
# Powers of a uniform draw, so that mild steps are more common than hard ones.
_MILD = 1.5
# Shares of all noise: correlated grain, speckle, salt and pepper; white is the rest.
_GRAIN, _SPECKLE, _SALT = 0.35, 0.15, 0.03
# Noise of a grey photo is usually grey too; a scan in colour makes it coloured.
_GREY_NOISE, _GREY_NOISE_OF_GREY = 0.4, 0.7


# Filters, OpenCV's, of enlarging after a shrink to a factor f: their shares, and the
# variance in pixels that way and back add to that of a blur, over 1 / f^2 - 1.
_ENLARGED = {
    "INTER_LINEAR": (0.5, 1 / 4),
    "INTER_CUBIC": (0.4, 1 / 8),
    "INTER_NEAREST": (0.1, 1 / 6),
}


@dataclass(frozen=True)
class Degradations:
    """What `config.data.degrade` says.

    Attributes:
      share: of examples that are degraded, in [0, 1].
      grey: share of them that are made grey.
      sepia: share of them that are made sepia.
      faded: share of them, toned or not, with lifted blacks and lowered whites.
      blur: (low, high) standard deviation in low-resolution pixels.
      noise: (low, high) standard deviation in grey levels of 255.
      quality: (low, high) JPEG quality, 1 to 100.
    """

    share: float
    grey: float
    sepia: float
    faded: float
    blur: tuple[float, float]
    noise: tuple[float, float]
    quality: tuple[int, int]


def toned(
    crop: UInt8[np.ndarray, "H W 3"], settings: Degradations, rng: np.random.Generator
) -> UInt8[np.ndarray, "H W 3"]:
    """Gives a photo a random tone: grey, sepia, faded or its own."""
    import cv2

    kind = rng.random()
    grey, sepia = kind < settings.grey, kind < settings.grey + settings.sepia
    levels = np.repeat(np.linspace(0, 1, 256)[:, None], 3, 1)
    if sepia and not grey:
        strength = rng.uniform(0.3, 1.2)
        levels = levels ** (1 + strength * np.array([-0.12, 0, 0.25]))
        levels = levels * (1 - strength * np.array([0, 0.05, 0.18]))
    if rng.random() < settings.faded:
        black, white = rng.uniform(0, 0.25), rng.uniform(0.7, 1)
        cast = 0 if grey else rng.normal(0, 0.025, (2, 3))
        black, white = np.stack([np.full(3, black), np.full(3, white)]) + cast
        levels = black + (white - black) * levels
    if sepia:  # Grey, or made of grey.
        crop = cv2.cvtColor(cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    table = np.rint(255 * np.clip(levels, 0, 1)).astype(np.uint8)
    return cv2.LUT(crop, table[:, None])


def degraded(
    crop: UInt8[np.ndarray, "T T 3"],
    clean: UInt8[np.ndarray, "S S 3"],
    settings: Degradations,
    rng: np.random.Generator,
    damage: Damage | None = None,
) -> tuple[UInt8[np.ndarray, "S S 3"], float]:
    """Reduces and degrades a photo.

    The steps are blur, a shrink and back, damage, noise and JPEG in this order, in
    half of all photos with two neighbours exchanged.

    Args:
      crop: as toned.
      clean: the same reduced by bicubic.
      settings: ranges of the steps.
      rng: source of all randomness.
      damage: of the size of `clean`, or None.

    Returns:
      The degraded photo and the level of what was drawn, see `degradation_level`.
    """
    kernel = _choice(rng, list(_KERNELS), list(_KERNELS.values()))
    small = clean
    if kernel != Resampling.BICUBIC:
        small = np.asarray(Image.fromarray(crop).resize(clean.shape[1::-1], kernel))
    small = small.astype(np.float32)
    drawn = _Drawn()
    steps: list[Callable] = [_blur, _shrink, _damage_of(damage), _noise, _compress]
    if rng.random() < 0.5:
        first = int(rng.integers(len(steps) - 1))
        steps[first : first + 2] = steps[first + 1], steps[first]
    for step in steps:
        small = step(small, settings, rng, drawn)
    blur = np.sqrt(drawn.blur_variance)
    return to_bytes(small), degradation_level(blur, drawn.noise, drawn.quality)


def to_bytes(levels: _Levels) -> UInt8[np.ndarray, "h w 3"]:
    """The nearest uint8 of float grey levels, which may leave [0, 255]."""
    return np.rint(np.clip(levels, 0, 255)).astype(np.uint8)


@dataclass
class _Drawn:
    """What the level is made of."""

    blur_variance: float = 0.0
    noise: float = 0.0
    quality: float = 100


def _blur(
    image: _Levels, settings: Degradations, rng: np.random.Generator, drawn: _Drawn
) -> _Levels:
    """A Gaussian, half of the time longer in one direction than across it."""
    import cv2

    if rng.random() >= _BLURRED:
        return image
    sigma = _mild(rng, settings.blur)
    ratio = rng.uniform(0.4, 1) if rng.random() < 0.5 else 1.0
    angle = rng.uniform(0, np.pi)
    if sigma < 0.05:
        return image
    drawn.blur_variance += sigma**2
    if ratio == 1:
        return cv2.GaussianBlur(image, (0, 0), sigma)
    # The mean of both variances is that of the isotropic one.
    along, across = np.sqrt(2 / (1 + ratio**2)) * sigma * np.array([1, ratio])
    return cv2.filter2D(image, -1, _gaussian(along, across, angle))


def _gaussian(along: float, across: float, angle: float) -> Float32[np.ndarray, "K K"]:
    """A Gaussian kernel of two standard deviations."""
    reach = max(1, int(np.ceil(3 * along)))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    u, v = (
        x * np.cos(angle) + y * np.sin(angle),
        y * np.cos(angle) - x * np.sin(angle),
    )
    kernel = np.exp(-((u / along) ** 2 + (v / max(across, 0.2)) ** 2) / 2)
    return (kernel / kernel.sum()).astype(np.float32)


def _shrink(
    image: _Levels, settings: Degradations, rng: np.random.Generator, drawn: _Drawn
) -> _Levels:
    """Smaller by a factor of 0.5 to 1, and back."""
    import cv2

    if rng.random() >= _SHRUNK:
        return image
    factor = rng.uniform(0.5, 1)
    back = _choice(rng, list(_ENLARGED), [share for share, _ in _ENLARGED.values()])
    height, width = image.shape[:2]
    small = max(1, round(factor * width)), max(1, round(factor * height))
    drawn.blur_variance += _ENLARGED[back][1] * (1 / factor**2 - 1)
    image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (width, height), interpolation=getattr(cv2, back))


def _damage_of(damage: Damage | None) -> Callable:
    return lambda image, *_: image if damage is None else damage.on(image)


def _noise(
    image: _Levels, settings: Degradations, rng: np.random.Generator, drawn: _Drawn
) -> _Levels:
    import cv2

    if rng.random() >= _NOISY:
        return image
    sigma, kind = _mild(rng, settings.noise), rng.random()
    if kind < _SALT:
        return _salted(image, sigma, rng, drawn)
    red, green, blue = np.moveaxis(image, 2, 0)
    monochrome = max(np.abs(red - green).max(), np.abs(blue - green).max()) < 1
    grey = rng.random() < (_GREY_NOISE_OF_GREY if monochrome else _GREY_NOISE)
    shape = (*image.shape[:2], 1 if grey else 3)
    noise = rng.standard_normal(shape, np.float32)
    if kind < _SALT + _GRAIN:
        noise = cv2.GaussianBlur(noise, (0, 0), rng.uniform(0.4, 1.2)).reshape(shape)
    elif kind < _SALT + _GRAIN + _SPECKLE:
        noise = noise * (image if not grey else green[:, :, None])
    drawn.noise = sigma
    # Of the same strength, whatever was done to it.
    strength = math.sqrt(np.vdot(noise, noise) / noise.size)
    return image + noise * np.float32(sigma / max(strength, 1e-6))


def _salted(
    image: _Levels, sigma: float, rng: np.random.Generator, drawn: _Drawn
) -> _Levels:
    """Pixels turned black or white, so many that the error is about `sigma`."""
    # An error of 0 or 255 against a photo has a mean square of about a third.
    share = 3 * (sigma / 255) ** 2
    pixels = rng.random(image.shape[:2])
    salted = np.where((pixels < share / 2)[..., None], np.float32(0), image)
    salted = np.where((pixels > 1 - share / 2)[..., None], np.float32(255), salted)
    drawn.noise = float(np.sqrt(np.mean((salted - image) ** 2)))
    return salted


def _compress(
    image: _Levels, settings: Degradations, rng: np.random.Generator, drawn: _Drawn
) -> _Levels:
    """JPEG and back; half of the time its blocks do not begin at the corner."""
    if rng.random() >= _COMPRESSED:
        return image
    low, high = settings.quality
    quality = round(high - (high - low) * rng.random() ** _MILD)
    subsampling = 2 if rng.random() < 0.7 else 0  # 4:2:0 or 4:4:4.
    top, left = rng.integers(8, size=2) if rng.random() < 0.5 else (0, 0)
    drawn.quality = quality
    shifted = np.pad(to_bytes(image), ((top, 0), (left, 0), (0, 0)), "edge")
    file = io.BytesIO()
    Image.fromarray(shifted).save(
        file, "JPEG", quality=quality, subsampling=subsampling
    )
    return np.asarray(Image.open(file))[top:, left:].astype(np.float32)


def _mild(rng: np.random.Generator, bounds: Sequence[float]) -> float:
    low, high = bounds
    return low + (high - low) * rng.random() ** _MILD


def _choice(rng: np.random.Generator, values: list, shares: list[float]):
    """One of the values; many times faster than `rng.choice`."""
    ends = np.cumsum(shares)
    at = np.searchsorted(ends, rng.random() * ends[-1], side="right")
    return values[min(int(at), len(values) - 1)]
