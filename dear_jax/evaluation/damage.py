"""How well detectors find damage: protocol damage, `run_eval.py --protocol damage`.

Beside them a classical one, top_hat.py. What is counted is in damage_scores.py.
"""

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Bool
from tqdm import tqdm

from dear_jax import files
from dear_jax.evaluation import sheets
from dear_jax.evaluation.damage_scores import (
    CONTRASTS,
    Counts,
    Summary,
    count,
    summarise,
)
from dear_jax.evaluation.protocol_damage import Pair, Pairs, open_pairs
from dear_jax.evaluation.top_hat import TopHat
from dear_jax.files import printable
from dear_jax.images.io import write_photo
from dear_jax.inference.damage import BUNDLED, open_detector

SUMMARY = (
    "protocol damage: photos at their own size; a pixel found is right within 2 pixels "
    "of damage, damage is found within 2 pixels of one that is; F1, precision and "
    "recall of the pixels of all photos together, +- half of a 95 % interval "
    "(bootstrap over photos); length: of thin damage, at least 4 times as long as "
    "wide, the part of its centre lines that is found; wrong: pixels found more than 2 "
    "from damage, of all pixels; by contrast: F1 of thin damage, with the precision of "
    "all that is found, by the mean change of the pixels that a piece changed"
)
_SHOWN = 8


class Detector(Protocol):
    """What is measured."""

    def find(self, image: Any, /) -> Bool[np.ndarray, "H W"]:
        """The mask of a photo's damage."""
        ...


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
