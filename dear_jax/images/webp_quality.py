"""How finely a lossy WebP file was quantised, as about the quality that does so again.

The numbers are in the first bytes of a VP8 frame, in an arithmetic code (RFC 6386,
sections 7, 9 and 19.2); libwebp makes them of its quality from 0 to 100.
"""

import math
import struct
from collections.abc import Iterator

_MOST = 127  # Of the numbers that quantisers are chosen by.
_SEGMENTS = 4


def webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yields names and contents of the chunks of a WebP file."""
    at = 12
    while at + 8 <= len(data):
        (length,) = struct.unpack_from("<I", data, at + 4)
        yield data[at : at + 4], data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def quality_of_webp(data: bytes) -> float | None:
    """The quality of a lossy WebP file, 0 to 100; None of any other file."""
    frame = _frame(data)
    if frame is None:
        return None
    try:
        quantisers, shares = _quantisers(_Bits(frame[10:]))
    except IndexError:
        return None
    # What libwebp does with the quality, backwards: linear, a cube root, its rest; to
    # the power of how busy a segment is, 1 in the mean of all blocks.
    ratios = [max(1 - number / _MOST, 1e-3) ** 3 for number in quantisers]
    logarithm = sum(s * math.log(r) for s, r in zip(shares, ratios, strict=True))
    linear = math.exp(logarithm / sum(shares))
    quality = 100 * (1.5 * linear if linear < 0.5 else (1 + linear) / 2)
    return 0.0 if linear < 1e-6 else quality


def _frame(data: bytes) -> bytes | None:
    """The first VP8 frame of a WebP file."""
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return None
    for name, frame in webp_chunks(data):
        if name == b"VP8 ":
            return frame if frame[3:6] == b"\x9d\x01\x2a" else None
    return None


def _quantisers(bits: "_Bits") -> tuple[list[int], list[float]]:
    """The segments' quantisers, 0 to 127, and their shares of the blocks."""
    bits.number(2)  # Colours, and whether they may leave their range.
    changes, absolute, shares = [0], False, [1.0]
    if bits.number(1):
        has_map, has_values = bits.number(1), bits.number(1)
        if has_values:
            absolute = bool(bits.number(1))
            changes = [bits.optional(7) for _ in range(_SEGMENTS)]
            for _ in range(_SEGMENTS):
                bits.optional(6)  # Of the loop filter.
            shares = [1 / _SEGMENTS] * _SEGMENTS
        if has_map:
            half, first, second = (
                (bits.number(8) if bits.number(1) else 255) / 255 for _ in range(3)
            )
            if has_values:
                low, high = half, 1 - half
                shares = [low * first, low * (1 - first)]
                shares += [high * second, high * (1 - second)]
    bits.number(1 + 6 + 3)  # The loop filter.
    if bits.number(1) and bits.number(1):
        for _ in range(8):
            bits.optional(6)
    bits.number(2)  # Partitions.
    base = 0 if absolute else bits.number(7)
    return [min(max(base + change, 0), _MOST) for change in changes], shares


class _Bits:
    """Bits of even odds from the arithmetic code; IndexError at its end.

    Args:
      data: the code.
    """

    def __init__(self, data: bytes):
        self._data, self._at = data, 2
        self._value = (data[0] << 8) | data[1]
        self._range, self._shifted = 255, 0

    def number(self, bits: int) -> int:
        """A whole number of so many bits, the highest first."""
        found = 0
        for _ in range(bits):
            found = 2 * found + self._bit()
        return found

    def optional(self, bits: int) -> int:
        """A number with its sign behind, 0 if it is not there."""
        if not self.number(1):
            return 0
        size = self.number(bits)
        return -size if self.number(1) else size

    def _bit(self) -> int:
        split = 1 + (((self._range - 1) * 128) >> 8)
        bit = int(self._value >= split << 8)
        if bit:
            self._range -= split
            self._value -= split << 8
        else:
            self._range = split
        while self._range < 128:
            self._value <<= 1
            self._range <<= 1
            self._shifted += 1
            if self._shifted == 8:
                self._shifted = 0
                self._value |= self._data[self._at]
                self._at += 1
        return bit
