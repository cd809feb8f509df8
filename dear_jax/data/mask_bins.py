"""Test masks, sorted into bins by how much of the photo is missing.

In a mask, True = missing; it may have any size.
"""

import functools
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool

from dear_jax import bundled
from dear_jax.data import shards
from dear_jax.data.drawn_masks import RATIO_BINS, bin_name, draw_strokes
from dear_jax.data.sources import Images, open_images
from dear_jax.errors import InputError
from dear_jax.files import content_hash
from dear_jax.images.io import names_below
from dear_jax.images.masks import decode_mask

GENERATED_SIZE = (512, 512)
GENERATED_PER_BIN = 50
GENERATED_SEED = 2024


@dataclass(frozen=True)
class TestMask:
    """A mask that is read or drawn only when `load()` is called.

    Attributes:
      name: its path below its bin's folder, or what its record is called.
      digest: called, it returns hex digits of the hash of its file, or of how it is
        drawn; raises InputError if the file cannot be read.
      load: raises InputError if it cannot be read.
    """

    __test__ = False  # The name does not make it a pytest class.

    name: str
    digest: Callable[[], str]
    load: Callable[[], Bool[np.ndarray, "h w"]]


def open_test_masks(
    where: str | Path, setting: str = "masks"
) -> dict[str, list[TestMask]]:
    """Finds the test masks: bin name -> masks, both sorted by name.

    Args:
      where: one of
        a folder with one sub-folder per bin, named after the bin, of mask files or
        ArrayRecord files;
        mask files or ArrayRecord files as `open_images` takes them, each mask counted
        to a bin by its hole ratio at full size (one outside all bins to the nearest,
        so an empty mask is in "01-10");
        "generated": strokes drawn from a fixed seed, 50 per bin;
        "bundled": the six masks that come with the package;
        "none": one bin, "none", of one empty mask: nothing is missing.
      setting: what a message says should be set to another folder.

    Raises:
      InputError: if there are no such masks, a sub-folder has none, or a loose one
        cannot be read.
    """
    if str(where) == "generated":
        return _generated_masks()
    if str(where) == "none":
        return {"none": [_drawn("none", "none", lambda: np.zeros((1, 1), bool))]}
    remedy = f"set {setting} to a folder of masks, 'generated', 'bundled' or 'none'"
    folder = Path(where).expanduser()
    bins = _bin_folders(folder) if str(where) != "bundled" else []
    if not bins:
        return _sorted_in(open_images(where, remedy, bundled.MASKS))
    records = names_below(folder, {shards.SUFFIX})
    if records:
        shards.check_complete(folder, records)
    return {path.name: _masks(open_images(path, remedy)) for path in bins}


def nearest_bin(ratio: float) -> str:
    """Name of the bin that a hole ratio in [0, 1] falls in, or else is nearest to.

    A ratio on the border of two bins belongs to the upper one.
    """

    def distance(limits: tuple[float, float]) -> float:
        return max(limits[0] - ratio, ratio - limits[1], 0)

    return bin_name(min(reversed(RATIO_BINS), key=distance))


def _bin_folders(folder: Path) -> list[Path]:
    if not os.path.isdir(folder):
        return []
    try:
        found = [p for p in folder.iterdir() if p.name[0] not in "._" and p.is_dir()]
    except OSError as error:
        raise InputError(
            f"{folder}: cannot be listed ({error.strerror}); make it readable"
        ) from None
    return sorted(found)


def _masks(images: Images) -> list[TestMask]:
    return [
        TestMask(
            name,
            functools.partial(images.digest, i),
            functools.partial(_read, images, i),
        )
        for i, name in enumerate(images.names)
    ]


def _sorted_in(images: Images) -> dict[str, list[TestMask]]:
    """Counts each mask to a bin by its hole ratio."""
    bins = {}
    for mask in _masks(images):
        bins.setdefault(nearest_bin(float(mask.load().mean())), []).append(mask)
    return dict(sorted(bins.items()))


def _read(images: Images, index: int) -> Bool[np.ndarray, "h w"]:
    try:
        return decode_mask(images.data(index), images.title(index))
    except InputError as error:
        raise InputError(f"{error}, or remove it") from None


def _drawn(
    name: str, recipe: str, load: Callable[[], Bool[np.ndarray, "h w"]]
) -> TestMask:
    return TestMask(name, functools.partial(content_hash, recipe.encode()), load)


def _generated_masks() -> dict[str, list[TestMask]]:
    return {
        bin_name(limits): [
            _drawn(
                f"generated-{i:02d}",
                f"strokes {limits} of {GENERATED_SIZE}, seed {(GENERATED_SEED, b, i)}",
                functools.partial(_draw, limits, (GENERATED_SEED, b, i)),
            )
            for i in range(GENERATED_PER_BIN)
        ]
        for b, limits in enumerate(RATIO_BINS)
    }


def _draw(
    limits: tuple[float, float], seed: tuple[int, ...]
) -> Bool[np.ndarray, "h w"]:
    rng = np.random.default_rng(seed)
    return draw_strokes(rng, GENERATED_SIZE, limits)
