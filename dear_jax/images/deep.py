"""Pixels of more than eight bits, which Pillow alone would cut to eight.

Channels are uint16 [H, W, C], upright, C = 1 grey, 2 grey and alpha, 3 RGB, 4 RGBA.
Pillow takes only one byte of each number of 16 bits; but it can be told which, so two
readings give both. Floats in colours, which it does not read at all, are OpenCV's.
"""

import io
import math
import struct
import sys
from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin

from dear_jax.errors import Unreadable
from dear_jax.images.decoding import TURNS, check_levels, upright
from dear_jax.images.directories import Damaged, Directory, parse
from dear_jax.images.exif import upright_tiff

# How the bytes of a number lie -> (as what they are to be read for the upper one, for
# the lower one); N is the machine's order, into which libtiff brings them.
_UPPER_AND_LOWER = {"B": ("B", "L"), "L": ("L", "B"), "N": ("N", None)}
_APART = 2  # TIFF's planar configuration of one plane for each channel.
_FLOAT = 3  # TIFF's sample format.
_WIDTH, _HEIGHT, _ORIENTATION = 256, 257, 274
_BITS, _SAMPLES, _PLANAR, _FORMAT = 258, 277, 284, 339
_FOR_FLOATS = (_WIDTH, _HEIGHT, _ORIENTATION, _SAMPLES, _PLANAR, _FORMAT)


def sixteen_bits(
    data: bytes, image: Image.Image, name: str | Path
) -> np.ndarray | None:
    """Channels uint16 [H, W, C] of an image of colours with 16 bits; else None.

    Args:
      data: the file's content.
      image: that, opened; is loaded if it has such colours.
      name: of the file, for messages.

    Raises:
      Unreadable: of TIFFs with channels apart, which no decoder here gets right.
    """
    if image.format == "TIFF" and _apart(image):
        raise Unreadable(
            f"{name}: 16 bits with its channels apart; save it interleaved, or as PNG"
        )
    raw = _raw_mode(image)
    if image.format not in ("PNG", "TIFF") or ";16" not in raw:
        return None
    kind, order = raw.split(";16", 1)
    if kind == "LA":  # Four bytes as four channels.
        return _read(image, "RGBA").view(">u2").astype(np.uint16)
    if kind not in ("RGB", "RGBX", "RGBA", "RGBa") or order not in _UPPER_AND_LOWER:
        return None
    upper, lower = _UPPER_AND_LOWER[order]
    lower = lower or {"little": "B", "big": "L"}[sys.byteorder]
    straight = "RGBA" if kind == "RGBa" else kind
    channels = _read(image, f"{straight};16{upper}").astype(np.uint16)
    channels <<= 8
    again = Image.open(io.BytesIO(data), formats=[image.format])
    channels |= _read(again, f"{straight};16{lower}")
    return _divided(channels) if kind == "RGBa" else channels


def grey_levels(
    image: Image.Image, name: str | Path, white_is_zero: bool = False
) -> np.ndarray:
    """Channels uint16 [H, W, 1] of an image, loaded, of mode I, I;16 or F.

    Args:
      image: the image.
      name: of the file, for messages.
      white_is_zero: the file counts from white; Pillow minds that of 8 bits only.

    Raises:
      Unreadable: for floats outside [0, 1] and whole numbers of other bits.
    """
    values = np.asarray(image)
    if not image.mode.startswith("I;16"):
        check_levels(values, name)
    if values.dtype.kind == "f":
        values = np.rint(values * 65535)
    values = values.astype(np.uint16)
    return (65535 - values if white_is_zero else values)[..., None]


def floats(data: bytes, name: str | Path) -> np.ndarray | None:
    """Channels uint16 [H, W, 3 or 4] of a TIFF of colours in floats; else None.

    Raises:
      Unreadable: if the floats are not in [0, 1].
    """
    try:
        order, tags = parse(data)
    except Damaged:
        return None
    number = {tag: _first(tags, tag, order) for tag in _FOR_FLOATS}
    if number[_SAMPLES] not in (3, 4) or number[_PLANAR] == _APART:
        return None
    if number[_FORMAT] != _FLOAT:
        return None
    most = 2 * (Image.MAX_IMAGE_PIXELS or math.inf)
    if number[_WIDTH] * number[_HEIGHT] > most:
        raise Image.DecompressionBombError(f"more than {most} pixels")
    values = _opencv(upright_tiff(data))
    if values is None or values.dtype.kind != "f" or values.ndim != 3:
        return None
    check_levels(values, name)
    values = values[..., [2, 1, 0, 3][: values.shape[2]]]
    channels = np.rint(values * 65535).astype(np.uint16)
    turn = TURNS.get(number[_ORIENTATION])
    return channels if turn is None else _turned(channels, turn)


def _first(tags: Directory, tag: int, order: str) -> int:
    """The first number that a tag stands for; 1, TIFF's default, without one."""
    value = tags.get(tag)
    kind = {3: "H", 4: "I"}.get(value.kind) if value else None
    return struct.unpack_from(order + kind, value.data)[0] if kind else 1


def _turned(channels: np.ndarray, turn: Image.Transpose) -> np.ndarray:
    planes = (channels[..., c] for c in range(channels.shape[2]))
    turned = [Image.fromarray(plane).transpose(turn) for plane in planes]
    return np.stack([np.asarray(plane) for plane in turned], -1)


def _apart(image: TiffImagePlugin.TiffImageFile) -> bool:
    """Whether a TIFF has 16 bits and a plane for each of several channels."""
    bits = image.tag_v2.get(_BITS, ())
    return image.tag_v2.get(_PLANAR) == _APART and len(bits) > 1 and max(bits) > 8


def _raw_mode(image: Image.Image) -> str:
    """How Pillow is about to read the image's bytes."""
    arguments = image.tile[0].args if image.tile else ""
    return arguments if isinstance(arguments, str) else str(arguments[0])


def _read(image: Image.Image, raw: str) -> np.ndarray:
    """An image, upright, its bytes taken for those of raw mode `raw`; loads it."""
    image.tile = [
        tile._replace(args=raw if isinstance(tile.args, str) else (raw, *tile.args[1:]))
        for tile in image.tile
    ]
    image.load()
    return np.asarray(upright(image))


def _divided(channels: np.ndarray) -> np.ndarray:
    """RGBA whose colours no longer are multiplied by alpha."""
    alpha = np.maximum(channels[..., 3:], 1).astype(np.float64)
    colours = np.rint(channels[..., :3] * (65535 / alpha)).clip(0, 65535)
    return np.concatenate([colours.astype(np.uint16), channels[..., 3:]], -1)


def _opencv(data: bytes) -> np.ndarray | None:
    import cv2

    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None
    finally:
        cv2.utils.logging.setLogLevel(level)
