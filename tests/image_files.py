"""Photo files that Pillow does not write, and what is looked for in all of them."""

import io
import struct
import warnings

import numpy as np
import pytest
from PIL import Image, ImageCms

from dear_jax.errors import InputError
from dear_jax.images import exif, metadata
from dear_jax.images.decode import with_bits
from dear_jax.images.exif import Value, long, short
from dear_jax.images.io import decode_image, decode_photo

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (5, 7, 3), np.uint8)
DEEP = RNG.integers(0, 65536, (5, 7, 4), np.uint16)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def encoded(pixels, known="PNG", **options):
    """A file in memory, as Pillow writes it."""
    file = io.BytesIO()
    image = Image.fromarray(pixels) if isinstance(pixels, np.ndarray) else pixels
    image.save(file, known, **options)
    return file.getvalue()


def read(data):
    """The image in a file's bytes; its photo has the same pixels, in the upper bits."""
    image = decode_image(data, "x")
    eight = image.pixels if image.bits == 8 else image.pixels >> 8
    if "its floats were taken as 16 bits" in image.metadata.remarks:
        eight = with_bits(image.pixels, 8)
    if image.bits == 16 and image.grey and image.pixels.max() < 256:
        return image  # These levels might have been meant as ones of eight bits.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of damaged EXIF data.
        np.testing.assert_array_equal(decode_photo(data, "x"), eight)
    return image


def saved(folder, image, name="x.png", **options):
    """The path of an image or an array, as Pillow writes it."""
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(folder / name, **options)
    return folder / name


def refusal(read, path, kind=None):
    """The message of a refusal, checked to be one line that begins with the file.

    Args:
      read: what refuses.
      path: the file.
      kind: the error's type, if it matters.
    """
    with pytest.raises(InputError) as caught:
        read(path)
    assert kind in (None, type(caught.value))
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    assert message.count(str(path)) == 1
    return message


def tiff_of(channels, order="<", white_is_zero=False, extra=None, apart=False, turn=1):
    """A TIFF without compression, of channels [H, W, C] of any kind of number."""
    height, width, count = channels.shape
    rows = np.moveaxis(channels, -1, 0) if apart else channels
    rows = np.ascontiguousarray(rows, channels.dtype.newbyteorder(order))
    strips = [plane.tobytes() for plane in rows] if apart else [rows.tobytes()]
    tags = {
        256: long(order, width),
        257: long(order, height),
        258: short(order, *[8 * channels.dtype.itemsize] * count),
        259: short(order, 1),
        262: short(order, 0 if white_is_zero else 1 if count < 3 else 2),
        273: long(order, *[0] * len(strips)),
        274: short(order, turn),
        277: short(order, count),
        278: long(order, height),
        279: long(order, *map(len, strips)),
        284: short(order, 2 if apart else 1),
        339: short(order, *[3 if channels.dtype.kind == "f" else 1] * count),
    }
    if extra is not None:
        tags[338] = short(order, extra)
    start = len(exif.pack(tags, order))
    starts = np.cumsum([start, *map(len, strips)])[:-1].tolist()
    tags[273] = long(order, *starts)
    return exif.pack(tags, order) + b"".join(strips)


def print_profile():
    """A profile of CMYK in which every full ink is black, none is white."""
    corners = np.indices((2, 2, 2, 2)).reshape(4, -1).any(0)
    lab = [(0, 128, 128) if inked else (255, 128, 128) for inked in corners]
    table = b"mft1\0\0\0\0" + struct.pack(">BBBB", 4, 3, 2, 0)
    table += struct.pack(">9i", *(65536 * np.eye(3, dtype=int)).ravel().tolist())
    table += bytes(range(256)) * 4 + bytes(np.ravel(lab).tolist())
    table += bytes(range(256)) * 3
    header = bytearray(128)
    header[8:12] = b"\2\x40\0\0"
    header[12:24] = b"prtr" + metadata.CMYK + b"Lab "
    header[36:40] = b"acsp"
    header[68:80] = struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    tags = struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    header[:4] = struct.pack(">I", 128 + len(tags) + len(table))
    return bytes(header) + tags + table


def exif_block(orientation=1):
    """EXIF data of a camera, with a thumbnail, as bytes after "Exif\\0\\0"."""
    order = "<"
    inner = {
        0x9003: Value(2, b"2020:02:20 20:20:20\0"),
        0x927C: Value(7, b"maker's own notes"),
        0xA002: long(order, 7),
        0xA003: long(order, 5),
    }
    first = {
        271: Value(2, b"Maker\0"),
        272: Value(2, b"X\0"),
        274: short(order, orientation),
        315: Value(2, b"An artist\0"),
        exif.EXIF_IFD: Value(4, b"", inner),
        exif.GPS_IFD: Value(4, b"", {1: Value(2, b"N\0")}),
    }
    start = len(exif.pack(first, order))
    block = bytearray(exif.pack(first, order))
    thumbnail = encoded(PIXELS, "JPEG")
    second = {513: long(order, 0), 514: long(order, len(thumbnail))}
    behind = start + len(exif._pack(second, order, start))
    second[513] = long(order, behind)
    # Where the first directory says that another follows.
    struct.pack_into("<I", block, 8 + 2 + 12 * len(first), start)
    return bytes(block) + exif._pack(second, order, start) + thumbnail
