"""TIFF files of 8 or 16 bits with all that goes along, which Pillow cannot write.

Pixels are in strips of rows, each row as differences, deflated: lossless, and read by
all programs that read TIFF with LZW.
"""

import zlib

import numpy as np

from dear_jax.images import directories, exif
from dear_jax.images.directories import Directory, Value, fraction, long, short
from dear_jax.images.picture import Kept

_STRIP = 1 << 18  # Bytes of rows in one strip, about.
_LEVEL = 4  # Of zlib.
_DEFLATE, _DIFFERENCES, _INCH, _PLAIN_ALPHA = 8, 2, 2, 2
_OFFSETS = 273


def encode(channels: np.ndarray, kept: Kept) -> bytes:
    """A TIFF file of channels [H, W, 1 to 4], uint8 or uint16, and what goes along.

    Raises:
      struct.error: if it would have more than 2^32 bytes.
    """
    order, told = ("<", {}) if kept.exif is None else exif.for_tiff(kept.exif)
    rows = max(1, _STRIP // channels[0].nbytes)
    strips = [
        _strip(channels[top : top + rows], order)
        for top in range(0, len(channels), rows)
    ]
    tags = told | _of_pixels(channels, order) | _of_kept(kept, order)
    tags[278] = long(order, rows)
    tags[279] = long(order, *(len(strip) for strip in strips))
    tags[_OFFSETS] = long(order, *(0 for _ in strips))
    # The directory's length does not depend on where the strips are.
    start = len(directories.block(tags, order))
    starts = np.cumsum([start, *(len(strip) for strip in strips)])[:-1]
    tags[_OFFSETS] = long(order, *(int(number) for number in starts))
    return directories.block(tags, order) + b"".join(strips)


def _strip(rows: np.ndarray, order: str) -> bytes:
    differences = rows.copy()
    differences[:, 1:] -= rows[:, :-1]
    ordered = differences.astype(rows.dtype.newbyteorder(order))
    return zlib.compress(ordered.tobytes(), _LEVEL)


def _of_pixels(channels: np.ndarray, order: str) -> Directory:
    height, width, count = channels.shape
    tags = {
        256: long(order, width),
        257: long(order, height),
        258: short(order, *[8 * channels.dtype.itemsize] * count),
        259: short(order, _DEFLATE),
        262: short(order, 2 if count > 2 else 1),
        274: short(order, 1),
        277: short(order, count),
        284: short(order, 1),
        317: short(order, _DIFFERENCES),
        339: short(order, *[1] * count),
    }
    if count in (2, 4):
        tags[338] = short(order, _PLAIN_ALPHA)
    return tags


def _of_kept(kept: Kept, order: str) -> Directory:
    tags = {}
    if kept.dpi:
        tags[282] = fraction(order, kept.dpi[0])
        tags[283] = fraction(order, kept.dpi[1])
        tags[296] = short(order, _INCH)
    if kept.profile:
        tags[34675] = Value(7, kept.profile)
    if kept.xmp:
        tags[700] = Value(1, kept.xmp)
    return tags
