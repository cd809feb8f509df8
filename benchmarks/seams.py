"""Tiles against the whole, for `large.py`: do they differ, can it be seen?"""

import argparse
import math
import time
from pathlib import Path
from unittest import mock

import numpy as np
from large_photos import Case, Failed, inputs, weights_of

from dear_jax import load
from dear_jax.images.photo import write_photo
from dear_jax.inference.plan import Plan, geometry_of
from dear_jax.inference.restorer import Restorer
from dear_jax.inference.tiles import Tiling, side_in

COMPARED = (
    "tiles",
    "tiles, s",
    "whole, s",
    "grey levels",
    "values off",
    "floats",
    "no halo",
)
SEAMS = """\
In tiles against whole, in one process, {missing:.0%} of the photo missing: the largest
difference in grey levels of 8 bits, the share of values that differ at all in them, and
the largest difference of floats in [0, 1], and for comparison that of tiles read
without the halo. Seconds are of the first call, compilation included."""


def measure_seams(
    case: Case, folder: Path, flags: argparse.Namespace
) -> tuple[list[str], str]:
    """Cells of `COMPARED`, and the plan in tiles; writes the picture.

    Raises:
      Failed: if the photo is too small for tiles.
    """
    restorer = load(weights_of(case.model, folder))
    photo, mask = inputs(case.side, flags.photo)
    sizes = mask.shape, (case.target, case.target)
    whole = restorer.plan(*sizes, math.inf, flags.attention)
    tiled = in_tiles(restorer, whole, flags.tiles)
    floats = photo.astype(np.float32) / 255
    (one, tiled_s), (other, whole_s) = (
        timed(restorer, photo, mask, plan) for plan in (tiled, whole)
    )
    off = abs(one.astype(int) - other)
    without = in_tiles(restorer, whole, flags.tiles, halo=0)
    # Tiles without a halo are not for this model, which is the point of them.
    with mock.patch.object(type(restorer), "_fits", return_value=True):
        other, floats, cut = (
            timed(restorer, floats, mask, plan)[0] for plan in (tiled, whole, without)
        )
    difference = abs(other - floats)
    name = f"{case.model}-{case.side}-{case.target}.png"
    write_photo(flags.seams / name, seams_picture(one, difference, tiled))
    cells = [
        f"{tiled.tiling.rows.parts} x {tiled.tiling.columns.parts}",
        f"{tiled_s:.1f}",
        f"{whole_s:.1f}",
        str(off.max()),
        f"{(off > 0).mean():.1e}",
        f"{difference.max():.1e}",
        f"{abs(cut - floats).max():.1e}",
    ]
    return cells, tiled.lines()[1]


def in_tiles(
    restorer: Restorer, whole: Plan, parts: int, halo: int | None = None
) -> Plan:
    """The plan with its photo divided in so many rows and as many columns.

    Args:
      restorer: that made the plan.
      whole: the plan.
      parts: rows, and columns.
      halo: None for the network's.

    Raises:
      Failed: if no tile would be smaller than the photo.
    """
    if whole.tiling is None:
        raise Failed("takes photos whole")
    geometry = geometry_of(restorer.model)
    halo = geometry.halo if halo is None else halo
    tiling = Tiling(
        *(side_in(side.size, parts, halo, geometry.stride) for side in whole.tiling[:2])
    )
    if tiling.read >= math.prod(side.size for side in tiling[:2]):
        raise Failed(f"is smaller than {parts} x {parts} tiles and their halo")
    return whole._replace(tiling=tiling)


def timed(
    restorer: Restorer, photo: np.ndarray, mask: np.ndarray, plan: Plan
) -> tuple[np.ndarray, float]:
    """A result, and the seconds that it took."""
    start = time.perf_counter()
    result = restorer(photo, mask, size=plan.target, plan=plan)
    return result, time.perf_counter() - start


def seams_picture(result: np.ndarray, difference: np.ndarray, plan: Plan) -> np.ndarray:
    """Result and difference side by side, uint8 [h, 2 w, 3].

    Args:
      result: uint8 [h, w, 3], in tiles.
      difference: [h, w, 3], at least 0; its largest value becomes white.
      plan: by which there are tiles.
    """
    most = difference.max() or 1.0
    shown = np.round(255 * difference / most).astype(np.uint8)
    for axis, side in enumerate((plan.tiling.rows, plan.tiling.columns)):
        scale = plan.target[axis] / plan.source[axis]
        for _, keep in side.places():
            border = round(keep * scale)
            if 0 < border < plan.target[axis]:
                np.moveaxis(shown, axis, 0)[border] = (255, 0, 0)
    return np.concatenate([result, shown], axis=1)
