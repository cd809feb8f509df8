"""How well detectors find damage: protocol damage, `run_eval.py --protocol damage`.

A pixel that is found is right within two pixels of damage, and damage is found within
two pixels of what is; F1, precision and recall are of the pixels of all photos
together. Of thin damage, at least four times as long as wide, the length that is found
counts too, by its contrast where that is known.
"""

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float32, Float64, Int
from scipy import ndimage
from tqdm import tqdm

from dear_jax import files
from dear_jax.evaluation import sheets
from dear_jax.evaluation.protocol_damage import Pair, Pairs, open_pairs
from dear_jax.evaluation.top_hat import TopHat
from dear_jax.files import printable
from dear_jax.images.io import write_photo
from dear_jax.images.masks import dilated
from dear_jax.inference.damage import BUNDLED, open_detector

TOLERANCE = 2
# Ends of the ranges of contrast, and how often a line is as long as wide.
CONTRASTS = (0.0, 0.05, 0.1, 0.15, 0.3, 1.01)
_THIN = 4
_LEAST_LENGTH = 8
SUMMARY = (
    "protocol damage: photos at their own size; a pixel found is right within 2 pixels "
    "of damage, damage is found within 2 pixels of one that is; F1, precision and "
    "recall of the pixels of all photos together, +- half of a 95 % interval "
    "(bootstrap over photos); length: of thin damage, at least 4 times as long as "
    "wide, the part of its centre lines that is found; wrong: pixels found more than 2 "
    "from damage, of all pixels; by contrast: F1 of thin damage, with the precision of "
    "all that is found"
)
_SHOWN = 8


class Detector(Protocol):
    """What is measured."""

    def find(self, image: Any, /) -> Bool[np.ndarray, "H W"]:
        """The mask of a photo's damage."""
        ...


class Counts(NamedTuple):
    """Numbers of pixels of one photo.

    Attributes:
      pixels: all.
      found, right: marked, and of them those near damage.
      damaged, met: damaged, and of them those near what is marked.
      length, length_met: of centre lines of thin damage, in each range of contrast, and
        of them those near what is marked; the last is of unknown contrast.
      lines: thin pieces of damage in each range of contrast.
    """

    pixels: int
    found: int
    right: int
    damaged: int
    met: int
    length: Int[np.ndarray, " ranges"]
    length_met: Int[np.ndarray, " ranges"]
    lines: Int[np.ndarray, " ranges"]


def count(pair: Pair, found: Bool[np.ndarray, "H W"]) -> Counts:
    """Compares what was found in a photo with its damage."""
    near_damage, near_found = (dilated(mask, TOLERANCE) for mask in (pair.mask, found))
    ranges = len(CONTRASTS)
    length, met, lines = (np.zeros(ranges, int) for _ in range(3))
    for centre, contrast in thin_pieces(pair.mask, pair.contrast):
        at = ranges - 1
        if contrast is not None:
            at = int(np.searchsorted(CONTRASTS, contrast, "right")) - 1
        lines[at] += 1
        length[at] += len(centre)
        met[at] += near_found[tuple(centre.T)].sum()
    return Counts(
        found.size,
        int(found.sum()),
        int((found & near_damage).sum()),
        int(pair.mask.sum()),
        int((pair.mask & near_found).sum()),
        length,
        met,
        lines,
    )


def thin_pieces(
    mask: Bool[np.ndarray, "H W"], contrast: Float32[np.ndarray, "H W"] | None = None
) -> list[tuple[Int[np.ndarray, "N 2"], float | None]]:
    """The pieces of damage that are at least four times as long as wide.

    Returns:
      The places (y, x) of each one's centre line, and the mean contrast along it: of
      the strongest of the neighbours of each place; None if it is not known.
    """
    import cv2

    # The border of the photo is none of the damage.
    padded = np.pad(mask, 1).astype(np.uint8)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    depth = depth[1:-1, 1:-1]
    centre = mask & (depth >= ndimage.maximum_filter(depth, 3))
    strongest = None if contrast is None else ndimage.maximum_filter(contrast, 3)
    labels: Any = ndimage.label(mask, np.ones((3, 3)))[0]  # type: ignore
    pieces = []
    windows: Any = ndimage.find_objects(labels)
    for number, window in enumerate(windows, 1):
        piece = labels[window] == number
        places = np.argwhere(piece & centre[window])
        length = len(places)
        if length < _LEAST_LENGTH or length**2 < _THIN * piece.sum():
            continue
        places += [side.start for side in window]
        known = None if strongest is None else float(strongest[tuple(places.T)].mean())
        pieces.append((places, known))
    return pieces


class Summary(NamedTuple):
    """What all photos together say of a detector; NaN where there is nothing.

    Attributes:
      f1, precision, recall: of pixels.
      spread: half of the 95 % interval of `f1`.
      length: share of the length of thin damage that is found.
      wrong: share of all pixels that are found and not damaged.
      by_contrast: F1 of thin damage in each range of contrast.
      lines: how many pieces each range has.
    """

    f1: float
    spread: float
    precision: float
    recall: float
    length: float
    wrong: float
    by_contrast: list[float]
    lines: list[int]


def summarise(counts: Sequence[Counts]) -> Summary:
    """Sums up the counts of photos."""
    sums = [np.array(column).astype(float) for column in zip(*counts, strict=True)]
    pixels, found, right, damaged, met, length, length_met, lines = sums
    precision, recall = _share(right, found), _share(met, damaged)
    by_contrast = [
        _f1(precision, _share(a, b))
        for a, b in zip(length_met.T, length.T, strict=True)
    ]
    return Summary(
        _f1(precision, recall),
        _spread(np.stack([right, found, met, damaged])),
        precision,
        recall,
        _share(length_met, length),
        _share(found - right, pixels),
        by_contrast,
        lines.sum(0).astype(int).tolist(),
    )


def _share(part: Float64[np.ndarray, "..."], whole: Float64[np.ndarray, "..."]) -> Any:
    total = whole.sum()
    return float(part.sum() / total) if total else float("nan")


def _f1(precision: float, recall: float) -> float:
    if not recall:  # Also where nothing is found, and precision means nothing.
        return 0.0
    return 2 * precision * recall / (precision + recall)


def _spread(columns: Float64[np.ndarray, "4 photos"]) -> float:
    """Half of the 95 % interval of F1 over photos."""
    if columns.shape[1] < 2 or not (columns[1].any() and columns[3].any()):
        return float("nan")

    def f1(*drawn, axis):
        right, found, met, damaged = (column.sum(axis) for column in drawn)
        precision, recall = right / np.maximum(found, 1), met / np.maximum(damaged, 1)
        return 2 * precision * recall / np.maximum(precision + recall, 1e-9)

    interval = scipy.stats.bootstrap(
        tuple(columns), f1, paired=True, n_resamples=2000, method="percentile", rng=0
    ).confidence_interval
    return float(interval.high - interval.low) / 2


def measure_damage(
    data: str, masks: str, models: Sequence[str], limit: int | None, out: Path
) -> str:
    """Measures detectors, and writes damage.txt, damage.json and damage.png.

    Args:
      data, masks, limit: see `open_pairs`.
      models: weights files or workdirs of detectors; none for the bundled one.
      out: folder of results.

    Returns:
      The table, and what else was written where.

    Raises:
      InputError: for what cannot be opened or read.
    """
    pairs = open_pairs(data, masks, limit)
    detectors: dict[str, Detector] = {"classical": TopHat()}
    for model in models or [BUNDLED]:
        detectors[Path(model).stem] = open_detector(model)
    counts: dict[str, list[Counts]] = {name: [] for name in detectors}
    shown = []
    for index in tqdm(range(len(pairs)), unit=" photos"):
        pair = pairs[index]
        found = {
            name: detector.find(pair.image) for name, detector in detectors.items()
        }
        for name, mask in found.items():
            counts[name].append(count(pair, mask))
        if index < _SHOWN:
            shown.append((pair, found))
    rows = {name: summarise(each) for name, each in counts.items()}
    about = f"photos: {data} ({len(pairs)}); masks: {masks}"
    table = _table(rows, about)
    files.write_text(out / "damage.txt", table)
    _write_json(out / "damage.json", pairs, counts, rows)
    write_photo(out / "damage.png", draw_found(shown))
    return printable(f"{table}\nsheet: {out / 'damage.png'}")


def _table(rows: dict[str, Summary], about: str) -> str:
    """The rows for people."""
    known = any(sum(row.lines[:-1]) for row in rows.values())
    ends = [f"{100 * end:.0f}" for end in CONTRASTS]
    ranges = [f"{a}-{b} %" for a, b in zip(ends[:-2], ends[1:-1], strict=True)]
    ranges.append(f"{ends[-2]} %-")
    heads = ["F1", "precision", "recall", "length", "wrong %"]
    lines = [*textwrap.wrap(SUMMARY, 96), about, ""]
    width = max(map(len, rows)) + 2
    lines.append(" " * width + "".join(f"{head:>15}" for head in heads))
    for name, row in rows.items():
        cells = [f"{row.f1:.3f} +- {row.spread:.3f}"]
        cells += [f"{x:.3f}" for x in (row.precision, row.recall, row.length)]
        cells += [f"{100 * row.wrong:.3f}"]
        lines.append(name.ljust(width) + "".join(f"{cell:>15}" for cell in cells))
    if known:
        lines += ["", "contrast".ljust(width) + "".join(f"{r:>12}" for r in ranges)]
        first = next(iter(rows.values()))
        numbers = "".join(f"{n:>12}" for n in first.lines[:-1])
        lines.append("lines".ljust(width) + numbers)
        for name, row in rows.items():
            cells = "".join(f"{x:>12.3f}" for x in row.by_contrast[:-1])
            lines.append(name.ljust(width) + cells)
    return "\n".join(lines).replace("nan", "-") + "\n"


def _write_json(
    path: Path,
    pairs: Pairs,
    counts: dict[str, list[Counts]],
    rows: dict[str, Summary],
) -> None:
    """The summaries, and the counts of each photo, for programs."""
    photos = {
        name: [
            {"photo": photo}
            | {k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in named}
            for photo, named in zip(
                pairs.photos.names, (c._asdict().items() for c in each), strict=True
            )
        ]
        for name, each in counts.items()
    }
    summaries = {name: row._asdict() for name, row in rows.items()}
    content = {"protocol": SUMMARY, "contrasts": CONTRASTS}
    content |= {"summaries": summaries, "photos": photos}
    files.write_text(path, json.dumps(content, indent=1).replace("NaN", "null") + "\n")


def draw_found(shown: Sequence[tuple[Pair, dict[str, np.ndarray]]]) -> sheets.Picture:
    """Photo | its damage | what each detector found, a row a photo."""
    rows = [
        [pair.image, sheets.show_mask(pair.image, pair.mask)]
        + [sheets.show_mask(pair.image, mask) for mask in found.values()]
        for pair, found in shown
    ]
    titles = ["photo", "damage", *shown[0][1]]
    return sheets.contact_sheet(rows, titles, [Path(p.name).stem for p, _ in shown])
