"""Evaluation protocol sr: enlargement alone, scored as super-resolution papers do.

The truth is a photo cut at its right and lower edges to a multiple of the scale; the
input is the truth reduced by Pillow's bicubic, and nothing of it is missing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8

from dear_jax.errors import InputError
from dear_jax.evaluation import protocol
from dear_jax.evaluation.protocol import SMALLEST, Protocol, Sample, SampleKey, Samples
from dear_jax.images import resize
from dear_jax.metrics import SSIM_WINDOW

# The only group of samples, named as v1 names photos without masks.
WHOLE = "none"
SR = Protocol(
    "protocol sr",
    "protocol sr: enlargement alone, nothing is missing; truths are cut to a multiple "
    "of the scale, inputs are truths reduced by PIL bicubic on uint8, which is not "
    "MATLAB's bicubic of most published numbers; outputs are brought to uint8; per "
    "photo, then plain means. PSNR, SSIM (Gaussian 11 x 11, sigma 1.5, valid region) "
    "and L1 on the Y channel of BT.601 (studio swing, in [0, 1]) without a border of "
    "`scale` pixels; LPIPS AlexNet v0.1 on whole RGB photos",
    columns="what is missing",
    baseline="bicubic",
    on_luma=True,
)


@dataclass(frozen=True)
class EnlargementSamples(Samples):
    """Protocol sr's: every photo once, nothing missing."""

    protocol: ClassVar[Protocol] = SR

    def of_photo(self, index: int) -> list[Sample]:
        """See `Samples.of_photo`."""
        # Hashed before it is read: a file that changes meanwhile is measured again.
        (key,) = self.keys(index)
        truth = self._truth(index)
        size = protocol.input_size(truth.shape[:2], self.scale, key.photo)
        sample = Sample(
            index=index,
            photo=key.photo,
            truth=truth,
            image=resize.bicubic(truth, size),
            mask=np.zeros(size, bool),
            scale=self.scale,
            bin=WHOLE,
            mask_name=WHOLE,
            photo_digest=key.photo_digest,
            mask_digest=key.mask_digest,
        )
        return [sample]

    def keys(self, index: int) -> list[SampleKey]:
        """See `Samples.keys`."""
        return [SampleKey(self.names[index], self.photos.digest(index), WHOLE, WHOLE)]

    def _truth(self, index: int) -> UInt8[np.ndarray, "h w 3"]:
        photo, scale = protocol.read_truth(self.photos, index), round(self.scale)
        height, width = (side - side % scale for side in photo.shape[:2])
        if min(height, width) < max(SMALLEST, SSIM_WINDOW + 2 * scale):
            raise InputError(
                f"{self.photos.title(index)}: {width} x {height} pixels, cut to a "
                f"multiple of {scale}; the metrics need at least {SMALLEST}, and "
                f"{SSIM_WINDOW} within the border; use larger photos"
            )
        return photo[:height, :width]


def samples(
    photos: str | Path, scale: float, limit: int | None = None, setting: str = "photos"
) -> EnlargementSamples:
    """Lays out protocol sr's samples; photos are read while iterating.

    Args:
      photos: see `protocol.samples`.
      scale: a whole number of at least 2.
      limit: take only this many photos, the first by name.
      setting: what messages call `photos`, such as "--data".

    Raises:
      InputError: for a scale that is not such, and as `protocol.samples`.
    """
    if protocol.check_scale(scale) < 2 or scale != round(scale):
        raise InputError(
            f"scale {scale:g}: protocol sr is defined for whole scales from 2 on"
        )
    found = EnlargementSamples(
        protocol.first_photos(photos, limit, setting), float(scale)
    )
    found.of_photo(0)
    return found
