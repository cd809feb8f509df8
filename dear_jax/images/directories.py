"""Directories of tagged values, as EXIF blocks and TIFF files are made of.

A block begins with its byte order, "II*\\0" or "MM\\0*", and where its first directory
is; a directory maps numbered tags to values, of which some are directories.
"""

import struct
from typing import NamedTuple

EXIF, GPS, INTEROPERABILITY = 0x8769, 0x8825, 0xA005
_INNER = (EXIF, GPS, INTEROPERABILITY)
# TIFF's kinds of values -> bytes each; ASCII, SHORT, LONG, RATIONAL and so on.
_UNITS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8,
          13: 4}  # fmt: skip
_ORDERS = {b"II*\0": "<", b"MM\0*": ">"}


class Damaged(ValueError):
    """A block does not hold what it says."""


class Value(NamedTuple):
    """What a tag stands for.

    Attributes:
      kind: TIFF's number of its kind.
      data: its bytes, in the block's byte order.
      inner: the directory that it points to, if it is one.
    """

    kind: int
    data: bytes
    inner: "Directory | None" = None


Directory = dict[int, Value]


def short(order: str, *numbers: int) -> Value:
    """Numbers below 65536."""
    return Value(3, struct.pack(f"{order}{len(numbers)}H", *numbers))


def long(order: str, *numbers: int) -> Value:
    """Numbers below 2^32."""
    return Value(4, struct.pack(f"{order}{len(numbers)}I", *numbers))


def fraction(order: str, number: float) -> Value:
    """A positive number in ten-thousandths."""
    return Value(5, struct.pack(f"{order}2I", round(number * 10_000), 10_000))


def parse(block: bytes) -> tuple[str, Directory]:
    """The byte order ("<" or ">") and the first directory of a block.

    Values of kinds that TIFF does not know are passed over.

    Raises:
      Damaged: if the block is none, or ends before what it tells of.
    """
    order = _ORDERS.get(bytes(block[:4]))
    if order is None:
        raise Damaged("no byte order")
    view = memoryview(block)
    try:
        (start,) = struct.unpack_from(order + "I", view, 4)
        directory = _parse(view, order, start, depth=0)
    except struct.error as error:
        raise Damaged(str(error)) from None
    return order, directory


def pack(directory: Directory, order: str, offset: int) -> bytes:
    """The bytes of a directory that is to lie at `offset` of its block.

    Raises:
      struct.error: if the block would have more than 2^32 bytes.
    """
    entries = struct.pack(order + "H", len(directory))
    offset += 2 + 12 * len(directory) + 4
    values = []
    for tag, value in sorted(directory.items()):
        kind, data = value.kind, bytes(value.data)
        if value.inner is not None:
            values.append(pack(value.inner, order, offset))
            kind, data = 4, struct.pack(order + "I", offset)
            offset += len(values[-1])
        count = len(data) // _UNITS[kind]
        if len(data) > 4:
            values.append(data + b"\0" * (len(data) % 2))
            data = struct.pack(order + "I", offset)
            offset += len(values[-1])
        entries += struct.pack(order + "HHI4s", tag, kind, count, data)
    return entries + b"\0\0\0\0" + b"".join(values)


def block(directory: Directory, order: str) -> bytes:
    """A whole block with one directory."""
    head = next(head for head, known in _ORDERS.items() if known == order)
    return head + struct.pack(order + "I", 8) + pack(directory, order, 8)


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
