"""Training masks: random ones of a collection, or drawn on the spot by rule.

In a mask, True = missing; it has the low-resolution size.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from dear_jax import bundled
from dear_jax.data.drawn_masks import (
    RATIO_BINS,
    bin_name,
    draw_lama_mask,
    draw_strokes,
)
from dear_jax.data.sources import open_images
from dear_jax.errors import InputError
from dear_jax.images import resize
from dear_jax.images.masks import decode_mask

_REMEMBERED_BYTES = 1 << 29


class MaskFiles:
    """The masks of a collection: of a folder, say, subfolders included.

    Every mask is remembered at the size it was asked for, one bit a pixel (512 bytes
    for 64 x 64), since decoding would otherwise take longer than the rest of an
    example. It is picklable, without what it remembers, and may be used by several
    threads.

    A prepared set draws the same masks as the folder of bins ("01-10" and so on) that
    it was made from. A folder without bins has them in another order, so that the
    same random numbers draw other masks from it than from its set.

    Args:
      where: a part or a sequence of parts, see `open_images`; "bundled" are the masks
        that come with the package.

    Raises:
      InputError: if a part does not exist, holds no mask or lacks a shard.
    """

    def __init__(self, where: str | Path | Sequence[str | Path]):
        remedy = (
            "set config.data.masks to a folder of masks or ArrayRecord files, "
            '"generated" or "lama"'
        )
        self._images = open_images(where, remedy, bundled.MASKS)
        self._remembered: dict[tuple[int, int, int], np.ndarray] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._images)

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_remembered": {}, "_bytes": 0}

    def facts(self) -> list[str]:
        """Returns for every mask its name and its size in bytes, as one text."""
        return self._images.facts()

    def draw(
        self, rng: np.random.Generator, size: tuple[int, int]
    ) -> Bool[np.ndarray, "h w"]:
        """Returns a random mask, flipped and turned at random.

        Raises:
          InputError: if the mask drawn cannot be read.
        """
        index = int(rng.integers(len(self)))
        turns = int(rng.integers(4))
        # Resizing comes first: what is remembered, and turned, is small.
        height, width = size
        mask = self._mask(index, size if turns % 2 == 0 else (width, height))
        # As np.rot90 turns, in a third of its time.
        if turns >= 2:
            mask = mask[::-1, ::-1]
        if turns % 2:
            mask = mask[:, ::-1].T
        if rng.random() < 0.5:
            mask = mask[::-1]
        if rng.random() < 0.5:
            mask = mask[:, ::-1]
        return mask

    def _mask(self, index: int, size: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
        height, width = size
        key = index, height, width
        bits = self._remembered.get(key)
        if bits is None:
            mask = resize.nearest(self._read(index), size)
            bits = np.packbits(mask)
            if self._bytes + bits.size <= _REMEMBERED_BYTES:
                self._bytes += bits.size
                self._remembered[key] = bits
            return mask
        mask = np.unpackbits(bits, count=height * width)
        return mask.reshape(height, width).view(bool)

    def _read(self, index: int) -> Bool[np.ndarray, "H W"]:
        try:
            data = self._images.data(index)
            return decode_mask(data, self._images.title(index))
        except InputError as error:
            raise InputError(f"{error}, or remove it from config.data.masks") from None


class Generated:
    """Masks drawn by `draw_strokes`, all six bins of hole ratio alike."""

    def __len__(self) -> int:
        return len(RATIO_BINS)

    def facts(self) -> list[str]:
        """Returns the names of the bins of hole ratio."""
        return [bin_name(ratio) for ratio in RATIO_BINS]

    def draw(
        self, rng: np.random.Generator, size: tuple[int, int]
    ) -> Bool[np.ndarray, "h w"]:
        """Returns a new mask: first a random bin, then a ratio in it."""
        return draw_strokes(rng, size, RATIO_BINS[rng.integers(len(RATIO_BINS))])


class LaMaMasks:
    """Masks drawn by `draw_lama_mask`, as LaMa is trained with."""

    def __len__(self) -> int:
        return len(self.facts())

    def facts(self) -> list[str]:
        """Returns the names of the two kinds."""
        return ["lama chains", "lama boxes"]

    def draw(
        self, rng: np.random.Generator, size: tuple[int, int]
    ) -> Bool[np.ndarray, "h w"]:
        """Returns a new mask of a random kind."""
        return draw_lama_mask(rng, size)


class NoMasks:
    """Nothing is missing, for what learns from clean photos."""

    def __len__(self) -> int:
        return 1

    def facts(self) -> list[str]:
        """Returns what the fingerprint of a run's data holds of them."""
        return ["none"]

    def draw(
        self, rng: np.random.Generator, size: tuple[int, int]
    ) -> Bool[np.ndarray, "h w"]:
        """Returns an empty mask; draws nothing."""
        return np.zeros(size, bool)


Masks = MaskFiles | Generated | LaMaMasks | NoMasks


def open_masks(where: str | Path | Sequence[str | Path]) -> Masks:
    """Opens masks for training.

    Args:
      where: "generated" or "lama" for masks drawn by rule, "none" for none, or what
        `MaskFiles` takes.

    Raises:
      InputError: if a folder does not exist, holds no mask or lacks a shard.
    """
    drawn = {"generated": Generated, "lama": LaMaMasks, "none": NoMasks}.get(str(where))
    return drawn() if drawn else MaskFiles(where)
