"""What there is of a photo file: pixels, transparency, and what it carries along.

Pixels are uint8 or uint16 [H, W, 3] RGB, upright; transparency is [H, W] of the same
kind, 0 = transparent.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from PIL import Image

from dear_jax.images.jpeg_quality import quality_of_tables


class JpegQuality(NamedTuple):
    """How finely a JPEG file was quantised, so that another can be alike.

    Attributes:
      tables: quantisation tables, 64 numbers each.
      subsampling: of the colours as Pillow numbers it, None if unusual.
      progressive: whether the file comes in ever finer scans.
    """

    tables: tuple[tuple[int, ...], ...]
    subsampling: int | None
    progressive: bool


class Kept(NamedTuple):
    """What goes from the file that was read to the file that is written.

    Attributes:
      profile: ICC profile of the pixels, byte for byte.
      exif: EXIF data without its thumbnail, which would still show the photo as it
        was; its orientation is 1.
      xmp: XMP packet; its orientation is 1.
      dpi: pixels per inch, across and down.
      jpeg: the quality of a JPEG file.
      colour_chunks: (name, data) of the PNG chunks that say what its colours mean.
      lossy: whether the file holds its pixels inexactly.
      remarks: sentences about what was left out or changed in reading.
    """

    profile: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    jpeg: JpegQuality | None = None
    colour_chunks: tuple[tuple[bytes, bytes], ...] = ()
    lossy: bool = False
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Picture:
    """A photo file's content.

    Attributes:
      pixels: uint8 or uint16 [H, W, 3] RGB, upright.
      alpha: [H, W] of the same kind, 0 = transparent; None if the file has none.
      grey: whether the file has one channel of light, which `pixels` then hold three
        times.
      format: Pillow's name of the file's format, such as "PNG" or "JPEG".
      kept: what goes along unchanged.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    grey: bool = False
    format: str = "PNG"
    kept: Kept = Kept()

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.pixels.shape[:2]

    @property
    def bits(self) -> int:
        """Of each number, 8 or 16."""
        return 8 * self.pixels.dtype.itemsize

    @property
    def transparent(self) -> bool:
        """Whether any pixel is; alpha that hides nothing may be left out."""
        if self.alpha is None:
            return False
        return bool((self.alpha < np.iinfo(self.alpha.dtype).max).any())

    @property
    def quality(self) -> float | None:
        """JPEG quality of the file, 1 to 100, by its tables; None for other files."""
        jpeg = self.kept.jpeg
        return None if jpeg is None else quality_of_tables(jpeg.tables)

    @property
    def image(self) -> np.ndarray:
        """What a restorer is to be given: uint8 of 8 bits, floats in [0, 1] of 16."""
        return self.pixels if self.bits == 8 else self.floats()

    def floats(self) -> np.ndarray:
        """The pixels as float32 [H, W, 3] in [0, 1]."""
        return self.pixels.astype(np.float32) / np.float32(2**self.bits - 1)

    def with_pixels(self, pixels: np.ndarray, opaque: bool = False) -> "Picture":
        """This picture with other pixels, of as many bits, grey if it is.

        Transparency is enlarged or reduced along with the pixels, by Pillow's bicubic.

        Args:
          pixels: [h, w, 3], uint8, uint16 or float in [0, 1]; floats are rounded.
          opaque: leave transparency out, for it was what said where to fill.
        """
        pixels = with_bits(pixels, self.bits)
        if self.grey:
            pixels = _greyed(pixels)
        alpha = None if opaque else self.alpha
        if alpha is not None and alpha.shape != pixels.shape[:2]:
            alpha = _resized(alpha, pixels.shape[:2])
        return replace(self, pixels=pixels, alpha=alpha)


def with_bits(values: np.ndarray, bits: int) -> np.ndarray:
    """Numbers of 8 or 16 bits, or floats in [0, 1], rounded to numbers of `bits`."""
    if values.dtype.kind == "f":
        top = 2**bits - 1
        return np.rint(values.clip(0, 1) * top).astype(f"u{bits // 8}")
    if values.dtype == np.uint16 and bits == 8:
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if values.dtype == np.uint8 and bits == 16:
        return values.astype(np.uint16) * np.uint16(257)
    return values


def _greyed(pixels: np.ndarray) -> np.ndarray:
    """Each pixel's mean in all three channels; grey pixels stay as they are."""
    mean = (pixels.sum(-1, dtype=np.uint32) + 1) // 3
    return np.repeat(mean.astype(pixels.dtype)[..., None], 3, -1)


def _resized(alpha: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    top = np.iinfo(alpha.dtype).max
    image = Image.fromarray(alpha.astype(np.float32))
    image = image.resize(size[::-1], Image.Resampling.BICUBIC)
    return np.rint(np.asarray(image).clip(0, top)).astype(alpha.dtype)
