"""EXIF data byte for byte, in the tagged directories of which TIFF files consist too.

A block begins with its byte order, "II*\\0" or "MM\\0*", and the place of its first
directory, which maps numbered tags to values; some values are directories themselves.
Pillow's `Exif` is not used to carry a block on: it loses letters beyond ASCII and the
kinds of maker notes and comments.

A restored photo's block differs in what would be wrong afterwards: orientation becomes
1, for pixels are upright; the thumbnail goes, for it shows the photo as it was, and so
do pointers into the old file. Maker notes keep their bytes, but may lie elsewhere.
"""

import struct
from typing import NamedTuple

EXIF_IFD, GPS_IFD, _INTEROPERABILITY = 0x8769, 0x8825, 0xA005
_INNER = (EXIF_IFD, GPS_IFD, _INTEROPERABILITY)
# TIFF's kinds of values -> bytes each; ASCII, SHORT, LONG, RATIONAL and so on.
_UNITS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8,
          13: 4}  # fmt: skip
_HEADS = {"<": b"II*\0", ">": b"MM\0*"}
_PREFIX = b"Exif\0\0"
_ORIENTATION, _IPTC = 0x0112, 33723
_PIXEL_WIDTH, _PIXEL_HEIGHT = 0xA002, 0xA003
# Tags that point to bytes of pixels: strips, tiles, thumbnails and further pictures.
_POINTERS = (273, 279, 288, 289, 324, 325, 330, 513, 514)
# Tags of a TIFF file that describe the photo, not the layout of the file: description,
# maker, model, software, date, artist, host, rating, IPTC's and others' copyright,
# titles as Windows writes them.
_DESCRIPTIVE = frozenset(
    {269, 270, 271, 272, 285, 305, 306, 315, 316, 18246, 18249, 33432, _IPTC,
     40091, 40092, 40093, 40094, 40095, EXIF_IFD, GPS_IFD}
)  # fmt: skip


class Damaged(ValueError):
    """A block contradicts itself or ends too early."""


class Value(NamedTuple):
    """What a tag stands for.

    Attributes:
      kind: TIFF's number of its kind.
      data: its bytes, in the block's byte order.
      inner: the directory that it points to, if it is one.
    """

    kind: int
    data: bytes | memoryview
    inner: "Directory | None" = None


Directory = dict[int, Value]


def short(order: str, *numbers: int) -> Value:
    """Numbers below 65536."""
    return Value(3, struct.pack(f"{order}{len(numbers)}H", *numbers))


def long(order: str, *numbers: int) -> Value:
    """Numbers below 2^32."""
    return Value(4, struct.pack(f"{order}{len(numbers)}I", *numbers))


def rational(order: str, number: float) -> Value:
    """A positive number in ten-thousandths."""
    return Value(5, struct.pack(f"{order}2I", round(number * 10_000), 10_000))


def parse(block: bytes) -> tuple[str, Directory]:
    """Returns the byte order ("<" or ">") and the first directory of a block.

    Values of kinds that TIFF does not know are passed over.

    Raises:
      Damaged: if the block is none, or contradicts itself.
    """
    orders = [order for order, head in _HEADS.items() if head == bytes(block[:4])]
    if not orders:
        raise Damaged("no byte order")
    view = memoryview(block)
    try:
        (start,) = struct.unpack_from(orders[0] + "I", view, 4)
        return orders[0], _parse(view, orders[0], start, depth=0)
    except struct.error as error:
        raise Damaged(str(error)) from None


def pack(directory: Directory, order: str) -> bytes:
    """Returns a whole block with one directory.

    Raises:
      struct.error: if the block would have more than 2^32 bytes.
    """
    return _HEADS[order] + struct.pack(order + "I", 8) + _pack(directory, order, 8)


def clean(data: bytes) -> bytes | None:
    """Returns a file's EXIF data as the restored photo may carry them; None if empty.

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
    return _pack_upright(directory, order)


def from_tiff(data: bytes) -> bytes | None:
    """Returns the EXIF data among the tags of a TIFF file; None without any.

    Raises:
      Damaged: if its directories are.
    """
    order, directory = to_tiff(data)
    return _pack_upright(directory, order)


def to_tiff(data: bytes) -> tuple[str, Directory]:
    """Returns the byte order and the tags with which a TIFF file carries EXIF data."""
    order, directory = parse(data)
    return order, {tag: v for tag, v in directory.items() if tag in _DESCRIPTIVE}


def with_size(data: bytes, height: int, width: int) -> bytes:
    """Returns EXIF data with another width and height in pixels, if they name any."""
    order, directory = parse(data)
    inner = directory[EXIF_IFD].inner if EXIF_IFD in directory else None
    if not inner or not {_PIXEL_WIDTH, _PIXEL_HEIGHT} & set(inner):
        return data
    inner |= {_PIXEL_WIDTH: long(order, width), _PIXEL_HEIGHT: long(order, height)}
    return pack(directory, order)


def with_iptc(data: bytes | None, iptc: bytes) -> bytes | None:
    """Returns EXIF data with an IPTC record, as TIFF files hold it.

    Raises:
      Damaged: if the EXIF data are.
    """
    order, directory = parse(data) if data else ("<", {})
    return _pack_upright(directory | {_IPTC: Value(7, iptc)}, order)


def without_iptc(data: bytes) -> tuple[bytes, bytes]:
    """Returns EXIF data without their IPTC record, and that; b"" for nothing."""
    order, directory = parse(data)
    if _IPTC not in directory:
        return data, b""
    iptc = bytes(directory.pop(_IPTC).data)
    rest = directory.keys() - {_ORIENTATION}
    return pack(directory, order) if rest else b"", iptc


def _pack_upright(directory: Directory, order: str) -> bytes | None:
    if not directory:
        return None
    return pack(directory | {_ORIENTATION: short(order, 1)}, order)


def _pack(directory: Directory, order: str, offset: int) -> bytes:
    """The bytes of a directory that is to lie at `offset` of its block."""
    entries = struct.pack(order + "H", len(directory))
    offset += 2 + 12 * len(directory) + 4
    values = []
    for tag, value in sorted(directory.items()):
        kind, data = value.kind, bytes(value.data)
        if value.inner is not None:
            values.append(_pack(value.inner, order, offset))
            kind, data = 4, struct.pack(order + "I", offset)
            offset += len(values[-1])
        count = len(data) // _UNITS[kind]
        if len(data) > 4:
            values.append(data + b"\0" * (len(data) % 2))
            data = struct.pack(order + "I", offset)
            offset += len(values[-1])
        entries += struct.pack(order + "HHI4s", tag, kind, count, data)
    return entries + b"\0\0\0\0" + b"".join(values)


def _parse(view: memoryview, order: str, start: int, depth: int) -> Directory:
    (count,) = struct.unpack_from(order + "H", view, start)
    found: Directory = {}
    total = 0
    for at in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, items = struct.unpack_from(order + "HHI", view, at)
        if kind not in _UNITS:
            continue
        length = items * _UNITS[kind]
        where = at + 8
        if length > 4:
            (where,) = struct.unpack_from(order + "I", view, where)
        data = view[where : where + length]
        total += length
        # Values that share bytes could fill any memory when they are written apart.
        if len(data) < length or total > len(view):
            raise Damaged(f"tag {tag} is longer than the block")
        inner = None
        if tag in _INNER:
            if depth == 2:
                raise Damaged("directories within directories")
            (inside,) = struct.unpack_from(order + "I", data)
            inner = _parse(view, order, inside, depth + 1)
        found[tag] = Value(kind, data, inner)
    return found
