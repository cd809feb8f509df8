"""EXIF data as a restored photo may carry them on.

A block of EXIF data is here without the "Exif\\0\\0" that some files put before it. It
keeps its values byte for byte, but for what would be wrong afterwards: orientation
becomes 1, for pixels are upright; the thumbnail goes, for it shows the photo as it was;
pointers into the old file go, too. Maker notes keep their bytes, but may lie elsewhere.
"""

import re
import struct

from dear_jax.images.directories import (
    EXIF,
    GPS,
    Directory,
    block,
    long,
    parse,
    short,
)

_PREFIX = b"Exif\0\0"
_ORIENTATION = 0x0112
# Tags that point to bytes of pixels: strips, tiles, thumbnails and further pictures.
_POINTERS = (273, 279, 288, 289, 324, 325, 330, 513, 514)
# Width and height of the pixels in the EXIF directory.
_WIDTH, _HEIGHT = 0xA002, 0xA003
# Of a TIFF file what tells of the photo, not of how the file is built: description,
# maker, model, software, date, artist, host, rating, IPTC's and others' copyright,
# titles as Windows writes them.
_OF_THE_PHOTO = frozenset(
    {269, 270, 271, 272, 285, 305, 306, 315, 316, 18246, 18249, 33432, 33723,
     40091, 40092, 40093, 40094, 40095, EXIF, GPS}
)  # fmt: skip


def cleaned(data: bytes) -> bytes | None:
    """EXIF data fit for the restored photo; None if there are none.

    Raises:
      Damaged: if they are.
    """
    while data.startswith(_PREFIX):
        data = data[len(_PREFIX) :]
    if not data:
        return None
    order, directory = parse(data)
    for tag in _POINTERS:
        directory.pop(tag, None)
    return _packed(directory, order)


def of_tiff(data: bytes) -> bytes | None:
    """The EXIF data that lie about in a TIFF file; None if there are none.

    Raises:
      Damaged: if its directories are.
    """
    order, directory = parse(data)
    told = {tag: v for tag, v in directory.items() if tag in _OF_THE_PHOTO}
    return _packed(told, order) if told else None


def for_tiff(data: bytes) -> tuple[str, Directory]:
    """The byte order and the tags with which a TIFF file carries EXIF data."""
    order, directory = parse(data)
    return order, {tag: v for tag, v in directory.items() if tag in _OF_THE_PHOTO}


def sized(data: bytes, height: int, width: int) -> bytes:
    """EXIF data that name the pixels' width and height, if they named any."""
    order, directory = parse(data)
    inner = directory[EXIF].inner if EXIF in directory else None
    if not inner or not {_WIDTH, _HEIGHT} & set(inner):
        return data
    inner |= {_WIDTH: long(order, width), _HEIGHT: long(order, height)}
    return block(directory, order)


def upright_xmp(packet: bytes) -> bytes:
    """An XMP packet whose orientation, if it names one, is 1."""
    return re.sub(rb'(tiff:Orientation(?:=["\']|>))\d', rb"\g<1>1", packet)


def upright_tiff(data: bytes) -> bytes:
    """A TIFF file as if it were upright, for decoders that turn it themselves."""
    order = {b"II*\0": "<", b"MM\0*": ">"}[data[:4]]
    (start,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, start)
    turned = bytearray(data)
    for at in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from(order + "H", data, at) == (_ORIENTATION,):
            struct.pack_into(order + "HIHH", turned, at + 2, 3, 1, 1, 0)
    return bytes(turned)


def _packed(directory: Directory, order: str) -> bytes | None:
    if not directory:
        return None
    directory[_ORIENTATION] = short(order, 1)
    return block(directory, order)
