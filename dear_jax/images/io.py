"""Finding, reading and writing image files.

A photo is RGB in 8 bits. An `ImageFile` is all that a file holds: up to 16 bits,
transparency and metadata. Formats are told by content in reading, by suffix in writing.
What Pillow reads is read, HEIC and JPEG XL with the packages of the extra "formats".
Written are:

PNG and TIFF, which hold everything. WebP holds all but 16 bits and dots per inch, and
is lossless unless the photo came from a lossy file. JPEG and lossy WebP are as coarse
as the file that was read, else of quality 95. BMP, PPM and GIF hold little more than
the pixels.
"""

import functools
import os
import re
import struct
import warnings
from collections.abc import Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Num, UInt, UInt8
from PIL import Image

from dear_jax.errors import InputError
from dear_jax.files import TOO_MANY_OPEN, replacing, too_many_open
from dear_jax.images import exif, xmp
from dear_jax.images.decode import (
    decode,
    fits_turned,
    is_photo,
    refusing,
    upper_bits,
    upright,
    with_bits,
)
from dear_jax.images.encode import ENCODERS
from dear_jax.images.jpeg_quality import quality_of_tables
from dear_jax.images.metadata import Metadata, read_metadata
from dear_jax.images.salvage import is_cut_short, salvaged

# By suffix, what is written.
FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".jfif": "JPEG", ".webp": "WebP",
    ".tif": "TIFF", ".tiff": "TIFF", ".bmp": "BMP", ".gif": "GIF", ".ppm": "PPM",
}  # fmt: skip
# What photos' names end in; more is read, whatever its name.
SUFFIXES = frozenset(FORMATS) | {
    ".avif", ".dib", ".heic", ".heif", ".j2k", ".jp2", ".jpe", ".jpx", ".jxl", ".mpo",
    ".pbm", ".pcx", ".pgm", ".pnm", ".psd", ".qoi", ".sgi", ".tga",
}  # fmt: skip
# May change pixels that they are given.
LOSSY = ("JPEG", "WebP", "GIF")
_DEEP = ("PNG", "TIFF")
_TRANSPARENT = ("PNG", "TIFF", "WebP", "GIF")
_MAX_SIDE = {"JPEG": 65_500, "WebP": 16_383, "GIF": 65_535}  # Pixels.
# Metadata that are not left out silently, the formats that hold them, and how many
# bytes of each a JPEG holds; profiles are dealt to 255 segments.
_REPORTED = {"icc_profile": "colour profile", "exif": "EXIF data", "xmp": "XMP data"}
_WITH_METADATA = ("PNG", "TIFF", "JPEG", "WebP")
_MAX_IN_JPEG = {"exif": 65_527, "xmp": 65_504, "icc_profile": 255 * 65_519}
# Bytes of a comment; TIFF holds it as its description.
_MAX_COMMENT = {"PNG": 1 << 24, "TIFF": 1 << 24, "GIF": 1 << 16, "JPEG": 65_533}
# How Pillow, and most other programs, begin an uncompressed photo.
_PPM = re.compile(rb"P6\n([1-9]\d{0,8}) ([1-9]\d{0,8})\n255\n")


@dataclass(frozen=True, eq=False)
class ImageFile:
    """The content of an image file.

    Attributes:
      pixels: RGB in 8 or 16 bits, upright.
      alpha: in as many bits, 0 = transparent; None if the file has none.
      grey: whether the file has one channel of light, which `pixels` then hold three
        times.
      format: Pillow's name of the file's format, such as "PNG" or "JPEG".
      metadata: what goes along unchanged.
      turned: whether its pixels are stored otherwise, by EXIF orientation, and a mask
        that was drawn on the stored ones would fit too.
      lacking: True where the file was cut short and has no pixels; None if it is whole.
    """

    pixels: UInt[np.ndarray, "H W 3"]
    alpha: UInt[np.ndarray, "H W"] | None = None
    grey: bool = False
    format: str = "PNG"
    metadata: Metadata = Metadata()
    turned: bool = False
    lacking: Bool[np.ndarray, "H W"] | None = None

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
        jpeg = self.metadata.jpeg
        return None if jpeg is None else quality_of_tables(jpeg.tables)

    @functools.cached_property
    def image(self) -> Num[np.ndarray, "H W 3"]:
        """A restorer's input: uint8 of 8 bits, float32 in [0, 1] of 16.

        What is wholly transparent has no colour, whatever the file says: it is given
        that of the nearest pixel that is not, so that no other bleeds into edges.
        """
        pixels = self.pixels
        if self.alpha is not None and not self.alpha.all() and self.alpha.any():
            pixels = pixels.copy()
            pixels[self.alpha == 0] = _nearest_colours(pixels, self.alpha > 0)
        return pixels if self.bits == 8 else _floats(pixels)

    @property
    def stored(self) -> Num[np.ndarray, "H W 3"]:
        """As `image`, but what is transparent has the file's colours."""
        return self.pixels if self.bits == 8 else self.floats()

    def floats(self) -> Float32[np.ndarray, "H W 3"]:
        """The pixels in [0, 1]."""
        return _floats(self.pixels)

    def with_pixels(
        self, pixels: Num[np.ndarray, "h w 3"], opaque: bool = False
    ) -> "ImageFile":
        """This file with other pixels, of as many bits, grey if it is.

        Transparency is enlarged or reduced along with the pixels, by Pillow's bicubic.

        Args:
          pixels: uint8, uint16 or float in [0, 1]; floats are rounded.
          opaque: leave transparency out, for it marked what was to be filled.
        """
        pixels = with_bits(pixels, self.bits)
        if self.grey:  # Grey pixels stay as they are.
            mean = (pixels.sum(-1, dtype=np.uint32) + 1) // 3
            pixels = np.repeat(mean.astype(pixels.dtype)[..., None], 3, -1)
        alpha = None if opaque else self.alpha
        if alpha is not None and alpha.shape != pixels.shape[:2]:
            alpha = _resized_alpha(alpha, pixels.shape[:2])
        metadata, size = self.metadata, pixels.shape[:2]
        if metadata.xmp and size != self.size:
            packet = xmp.with_size(metadata.xmp, self.size, size)
            metadata = metadata._replace(xmp=packet)
        return replace(self, pixels=pixels, alpha=alpha, metadata=metadata)


def _floats(pixels: UInt[np.ndarray, "H W 3"]) -> Float32[np.ndarray, "H W 3"]:
    return pixels.astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def _nearest_colours(
    pixels: UInt[np.ndarray, "H W 3"], visible: Bool[np.ndarray, "H W"]
) -> UInt[np.ndarray, "N 3"]:
    """Of each pixel that is not visible the colour of the nearest that is, or about."""
    import cv2

    nearest: Any
    _, nearest = cv2.distanceTransformWithLabels(
        (~visible).view(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    colours = np.zeros((nearest.max() + 1, 3), pixels.dtype)
    colours[nearest[visible]] = pixels[visible]
    return colours[nearest[~visible]]


def _resized_alpha(
    alpha: UInt[np.ndarray, "H W"], size: tuple[int, int]
) -> UInt[np.ndarray, "{size[0]} {size[1]}"]:
    top = np.iinfo(alpha.dtype).max
    image = Image.fromarray(alpha.astype(np.float32))
    image = image.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    return np.rint(np.asarray(image).clip(0, top)).astype(alpha.dtype)


# Finding


def list_photos(folder: str | Path) -> list[Path]:
    """Returns the image files in `folder` and its subfolders, sorted by path.

    Hidden files and folders (`.name`) are passed over, linked ones are not.

    Raises:
      InputError: if the folder does not exist or holds no image.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        raise InputError(f"{folder}: no such folder; give a folder of images")
    photos = [folder / name for name in names_below(folder, SUFFIXES)]
    if not photos:
        known = " ".join(sorted(SUFFIXES))
        raise InputError(f"{folder}: holds no image; expected files ending in {known}")
    return photos


def photos_below(folder: Path, recursive: bool = True) -> tuple[list[str], list[str]]:
    """Returns the names of the photos below a folder, and of all other files.

    Photos are what bears such a suffix, and what else looks like an image inside.

    Raises:
      InputError: if a folder may not be listed.
    """
    photos, others = [], []
    for name in names_below(folder, None, recursive):
        known = os.path.splitext(name)[1].lower() in SUFFIXES
        (photos if known or is_photo(folder / name) else others).append(name)
    return photos, others


def names_below(
    folder: Path, suffixes: Set[str] | None, recursive: bool = True
) -> list[str]:
    """Returns paths below a folder, with forward slashes, of files that end so.

    They are sorted by their parts, alike on every machine. Hidden files and folders
    are passed over, linked ones are not. Without `recursive` so are folders.

    Raises:
      InputError: if a folder may not be listed.
    """
    found = []
    try:
        for root, folders, files in os.walk(folder, onerror=_raise, followlinks=True):
            here = Path(os.path.realpath(root))
            folders[:] = [
                name
                for name in folders
                if recursive
                and not name.startswith(".")
                and not here.is_relative_to(os.path.realpath(os.path.join(root, name)))
            ]  # Without links back to a folder above.
            below = os.path.relpath(root, folder).replace(os.sep, "/").split("/")
            prefix = [] if below == ["."] else below
            found += [
                [*prefix, name]
                for name in files
                if name[0] != "."
                and (suffixes is None or os.path.splitext(name)[1].lower() in suffixes)
            ]
    except OSError as error:
        raise InputError(
            f"{error.filename}: cannot be listed ({error.strerror}); make it readable"
        ) from None
    return ["/".join(parts) for parts in sorted(found)]


def _raise(error: OSError) -> None:
    raise error


# Reading


def read_bytes(path: str | Path) -> bytes:
    """Returns what is in a file.

    Raises:
      InputError: if it is missing, a folder or may not be read.
    """
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; check its name") from None
    except IsADirectoryError:
        raise InputError(f"{path}: a folder; give one image file") from None
    except OSError as error:
        if too_many_open(error):
            raise InputError(f"{path}: {TOO_MANY_OPEN}") from None
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); make it readable"
        ) from None


def read_photo(path: str | Path) -> UInt8[np.ndarray, "H W 3"]:
    """Reads a photo as RGB; see `decode_photo`.

    Raises:
      InputError: if the file is missing, empty or not an image that can be read.
    """
    return decode_photo(read_bytes(path), path)


def decode_photo(data: bytes, name: str | Path) -> UInt8[np.ndarray, "H W 3"]:
    """Returns the photo, RGB, upright, in the bytes of an image file.

    Of 16 bits the upper eight count. Transparent pixels have the colours of the file.

    Args:
      data: the file's content.
      name: of the file, for messages.

    Raises:
      Unreadable: if it is damaged or no image.
      InputError: if memory or open files do not suffice.
    """
    photo = _uncompressed(data)
    if photo is None:
        photo = _three_channels(upper_bits(decode(data, name), name))
    return photo


def read_image(path: str | Path, salvage: bool = False) -> ImageFile:
    """Reads an image file with all that it holds; see `decode_image`.

    Raises:
      Unreadable: if it is empty, damaged or no image.
      InputError: if it is missing, may not be read or needs too much memory.
    """
    return decode_image(read_bytes(path), path, salvage)


def decode_image(data: bytes, name: str | Path, salvage: bool = False) -> ImageFile:
    """Returns all that is in the bytes of an image file.

    Args:
      data: the file's content.
      name: of the file, for messages.
      salvage: read what is there of a JPEG file that lacks its end.

    Raises:
      Unreadable: if it is damaged or no image.
      InputError: if memory or open files do not suffice.
    """
    lacking = None
    with refusing(data, name), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of damage that a remark reports.
        if salvage and is_cut_short(data):
            data, lacking = salvaged(data)
        channels, image, floats, page = decode(data, name)
        count = channels.shape[2]
        metadata = read_metadata(page, image, grey=count < 3)
        remarks = metadata.remarks
        if page is not data:
            remarks += (
                "the first picture in the file is a thumbnail: the largest was taken",
            )
        if floats:
            remarks += ("its floats were taken as 16 bits",)
        if lacking is not None:
            remarks += (_lack(lacking),)
            lacking = upright(lacking, image)
        known = "TIFF" if image is None else str(image.format)
        return ImageFile(
            pixels=_three_channels(channels),
            alpha=np.ascontiguousarray(channels[..., -1]) if count in (2, 4) else None,
            grey=count < 3,
            format="JPEG" if known == "MPO" else known,
            metadata=metadata._replace(remarks=remarks),
            turned=image is not None and fits_turned(image),
            lacking=lacking,
        )


def _lack(lacking: Bool[np.ndarray, "H W"]) -> str:
    """What a salvaged file lacks, in words."""
    if lacking.any():
        return f"its end is missing: {lacking.mean():.1%} of it is taken as missing"
    return "its end is missing; all pixels are there, perhaps coarser than they were"


def _uncompressed(data: bytes) -> UInt8[np.ndarray, "H W 3"] | None:
    """The photo in a whole PPM file, sharing its bytes; None if it is something else.

    Pillow reads them too, in a hundred times the time.
    """
    head = _PPM.match(data)
    if head is None:
        return None
    width, height = int(head[1]), int(head[2])
    if len(data) - head.end() != 3 * width * height:
        return None
    pixels = np.frombuffer(data, np.uint8, offset=head.end())
    return pixels.reshape(height, width, 3)


def _three_channels(
    channels: UInt[np.ndarray, "H W C"],
) -> UInt[np.ndarray, "H W 3"]:
    """RGB of channels, without alpha."""
    if channels.shape[2] < 3:
        return np.repeat(channels[..., :1], 3, -1)
    return np.ascontiguousarray(channels[..., :3])


# Writing


def write_photo(path: str | Path, photo: np.ndarray) -> None:
    """Writes a uint8 photo [H, W, 3] or [H, W]; an existing file is replaced whole."""
    with replacing(path) as partial:
        Image.fromarray(photo).save(partial)


def check_output(
    path: str | Path, alpha: bool = False, size: tuple[int, int] | None = None
) -> str:
    """Returns the format in which `path` will be written, before there are pixels.

    Args:
      path: of the file; need not exist.
      alpha: whether it is to have transparent pixels.
      size: of the image, (h, w), if known.

    Raises:
      InputError: if its suffix names no format, or one that cannot hold such an image.
    """
    known = FORMATS.get(Path(path).suffix.lower())
    if known is None:
        raise InputError(
            f"{path}: ends in no format that can be written; use {' '.join(FORMATS)}"
        )
    if alpha and known not in _TRANSPARENT:
        raise InputError(
            f"{path}: {known} holds no transparency, which the photo has; write PNG, "
            "WebP or TIFF"
        )
    longest = _MAX_SIDE.get(known)
    if size is not None and longest and max(size) > longest:
        raise InputError(
            f"{path}: {size[1]} x {size[0]} pixels, {known} holds {longest} a side; "
            "write PNG or TIFF"
        )
    return known


def write_image(path: str | Path, image: ImageFile) -> list[str]:
    """Writes an image file; an existing one is replaced whole, or stays as it was.

    Returns:
      Sentences about what the file could not hold.

    Raises:
      InputError: as `check_output`, or if the file cannot be written.
    """
    known = check_output(path, image.transparent, image.size)
    if known not in _TRANSPARENT:
        image = replace(image, alpha=None)
    try:
        metadata, remarks = _metadata_for(image, known)
        data = ENCODERS[known](_channels_for(image, known), metadata)
    except MemoryError:
        raise InputError(
            f"{path}: too little memory to write it; free some, or choose a smaller "
            "size"
        ) from None
    except (OSError, ValueError, OverflowError, struct.error) as error:
        raise InputError(
            f"{path}: cannot be written as {known} ({error}); write PNG"
        ) from None
    if image.bits > 8 and known not in _DEEP:
        remarks.append(f"{known} holds 8 bits: its 16 were rounded")
    if known == "GIF" and (image.alpha is not None or not image.grey):
        remarks.append("GIF holds 256 colours, one of them transparent: others changed")
    with replacing(path) as partial:
        partial.write_bytes(data)
    return remarks


def _metadata_for(image: ImageFile, known: str) -> tuple[Metadata, list[str]]:
    """The metadata that a format holds, and remarks on the rest."""
    metadata, remarks = image.metadata, []
    if metadata.exif is not None:
        sized = exif.with_size(metadata.exif, *image.size)
        metadata = metadata._replace(exif=sized)
    for field, name in _REPORTED.items():
        content = getattr(metadata, field)
        if content is None:
            continue
        if known not in _WITH_METADATA:
            remarks.append(f"{known} holds no {name}: left out")
        elif known == "JPEG" and len(content) > _MAX_IN_JPEG[field]:
            remarks.append(f"JPEG holds no {name} of {len(content)} bytes: left out")
        else:
            continue
        metadata = metadata._replace(**{field: None})
    if len(metadata.comment.encode()) > _MAX_COMMENT.get(known, 0):
        metadata = metadata._replace(comment="")
        remarks.append(f"{known} does not hold its comment or texts: left out")
    if metadata.aspect and known not in ("PNG", "TIFF", "JPEG"):
        remarks.append(f"{known} does not hold that its pixels are not square")
    if metadata.unusual_gamma and known != "PNG":
        remarks.append(
            f"{known} holds no gamma (gAMA, cICP): left out, colours may look otherwise"
        )
    if image.grey and metadata.icc_profile and _needs_colours(image, known):
        metadata = metadata._replace(icc_profile=None)
        remarks.append(f"{known} holds no colour profile of grey photos: left out")
    return metadata, remarks


def _needs_colours(image: ImageFile, known: str) -> bool:
    """Whether a grey image is written in colours."""
    if known == "TIFF":  # Hardly anything reads grey with transparency in 16 bits.
        return image.bits > 8 and image.alpha is not None
    return known == "WebP"


def _channels_for(image: ImageFile, known: str) -> UInt[np.ndarray, "H W C"]:
    """Channels, 1 to 4, of the bits that a format holds."""
    grey = image.grey and not _needs_colours(image, known)
    channels = image.pixels[..., :1] if grey else image.pixels
    if image.alpha is not None:
        channels = np.concatenate([channels, image.alpha[..., None]], -1)
    return channels if known in _DEEP else with_bits(channels, 8)
