"""One training example from one photo: crop, reduce, mask and sample pixels.

Everything here is numpy on the host. S is the low-resolution side and Q the
number of queries. T is the side of the crop.
"""

import grain
import numpy as np
from PIL import Image

from dear_jax import resize
from dear_jax.data.masks import Masks
from dear_jax.model.coordinates import to_coordinates

# Pixels of an enlarged photo above which only the crop is made. It may differ by
# rounding from the crop of the whole.
_ENLARGED_WHOLE = 1 << 24


class MakeExample(grain.transforms.RandomMap):
    """Turns a photo into a low-resolution image, a mask and queried pixels.

    Attributes:
      masks: where masks are drawn from, as `open_masks` returns it.
      side: S, the low-resolution side in pixels.
      scale: (low, high), the range of the random target side / S, at least 1.
      queries: Q, the number of high-resolution pixels asked for; 0 for the whole
        crop.
      clean: share of examples with an empty mask, in [0, 1] (plain
        super-resolution).
      augment: "flip", left to right with probability 1/2, or "dihedral", which adds
        as probable flips upside down and about the diagonal.
    """

    def __init__(
        self,
        masks: Masks,
        side: int,
        scale: tuple[float, float],
        queries: int,
        clean: float = 0.0,
        augment: str = "flip",
    ):
        self.masks = masks
        self.side = side
        self.scale = tuple(scale)
        self.queries = queries
        self.clean = clean
        self.augment = augment

    def random_map(
        self, photo: np.ndarray, rng: np.random.Generator
    ) -> dict[str, np.ndarray]:
        """Makes the example; the same photo and generator give the same example.

        Args:
          photo: uint8 [H, W, 3].
          rng: source of all randomness.

        Returns:
          float32 arrays: "image" [S, S, 3] in [0, 1], the reduced crop with
          nothing missing (the model hides what the mask says); "mask" [S, S, 1],
          1 = missing; "coordinates" [Q, 2], centres (y, x) of pixels of the crop
          in [-1, 1]; "cell" [Q, 2], the side of such a pixel in the same units;
          "colours" [Q, 3] in [0, 1], the crop at those pixels. With Q = 0, instead
          of the last three, "target" [T, T, 3] in [0, 1], the crop.
        """
        target = max(self.side, round(self.side * rng.uniform(*self.scale)))
        crop = augmented(random_crop(photo, target, rng), self.augment, rng)
        image = resize.bicubic(crop, (self.side, self.side))
        mask = self.masks.draw(rng, (self.side, self.side))
        if rng.random() < self.clean:
            mask = np.zeros_like(mask)
        made = {
            "image": _unit(image),
            "mask": mask[:, :, None].astype(np.float32),
        }
        if not self.queries:
            return made | {"target": _unit(crop)}
        rows, columns = random_pixels(target, self.queries, rng)
        coordinates = to_coordinates(np.stack([rows, columns], -1), (target, target))
        return made | {
            "coordinates": coordinates,
            "cell": np.full((self.queries, 2), 2 / target, np.float32),
            "colours": _unit(crop[rows, columns]),
        }


def random_crop(photo: np.ndarray, side: int, rng: np.random.Generator) -> np.ndarray:
    """Cuts a random square uint8 [side, side, 3] out of a photo uint8 [H, W, 3].

    A photo whose shorter side is less than `side` is first enlarged by bicubic
    to just fit.
    """
    height, width = photo.shape[:2]
    shorter = min(height, width)
    if shorter < side:
        height, width = (round(n * side / shorter) for n in (height, width))
        if height * width <= _ENLARGED_WHOLE:
            photo = resize.bicubic(photo, (height, width))
    top = rng.integers(height - side + 1)
    left = rng.integers(width - side + 1)
    if photo.shape[:2] != (height, width):
        return _enlarged_crop(photo, (height, width), (top, left), side)
    return photo[top : top + side, left : left + side]


def _enlarged_crop(
    photo: np.ndarray, size: tuple[int, int], corner: tuple[int, int], side: int
) -> np.ndarray:
    """Cuts [side, side, 3] at `corner` out of a photo enlarged to `size` = (h, w).

    Only that is made, of the pixels that the filter needs.
    """
    steps = [old / new for old, new in zip(photo.shape[:2], size, strict=True)]
    low = [at * step for at, step in zip(corner, steps, strict=True)]
    high = [
        min((at + side) * step, old)
        for at, step, old in zip(corner, steps, photo.shape[:2], strict=True)
    ]
    bicubic, height = Image.Resampling.BICUBIC, photo.shape[0]
    # Width first and rounded, as Pillow enlarges the whole.
    narrow = (low[1], 0, high[1], height)
    cut = Image.fromarray(photo).resize((side, height), bicubic, narrow)
    return np.asarray(cut.resize((side, side), bicubic, (0, low[0], side, high[0])))


def augmented(crop: np.ndarray, how: str, rng: np.random.Generator) -> np.ndarray:
    """Flips a square [T, T, 3] at random, as `how`, see `MakeExample`, says."""
    if rng.random() < 0.5:
        crop = crop[:, ::-1]
    if how == "dihedral":
        if rng.random() < 0.5:
            crop = crop[::-1]
        if rng.random() < 0.5:
            crop = crop.swapaxes(0, 1)
    return crop


def random_pixels(
    side: int, count: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draws pixels of a square, all different unless `count` exceeds their number.

    Returns:
      Rows and columns, integers [count] each.
    """
    pixels = side * side
    chosen = rng.choice(pixels, count, replace=count > pixels, shuffle=False)
    return np.divmod(chosen, side)


def _unit(grey_levels: np.ndarray) -> np.ndarray:
    return grey_levels.astype(np.float32) / np.float32(255)
