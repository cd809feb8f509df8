"""One training example from one photo: crop, degrade, mask and sample pixels.

What chance decides is drawn first, on the host: `Chooser` makes `Choices`. The calls of
the generator and their order are fixed: with them, and the photos, batches are the same
wherever and whenever they are made. `MakeExample` then makes the example;
`NumberExample` only sends the choices, for photos that are in the memory of the
devices, see `dear_jax.data.render`.

S is the low-resolution side, T the side of the crop and Q the number of queries. An
example is a dict of arrays; the grain transforms here are picklable.
"""

from dataclasses import dataclass

import grain
import numpy as np
from jaxtyping import Bool, Float32, Int32, UInt8
from PIL import Image

from dear_jax.data.damage import Damages, draw_damage, draw_mask
from dear_jax.data.degradations import Degradations, degraded, to_bytes, toned
from dear_jax.data.masks import Masks
from dear_jax.images import resize
from dear_jax.models.dear.coordinates import to_coordinates

# Pixels of an enlarged photo above which only the crop is made. It may differ by
# rounding from the crop of the whole.
_ENLARGED_WHOLE = 1 << 24
# Bits of `Choices.flips`, applied in this order.
LEFT_RIGHT, UPSIDE_DOWN, TRANSPOSED = 1, 2, 4

Example = dict[str, np.ndarray | np.generic]


@dataclass(frozen=True, slots=True)
class Choices:
    """One example.

    Attributes:
      side: T in pixels.
      size: (h, w) that the photo is enlarged to first, or its own size.
      corner: (top, left) of the crop in it.
      flips: of the crop, bits as named above.
      mask: True = missing.
      pixels: numbers of pixels of the flipped crop, row by row; empty if the whole
        crop is asked for.
      intact: whether this is one of the examples in which nothing is missing.
    """

    side: int
    size: tuple[int, int]
    corner: tuple[int, int]
    flips: int
    mask: Bool[np.ndarray, "S S"]
    pixels: Int32[np.ndarray, " Q"]
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


def draw_pixels(
    side: int, count: int, rng: np.random.Generator
) -> Int32[np.ndarray, " {count}"]:
    """Draws pixels of a square, all different unless `count` exceeds their number.

    Returns:
      Their numbers, row by row.
    """
    if not count:
        return np.zeros(0, np.int32)
    pixels = side * side
    chosen = rng.choice(pixels, count, replace=count > pixels, shuffle=False)
    return chosen.astype(np.int32)


class MakeExample(grain.transforms.RandomMap):
    """Turns a photo into a low-resolution image, a mask and queried pixels.

    Args:
      chooser: draws crop, mask and queries.
      degrade: ranges of degradations, None for none.
      damage: what damage is drawn, None for none.
    """

    def __init__(
        self,
        chooser: Chooser,
        degrade: Degradations | None = None,
        damage: Damages | None = None,
    ):
        self.chooser, self.degrade, self.damage = chooser, degrade, damage

    def random_map(
        self, photo: UInt8[np.ndarray, "H W 3"], rng: np.random.Generator
    ) -> Example:
        """Makes the example; the same photo and generator give the same example.

        Returns:
          float32 arrays: "image" [S, S, 3] in [0, 1], the reduced crop, perhaps
          degraded and damaged (the model hides what the mask says); "clean"
          [S, S, 3], the same without either; "level" [], how degraded it is, see
          `degradation_level`; "mask" [S, S, 1], 1 = missing; "damage" [S, S, 1], if
          some photos are damaged, see `Damage.to_find`; "coordinates" [Q, 2],
          centres (y, x) of pixels of the crop in [-1, 1]; "cell" [Q, 2], the side of
          such a pixel in the same units; "colours" [Q, 3] in [0, 1], the crop at
          those pixels. With Q = 0, instead of the last three, "target" [T, T, 3] in
          [0, 1], the crop.
        """
        height, width, _ = photo.shape
        chosen = self.chooser.choose((height, width), rng)
        crop = flipped(cut(photo, chosen), chosen.flips)
        crop, made = self._conditioned(crop, chosen, rng)
        if not self.chooser.queries:
            return made | {"target": _unit(crop)}
        side, queries = chosen.side, len(chosen.pixels)
        rows, columns = np.divmod(chosen.pixels, side)
        coordinates = to_coordinates(np.stack([rows, columns], -1), (side, side))
        return made | {
            "coordinates": coordinates,
            "cell": np.full((queries, 2), 2 / side, np.float32),
            "colours": _unit(crop[rows, columns]),
        }

    def _conditioned(
        self,
        crop: UInt8[np.ndarray, "T T 3"],
        chosen: Choices,
        rng: np.random.Generator,
    ) -> tuple[UInt8[np.ndarray, "T T 3"], Example]:
        """The crop in its tone, and what the model sees of it."""
        mask, size = chosen.mask, (self.chooser.side, self.chooser.side)
        degrade, damage, level = self.degrade, None, 0.0
        # Draws nothing where nothing is set, so that examples stay as they were.
        if degrade and rng.random() >= degrade.share:
            degrade = None
        if self.damage and not chosen.intact:
            # The share is of all examples, those in which nothing is missing too.
            if rng.random() * (1 - self.chooser.clean) < self.damage.share:
                damage = draw_damage(rng, size, self.damage)
                drawn = draw_mask(rng, damage)
                joined = rng.random() < self.damage.joined
                mask = drawn | mask if joined else drawn
        if degrade:
            crop = toned(np.ascontiguousarray(crop), degrade, rng)
        clean = image = resize.bicubic(crop, size)
        if degrade:
            image, level = degraded(crop, clean, degrade, rng, damage)
        elif damage:
            image = to_bytes(damage.on(clean.astype(np.float32)))
        made = {
            "image": _unit(image),
            "clean": _unit(clean),
            "level": np.float32(level),
            "mask": mask[:, :, None].astype(np.float32),
        }
        if self.damage:
            made["damage"] = np.zeros((*size, 1), np.float32)
        if damage:
            made["damage"] = damage.to_find(clean.astype(np.float32))
        return crop, made


class NumberExample(grain.transforms.RandomMap):
    """Turns the number of a photo into what is to be done with it.

    Args:
      chooser: draws it.
      size: (H, W) of all photos, at least the largest T.
    """

    def __init__(self, chooser: Chooser, size: tuple[int, int]):
        self.chooser, self.size = chooser, size

    def random_map(self, photo: int, rng: np.random.Generator) -> Example:
        """Makes the example of photo number `photo`.

        Returns:
          "photo", int32, its number; "corner", int32 [2], (top, left) of the crop;
          "side", int32, T; "flips", int32, bits; "mask", bool [S, S]; "pixels", int32
          [Q], see `Choices`.
        """
        chosen = self.chooser.choose(self.size, rng)
        return {
            "photo": np.int32(photo),
            "corner": np.array(chosen.corner, np.int32),
            "side": np.int32(chosen.side),
            "flips": np.int32(chosen.flips),
            "mask": chosen.mask,
            "pixels": chosen.pixels,
        }


def cut(
    photo: UInt8[np.ndarray, "H W C"], chosen: Choices
) -> UInt8[np.ndarray, "T T C"]:
    """Cuts the crop out of a photo.

    The photo is first enlarged by bicubic to `chosen.size`.
    """
    side, (top, left) = chosen.side, chosen.corner
    height, width = chosen.size
    if photo.shape[:2] != chosen.size:
        if height * width > _ENLARGED_WHOLE:
            return _enlarged_crop(photo, chosen)
        photo = resize.bicubic(photo, chosen.size)
    return photo[top : top + side, left : left + side]


def _enlarged_crop(
    photo: UInt8[np.ndarray, "H W C"], chosen: Choices
) -> UInt8[np.ndarray, "T T C"]:
    """Cuts the crop out of an enlarged photo of which only that is made."""
    side, old = chosen.side, photo.shape[:2]
    steps = [now / new for now, new in zip(old, chosen.size, strict=True)]
    low = [at * step for at, step in zip(chosen.corner, steps, strict=True)]
    high = [
        min((at + side) * step, now)
        for at, step, now in zip(chosen.corner, steps, old, strict=True)
    ]
    bicubic, height = Image.Resampling.BICUBIC, old[0]
    # Width first and rounded, as Pillow enlarges the whole.
    narrow = (low[1], 0, high[1], height)
    part = Image.fromarray(photo).resize((side, height), bicubic, narrow)
    return np.asarray(part.resize((side, side), bicubic, (0, low[0], side, high[0])))


def flipped(crop: UInt8[np.ndarray, "T T C"], flips: int) -> UInt8[np.ndarray, "T T C"]:
    """Flips a square as the bits of `flips` say."""
    if flips & LEFT_RIGHT:
        crop = crop[:, ::-1]
    if flips & UPSIDE_DOWN:
        crop = crop[::-1]
    return crop.swapaxes(0, 1) if flips & TRANSPOSED else crop


def _unit(
    grey_levels: UInt8[np.ndarray, "... 3"],
) -> Float32[np.ndarray, "... 3"]:
    return grey_levels.astype(np.float32) / np.float32(255)
