"""The JPEG quality of a photo: from its file's tables, or from its pixels alone.

Quality is that of the Independent JPEG Group's encoder, 1 to 100, which scales the
tables of the standard's Annex K. Decoded pixels still show it: the coefficients of
their 8 x 8 blocks lie at multiples of the quantisers (Fan and de Queiroz,
"Identification of bitmap compression history", 2003).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int, Num, Shaped

# Annex K, table K.1: quantisers of luma at quality 50.
_LUMA = np.array(
    """16 11 10 16 24 40 51 61  12 12 14 19 26 58 60 55  14 13 16 24 40 57 69 56
    14 17 22 29 51 87 80 62  18 22 37 56 68 109 103 77  24 35 55 64 81 104 113 92
    49 64 78 87 103 121 120 101  72 92 95 98 112 100 103 99""".split(),
    int,
)
# Weights of red, green and blue in luma, as in JPEG files.
LUMA_WEIGHTS = np.array([0.299, 0.587, 0.114])
UNCOMPRESSED = 100
_BLOCK, _MOST_BLOCKS = 8, 256
# Four standard deviations of a coefficient's error: levels are rounded twice.
_TOLERANCE = 1.2
# Finer quantisers are no evidence: most coefficients lie near their multiples.
_COARSE = 4
# Shares of coefficients, and of those that are not zero, that must lie at multiples.
_ALL_FIT, _NONZERO_FIT = 0.97, 0.9
# Multiples found must exceed those expected by chance, by standard deviations and more.
_DEVIATIONS, _MORE = 4, 6


def quality_of_tables(tables: Sequence[Sequence[int]]) -> float:
    """The quality of a JPEG file's quantisation tables, 1 to 100.

    Args:
      tables: 64 numbers each, luma first, in any one order; tables that are not the
        standard's scaled get the quality that is as coarse on the whole.
    """
    percent = 100 * np.sum(tables[0]) / _LUMA.sum()
    quality = 5000 / percent if percent > 100 else (200 - percent) / 2
    return float(np.clip(quality, 1, 100))


def quality_of_pixels(
    image: Num[np.ndarray, "H W 3"], known: Bool[np.ndarray, "H W"]
) -> int:
    """The quality at which a photo was compressed before, as its pixels show it.

    Found where blocks begin at the upper left corner, as in a photo that was decoded
    and not cropped, resized or changed since.

    Args:
      image: uint8 or float in [0, 1].
      known: blocks with other pixels are left out.

    Returns:
      1 to 99, or 100 if nothing speaks for compression.
    """
    from scipy.fft import dctn  # It takes its time.

    blocks, known = _blocks(image), _blocks(known)
    top = 255 if image.dtype == np.uint8 else 1
    blocks = blocks[known.all((1, 2))]
    # Colours out of range were clipped, which moves coefficients.
    blocks = blocks[((blocks > 0) & (blocks < top)).all((1, 2, 3))]
    if not len(blocks):
        return UNCOMPRESSED
    if len(blocks) > _MOST_BLOCKS:
        blocks = blocks[np.linspace(0, len(blocks) - 1, _MOST_BLOCKS).astype(int)]
    luma = blocks @ LUMA_WEIGHTS * (255 / top) - 128
    found = np.asarray(dctn(luma, axes=(1, 2), norm="ortho"))
    found = found.reshape(-1, _BLOCK**2)
    qualities = range(1, UNCOMPRESSED)
    return next((q for q in qualities if _fits(found, q)), UNCOMPRESSED)


def luma_table(quality: int) -> Int[np.ndarray, " 64"]:
    """Quantisers of luma at a quality, row by row."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((_LUMA * percent + 50) // 100, 1, 255)


def _fits(coefficients: Float[np.ndarray, "N 64"], quality: int) -> bool:
    """Whether coefficients lie at multiples of a quality's quantisers."""
    steps = luma_table(quality)
    multiples = np.rint(coefficients / steps)
    near = np.abs(coefficients - multiples * steps) < _TOLERANCE
    if near.mean() < _ALL_FIT:
        return False
    telling = (multiples != 0) & (steps >= _COARSE)
    chance = (telling * np.minimum(2 * _TOLERANCE / steps, 1)).sum()
    hits, count = (near & telling).sum(), telling.sum()
    enough = chance + _DEVIATIONS * np.sqrt(chance) + _MORE
    return bool(hits > enough and hits >= _NONZERO_FIT * count)


def _blocks(array: Shaped[np.ndarray, "H W *C"]) -> Shaped[np.ndarray, "N 8 8 *C"]:
    """The whole blocks from the upper left corner."""
    rows, columns = (side // _BLOCK for side in array.shape[:2])
    array = array[: rows * _BLOCK, : columns * _BLOCK]
    array = array.reshape(rows, _BLOCK, columns, _BLOCK, *array.shape[2:])
    return array.swapaxes(1, 2).reshape(-1, _BLOCK, _BLOCK, *array.shape[4:])
