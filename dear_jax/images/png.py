"""PNG files: their chunks, and pixels of 16 bits, which Pillow cannot write in colours.

A file is its signature and chunks: length, name, data, checksum. The first is the
header; what tells of the pixels comes before the pixels.
"""

import io
import struct
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from dear_jax.images.picture import Kept

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # Channels -> how PNG calls them.
_CHANNELS = {kind: count for count, kind in _COLOUR_TYPES.items()}
_MOST_PACKED = 1032  # Bytes that one byte of zlib can stand for.
_HEADER_END = len(SIGNATURE) + 25
_INCH = 0.0254  # Metres.
_ROWS_AT_ONCE = 64
_LEVEL = 4  # Of zlib; 6 takes twice the time to save one byte in fifty.


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Names and data of the chunks of a PNG file, as far as they are whole."""
    at = len(SIGNATURE)
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if at + 12 + length > len(data):
            return
        yield name, data[at + 8 : at + 8 + length]
        at += 12 + length


def is_cut_short(data: bytes) -> bool:
    """Whether a PNG file surely has too few bytes for the pixels that it tells of.

    Known before there is memory for them: a header of a few bytes can tell of any.
    """
    width, height, bits, kind = struct.unpack_from(">IIBB", data, len(SIGNATURE) + 8)
    row = 1 + width * bits * _CHANNELS.get(kind, 1) // 8
    return row * height > _MOST_PACKED * len(data)


def encode(channels: np.ndarray, kept: Kept) -> bytes:
    """A PNG file of channels [H, W, 1 to 4], uint8 or uint16, and what goes along."""
    if channels.dtype == np.uint8:
        file = io.BytesIO()
        plain = channels[..., 0] if channels.shape[2] == 1 else channels
        Image.fromarray(plain).save(file, "PNG")
        data = file.getvalue()
    else:
        data = _sixteen_bits(channels)
    told = b"".join(_chunk(name, content) for name, content in _told(kept))
    return data[:_HEADER_END] + told + data[_HEADER_END:]


def _told(kept: Kept) -> Iterator[tuple[bytes, bytes]]:
    """The chunks that tell of the pixels."""
    yield from kept.colour_chunks
    if kept.profile:
        yield b"iCCP", b"ICC profile\0\0" + zlib.compress(kept.profile)
    if kept.dpi:
        per_metre = (round(number / _INCH) for number in kept.dpi)
        yield b"pHYs", struct.pack(">IIB", *per_metre, 1)
    if kept.exif:
        yield b"eXIf", kept.exif
    if kept.xmp:
        yield b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + kept.xmp


def _sixteen_bits(channels: np.ndarray) -> bytes:
    height, width, count = channels.shape
    header = struct.pack(">IIBBBBB", width, height, 16, _COLOUR_TYPES[count], 0, 0, 0)
    packer = zlib.compressobj(_LEVEL)
    above = np.zeros((1, 2 * width * count), np.uint8)
    packed = []
    for top in range(0, height, _ROWS_AT_ONCE):
        rows = channels[top : top + _ROWS_AT_ONCE].astype(">u2")
        rows = rows.reshape(len(rows), -1).view(np.uint8)
        packed.append(packer.compress(_filtered(rows, above, 2 * count)))
        above = rows[-1:]
    packed.append(packer.flush())
    # One chunk holds less than 2^31 bytes.
    pixels = [b"".join(packed[i : i + 1024]) for i in range(0, len(packed), 1024)]
    body = [_chunk(b"IHDR", header), *(_chunk(b"IDAT", part) for part in pixels)]
    return SIGNATURE + b"".join(body) + _chunk(b"IEND", b"")


def _filtered(rows: np.ndarray, above: np.ndarray, step: int) -> bytes:
    """Rows of bytes, each less what PNG's filters expect, by the one that fits best.

    Args:
      rows: uint8 [N, bytes].
      above: [1, bytes], the row before.
      step: bytes of one pixel.
    """
    up = np.concatenate([above, rows[:-1]])
    left = np.zeros_like(rows)
    left[:, step:] = rows[:, :-step]
    mean = ((left.astype(np.uint16) + up) // 2).astype(np.uint8)
    # PNG's numbers of the filters by difference from left, above and their mean.
    choices = np.stack([rows - left, rows - up, rows - mean])
    sizes = np.abs(choices.view(np.int8).astype(np.int16)).sum(-1, dtype=np.int64)
    best = sizes.argmin(0)
    chosen = choices[best, np.arange(len(rows))]
    numbers = (best + 1).astype(np.uint8)[:, None]
    return np.concatenate([numbers, chosen], 1).tobytes()


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + content))
    return struct.pack(">I", len(content)) + name + content + checksum
