"""What chance decides of a training example, before any pixel is touched.

S is the low-resolution side, T the side of the crop and Q the number of queries. The
generator's calls and their order are fixed: with them, and the photos, batches are the
same wherever and whenever they are made.
"""

from dataclasses import dataclass

import numpy as np

from dear_jax.data.masks import Masks

# Bits of `Choices.flips`, applied in this order.
LEFT_RIGHT, UPSIDE_DOWN, TRANSPOSED = 1, 2, 4


@dataclass(frozen=True, slots=True)
class Choices:
    """One example.

    Attributes:
      side: T in pixels.
      size: (h, w) that the photo is enlarged to first, or its own size.
      corner: (top, left) of the crop in it.
      flips: of the crop, bits as named above.
      mask: bool [S, S], True = missing.
      pixels: int32 [Q], numbers of pixels of the flipped crop, row by row; empty if
        the whole crop is asked for.
      intact: whether this is one of the examples in which nothing is missing.
    """

    side: int
    size: tuple[int, int]
    corner: tuple[int, int]
    flips: int
    mask: np.ndarray
    pixels: np.ndarray
    intact: bool = False


@dataclass(frozen=True)
class Chooser:
    """Draws examples.

    Attributes:
      masks: where masks are drawn from, as `open_masks` returns it.
      side: S in pixels.
      scale: (low, high), the range of the random T / S, at least 1.
      queries: Q, the number of high-resolution pixels asked for; 0 for the whole
        crop.
      clean: share of examples with an empty mask, in [0, 1] (plain
        super-resolution).
      augment: "flip", left to right with probability 1/2, or "dihedral", which adds
        as probable flips upside down and about the diagonal.
      enlarge: whether photos smaller than the crop are enlarged to it; otherwise T
        is drawn up to the photo's shorter side, so that no truth is blurred (S at
        least: photos smaller than that are enlarged all the same).
    """

    masks: Masks
    side: int
    scale: tuple[float, float]
    queries: int
    clean: float = 0.0
    augment: str = "flip"
    enlarge: bool = True

    @property
    def sides(self) -> range:
        """All that T may be."""
        low, high = (max(self.side, round(self.side * s)) for s in self.scale)
        return range(low if self.enlarge else self.side, high + 1)

    def choose(self, size: tuple[int, int], rng: np.random.Generator) -> Choices:
        """Draws an example of a photo of `size` = (H, W).

        Raises:
          InputError: if the mask drawn cannot be read.
        """
        low, high = self.scale
        if not self.enlarge:
            high = min(high, max(1.0, min(size) / self.side))
            low = min(low, high)
        side = max(self.side, round(self.side * rng.uniform(low, high)))
        size, corner = place_crop(size, side, rng)
        flips = draw_flips(self.augment, rng)
        mask = self.masks.draw(rng, (self.side, self.side))
        intact = rng.random() < self.clean
        if intact:
            mask = np.zeros_like(mask)
        pixels = draw_pixels(side, self.queries, rng)
        return Choices(side, size, corner, flips, mask, pixels, intact)


def place_crop(
    size: tuple[int, int], side: int, rng: np.random.Generator
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Draws where a square of `side` is cut out of a photo of `size` = (H, W).

    Returns:
      The size that the photo is enlarged to first, which is its own or, if its
      shorter side is less than `side`, just enough; and (top, left) in that.
    """
    height, width = size
    shorter = min(size)
    if shorter < side:
        height, width = round(height * side / shorter), round(width * side / shorter)
    top = int(rng.integers(height - side + 1))
    return (height, width), (top, int(rng.integers(width - side + 1)))


def draw_flips(how: str, rng: np.random.Generator) -> int:
    """Draws flips, bits as named above; `how` is the `augment` of `Chooser`."""
    flips = LEFT_RIGHT if rng.random() < 0.5 else 0
    if how == "dihedral":
        flips |= UPSIDE_DOWN if rng.random() < 0.5 else 0
        flips |= TRANSPOSED if rng.random() < 0.5 else 0
    return flips


def draw_pixels(side: int, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draws pixels of a square, all different unless `count` exceeds their number.

    Returns:
      Their numbers, row by row, int32 [count].
    """
    if not count:
        return np.zeros(0, np.int32)
    pixels = side * side
    chosen = rng.choice(pixels, count, replace=count > pixels, shuffle=False)
    return chosen.astype(np.int32)
