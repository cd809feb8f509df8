"""Evaluation protocol v1: which damaged photos are restored, at which scale.

The truth is a photo as it is. The input is the truth reduced with Pillow's
bicubic to round(side / scale) per axis, then masked: in every hole-ratio bin,
photo i (sorted by name) takes mask i mod n (sorted by name), resized to the
input with Pillow's nearest neighbour. Photos uint8, masks bool, True = missing.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dear_jax import bundled, photo, resize
from dear_jax.data import strokes
from dear_jax.errors import InputError
from dear_jax.evaluation.metrics import SSIM_WINDOW

NAME = "protocol v1"
SUMMARY = (
    f"{NAME}: PIL bicubic to round(side / scale), then masked; the whole output is\n"
    "scored as uint8 RGB against the full photo, per image, then plain means;\n"
    "no border removed, known pixels not pasted back unless said."
)
GENERATED_SIZE = (512, 512)
GENERATED_PER_BIN = 50
GENERATED_SEED = 2024


@dataclass(frozen=True, eq=False)
class Case:
    """One damaged photo to restore.

    Attributes:
      index: position of the photo among the photos, sorted by name.
      photo: file name of the photo.
      truth: uint8 [h, w, 3], what a restorer should return.
      image: uint8 [H, W, 3], the reduced photo, black where missing.
      mask: bool [H, W], True = missing.
      scale: side of the truth / side of the input, as asked for.
      bin: name of the hole-ratio bin, such as "10-20" (percent).
      mask_name: name of the mask within its bin.
    """

    index: int
    photo: str
    truth: np.ndarray
    image: np.ndarray
    mask: np.ndarray
    scale: float
    bin: str
    mask_name: str


@dataclass(frozen=True)
class TestMask:
    """A mask that is read or drawn only when `load()` is called: bool [H, W]."""

    __test__ = False  # the name does not make it a pytest class

    name: str
    load: Callable[[], np.ndarray]


@dataclass(frozen=True)
class Cases:
    """The cases of some photos at one scale; made while iterating, in fixed order.

    Attributes:
      photos: files, sorted by name.
      bins: bin name -> its masks sorted by name; bins in order.
      scale: see `Case`.
      reduce: the truth is the photo reduced by this factor first.
    """

    photos: list[Path]
    bins: dict[str, list[TestMask]]
    scale: float
    reduce: float = 1.0

    def __len__(self) -> int:
        return len(self.photos) * len(self.bins)

    def __iter__(self) -> Iterator[Case]:
        for index, path in enumerate(self.photos):
            truth = _read_truth(path, self.reduce)
            size = input_size(truth.shape[:2], self.scale, path.name)
            reduced = resize.bicubic(truth, size)
            for name, masks in self.bins.items():
                chosen = masks[index % len(masks)]
                mask = resize.nearest(chosen.load(), size)
                yield Case(
                    index=index,
                    photo=path.name,
                    truth=truth,
                    image=np.where(mask[..., None], np.uint8(0), reduced),
                    mask=mask,
                    scale=self.scale,
                    bin=name,
                    mask_name=chosen.name,
                )


def cases(
    photos_folder: str | Path,
    masks_where: str | Path,
    scale: float,
    limit: int | None = None,
    reduce: float = 1.0,
) -> Cases:
    """Lays out the protocol's cases; photos and masks are read while iterating.

    Args:
      photos_folder: a folder of photos of any size, or "bundled".
      masks_where: see `open_test_masks`.
      scale: at least 1, need not be whole.
      limit: take only this many photos, the first by name.
      reduce: reduce the photos by this factor first; what is left is the truth.

    Raises:
      InputError: at once for a bad scale, limit, folder or first photo; while
        iterating for a file that cannot be read, or is too small for the scale
        or for SSIM.
    """
    scale, reduce = check_scale(scale), check_scale(reduce)
    if limit is not None and limit < 1:
        raise InputError(f"limit {limit}: give at least 1 photo, or no limit")
    folder = bundled.PHOTOS if str(photos_folder) == "bundled" else photos_folder
    photos = photo.list_photos(folder)[:limit]
    # Usually all photos are of one size: a hopeless scale is told before any work.
    input_size(_read_truth(photos[0], reduce).shape[:2], scale, photos[0].name)
    return Cases(photos, open_test_masks(masks_where), scale, reduce)


def check_scale(scale: float) -> float:
    """Returns the scale as a float; InputError unless it is finite and at least 1."""
    if not (math.isfinite(scale) and scale >= 1):
        raise InputError(f"scale {scale:g}: give a finite number of at least 1")
    return float(scale)


def input_size(
    target: tuple[int, int], scale: float, name: str = "photo"
) -> tuple[int, int]:
    """Size (H, W) of the input for a target (h, w): round(side / scale) per axis.

    Raises:
      InputError: if less than one pixel would be left; `name` says of what.
    """
    height, width = (round(side / scale) for side in target)
    if min(height, width) < 1:
        raise InputError(
            f"{name}: scale {scale:g} leaves less than 1 pixel of "
            f"{target[1]} x {target[0]}; give a scale of at most {min(target):g}"
        )
    return height, width


def open_test_masks(where: str | Path) -> dict[str, list[TestMask]]:
    """Finds the test masks: bin name -> masks, both sorted by name.

    Args:
      where: one of
        a folder with one sub-folder per bin, named after the bin;
        a folder of mask files, each counted to a bin by its hole ratio at full
        size (one outside all bins to the nearest, so an empty mask is in "01-10");
        "generated": strokes drawn from a fixed seed, 50 per bin;
        "bundled": the six masks that come with the package;
        "none": one bin, "none", of one empty mask: nothing is missing.

    Raises:
      InputError: if the folder, or one of its sub-folders, has no readable mask.
    """
    if str(where) == "generated":
        return _generated_masks()
    if str(where) == "none":
        return {"none": [TestMask("none", lambda: np.zeros((1, 1), bool))]}
    folder = bundled.MASKS if str(where) == "bundled" else Path(where)
    if not folder.is_dir():
        raise InputError(
            f"{folder}: no such folder of masks; give a folder or 'generated'"
        )
    folders = (p for p in folder.iterdir() if p.is_dir() and p.name[0] not in "._")
    bins = {p.name: photo.list_photos(p) for p in sorted(folders)}
    if not bins:
        for path in photo.list_photos(folder):
            name = nearest_bin(float(photo.read_mask(path).mean()))
            bins.setdefault(name, []).append(path)
    return {name: [_file_mask(p) for p in bins[name]] for name in sorted(bins)}


def nearest_bin(ratio: float) -> str:
    """Name of the bin that a hole ratio in [0, 1] falls in, or else is nearest to.

    A ratio on the border of two bins belongs to the upper one.
    """

    def distance(limits: tuple[float, float]) -> float:
        return max(limits[0] - ratio, ratio - limits[1], 0)

    return strokes.bin_name(min(reversed(strokes.RATIO_BINS), key=distance))


def _read_truth(path: Path, reduce: float) -> np.ndarray:
    truth = photo.read_photo(path)
    if reduce != 1:
        truth = resize.bicubic(truth, input_size(truth.shape[:2], reduce, path.name))
    height, width = truth.shape[:2]
    if min(height, width) < SSIM_WINDOW:
        raise InputError(
            f"{path}: {width} x {height} pixels; SSIM needs at least {SSIM_WINDOW} x "
            f"{SSIM_WINDOW}, remove the photo"
        )
    return truth


def _file_mask(path: Path) -> TestMask:
    return TestMask(path.name, lambda: photo.read_mask(path))


def _generated_masks() -> dict[str, list[TestMask]]:
    return {
        strokes.bin_name(limits): [
            TestMask(f"generated-{i:02d}", _drawing(limits, (GENERATED_SEED, b, i)))
            for i in range(GENERATED_PER_BIN)
        ]
        for b, limits in enumerate(strokes.RATIO_BINS)
    }


def _drawing(limits: tuple[float, float], seed: tuple[int, ...]) -> Callable:
    def draw() -> np.ndarray:
        rng = np.random.default_rng(seed)
        return strokes.draw_strokes(rng, GENERATED_SIZE, limits)

    return draw
