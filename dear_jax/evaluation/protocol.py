"""What every evaluation protocol is, and v1: which damaged photos are restored.

In v1 the truth is a photo as it is. The input is the truth reduced with Pillow's
bicubic to round(side / scale) per axis, then masked: in every hole-ratio bin,
photo i (sorted by name) takes mask i mod n (sorted by name), resized to the
input with Pillow's nearest neighbour. In masks, True = missing.
Protocols v2 and sr are in `protocol_v2.py` and `protocol_sr.py`.
"""

import functools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8

from dear_jax import bundled
from dear_jax.data.mask_bins import TestMask, open_test_masks
from dear_jax.data.sources import Photos, open_images
from dear_jax.errors import InputError
from dear_jax.evaluation.scores import METRICS
from dear_jax.images import resize
from dear_jax.metrics import SSIM_WINDOW
from dear_jax.models import lpips

# Smallest side of a truth that all metrics can measure.
SMALLEST = max(SSIM_WINDOW, lpips.SMALLEST["alexnet"])


class Protocol(NamedTuple):
    """How inputs are made of photos, and how results are scored.

    Attributes:
      name: what tables and files call it.
      summary: all that a reader of numbers must know; begins with the name.
      columns: what the samples are grouped by.
      metrics: what results are scored by, see `scores.SHOWN`.
      baseline: name of the system to beat.
      on_luma: whether PSNR, SSIM and L1 are of luma, without a border of `scale`
        pixels.
    """

    name: str
    summary: str
    columns: str
    metrics: tuple[str, ...] = METRICS
    baseline: str = "classical"
    on_luma: bool = False


V1 = Protocol(
    "protocol v1",
    "protocol v1: inputs by PIL bicubic on uint8 to round(side / scale), then masked "
    "(mask reduced by nearest neighbour); the whole output, brought to the truth's "
    "size and to uint8, is scored against the full photo, no border removed, known "
    "pixels not pasted back unless said; per image, then plain means. PSNR and L1 over "
    "RGB in [0, 1]; SSIM per channel, Gaussian 11 x 11, sigma 1.5, valid region; LPIPS "
    "AlexNet v0.1",
    columns="hole ratios in %",
)


class SampleKey(NamedTuple):
    """What distinguishes a sample: a photo and a mask, by name and by content."""

    photo: str
    photo_digest: str
    bin: str
    mask_digest: str


@dataclass(frozen=True, eq=False)
class Sample:
    """One damaged photo to restore.

    Attributes:
      index: position of the photo among the photos, sorted by name.
      photo: the photo's name: its path below the folder, or what its record is
        called.
      truth: what a restorer should return.
      image: the reduced photo, black where missing.
      mask: True = missing.
      scale: side of the truth / side of the input, as asked for.
      bin: what the sample is grouped by: in v1 the name of its hole-ratio bin, such as
        "10-20" (percent).
      mask_name: name of the mask within its bin.
      photo_digest: hex digits of the hash of the photo's file, before any reduction.
      mask_digest: hex digits of the hash of the mask's file, or of how it is drawn.
      level: how degraded the input is, from 0 to 1, see `degradation_level`.
    """

    index: int
    photo: str
    truth: UInt8[np.ndarray, "h w 3"]
    image: UInt8[np.ndarray, "H W 3"]
    mask: Bool[np.ndarray, "H W"]
    scale: float
    bin: str
    mask_name: str
    photo_digest: str = ""
    mask_digest: str = ""
    level: float = 0.0

    @property
    def key(self) -> SampleKey:
        """What distinguishes it from other samples."""
        return SampleKey(self.photo, self.photo_digest, self.bin, self.mask_digest)

    @property
    def sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Size (H, W) of the input and (h, w) of the truth."""
        return self.image.shape[:2], self.truth.shape[:2]


@dataclass(frozen=True)
class Samples:
    """The samples of some photos at one scale; made while iterating, in fixed order.

    The base of every protocol's.

    Attributes:
      photos: the photos, sorted by name.
      scale: see `Sample`.
      protocol: how they are made and scored.
    """

    photos: Photos
    scale: float
    protocol: ClassVar[Protocol]

    @property
    def names(self) -> list[str]:
        """For every photo what `Sample.photo` will be."""
        return self.photos.names

    @property
    def per_photo(self) -> int:
        """How many samples each photo has."""
        return 1

    def __len__(self) -> int:
        return len(self.photos) * self.per_photo

    def __iter__(self) -> Iterator[Sample]:
        for index in range(len(self.photos)):
            yield from self.of_photo(index)

    def of_photo(self, index: int) -> list[Sample]:
        """Returns the samples of one photo; several threads may ask.

        Raises:
          InputError: if a file cannot be read, or the photo is too small.
        """
        raise NotImplementedError

    def keys(self, index: int) -> list[SampleKey]:
        """Returns the keys of one photo's samples, in order; decodes nothing.

        Raises:
          InputError: if a file has to be hashed that cannot be read.
        """
        raise NotImplementedError

    def facts(self) -> dict[str, Any]:
        """What decides the scores beside photos, masks and system; JSON can hold it."""
        return {"protocol": self.protocol.name, "scale": self.scale}


@dataclass(frozen=True)
class MaskedSamples(Samples):
    """Protocol v1's: every photo with a mask of each hole-ratio bin.

    Attributes:
      bins: bin name -> its masks sorted by name; bins in order.
      reduce: the truth is the photo reduced by this factor first.
    """

    bins: dict[str, list[TestMask]]
    reduce: float = 1.0
    protocol: ClassVar[Protocol] = V1

    @property
    def per_photo(self) -> int:
        """How many samples each photo has."""
        return len(self.bins)

    def facts(self) -> dict[str, Any]:
        """See `Samples.facts`."""
        return super().facts() | {"reduce": self.reduce}

    def of_photo(self, index: int) -> list[Sample]:
        """Returns the samples of one photo, one for every bin; several threads may ask.

        Raises:
          InputError: if the photo or a mask cannot be read, or the photo is too small.
        """
        # Hashed before it is read: a file that changes meanwhile is measured again.
        keys = self.keys(index)
        truth = read_truth(self.photos, index, self.reduce)
        size = input_size(truth.shape[:2], self.scale, self.names[index])
        sample = functools.partial(
            Sample, index=index, photo=self.names[index], truth=truth, scale=self.scale
        )
        reduced = resize.bicubic(truth, size)
        found = []
        for key, chosen in zip(keys, self._masks(index), strict=True):
            mask = resize.nearest(chosen.load(), size)
            found.append(
                sample(
                    image=np.where(mask[..., None], np.uint8(0), reduced),
                    mask=mask,
                    bin=key.bin,
                    mask_name=chosen.name,
                    photo_digest=key.photo_digest,
                    mask_digest=key.mask_digest,
                )
            )
        return found

    def keys(self, index: int) -> list[SampleKey]:
        """Returns the keys of one photo's samples, in order; decodes nothing.

        Raises:
          InputError: if a file has to be hashed that cannot be read.
        """
        name, digest = self.names[index], self.photos.digest(index)
        masks = zip(self.bins, self._masks(index), strict=True)
        return [
            SampleKey(name, digest, bin_name, mask.digest()) for bin_name, mask in masks
        ]

    def _masks(self, index: int) -> list[TestMask]:
        """The mask that a photo takes in every bin."""
        return [masks[index % len(masks)] for masks in self.bins.values()]


def samples(
    photos: str | Path,
    masks: str | Path,
    scale: float,
    limit: int | None = None,
    reduce: float = 1.0,
    settings: tuple[str, str] = ("photos", "masks"),
) -> MaskedSamples:
    """Lays out protocol v1's samples; photos and masks are read while iterating.

    Args:
      photos: a folder of photos of any size or of ArrayRecord files, see
        `open_images`, or "bundled".
      masks: see `open_test_masks`.
      scale: at least 1, need not be whole.
      limit: take only this many photos, the first by name.
      reduce: reduce the photos by this factor first; what is left is the truth.
      settings: what messages call `photos` and `masks`, such as "--data", "--masks".

    Raises:
      InputError: at once for a bad scale, limit, folder or first photo; while
        iterating for a file that cannot be read, or is too small for the scale or
        to be measured.
    """
    scale, reduce = check_scale(scale), check_scale(reduce)
    found = first_photos(photos, limit, settings[0])
    # Usually all photos are of one size: a hopeless scale is refused before any work.
    size = read_truth(found, 0, reduce).shape[:2]
    input_size(size, scale, found.names[0])
    return MaskedSamples(found, scale, open_test_masks(masks, settings[1]), reduce)


def first_photos(
    photos: str | Path, limit: int | None = None, setting: str = "photos"
) -> Photos:
    """Opens the photos of an evaluation, or the first so many of them by name.

    Raises:
      InputError: for a bad limit or folder; the message calls it `setting`.
    """
    if limit is not None and limit < 1:
        raise InputError(f"limit {limit}: give at least 1 photo, or no limit")
    remedy = f"set {setting} to a folder of photos or of ArrayRecord files"
    found = Photos(open_images(photos, remedy, bundled.PHOTOS))
    return found.select(range(len(found))[:limit])


def check_scale(scale: float) -> float:
    """Returns the scale as a float; InputError unless it is finite and at least 1."""
    if not (math.isfinite(scale) and scale >= 1):
        raise InputError(f"scale {scale:g}: give a finite number of at least 1")
    return float(scale)


def input_size(
    target: tuple[int, int], scale: float, name: str = "photo"
) -> tuple[int, int]:
    """Size (H, W) of the input for a target (h, w): round(side / scale) per axis.

    Raises:
      InputError: if less than one pixel would be left; `name` says of what.
    """
    height, width = (round(side / scale) for side in target)
    if min(height, width) < 1:
        raise InputError(
            f"{name}: scale {scale:g} leaves less than 1 pixel of "
            f"{target[1]} x {target[0]}; give a scale of at most {min(target):g}"
        )
    return height, width


def read_truth(
    photos: Photos, index: int, reduce: float = 1.0
) -> UInt8[np.ndarray, "h w 3"]:
    """Reads a photo, reduced by a factor.

    Raises:
      InputError: if it cannot be read, or metrics could not measure it.
    """
    truth = photos[index]
    if reduce != 1:
        size = input_size(truth.shape[:2], reduce, photos.names[index])
        truth = resize.bicubic(truth, size)
    height, width = truth.shape[:2]
    if min(height, width) < SMALLEST:
        reduced = f", reduced by {reduce:g}" if reduce != 1 else ""
        raise InputError(
            f"{photos.title(index)}: {width} x {height} pixels{reduced}; the metrics "
            f"need at least {SMALLEST} x {SMALLEST}; use larger photos"
        )
    return truth
