"""What a file holds, as channels of numbers.

Channels are uint8 or uint16 [H, W, C], upright: C = 1 grey, 2 grey and alpha, 3 RGB,
4 RGBA. Palettes are looked up, single transparent colours become alpha, and colours
that are neither grey nor RGB become RGB.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from dear_jax.images import deep, profiles
from dear_jax.images.decoding import upright


def read_channels(data: bytes, image: Image.Image, name: str | Path) -> np.ndarray:
    """The channels of an image.

    Args:
      data: the file's content.
      image: that, opened; is loaded.
      name: of the file, for messages.

    Raises:
      Unreadable: if its numbers may not mean what they are; Pillow, of damage, errors
        of any kind.
    """
    channels = deep.sixteen_bits(data, image, name)
    if channels is None:
        image.load()
        channels = _of_mode(data, upright(image), image, name)
    if channels.shape[2] in (1, 3):
        channels = _with_single_colour(data, channels, image)
    return channels


def _of_mode(
    data: bytes, turned: Image.Image, image: Image.Image, name: str | Path
) -> np.ndarray:
    """Channels of an image; `turned` is it upright, in the same mode."""
    mode = turned.mode
    if mode == "F" or mode.startswith("I"):
        return deep.grey_levels(turned, name, _white_is_zero(image))
    if mode in ("1", "L"):
        return np.asarray(turned.convert("L"))[..., None]
    if mode in ("LA", "La"):
        return np.asarray(turned.convert("LA"))
    if mode == "CMYK":
        screen = profiles.screen_colours(turned, image.info.get("icc_profile"))
        return np.asarray(screen or turned.convert("RGB"))
    if mode == "RGB":
        return np.asarray(turned)
    return np.asarray(turned.convert("RGBA" if image.has_transparency_data else "RGB"))


def _white_is_zero(image: Image.Image) -> bool:
    return image.format == "TIFF" and image.tag_v2.get(262) == 0


def _with_single_colour(
    data: bytes, channels: np.ndarray, image: Image.Image
) -> np.ndarray:
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
    shown = (channels != colour).any(-1, keepdims=True)
    return np.concatenate([channels, shown.astype(channels.dtype) * top], -1)
