"""Which mask belongs to which photo: the one of its name, with any suffix.

Names are alike however their accents are stored.
"""

import os
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

from dear_jax.errors import InputError

# What becomes of photos without mask: they are left out, restored without, or their
# damage is found.
MissingMasks = Literal["skip", "none", "auto"]
_LISTED = 5  # Of many names.


def pair_names(
    photos: Sequence[str], masks: Iterable[str], where: str, optional: bool = False
) -> list[str | None]:
    """The name of each photo's mask; of several, the one of the same suffix too.

    Args:
      photos, masks: names, paths below their folders.
      where: the masks come from, for messages, such as "--mask masks/".
      optional: whether a photo may have none, which is None.

    Raises:
      InputError: naming the photos that have none, or one that has several.
    """
    there = defaultdict(list)
    for mask in masks:
        there[_stem(mask)].append(mask)
    found = {photo: there[_stem(photo)] for photo in photos}
    missing = [photo for photo in photos if not found[photo]]
    if missing and not optional:
        raise InputError(
            f"{where}: no mask for {len(missing)} of {len(photos)} photos "
            f"({listed(missing)}); name each mask as its photo, with any suffix"
        )
    return [_one(photo, found[photo], where) for photo in photos]


def listed(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    more = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {more} more" if more > 0 else "")


def _stem(name: str) -> str:
    return _composed(os.path.splitext(name)[0])


def _composed(name: str) -> str:
    """Letters with their accents as single characters: macOS stores both apart."""
    return unicodedata.normalize("NFC", name)


def _one(photo: str, masks: Sequence[str], where: str) -> str | None:
    """The mask of the photo's whole name, or the only one; None of none."""
    if not masks:
        return None
    same = [mask for mask in masks if _composed(mask) == _composed(photo)]
    chosen = same or masks
    if len(chosen) > 1:
        raise InputError(
            f"{where}: {' and '.join(chosen)} could both be the mask of {photo}; move "
            "one away"
        )
    return chosen[0]
