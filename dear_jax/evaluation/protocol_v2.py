"""Evaluation protocol v2, "old photographs": photos made old by rule, with their masks.

All is decided by a seed and the photo's name alone. In this order: tone, of truth and
input alike, for tone is not what is restored; blur; reduction; damage, drawn at the
reduced size; noise or grain; JPEG. The input is black where the mask is, as in v1.
Nothing here is shared with what training degrades its examples by. Up to the JPEG
encoder, which is Pillow's, all is whole numbers or sums and products in a fixed order,
so that the same seed and name give the same bytes on every machine.
"""

import dataclasses
import hashlib
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from PIL import Image

from dear_jax.evaluation import protocol
from dear_jax.evaluation.film_damage import Damaged, Piece, add_damage, snap, uniform
from dear_jax.evaluation.protocol import (
    Protocol,
    Sample,
    SampleKey,
    Samples,
    input_size,
)
from dear_jax.evaluation.scores import METRICS, PARTS
from dear_jax.inference.degradation import degradation_level

SEED = 0
# Shares of the tones; the rest keeps its colours. Half of all are faded: black rises
# and white falls to levels between these.
GREY, SEPIA, FADED = 0.35, 0.2, 0.5
BLACKS, WHITES = (8, 48), (200, 245)
# A grey level v of a sepia photo becomes a mixture of grey and of v between these.
SEPIA_BLACK, SEPIA_WHITE, SEPIA_STRENGTHS = (38, 24, 12), (255, 240, 208), (0.4, 1.0)
# Standard deviations, of the blur in pixels of the input, of the noise in levels.
BLURS, NOISES = (0.1, 1.3), (1.0, 12.0)
# Part of the noise that is grain, that is blurred by so many pixels, and coloured.
GRAINS, GRAIN_SIZES, COLOURED = 0.5, (0.5, 1.0), 0.5
QUALITIES, COMPRESSED = (45, 95), 0.8
KERNELS = {
    "box": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
# Of weights after the binary point, and of blurred levels: sums fit 32 bits.
_WEIGHT_BITS, _LEVEL_BITS = 14, 8
V2 = Protocol(
    "protocol v2",
    "protocol v2: old photographs; photos in the tone of their inputs (grey, sepia or "
    "colour, half of them faded) are the truth; inputs are blurred (sigma 0.1-1.3 of "
    "their pixels), reduced to round(side / scale) by box, bilinear or bicubic, "
    "damaged as film and prints are (0.1-2.2 % of the area), with noise or grain "
    "(sigma 1-12 of 255) and mostly JPEG 45-95, all by seed 0 and the photo's name; "
    "masks are the damage, one pixel wider; the whole output, brought to uint8, is "
    "scored against the truth, no border removed, known pixels not pasted back unless "
    "said (then the input's); inside and outside of holes by the mask enlarged by "
    'nearest neighbour; "told" is given the level of each input\'s degradation, the '
    "others are given 0; per photo, then plain means. PSNR and L1 over RGB in [0, 1]; "
    "SSIM per channel, Gaussian 11 x 11, sigma 1.5, valid region; LPIPS AlexNet v0.1",
    columns="tones of the photos",
    metrics=METRICS + PARTS,
)


@dataclass(frozen=True)
class OldPhotoSamples(Samples):
    """Protocol v2's: every photo once, grouped by its tone.

    Attributes:
      seed: of all that is drawn, with the photo's name.
    """

    seed: int = SEED
    protocol: ClassVar[Protocol] = V2

    def of_photo(self, index: int) -> list[Sample]:
        """See `Samples.of_photo`."""
        # Hashed before it is read: a file that changes meanwhile is measured again.
        (key,) = self.keys(index)
        photo = protocol.read_truth(self.photos, index)
        made = old_photo(photo, self.scale, key.photo, self.seed)
        sample = Sample(
            index=index,
            photo=key.photo,
            truth=made.truth,
            image=np.where(made.mask[..., None], np.uint8(0), made.image),
            mask=made.mask,
            scale=self.scale,
            bin=key.bin,
            mask_name=f"seed {self.seed}",
            photo_digest=key.photo_digest,
            mask_digest=key.mask_digest,
            level=made.level,
        )
        return [sample]

    def keys(self, index: int) -> list[SampleKey]:
        """See `Samples.keys`."""
        name = self.names[index]
        drawn = f"{self.seed}/{name}".encode("utf-8", "surrogateescape")
        tone = draw_degradation(name, self.seed).tone
        digest = hashlib.sha256(drawn).hexdigest()
        return [SampleKey(name, self.photos.digest(index), tone, digest)]

    def facts(self) -> dict[str, Any]:
        """See `Samples.facts`."""
        return super().facts() | {"seed": self.seed}


def samples(
    photos: str | Path,
    scale: float,
    limit: int | None = None,
    setting: str = "photos",
    seed: int = SEED,
) -> OldPhotoSamples:
    """Lays out protocol v2's samples; photos are read while iterating.

    Args:
      photos: see `protocol.samples`.
      scale: at least 1, need not be whole.
      limit: take only this many photos, the first by name.
      setting: what messages call `photos`, such as "--data".
      seed: of all that is drawn.

    Raises:
      InputError: as `protocol.samples`.
    """
    scale = protocol.check_scale(scale)
    found = protocol.first_photos(photos, limit, setting)
    size = protocol.read_truth(found, 0).shape[:2]
    protocol.input_size(size, scale, found.names[0])
    return OldPhotoSamples(found, scale, seed)


@dataclass(frozen=True)
class Draw:
    """What was drawn for one photo.

    Attributes:
      tone: "grey", "sepia" or "colour".
      sepia: strength of the sepia, 0 without.
      black, white: levels that 0 and 255 became; 0 and 255 if not faded.
      blur: standard deviation in pixels of the input.
      kernel: of the reduction: "box", "bilinear" or "bicubic".
      noise: standard deviation in grey levels of 255.
      grain: standard deviation in pixels of what blurred the noise, 0 for white.
      coloured: whether the noise differs between channels.
      quality: of the JPEG encoder; 100 for a photo that was not compressed.
    """

    tone: str
    sepia: float
    black: int
    white: int
    blur: float
    kernel: str
    noise: float
    grain: float
    coloured: bool
    quality: int

    @property
    def level(self) -> float:
        """How degraded the photo is, see `degradation_level`."""
        return degradation_level(self.blur, self.noise, self.quality)


@dataclass(frozen=True, eq=False)
class OldPhoto:
    """A photo made old, and what it was.

    Attributes:
      truth: toned like the input.
      image: degraded and damaged.
      mask: the damage, one pixel wider.
      contrast: by how much damage changed each pixel, before noise and JPEG, in the
        channel that changed most; in [0, 1].
      draw: the degradations.
      pieces: the damage.
    """

    truth: UInt8[np.ndarray, "h w 3"]
    image: UInt8[np.ndarray, "H W 3"]
    mask: Bool[np.ndarray, "H W"]
    contrast: Float32[np.ndarray, "H W"]
    draw: Draw
    pieces: tuple[Piece, ...]

    @property
    def level(self) -> float:
        """How degraded the input is, from 0 to 1."""
        return self.draw.level


def old_photo(
    photo: UInt8[np.ndarray, "h w 3"], scale: float, name: str, seed: int = 0
) -> OldPhoto:
    """Makes a photo old.

    Args:
      photo: the truth, but for its tone.
      scale: at least 1; the input has round(side / scale) pixels a side.
      name: the photo's; with the seed it decides all that is drawn.
      seed: at least 0.

    Raises:
      InputError: if the scale leaves less than one pixel.
    """
    scanned = before_jpeg(photo, scale, name, seed)
    if scanned.draw.quality == 100:
        return scanned
    file = io.BytesIO()
    Image.fromarray(scanned.image).save(file, "jpeg", quality=scanned.draw.quality)
    return dataclasses.replace(scanned, image=np.asarray(Image.open(file)))


def before_jpeg(
    photo: UInt8[np.ndarray, "h w 3"], scale: float, name: str, seed: int = 0
) -> OldPhoto:
    """As `old_photo`, not compressed yet: no bit of it is up to an encoder."""
    draw = draw_degradation(name, seed)
    truth = toned(photo, draw)
    size = input_size(truth.shape[:2], scale, name)
    intact = _reduced(_blurred(truth, draw.blur * scale), size, draw.kernel)
    rng = _generator(name, seed, "damage")
    damaged = add_damage(rng, intact, tinted=draw.tone != "grey")
    change = np.abs(damaged.image.astype(np.float32) - intact).max(-1) / np.float32(255)
    image = _noisy(damaged, draw, _generator(name, seed, "noise"))
    pieces = tuple(damaged.pieces)
    return OldPhoto(truth, image, damaged.mask, change, draw, pieces)


def draw_degradation(name: str, seed: int = 0) -> Draw:
    """Draws tone and degradations of the photo of that name; sizes do not matter."""
    rng = _generator(name, seed, "degradation")
    tone = rng.random()
    tone = "grey" if tone < GREY else "sepia" if tone < GREY + SEPIA else "colour"
    strength, faded = uniform(rng, *SEPIA_STRENGTHS), rng.random() < FADED
    black, white = (math.floor(uniform(rng, *ends)) for ends in (BLACKS, WHITES))
    blur, noise = uniform(rng, *BLURS), uniform(rng, *NOISES)
    kernel = list(KERNELS)[math.floor(rng.random() * len(KERNELS))]
    grain, grain_size = rng.random() < GRAINS, uniform(rng, *GRAIN_SIZES)
    coloured, compressed = rng.random() < COLOURED, rng.random() < COMPRESSED
    quality = QUALITIES[0] + math.floor(
        rng.random() * (1 + QUALITIES[1] - QUALITIES[0])
    )
    return Draw(
        tone=tone,
        sepia=strength if tone == "sepia" else 0.0,
        black=black if faded else 0,
        white=white if faded else 255,
        blur=blur,
        kernel=kernel,
        noise=noise,
        grain=grain_size if grain else 0.0,
        # A grey photo is scanned as one.
        coloured=coloured and tone != "grey",
        quality=quality if compressed else 100,
    )


def toned(photo: UInt8[np.ndarray, "h w 3"], draw: Draw) -> UInt8[np.ndarray, "h w 3"]:
    """A photo in the tone that was drawn."""
    levels = np.arange(256)[:, None] * np.ones(3, int)
    if draw.tone != "colour":
        weighted = photo.astype(np.int64) * (299, 587, 114)
        grey = (weighted[..., 0] + weighted[..., 1] + weighted[..., 2] + 500) // 1000
        photo = np.repeat(grey[..., None], 3, axis=-1)
    if draw.tone == "sepia":
        low, high = np.array(SEPIA_BLACK), np.array(SEPIA_WHITE)
        strength = math.floor(256 * draw.sepia)
        sepia = low * 255 + levels * (high - low)
        levels = ((256 - strength) * 255 * levels + strength * sepia) // (256 * 255)
    faded = draw.black * 255 + levels * (draw.white - draw.black)
    table = ((faded + 127) // 255).astype(np.uint8)
    return table[photo, np.arange(3)]


def _generator(name: str, seed: int, step: str) -> np.random.Generator:
    """The randomness of one step of making one photo old."""
    text = f"{step}/{name}".encode("utf-8", "surrogateescape")
    return np.random.default_rng([seed, *hashlib.sha256(text).digest()])


def _blurred(
    photo: UInt8[np.ndarray, "h w 3"], sigma: float
) -> UInt8[np.ndarray, "h w 3"]:
    """Gaussian blur in whole numbers; edges are repeated."""
    weights = [round(w * 2**_WEIGHT_BITS) for w in _gaussian(sigma)]
    middle = len(weights) // 2
    weights[middle] += 2**_WEIGHT_BITS - sum(weights)
    values = photo.astype(np.int32) << _LEVEL_BITS
    for axis in (0, 1):
        padded = np.pad(values, [(middle * (i == axis),) * 2 for i in range(3)], "edge")
        # Levels of 16 bits times weights that add up to 2^14.
        total = np.full_like(values, 1 << (_WEIGHT_BITS - 1))
        for i, weight in enumerate(weights):
            count = values.shape[axis]
            total += weight * padded.take(range(i, i + count), axis)
        values = total >> _WEIGHT_BITS
    half = 1 << (_LEVEL_BITS - 1)
    return ((values + half) >> _LEVEL_BITS).astype(np.uint8)


def _gaussian(sigma: float) -> list[float]:
    """Weights up to three standard deviations from the middle; their sum is 1."""
    radius = math.ceil(3 * sigma)
    weights = [
        snap(math.exp(-(i * i) / (2 * sigma * sigma)))
        for i in range(-radius, radius + 1)
    ]
    total = sum(weights)
    return [weight / total for weight in weights]


def _reduced(
    photo: UInt8[np.ndarray, "h w 3"], size: tuple[int, int], kernel: str
) -> UInt8[np.ndarray, "H W 3"]:
    """Resizes to (H, W) with a filter of Pillow's."""
    height, width = size
    image = Image.fromarray(photo)
    return np.asarray(image.resize((width, height), KERNELS[kernel]))


def _noisy(
    damaged: Damaged, draw: Draw, rng: np.random.Generator
) -> UInt8[np.ndarray, "H W 3"]:
    """The damaged photo with noise, white or blurred to grain."""
    height, width = damaged.image.shape[:2]
    weights = _gaussian(draw.grain) if draw.grain else [1.0]
    pad = len(weights) - 1
    shape = height + pad, width + pad, 3 if draw.coloured else 1
    # The sum of twelve uniform numbers is as good as normal, without a logarithm.
    noise = np.full(shape, -6.0)
    for _ in range(12):
        noise += rng.random(shape)
    for axis, count in ((0, height), (1, width)):
        parts = [noise.take(range(i, i + count), axis) for i in range(pad + 1)]
        weighted = (w * part for w, part in zip(weights, parts, strict=True))
        noise = sum(weighted, np.zeros(()))
    energy = sum(weight * weight for weight in weights)
    levels = damaged.image + noise * (draw.noise / energy)
    return np.floor(np.clip(levels, 0, 255) + 0.5).astype(np.uint8)
