"""Evaluation protocol v2, "old photographs": photos made old by rule, with their masks.

Truth, input and mask of every photo are those of `old_photos`, decided by the seed
and the photo's name alone; the input is black where the mask is, as in v1.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from dear_jax.evaluation import protocol
from dear_jax.evaluation.old_photos import draw_degradation, old_photo
from dear_jax.evaluation.protocol import Case, Cases, Place, Protocol
from dear_jax.evaluation.scores import METRICS, PARTS

SEED = 0
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
class OldPhotoCases(Cases):
    """Protocol v2's: every photo once, grouped by its tone.

    Attributes:
      seed: of all that is drawn, with the photo's name.
    """

    seed: int = SEED
    protocol: ClassVar[Protocol] = V2

    def of_photo(self, index: int) -> list[Case]:
        """See `Cases.of_photo`."""
        # Hashed before it is read: a file that changes meanwhile is measured again.
        (place,) = self.places(index)
        photo = protocol.read_truth(self.photos, index)
        made = old_photo(photo, self.scale, place.photo, self.seed)
        case = Case(
            index=index,
            photo=place.photo,
            truth=made.truth,
            image=np.where(made.mask[..., None], np.uint8(0), made.image),
            mask=made.mask,
            scale=self.scale,
            bin=place.bin,
            mask_name=f"seed {self.seed}",
            photo_digest=place.photo_digest,
            mask_digest=place.mask_digest,
            level=made.level,
        )
        return [case]

    def places(self, index: int) -> list[Place]:
        """See `Cases.places`."""
        name = self.names[index]
        drawn = f"{self.seed}/{name}".encode("utf-8", "surrogateescape")
        tone = draw_degradation(name, self.seed).tone
        digest = hashlib.sha256(drawn).hexdigest()
        return [Place(name, self.photos.digest(index), tone, digest)]

    def facts(self) -> dict[str, Any]:
        """See `Cases.facts`."""
        return super().facts() | {"seed": self.seed}


def cases(
    photos: str | Path,
    scale: float,
    limit: int | None = None,
    setting: str = "photos",
    seed: int = SEED,
) -> OldPhotoCases:
    """Lays out protocol v2's cases; photos are read while iterating.

    Args:
      photos: see `protocol.cases`.
      scale: at least 1, need not be whole.
      limit: take only this many photos, the first by name.
      setting: what messages call `photos`, such as "--data".
      seed: of all that is drawn.

    Raises:
      InputError: as `protocol.cases`.
    """
    scale = protocol.check_scale(scale)
    found = protocol.first_photos(photos, limit, setting)
    size = protocol.read_truth(found, 0).shape[:2]
    protocol.input_size(size, scale, found.names[0])
    return OldPhotoCases(found, scale, seed)
