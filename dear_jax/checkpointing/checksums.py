"""Checksums of arrays.

    sum over i of mix(word_i xor i * PLACE)  mod 2**32

where a word is the bits of one element, as an unsigned integer, i its number in C
order and `mix` one to one: every change of a single element changes the sum, and any
other change does but for one in 2**32.
"""

import numpy as np

_PLACE, _FIRST, _SECOND = (np.uint32(n) for n in (0x9E3779B1, 0x85EBCA6B, 0xC2B2AE35))
_CHUNK = 1 << 16  # Words; what NumPy then works on stays in the cache.


def checksum(array: np.ndarray) -> int:
    """Returns the checksum, below 2**32, of the elements: at most 8 bytes each."""
    size = array.dtype.itemsize
    words = np.ascontiguousarray(array).reshape(-1).view(f"u{min(size, 4)}")
    total = 0
    for start in range(0, words.size, _CHUNK):
        chunk = words[start : start + _CHUNK].astype(np.uint32)
        places = np.arange(start, start + chunk.size).astype(np.uint32)
        total += int(_mix(chunk, places).sum(dtype=np.uint32))
    return total % 2**32


def _mix(words: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The finalizer of MurmurHash3, on words that know their place."""
    words ^= places * _PLACE
    for shift, factor in ((16, _FIRST), (13, _SECOND)):
        words ^= words >> np.uint32(shift)
        words *= factor
    words ^= words >> np.uint32(16)
    return words
