"""What is left of a JPEG file that lacks its end, and where it is missing.

Of a file that comes block by block all from the first block that is not whole is
missing. A progressive one comes scan by scan, each finer than the last: missing is what
no scan of luminance beyond its means has reached; the rest is there, if coarse.
"""

import io
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image
from scipy import ndimage

_END = b"\xff\xd9"
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_FRAMES = (0xC0, 0xC1, *_PROGRESSIVE)
_SCAN = 0xDA
# What may stand where the file ends, for blocks that need more than there is to differ.
_ENDINGS = (b"", 64 * b"\x55", 64 * b"\xaa", 64 * b"\x00")


class Segment(NamedTuple):
    """A segment of a JPEG file: its marker's second byte, and its content."""

    marker: int
    content: bytes


def is_cut_short(data: bytes) -> bool:
    """Whether it is a JPEG file with pixels but without its end."""
    if not data.startswith(b"\xff\xd8"):
        return False
    markers = [segment.marker for segment in _segments(data)[0]]
    return _SCAN in markers and markers[-1] != _END[1]


def salvaged(data: bytes) -> tuple[bytes, Bool[np.ndarray, "H W"]]:
    """Completes a JPEG file that is cut short.

    Returns:
      A whole file, and what it lacks, True = missing, in the file's own orientation.

    Raises:
      OSError: if nothing can be made of it.
    """
    segments, length = _segments(data)
    whole = [data[:length] + ending + _END for ending in _ENDINGS]
    with Image.open(io.BytesIO(whole[0]), formats=("JPEG",)) as image:
        size = image.height, image.width
    if _is_coarse(segments):
        return whole[0], np.zeros(size, bool)
    block = _block(segments)
    lacking = _lacking_blocks(whole, block)
    if _is_without_detail(segments):
        lacking[:] = True
    missing = lacking.repeat(block[0], 0).repeat(block[1], 1)[: size[0], : size[1]]
    if block != (8, 8):  # Colours are interpolated from those of the next block.
        missing = ndimage.binary_dilation(missing, np.ones((3, 3)))
    return whole[0], missing


def _lacking_blocks(
    whole: list[bytes], block: tuple[int, int]
) -> Bool[np.ndarray, "rows columns"]:
    """The blocks from the first on that depends on how the file ends."""
    first, *others = map(_luminance, whole)
    height, width = first.shape
    rows, columns = -(-height // block[0]), -(-width // block[1])
    differs = np.zeros((rows * block[0], columns * block[1]), bool)
    differs[:height, :width] = np.any([other != first for other in others], axis=0)
    blocks = differs.reshape(rows, block[0], columns, block[1]).any((1, 3)).ravel()
    # In a block luminance comes first: in the one before, colours may be missing.
    if blocks.any():
        blocks[max(blocks.argmax() - 1, 0) :] = True
    else:
        colours, *endings = map(_colours, whole)
        blocks[-1] = any((ending != colours).any() for ending in endings)
    return blocks.reshape(rows, columns)


def _segments(data: bytes) -> tuple[list[Segment], int]:
    """The segments of a JPEG file that are whole, scans' headers alone.

    Returns:
      The segments, and how many bytes come before one that is not whole.
    """
    at, found = 2, []
    while True:
        at = data.find(b"\xff", at)
        if at < 0:
            return found, len(data)
        marker = data[at + 1] if at + 1 < len(data) else 0xFF
        if marker == _END[1]:
            return [*found, Segment(marker, b"")], len(data)
        # Within a scan: a byte of data, a restart, padding.
        if marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD7:
            at += 2
            continue
        if marker == 0xFF and at + 1 < len(data):
            at += 1
            continue
        length = int.from_bytes(data[at + 2 : at + 4]) if at + 4 <= len(data) else 0
        if length < 2 or at + 2 + length > len(data):
            return found, at
        found.append(Segment(marker, data[at + 4 : at + 2 + length]))
        at += 2 + length


def _block(segments: list[Segment]) -> tuple[int, int]:
    """Height and width in pixels of what is decoded together."""
    frame = next(s.content for s in segments if s.marker in _FRAMES)
    count = frame[5]
    factors = [frame[7 + 3 * i] for i in range(count)]
    if count == 1:
        return 8, 8
    return 8 * max(f & 15 for f in factors), 8 * max(f >> 4 for f in factors)


def _detail_scans(segments: list[Segment]) -> list[int] | None:
    """Of which scans the luminance beyond its means comes; None if all come at once."""
    frame = next(s for s in segments if s.marker in _FRAMES)
    if frame.marker not in _PROGRESSIVE:
        return None
    luminance = frame.content[6]
    scans = [s.content for s in segments if s.marker == _SCAN]
    return [
        number
        for number, scan in enumerate(scans)
        # The components, two bytes each, then the first frequency.
        if luminance in scan[1 : 1 + 2 * scan[0] : 2] and scan[1 + 2 * scan[0]] > 0
    ]


def _is_coarse(segments: list[Segment]) -> bool:
    """Whether a scan of detail has reached all blocks, and others have followed."""
    detail = _detail_scans(segments)
    last = sum(s.marker == _SCAN for s in segments) - 1
    return bool(detail) and detail[0] < last


def _is_without_detail(segments: list[Segment]) -> bool:
    """Whether no scan of detail has begun."""
    detail = _detail_scans(segments)
    return detail is not None and not detail


def _luminance(data: bytes) -> UInt8[np.ndarray, "H W"]:
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        image.draft("L", image.size)
        return np.asarray(image.convert("L"))


def _colours(data: bytes) -> UInt8[np.ndarray, "H W C"]:
    with Image.open(io.BytesIO(data), formats=("JPEG",)) as image:
        return np.atleast_3d(np.asarray(image))
