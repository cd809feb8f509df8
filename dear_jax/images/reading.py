"""Reading photo files with all that they carry.

PNG, JPEG, WebP, TIFF, BMP, GIF and PPM are told by their content, whatever their name.
Photos are upright. Of more bits than eight there are 16; floats in [0, 1] count as 16
bits. Grey stays grey, transparency is kept, print colours become those of screens.
"""

import io
import warnings
from pathlib import Path

import numpy as np

# Imported, they are known to Pillow, which need not look for all others then.
from PIL import (
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,
    PpmImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from dear_jax.errors import Unreadable
from dear_jax.images import deep
from dear_jax.images.carried import carried
from dear_jax.images.channels import read_channels
from dear_jax.images.decoding import refusing
from dear_jax.images.photo import read_bytes
from dear_jax.images.picture import Picture
from dear_jax.images.png import is_cut_short

# Of metadata in a PNG; profiles of cameras can be larger than Pillow's own limit.
PngImagePlugin.MAX_TEXT_CHUNK = max(PngImagePlugin.MAX_TEXT_CHUNK, 1 << 24)

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM")


def read_picture(path: str | Path) -> Picture:
    """Reads a photo file with all that it carries.

    Raises:
      Unreadable: if it is empty, damaged or no image.
      InputError: if it is missing, may not be read or needs too much memory.
    """
    return decode_picture(read_bytes(path), path)


def decode_picture(data: bytes, name: str | Path) -> Picture:
    """The picture in the bytes of a photo file; `name` is the file's, for messages.

    Raises:
      Unreadable: if they are damaged or no image.
      InputError: if there is not memory or open files enough to tell.
    """
    with refusing(data, name), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of damage that is told in our words.
        try:
            image = Image.open(io.BytesIO(data), formats=FORMATS)
        except UnidentifiedImageError:
            image = None
            channels = deep.floats(data, name)
            if channels is None:
                raise
        else:
            if image.format == "PNG" and is_cut_short(data):
                raise Unreadable(f"{name}: cut short, or damaged; copy it again")
            channels = read_channels(data, image, name)
        return _picture(data, image, channels)


def _picture(data: bytes, image: Image.Image | None, channels: np.ndarray) -> Picture:
    count = channels.shape[2]
    kept = carried(data, image, grey=count < 3)
    kind = "TIFF" if image is None else image.format
    if image is None or image.mode == "F":
        note = "its floats were taken as 16 bits"
        kept = kept._replace(remarks=(*kept.remarks, note))
    colours = channels[..., :3] if count > 2 else channels[..., [0, 0, 0]]
    return Picture(
        pixels=np.ascontiguousarray(colours),
        alpha=np.ascontiguousarray(channels[..., -1]) if count in (2, 4) else None,
        grey=count < 3,
        format="JPEG" if kind == "MPO" else kind,
        kept=kept,
    )
