"""Turns the bytes of an image file into a photo or a mask.

Photos are uint8 [H, W, 3] RGB, upright (EXIF orientation applied); masks are
boolean [H, W], True where the photo is missing. Of more bits the upper eight count,
floats must lie in [0, 1], and of an animation the first picture is taken.
"""

import io
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from dear_jax.errors import InputError, Unreadable
from dear_jax.files import TOO_MANY_OPEN, too_many_open

# How Pillow, and most other programs, begin an uncompressed photo.
_PPM = re.compile(rb"P6\n([1-9]\d{0,8}) ([1-9]\d{0,8})\n255\n")

# Large photos are read; of twice as many pixels Pillow makes an error.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)

# A mask with channels this far apart is coloured; JPEG moves grey ones by less.
_COLOURED = 64
_ORIENTATION = 0x0112
_TURN = Image.Transpose
# EXIF orientation -> what makes it upright; 1 is upright already.
TURNS = {
    2: _TURN.FLIP_LEFT_RIGHT,
    3: _TURN.ROTATE_180,
    4: _TURN.FLIP_TOP_BOTTOM,
    5: _TURN.TRANSPOSE,
    6: _TURN.ROTATE_270,
    7: _TURN.TRANSVERSE,
    8: _TURN.ROTATE_90,
}


def decode_photo(data: bytes, name: str | Path) -> np.ndarray:
    """Returns the photo uint8 [H, W, 3] in the bytes of an image file.

    Of transparent pixels the colours are kept that the file has for them.

    Args:
      data: the file's content.
      name: of the file, for messages.

    Raises:
      Unreadable: if they are no image that can be read.
      InputError: if there is not memory or open files enough to tell.
    """
    photo = _uncompressed(data)
    if photo is None:
        image = _decoded(data, name)
        photo = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    return photo


def decode_mask(data: bytes, name: str | Path) -> np.ndarray:
    """Returns the mask bool [H, W] in the bytes of an image file; light is missing.

    Light is above half of the range; what is transparent counts as black.

    Args:
      data: the file's content.
      name: of the file, for messages.

    Raises:
      Unreadable: if they are no image that can be read, or one that may not mean
        what it shows: with colours, with values 0 and 1 only, or with nothing but
        its transparency telling pixels apart.
      InputError: as `decode_photo`.
    """
    values = np.asarray(_decoded(data, name))
    if values.ndim == 3:
        values = _grey(values, name)
    if values.max() == 1:
        raise Unreadable(f"{name}: its values are 0 and 1; save white as 255")
    return values > 127


def _uncompressed(data: bytes) -> np.ndarray | None:
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


def _decoded(data: bytes, name: str | Path) -> Image.Image:
    """The first picture, upright, as L, RGB or, with transparency, RGBA."""
    with refusing(data, name):
        image = Image.open(io.BytesIO(data))
        image.load()
        return _simplified(upright(image), name)


@contextmanager
def refusing(data: bytes, name: str | Path) -> Iterator[None]:
    """Makes whatever goes wrong while `data` is decoded a refusal in one line.

    Raises:
      Unreadable: if they are no image that can be read.
      InputError: if there is not memory or open files enough to tell.
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
        raise Unreadable(
            f"{name}: cannot be read as an image ({error}); copy it again"
        ) from None


def upright(image: Image.Image) -> Image.Image:
    """The image as its EXIF data (or XMP) say that it is to be seen."""
    try:
        turn = TURNS.get(image.getexif().get(_ORIENTATION))
    except (SyntaxError, ValueError, TypeError, KeyError, OSError, struct.error):
        return image  # Damaged EXIF spoils no pixel.
    return image if turn is None else image.transpose(turn)


def _simplified(image: Image.Image, name: str | Path) -> Image.Image:
    """The image in one of three modes: L, RGB or RGBA."""
    if image.mode in ("L", "RGB") and not image.has_transparency_data:
        return image
    if image.mode == "F" or image.mode.startswith("I"):
        return Image.fromarray(_eight_bits(np.asarray(image), name))
    if image.mode == "1":
        return image.convert("L")
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def _eight_bits(values: np.ndarray, name: str | Path) -> np.ndarray:
    """Grey levels uint8 of 16-bit numbers, or of floats in [0, 1]."""
    check_levels(values, name)
    if values.dtype.kind == "f":
        return np.rint(values * 255).astype(np.uint8)
    return (values >> 8).astype(np.uint8)


def check_levels(values: np.ndarray, name: str | Path) -> None:
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


def _grey(values: np.ndarray, name: str | Path) -> np.ndarray:
    """Grey levels uint8 [H, W] of a mask in colours, uint8 [H, W, 3 or 4]."""
    colours, alpha = values[..., :3], values[..., 3:]
    if (alpha < 255).any():
        if (colours == colours[0, 0]).all():
            raise Unreadable(
                f"{name}: only its transparency varies; save it without, white where "
                "the photo is missing and black elsewhere"
            )
        colours = (colours * (alpha / 255)).astype(np.uint8)
    if (colours.max(-1) - colours.min(-1)).max() > _COLOURED:
        raise Unreadable(
            f"{name}: has colours; save a mask as white where the photo is missing "
            "and black elsewhere"
        )
    return np.asarray(Image.fromarray(colours).convert("L"))
