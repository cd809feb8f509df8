"""What protocol damage measures detectors on: photos, each with a mask of its damage.

Photos are taken at their own size. Masks come from a folder, or the photo is damaged
by protocol v2's generator, or nothing is damaged and all that is found is wrong.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from dear_jax.data.sources import Images, Photos, open_images
from dear_jax.errors import InputError
from dear_jax.evaluation.protocol import first_photos
from dear_jax.evaluation.protocol_v2 import SEED, old_photo
from dear_jax.images.masks import decode_mask
from dear_jax.images.pairing import pair_names

# What --masks may be beside a folder: damage drawn on the photos, or none.
DRAWN, UNDAMAGED = "drawn", "none"


class Pair(NamedTuple):
    """A photo and its damage.

    Attributes:
      name: the photo's.
      image: the damaged photo.
      mask: True = damaged.
      contrast: by how much damage changed each pixel, in [0, 1]; None if it is not
        known.
    """

    name: str
    image: UInt8[np.ndarray, "H W 3"]
    mask: Bool[np.ndarray, "H W"]
    contrast: Float32[np.ndarray, "H W"] | None = None


@dataclass(frozen=True)
class Pairs:
    """Pairs, read or made one by one.

    Attributes:
      photos: sorted by name.
      masks: of each photo, or `DRAWN` or `UNDAMAGED`.
      seed: of damage that is drawn, with the photo's name.
    """

    photos: Photos
    masks: Images | str
    seed: int = SEED

    def __len__(self) -> int:
        return len(self.photos)

    def __getitem__(self, index: int) -> Pair:
        """The pair of one photo.

        Raises:
          IndexError: if there is no such photo.
          InputError: if photo or mask cannot be read, or do not fit.
        """
        if index >= len(self):
            raise IndexError(index)
        name, photo = self.photos.names[index], self.photos[index]
        if self.masks == UNDAMAGED:
            return Pair(name, photo, np.zeros(photo.shape[:2], bool))
        if self.masks == DRAWN:
            made = old_photo(photo, 1, name, self.seed)
            return Pair(name, made.image, made.mask, made.contrast)
        assert isinstance(self.masks, Images)
        title = self.masks.title(index)
        mask = decode_mask(self.masks.data(index), title)
        if mask.shape != photo.shape[:2]:
            (height, width), (own, wide) = mask.shape, photo.shape[:2]
            raise InputError(
                f"{title}: {width} x {height} pixels, its photo {wide} x {own}; give a "
                "mask of the photo's size"
            )
        return Pair(name, photo, mask)


def open_pairs(
    photos: str | Path, masks: str | Path, limit: int | None = None, seed: int = SEED
) -> Pairs:
    """Opens photos with masks of their damage.

    Args:
      photos: a folder of photos, see `open_images`, or "bundled".
      masks: a folder with a mask for each, of its name with any suffix; `DRAWN`: the
        photos are made old by protocol v2's generator; `UNDAMAGED`: they have none.
      limit: only so many photos, the first by name.
      seed: of damage that is drawn.

    Raises:
      InputError: for folders or a limit that cannot be used, or photos without mask.
    """
    found = first_photos(photos, limit, "--data")
    if str(masks) in (DRAWN, UNDAMAGED):
        return Pairs(found, str(masks), seed)
    choices = f"set --masks to a folder of masks, '{DRAWN}' or '{UNDAMAGED}'"
    images = open_images(masks, choices)
    chosen = pair_names(found.names, images.names, f"--masks {masks}")
    numbers = [images.names.index(name) for name in chosen if name is not None]
    return Pairs(found, images.select(numbers), seed)
