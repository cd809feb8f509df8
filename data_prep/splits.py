"""Which images are for testing: laws that do not depend on the other files there."""

import functools
import hashlib
import re
from fractions import Fraction
from pathlib import PurePosixPath

from dear_jax.data.drawn_masks import RATIO_BINS
from dear_jax.data.mask_bins import nearest_bin
from dear_jax.errors import InputError

CELEBAHQ_IMAGES = 30_000
CELEBAHQ_TEST_IMAGES = 2_000
FFHQ_IMAGES = 70_000
FFHQ_TRAINING_IMAGES = 60_000


def number_of(name: str) -> int:
    """Returns the number in a file's name: "img/imgHQ00012.png" -> 12.

    Raises:
      InputError: if the name without its ending has no digits, or several runs of them.
    """
    digits = re.findall(r"\d+", PurePosixPath(name).stem)
    if len(digits) != 1:
        raise InputError(f"{name}: expected one number in the file's name; rename it")
    return int(digits[0])


@functools.cache
def celebahq_test_numbers() -> frozenset[int]:
    """Returns the 2,000 test images of CelebA-HQ.

    CelebA-HQ has no split of its owners. Its 30,000 numbers are ranked by the
    sha256 of their five digits; the first 2,000 are for testing. The same numbers
    are published in celebahq_test.txt.
    """

    def digest(number: int) -> bytes:
        return hashlib.sha256(f"{number:05d}".encode()).digest()

    ranked = sorted(range(CELEBAHQ_IMAGES), key=digest)
    return frozenset(ranked[:CELEBAHQ_TEST_IMAGES])


def celebahq_split(number: int) -> str:
    """Returns "train" or "test" for image `number` of CelebA-HQ, 0 ... 29999."""
    return "test" if number in celebahq_test_numbers() else "train"


def ffhq_split(number: int) -> str:
    """Returns "train" or "test" for image `number` of FFHQ, 0 ... 69999.

    This is its owners' split: the first 60,000 for training, the others, which they
    call validation, for testing.
    """
    return "train" if number < FFHQ_TRAINING_IMAGES else "test"


def split_by_hash(name: str, share: float) -> str:
    """Returns "test" for a `share` in [0, 1] of all names, else "train".

    The sha256 of the name, as a fraction of 2^256, must lie below the share. A name
    thus keeps its split when others come or go, and a larger share only adds to it.
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    below = int.from_bytes(digest, "big") < Fraction(share) * 2**256
    return "test" if below else "train"


def mask_bin(ratio: float) -> str | None:
    """Returns the bin of a hole ratio in [0, 1], or None outside all bins.

    A ratio on the border of two bins belongs to the upper one; 0.6 to the last.
    """
    inside = RATIO_BINS[0][0] <= ratio <= RATIO_BINS[-1][1]
    return nearest_bin(ratio) if inside else None
