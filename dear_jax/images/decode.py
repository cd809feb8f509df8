"""Decoding of image files to channels of 8 or 16 bits.

Channels are uint8 or uint16, upright: C = 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
Palettes are looked up, single transparent colours become alpha, other colours
RGB, and floats in [0, 1] 16 bits. Of an animation the first picture is taken.

Pillow cuts colours of 16 bits to 8, so OpenCV decodes those.
"""

import io
import math
import re
import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Num, UInt, UInt8, UInt16

# Imported, they are known to Pillow, which need not look for all others then.
from PIL import (
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    ImageFile,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,
    PpmImagePlugin,  # noqa: F401
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from dear_jax.errors import InputError, Unreadable
from dear_jax.files import TOO_MANY_OPEN, too_many_open
from dear_jax.images.metadata import (
    PNG_SIGNATURE,
    cmyk_to_srgb,
    read_tiff_pages,
    read_tiff_tags,
)
from dear_jax.images.salvage import is_cut_short

# Large photos are read; of twice as many pixels Pillow makes an error.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Of metadata in a PNG; profiles of cameras can be larger than Pillow's own limit.
PngImagePlugin.MAX_TEXT_CHUNK = max(PngImagePlugin.MAX_TEXT_CHUNK, 1 << 24)

_FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
# What Pillow's other plugins read, loaded when a file is none of the above. TGA files
# cannot be told from others by their first bytes.
_RARE = ("AVIF", "JPEG2000", "PCX", "PSD", "QOI", "SGI", "DDS", "ICO", "ICNS", "SUN")
_UNMARKED = ("TGA",)
# First bytes of formats that packages of the extra "formats" read.
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1")
_JXL_HEADS = (b"\xff\x0a", b"\0\0\0\x0cJXL ")
_TURN = Image.Transpose
# EXIF orientation -> what makes an image upright; 1 is upright already.
TURNS = {
    2: _TURN.FLIP_LEFT_RIGHT,
    3: _TURN.ROTATE_180,
    4: _TURN.FLIP_TOP_BOTTOM,
    5: _TURN.TRANSPOSE,
    6: _TURN.ROTATE_270,
    7: _TURN.TRANSVERSE,
    8: _TURN.ROTATE_90,
}
_PNG_CHANNELS = {0: 1, 2: 3, 4: 2, 6: 4}  # By PNG's type of colours.
_MAX_DEFLATE_RATIO = 1032  # Bytes that one byte of zlib can stand for.
_ORIENTATION = 0x0112
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC = 256, 257, 258, 262  # Tags of TIFF.
_SUBFILE, _OLD_SUBFILE = 254, 255
_PLANAR, _FORMAT = 284, 339
_SEPARATE_PLANES, _FLOAT = 2, 3


# Binary colours; comments may stand between the numbers.
_DEEP_PPM = re.compile(rb"P6" + 3 * rb"(?:\s+(?:#[^\n]*\n\s*)*)(\d{1,9})" + rb"\s")


class Decoded(NamedTuple):
    """A decoded image file.

    Attributes:
      channels: of 8 or 16 bits, upright.
      image: as Pillow opened it, loaded; None for TIFFs that Pillow does not read.
      floats: whether the file holds floats.
      data: the file, a TIFF from the page on that was taken, see `full_page`.
    """

    channels: UInt[np.ndarray, "H W C"]
    image: Image.Image | None
    floats: bool
    data: bytes


def decode(data: bytes, name: str | Path) -> Decoded:
    """Decodes the content of an image file.

    Args:
      data: the file's content, which alone decides the format.
      name: of the file, for messages.

    Raises:
      Unreadable: if it is damaged, no such image, or of numbers that could mean
        several things.
      InputError: if memory or open files do not suffice.
    """
    with refusing(data, name):
        data = full_page(data)
        try:
            image = _open(data, name)
        except UnidentifiedImageError:
            channels = _float_colours(data, name)
            if channels is None:
                raise
            return Decoded(channels, None, True, data)
        if image.format == "PNG" and _is_cut_short(data):
            raise Unreadable(f"{name}: cut short, or damaged; copy it again")
        if isinstance(image, TiffImagePlugin.TiffImageFile) and _has_deep_planes(image):
            raise Unreadable(
                f"{name}: 16 bits with its channels apart; save it interleaved, or as "
                "PNG"
            )
        channels = _deep_colours(data, image)
        if channels is None and image.format == "PPM":
            channels = _deep_ppm(data)
        if channels is None:
            image.load()
            channels = _by_mode(image, name)
        if channels.shape[2] in (1, 3):
            channels = _with_transparent_colour(data, channels, image)
        return Decoded(channels, image, image.mode == "F", data)


def full_page(data: bytes) -> bytes:
    """A file, a TIFF whose first page is a thumbnail beginning with the full one.

    A thumbnail is marked as such, or another page is at least twice its size and has
    its shape.
    """
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(data[:4])
    if order is None:
        return data
    try:
        pages = list(read_tiff_pages(data))
    except (SyntaxError, OSError, ValueError, TypeError, struct.error):
        return data  # Whoever reads it says what is wrong.
    start, first = pages[0]
    largest, full = max(pages, key=lambda page: _pixels(page[1]))
    reduced = first.get(_SUBFILE, 0) & 1 or first.get(_OLD_SUBFILE) == 2
    if largest == start or not (reduced or _is_smaller(first, full)):
        return data
    return data[:4] + struct.pack(order + "I", largest) + data[8:]


def _pixels(tags: Mapping[int, Any]) -> int:
    return tags.get(_WIDTH, 0) * tags.get(_HEIGHT, 0)


def _is_smaller(first: Mapping[int, Any], other: Mapping[int, Any]) -> bool:
    """Whether a page is another one at half its size or less."""
    (w, h), (wide, high) = (
        (t.get(_WIDTH, 0), t.get(_HEIGHT, 0)) for t in (first, other)
    )
    if not (w and h) or wide < 2 * w or high < 2 * h:
        return False
    # Sides of thumbnails are rounded.
    return abs(w * high - h * wide) <= max(wide, high)


def is_photo(path: str | Path) -> bool:
    """Whether the file's content looks like an image that can be read."""
    try:
        with open(path, "rb") as file:
            head = file.read(32)
            if _package(head):
                return True
            file.seek(0)
            with Image.open(file, formats=_FORMATS):
                return True
    except UnidentifiedImageError:
        pass
    except Exception:  # Pillow meets other files with errors of any kind.
        return False
    try:
        Image.init()
        with Image.open(path, formats=_RARE):
            return True
    except Exception:
        return False


def _package(head: bytes) -> str:
    """The package that reads a file with these first bytes; "" for Pillow."""
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return "pillow-heif"
    return "pillow-jxl-plugin" if head.startswith(_JXL_HEADS) else ""


def _open(data: bytes, name: str | Path) -> ImageFile.ImageFile:
    """The image, not loaded yet.

    Raises:
      Unreadable: if a package is needed for it.
    """
    try:
        return Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        pass
    package = _package(data[:32])
    formats = (*_RARE, *_UNMARKED)
    if package:
        try:
            formats = _register(package)
        except ImportError:
            raise Unreadable(
                f"{name}: needs {package}; pip install 'dear_jax[formats]' brings it, "
                "or save the photo as PNG or JPEG"
            ) from None
    Image.init()
    return Image.open(io.BytesIO(data), formats=formats)


def _register(package: str) -> tuple[str, ...]:
    """Makes a package's formats known to Pillow; returns their names."""
    if package == "pillow-heif":
        import pillow_heif  # pyright: ignore[reportMissingImports]

        pillow_heif.register_heif_opener()
        return ("HEIF",)
    import pillow_jxl  # noqa: F401  # pyright: ignore[reportMissingImports]

    return ("JXL",)


def upper_bits(decoded: Decoded, name: str | Path) -> UInt8[np.ndarray, "H W C"]:
    """Returns channels of 8 bits: floats rounded, of 16 bits the upper eight.

    Raises:
      Unreadable: if grey levels of 16 bits could be meant as ones of eight.
    """
    channels = decoded.channels
    if channels.dtype == np.uint8:
        return channels
    if decoded.floats:
        return with_bits(channels, 8)
    if channels.shape[2] == 1:
        _check_levels(channels, name)
    return (channels >> 8).astype(np.uint8)


def with_bits(
    values: Num[np.ndarray, "*shape"], bits: int
) -> UInt[np.ndarray, "*shape"]:
    """Rounds numbers of 8 or 16 bits, or floats in [0, 1], to numbers of `bits`."""
    if values.dtype.kind == "f":
        top = 2**bits - 1
        return np.rint(values.clip(0, 1) * top).astype(f"u{bits // 8}")
    if values.dtype == np.uint16 and bits == 8:
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if values.dtype == np.uint8 and bits == 16:
        return values.astype(np.uint16) * np.uint16(257)
    return values


@contextmanager
def refusing(data: bytes, name: str | Path) -> Iterator[None]:
    """Turns whatever goes wrong while `data` is decoded into an error of one line.

    Raises:
      Unreadable: if it is no image that can be read.
      InputError: if memory or open files do not suffice.
    """
    if not data:
        raise Unreadable(f"{name}: an empty file; copy it again")
    try:
        yield
    except InputError:
        raise
    except MemoryError:
        raise InputError(
            f"{name}: too little memory to decode it; free some, or reduce it first"
        ) from None
    except UnidentifiedImageError:
        raise Unreadable(
            f"{name}: cannot be read as an image; save it as PNG or JPEG"
        ) from None
    except Image.DecompressionBombError as error:
        raise Unreadable(f"{name}: too large ({error}); reduce it first") from None
    except Exception as error:  # Decoders meet damage with errors of any kind.
        if too_many_open(error):
            raise InputError(f"{name}: {TOO_MANY_OPEN}") from None
        if is_cut_short(data):
            raise Unreadable(
                f"{name}: cut short, its end is missing; copy it again, or --salvage "
                "reads what is there and takes the rest as missing"
            ) from None
        raise Unreadable(
            f"{name}: cannot be read as an image ({error}); copy it again"
        ) from None


def _is_cut_short(data: bytes) -> bool:
    """Whether a PNG file surely has too few bytes for the size in its header.

    Checked before there is memory for the pixels, for a header of a few bytes can
    announce any number of them.
    """
    at = len(PNG_SIGNATURE) + 8
    width, height, bits, kind = struct.unpack_from(">IIBB", data, at)
    row = 1 + width * bits * _PNG_CHANNELS.get(kind, 1) // 8
    return row * height > _MAX_DEFLATE_RATIO * len(data)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes an image upright, by its EXIF data or XMP packet."""
    try:
        return TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except (SyntaxError, ValueError, TypeError, KeyError, OSError, struct.error):
        return None  # Damaged EXIF spoils no pixel.


def fits_turned(image: Image.Image) -> bool:
    """Whether an image is turned to be upright, and keeps its size then."""
    turn = _turn(image)
    same = (_TURN.FLIP_LEFT_RIGHT, _TURN.FLIP_TOP_BOTTOM, _TURN.ROTATE_180)
    return turn is not None and (turn in same or image.width == image.height)


def upright(
    mask: Bool[np.ndarray, "H W"], image: Image.Image | None
) -> Bool[np.ndarray, "h w"]:
    """A mask of a file's stored pixels, turned as these are."""
    turn = None if image is None else _turn(image)
    if turn is None:
        return mask
    return np.asarray(Image.fromarray(mask.view(np.uint8)).transpose(turn)).view(bool)


def _by_mode(image: Image.Image, name: str | Path) -> UInt[np.ndarray, "H W C"]:
    """Channels of a loaded image, by its mode."""
    turn = _turn(image)
    turned = image if turn is None else image.transpose(turn)
    mode = turned.mode
    if mode == "F" or mode.startswith("I"):
        return _deep_grey(turned, image, name)
    if mode in ("1", "L"):
        return np.asarray(turned.convert("L"))[..., None]
    if mode in ("LA", "La"):
        return np.asarray(turned.convert("LA"))
    if mode == "CMYK":
        srgb = cmyk_to_srgb(turned, image.info.get("icc_profile"))
        return np.asarray(srgb or turned.convert("RGB"))
    if mode == "RGB":
        return np.asarray(turned)
    return np.asarray(turned.convert("RGBA" if image.has_transparency_data else "RGB"))


def _deep_grey(
    turned: Image.Image, image: Image.Image, name: str | Path
) -> UInt16[np.ndarray, "H W 1"]:
    """Channels of an image of mode I, I;16 or F."""
    values = np.asarray(turned)
    if not turned.mode.startswith("I;16"):
        _check_levels(values, name)
    if values.dtype.kind == "f":
        values = np.rint(values * 65535)
    values = values.astype(np.uint16)
    # Pillow inverts files that count from white if they have 8 bits only.
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        if image.tag_v2.get(_PHOTOMETRIC) == 0:
            values = 65535 - values
    return values[..., None]


def _check_levels(values: Num[np.ndarray, "..."], name: str | Path) -> None:
    """Raises Unreadable unless floats lie in [0, 1] and whole numbers have 16 bits.

    Whole numbers that eight bits could hold are refused: they may mean either.
    """
    low, high = values.min(), values.max()
    if values.dtype.kind == "f":
        if not (low >= 0 and high <= 1):
            raise Unreadable(
                f"{name}: floats from {low:g} to {high:g}; save floats in [0, 1], "
                "or 8 bits"
            )
    elif low < 0 or high > 65535 or 0 < high < 256:
        raise Unreadable(
            f"{name}: whole numbers from {low} to {high}, neither 8 nor 16 bits; "
            "save it with 8 bits"
        )


def _with_transparent_colour(
    data: bytes, channels: UInt[np.ndarray, "H W C"], image: Image.Image
) -> UInt[np.ndarray, "H W _"]:
    """Adds alpha if an image of mode 1, L, I;16 or RGB has a transparent colour."""
    colour = image.info.get("transparency")
    if colour is None or isinstance(colour, bytes) or image.mode[:1] not in "1LIR":
        return channels
    colour = np.atleast_1d(colour)
    if len(colour) != channels.shape[2]:
        return channels
    if image.format == "PNG" and image.mode == "L":
        # Levels of fewer bits are spread over eight, the colour's are not.
        colour = colour * (255 // (2 ** min(data[24], 8) - 1))
    top = np.iinfo(channels.dtype).max
    opaque = (channels != colour).any(-1, keepdims=True)
    return np.concatenate([channels, opaque.astype(channels.dtype) * top], -1)


def _has_deep_planes(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether a TIFF has over 8 bits and a plane for each channel.

    No decoder here gets that right.
    """
    bits = image.tag_v2.get(_BITS, ())
    separate = image.tag_v2.get(_PLANAR) == _SEPARATE_PLANES
    return separate and len(bits) > 1 and max(bits) > 8


def _deep_colours(
    data: bytes, image: ImageFile.ImageFile
) -> UInt16[np.ndarray, "H W C"] | None:
    """Channels of a PNG or TIFF of colours with 16 bits; else None."""
    arguments = image.tile[0].args if image.tile else ""
    raw = str(arguments[0]) if isinstance(arguments, tuple) else arguments or ""
    kind, deep, _ = raw.partition(";16")
    kinds = {"LA": [0, 3], "RGB": [0, 1, 2], "RGBX": [0, 1, 2], "RGBA": [0, 1, 2, 3],
             "RGBa": [0, 1, 2, 3]}  # fmt: skip
    if image.format not in ("PNG", "TIFF") or not deep or kind not in kinds:
        return None
    # OpenCV turns TIFFs, and by nothing but their tag.
    is_tiff = isinstance(image, TiffImagePlugin.TiffImageFile)
    turn = None if is_tiff and _ORIENTATION in image.tag_v2 else _turn(image)
    image.load()  # Its errors say what is wrong with a file, and OpenCV's do not.
    values = _opencv(data)
    if values is None or values.dtype != np.uint16 or values.ndim != 3:
        raise ValueError("its 16 bits are damaged")
    channels = values[..., kinds[kind]]
    if kind == "RGBa":
        channels = _unmultiplied(channels)
    if turn is None:
        return channels
    planes = [Image.fromarray(plane) for plane in np.moveaxis(channels, -1, 0)]
    return np.stack([np.asarray(plane.transpose(turn)) for plane in planes], -1)


def _deep_ppm(data: bytes) -> UInt16[np.ndarray, "H W 3"] | None:
    """The pixels of a PPM of more than 8 bits, spread over 16; else None.

    Pillow cuts them to 8.
    """
    head = _DEEP_PPM.match(data)
    if head is None:
        return None
    width, height, top = map(int, head.groups())
    count = 3 * width * height
    if not 255 < top < 65_536 or len(data) - head.end() < 2 * count:
        return None  # Pillow says what is wrong.
    values = np.frombuffer(data, ">u2", count, head.end()).reshape(height, width, 3)
    if values.max(initial=0) > top:
        raise ValueError(f"numbers above {top}, the largest that it names")
    spread = (values.astype(np.uint32) * 65_535 + top // 2) // top
    return spread.astype(np.uint16)


def _float_colours(data: bytes, name: str | Path) -> UInt16[np.ndarray, "H W C"] | None:
    """Channels, 3 or 4, of a TIFF of colours in floats; else None."""
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return None
    tags = read_tiff_tags(data)
    if tags.get(_PLANAR) == _SEPARATE_PLANES or _FLOAT not in tags.get(_FORMAT, ()):
        return None
    limit = 2 * (Image.MAX_IMAGE_PIXELS or math.inf)
    if tags.get(_WIDTH, 0) * tags.get(_HEIGHT, 0) > limit:
        raise Image.DecompressionBombError(f"more than {limit} pixels")
    values = _opencv(data)
    if values is None or values.dtype.kind != "f" or values.ndim != 3:
        return None
    _check_levels(values, name)
    return np.rint(values * 65535).astype(np.uint16)


def _unmultiplied(
    channels: UInt16[np.ndarray, "H W 4"],
) -> UInt16[np.ndarray, "H W 4"]:
    """RGBA whose colours no longer are multiplied by alpha."""
    alpha = np.maximum(channels[..., 3:], 1).astype(np.float64)
    colours = np.rint(channels[..., :3] * (65535 / alpha)).clip(0, 65535)
    return np.concatenate([colours.astype(np.uint16), channels[..., 3:]], -1)


def _opencv(data: bytes) -> np.ndarray | None:
    """[H, W, C] in the order RGBA, or grey [H, W]; None if it cannot be read."""
    import cv2

    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        values = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if values is None or values.ndim < 3 or values.shape[2] not in (3, 4):
        return values
    return values[..., [2, 1, 0, 3][: values.shape[2]]]
