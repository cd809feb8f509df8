"""Photos as large as people scan them: holes of all widths, the whole photo or a crop.

    python benchmarks/real_sizes.py PHOTO_OR_FOLDER ... [--model NAME] [--out FILE.md]

In each photo holes are drawn at its size, spots and scratches from 2 to 300 pixels
wide, apart from each other; the photo is restored whole, and a second time as crops of
256 pixels, each around one hole (a hole's own size and 128 where that is more). Scale 1
restores the photo itself; x2 restores the photo reduced by 2 (bicubic), damaged at that
size. PSNR over the pixels of the holes, RGB: what the network makes of a large photo
must not be worse than what it makes of a small one, nor than the classical row.
"""

import argparse
import math
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from measuring import say
from roofline import table

from dear_jax import load
from dear_jax.data.damage_shapes import blob, line
from dear_jax.images import resize
from dear_jax.images.io import list_photos, read_photo

WIDTHS = (2, 4, 8, 16, 32, 64, 128, 200, 300)
# Wider ones are spots only.
WIDEST_SCRATCH = 32
SYSTEMS = ("whole", "crop", "telea")
CROP, AROUND = 256, 128
GROUPS = ((2, 8), (16, 64), (128, 300))


class Hole(NamedTuple):
    """Its width as drawn, and the rows and columns (start, stop) that it touches."""

    width: int
    rows: tuple[int, int]
    columns: tuple[int, int]


class Measured(NamedTuple):
    """Mean squared errors [holes, systems] in one photo, and how many pixels each."""

    name: str
    megapixels: float
    scale: int
    holes: list[Hole]
    errors: np.ndarray
    counts: np.ndarray


def main() -> None:
    flags = parse()
    restorer = load(flags.model)
    classical = load("telea"), load("telea+bicubic")
    found = []
    for number, path in enumerate(photos(flags.photos)):
        photo = read_photo(path)
        for scale in (1, 2):
            even = [n // scale * scale for n in photo.shape[:2]]
            truth = photo[: even[0], : even[1]]
            small = resize.bicubic(truth, [n // scale for n in even])
            holes, mask = draw_holes(np.random.default_rng(number), small.shape[:2])
            ours = {"whole": whole, "crop": crops}
            made = {k: f(restorer, small, mask, holes, scale) for k, f in ours.items()}
            made["telea"] = classical[scale > 1](small, mask, scale=scale)
            errors, counts = errors_of(made, truth, mask, holes, scale)
            megapixels = small.shape[0] * small.shape[1] / 1e6
            found.append(Measured(path.stem, megapixels, scale, holes, errors, counts))
            say(line_of(found[-1]))
    text = report(found)
    print(text)
    if flags.out:
        flags.out.write_text(text)


def photos(places: list[Path]) -> list[Path]:
    """The photos themselves, and those in folders."""
    listed = ((list_photos(p) if p.is_dir() else [p]) for p in places)
    return [path for paths in listed for path in paths]


def draw_holes(
    rng: np.random.Generator, size: tuple[int, int]
) -> tuple[list[Hole], np.ndarray]:
    """Holes of a photo [H, W] and their mask, bool; they do not touch."""
    mask, holes = np.zeros(size, bool), []
    for width in sorted(WIDTHS, reverse=True):
        for kind in ("spot", "scratch"):
            if 3 * width > min(size) or (kind == "scratch" and width > WIDEST_SCRATCH):
                continue
            drawn = _apart(rng, mask, width, kind)
            if drawn is None:
                continue
            mask |= drawn
            rows, columns = (
                (int(found[0]), int(found[-1]) + 1)
                for found in (np.flatnonzero(drawn.any(axis=i)) for i in (1, 0))
            )
            holes.append(Hole(width, rows, columns))
    return holes, mask


def _apart(
    rng: np.random.Generator, mask: np.ndarray, width: int, kind: str
) -> np.ndarray | None:
    """The mask of one more hole, at least 16 pixels from others; None without room."""
    extent = width if kind == "spot" else 8 * width
    near = cv2.dilate(mask.astype(np.uint8), np.ones((33, 33), np.uint8)) > 0
    for _ in range(50):
        reach = 0.6 * extent + 4
        if 2 * reach >= min(mask.shape):
            return None
        centre = np.array([rng.uniform(reach, n - reach) for n in mask.shape[::-1]])
        drawn = np.zeros(mask.shape, np.uint8)
        if kind == "spot":
            corners = np.int32(np.round(blob(rng, centre, extent, extent)))
            cv2.fillPoly(drawn, [corners], 1)
        else:
            points = line(rng, centre, extent, rng.uniform(0, math.pi), bend=0.5)
            cv2.polylines(drawn, [np.int32(np.round(points))], False, 1, width)
        drawn = drawn > 0
        if not (drawn & near).any():
            return drawn
    return None


def whole(restorer, photo, mask, holes, scale) -> np.ndarray:
    """The photo restored at once."""
    return restorer(photo, mask, scale=scale)


def crops(restorer, photo, mask, holes, scale) -> np.ndarray:
    """The photo with every hole restored in a crop around it; else as enlarged."""
    made = np.array(resize.bicubic(photo, [scale * n for n in photo.shape[:2]]))
    for hole in holes:
        part = tuple(
            _around(span, side) for span, side in zip(hole[1:], mask.shape, strict=True)
        )
        restored = restorer(photo[part], mask[part], scale=scale)
        in_crop = [
            (start - crop.start, stop - crop.start)
            for (start, stop), crop in zip(hole[1:], part, strict=True)
        ]
        made[_enlarged(hole[1:], scale)] = restored[_enlarged(in_crop, scale)]
    return made


def _around(span: tuple[int, int], side: int) -> slice:
    """Pixels of one axis: a crop around a hole that touches `span` of `side` pixels."""
    start, stop = span
    length = min(side, max(CROP, stop - start + AROUND))
    first = min(max(0, (start + stop - length) // 2), side - length)
    return slice(first, first + length)


def _enlarged(spans, scale: int) -> tuple[slice, slice]:
    """Rows and columns (start, stop) of a photo as slices of its picture."""
    return tuple(slice(scale * start, scale * stop) for start, stop in spans)


def errors_of(made, truth, mask, holes, scale) -> tuple[np.ndarray, np.ndarray]:
    """Mean squared errors [holes, systems] over [0, 1] and pixels [holes]."""
    errors, counts = [], []
    for hole in holes:
        inside = mask[slice(*hole.rows), slice(*hole.columns)]
        inside = inside.repeat(scale, axis=0).repeat(scale, axis=1)
        place = _enlarged(hole[1:], scale)
        true = truth[place].astype(np.float64) / 255
        errors.append(
            [((made[k][place] / 255 - true)[inside] ** 2).mean() for k in SYSTEMS]
        )
        counts.append(int(inside.sum()))
    return np.array(errors), np.array(counts)


def line_of(one: Measured) -> str:
    """What is said of a photo: PSNR over the pixels of all its holes."""
    values = psnr(pooled([one]))
    said = ", ".join(f"{k} {v:.2f}" for k, v in zip(SYSTEMS, values, strict=True))
    return f"{one.name} x{one.scale}: {said} dB in {len(one.holes)} holes"


def pooled(found: list[Measured]) -> np.ndarray:
    """Mean squared errors [systems] over the pixels of all holes."""
    errors = np.concatenate([one.errors for one in found])
    return np.average(errors, axis=0, weights=np.concatenate([m.counts for m in found]))


def psnr(error: np.ndarray) -> np.ndarray:
    return -10 * np.log10(error)


def report(found: list[Measured]) -> str:
    """Two tables for each scale, by photo and by width, and what was done."""
    lines = []
    for scale in (1, 2):
        of_scale = [one for one in found if one.scale == scale]
        rows = [
            [one.name, f"{one.megapixels:.1f}", *cells(psnr(pooled([one])))]
            for one in of_scale
        ]
        mean = np.mean([psnr(pooled([one])) for one in of_scale], axis=0)
        rows.append(["mean", "", *cells(mean)])
        lines += [f"Scale {scale}", "", table(HEADS, rows), ""]
        rows = []
        for low, high in GROUPS:
            errors = [
                psnr(error)
                for one in of_scale
                for hole, error in zip(one.holes, one.errors, strict=True)
                if low <= hole.width <= high
            ]
            if errors:
                name = f"{low} to {high} px"
                rows.append([name, str(len(errors)), *cells(np.mean(errors, axis=0))])
        lines += [table(("holes", "number", *HEADS[2:]), rows), ""]
    return "\n".join([*lines, NOTES, ""])


HEADS = ("photo", "megapixels", "whole, dB", "crop, dB", "Telea, dB", "whole - crop")
NOTES = """\
PSNR over the pixels of all holes of a photo, RGB; by width the mean of each hole's.
Megapixels are the input's. The classical row enlarges by bicubic after Telea's fill."""


def cells(values: np.ndarray) -> list[str]:
    return [*(f"{value:.2f}" for value in values), f"{values[0] - values[1]:+.2f}"]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = parser.add_argument
    option("photos", nargs="+", type=Path, metavar="PHOTO_OR_FOLDER")
    option("--model", default="dear-lite", help="default: %(default)s")
    option("--out", type=Path, metavar="FILE.md")
    return parser.parse_args()


if __name__ == "__main__":
    main()
