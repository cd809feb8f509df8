"""Training masks: random files of a folder, or drawn on the spot by rule.

A mask is bool [h, w], True = missing, at the low-resolution size.
"""

from pathlib import Path

import numpy as np

from dear_jax import photo, resize
from dear_jax.data import lama_masks, strokes
from dear_jax.errors import InputError

_REMEMBERED_BYTES = 1 << 29


class MaskFiles:
    """The mask images below a folder, subfolders included.

    Every decoded mask is remembered at one bit a pixel (32 KiB for 512 x 512),
    since decoding would otherwise take longer than the rest of an example. It is
    picklable, without what it remembers, and may be used by several threads.

    Raises:
      InputError: if the folder does not exist or no image lies below it.
    """

    def __init__(self, folder: str | Path):
        self._folder = Path(folder).expanduser()
        if not self._folder.is_dir():
            raise InputError(
                f"{folder}: no such folder (looked from {Path.cwd()}); set "
                'config.data.masks to a folder of masks, "generated" or "lama"'
            )
        self._names = sorted(
            path.relative_to(self._folder).as_posix()
            for path in self._folder.rglob("*")
            if path.suffix.lower() in photo.SUFFIXES
        )
        if not self._names:
            raise InputError(
                f"{folder}: no mask image in it or below it; set config.data.masks "
                'to a folder of masks, "generated" or "lama"'
            )
        self._remembered = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._names)

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_remembered": {}, "_bytes": 0}

    def names(self) -> list[str]:
        """Returns for every mask its path below the folder and its size in bytes."""
        return [f"{n} {(self._folder / n).stat().st_size}" for n in self._names]

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
        """Returns a random mask, bool [h, w], flipped and turned at random.

        Raises:
          InputError: if the file drawn is not an image.
        """
        mask = self._mask(int(rng.integers(len(self._names))))
        turns = int(rng.integers(4))
        # Resizing comes first: the rest then moves a small array.
        mask = resize.nearest(mask, size if turns % 2 == 0 else size[::-1])
        mask = np.rot90(mask, turns)
        if rng.random() < 0.5:
            mask = mask[::-1]
        if rng.random() < 0.5:
            mask = mask[:, ::-1]
        return mask

    def _mask(self, index: int) -> np.ndarray:
        if index not in self._remembered:
            mask = self._read(index)
            if self._bytes + mask.size // 8 > _REMEMBERED_BYTES:
                return mask
            self._bytes += mask.size // 8
            self._remembered[index] = (np.packbits(mask), mask.shape)
        bits, (height, width) = self._remembered[index]
        mask = np.unpackbits(bits, count=height * width)
        return mask.reshape(height, width).view(bool)

    def _read(self, index: int) -> np.ndarray:
        try:
            return photo.read_mask(self._folder / self._names[index])
        except InputError as error:
            raise InputError(f"{error}; remove it from config.data.masks") from None


class Generated:
    """Masks drawn by `strokes.draw_strokes`, all six bins of hole ratio alike."""

    def __len__(self) -> int:
        return len(strokes.RATIO_BINS)

    def names(self) -> list[str]:
        """Returns the names of the bins of hole ratio."""
        return [strokes.bin_name(ratio) for ratio in strokes.RATIO_BINS]

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
        """Returns a new mask, bool [h, w]: first a random bin, then a ratio in it."""
        return strokes.draw_strokes(
            rng, size, strokes.RATIO_BINS[rng.integers(len(strokes.RATIO_BINS))]
        )


class LaMaMasks:
    """Masks drawn by `lama_masks.draw_lama_mask`, as LaMa is trained with."""

    def __len__(self) -> int:
        return len(self.names())

    def names(self) -> list[str]:
        """Returns the names of the two kinds."""
        return ["lama chains", "lama boxes"]

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
        """Returns a new mask, bool [h, w], of a random kind."""
        return lama_masks.draw_lama_mask(rng, size)


class NoMasks:
    """Nothing is missing, for what learns from clean photos."""

    def __len__(self) -> int:
        return 1

    def names(self) -> list[str]:
        """Returns what the fingerprint of a run's data holds of them."""
        return ["none"]

    def draw(self, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
        """Returns an empty mask, bool [h, w]; draws nothing."""
        return np.zeros(size, bool)


Masks = MaskFiles | Generated | LaMaMasks | NoMasks


def open_masks(where: str) -> Masks:
    """Opens a folder of masks, "generated" or "lama" for masks drawn by rule, "none".

    Raises:
      InputError: if the folder does not exist or no image lies below it.
    """
    drawn = {"generated": Generated, "lama": LaMaMasks, "none": NoMasks}.get(str(where))
    return drawn() if drawn else MaskFiles(where)
