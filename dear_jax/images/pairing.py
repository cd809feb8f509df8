"""Which mask belongs to which photo: the one of its name, with any suffix."""

import os
from collections import defaultdict
from collections.abc import Iterable, Sequence

from dear_jax.errors import InputError

_LISTED = 5  # Of many photos that lack a mask.


def pair_names(photos: Sequence[str], masks: Iterable[str], where: str) -> list[str]:
    """The name of each photo's mask; of several, the one of the same suffix too.

    Args:
      photos, masks: names, paths below their folders.
      where: the masks come from, for messages, such as "--mask masks/".

    Raises:
      InputError: naming the photos that have none, or one that has several.
    """
    there = defaultdict(list)
    for mask in masks:
        there[os.path.splitext(mask)[0]].append(mask)
    found = {photo: there[os.path.splitext(photo)[0]] for photo in photos}
    missing = [photo for photo in photos if not found[photo]]
    if missing:
        more = len(missing) - _LISTED
        listed = ", ".join(missing[:_LISTED]) + (
            f" and {more} more" if more > 0 else ""
        )
        raise InputError(
            f"{where}: no mask for {len(missing)} of {len(photos)} photos "
            f"({listed}); name each mask as its photo, with any suffix"
        )
    for photo, choices in found.items():
        if len(choices) > 1 and photo not in choices:
            raise InputError(
                f"{where}: {' and '.join(choices)} could both be the mask of {photo}; "
                "move one away"
            )
    return [photo if photo in found[photo] else found[photo][0] for photo in photos]
