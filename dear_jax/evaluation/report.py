"""Results as a table and a picture sheet for people, and as JSON for programs.

Files are written beside their target and renamed, so that a reader, or an
interrupted run, never meets half a result.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np

from dear_jax import sheet
from dear_jax.errors import InputError
from dear_jax.evaluation import protocol
from dear_jax.evaluation.evaluate import Score
from dear_jax.evaluation.protocol import Case
from dear_jax.files import replacing

POOLED = "pooled"
# Pictures in a row of a sheet.
WIDEST = 8
# What the name of a system ends with whose weights are random.
UNTRAINED = " (untrained)"
METRICS = {
    "psnr": ("PSNR, dB (higher is better)", ".2f"),
    "ssim": ("SSIM (higher is better)", ".4f"),
    "l1": ("L1 (lower is better)", ".4f"),
}


def format_table(
    scores: Sequence[Score],
    about: Mapping[str, str] | None = None,
    baseline: str = "classical",
    notes: Mapping[float, Mapping[str, str]] | None = None,
) -> str:
    """Lays out mean scores: one block per scale, a row per system, a column per bin.

    Below each system stands its difference to the baseline system, if that was
    scored too. At scale 1 a second block has the known pixels pasted back.

    Args:
      scores: of any systems and scales.
      about: facts for the head, such as {"photos": "bundled (8)"}.
      baseline: name of the system to compare with.
      notes: scale -> system -> what to say of it below the block; a system without
        scores gets a row of dashes.

    Returns:
      Lines of text, at most 88 wide for the usual six bins and short names; the
      first begins with the protocol's name.
    """
    lines = [protocol.SUMMARY]
    lines += [f"{key}: {value}" for key, value in (about or {}).items()]
    for scale in sorted({score.scale for score in scores}):
        chosen = [score for score in scores if score.scale == scale]
        said = (notes or {}).get(scale, {})
        lines += _block(f"x{scale:g}", chosen, baseline, said)
        if all(score.psnr_pasted is not None for score in chosen):
            title = f"x{scale:g}, known pixels pasted back"
            pasted = [_pasted(score) for score in chosen]
            lines += _block(title, pasted, baseline, said)
    return "\n".join(lines) + "\n"


def means(scores: Sequence[Score], metric: str) -> dict[str, dict[str, float]]:
    """Plain means of one metric: system -> {bin: mean ..., "pooled": mean}.

    Args:
      scores: of one scale.
      metric: name of a field of `Score`, such as "psnr".
    """
    groups: dict[str, dict[str, list[float]]] = {}
    for score in scores:
        value = getattr(score, metric)
        system = groups.setdefault(score.system, {})
        for column in (score.bin, POOLED):
            system.setdefault(column, []).append(value)
    columns = sorted({score.bin for score in scores}) + [POOLED]
    return {
        system: {c: math.fsum(v[c]) / len(v[c]) for c in columns if c in v}
        for system, v in groups.items()
    }


def write_json(
    path: str | Path, scores: Sequence[Score], about: Mapping[str, str] | None = None
) -> None:
    """Writes scores with one row per image; a file of that name is replaced whole.

    The file also says the protocol, `about`, and the means of each scale. Infinite
    numbers are written as the text "inf", which JSON has no number for.
    """
    result = {
        "protocol": protocol.NAME,
        "about": dict(about or {}),
        "means": {
            f"{scale:g}": _all_means([s for s in scores if s.scale == scale])
            for scale in sorted({score.scale for score in scores})
        },
        "rows": [asdict(score) for score in scores],
    }
    text = json.dumps(_finite(result), indent=1, allow_nan=False)
    write_text(path, text + "\n")


def read_json(path: str | Path) -> list[Score]:
    """Reads back the scores that `write_json` wrote.

    Raises:
      InputError: if the file is missing or is not such a file.
    """
    try:
        rows = json.loads(Path(path).read_text(encoding="utf-8"))["rows"]
        return [_row_to_score(row) for row in rows]
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run run_eval.py first") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: not a result of run_eval.py ({error}); run it again"
        ) from None


class Showcase:
    """Gathers a few restorations for a picture sheet: input, each system, truth.

    Each of the first photos is shown once, with the bins in turn, so that the
    sheet shows all degrees of damage.

    Args:
      bins: names of the bins, in order.
      systems: names of the systems, in the order `add` will be called.
      rows: how many photos to show.
    """

    def __init__(self, bins: Iterable[str], systems: Iterable[str], rows: int = 8):
        self._bins, self._systems, self._rows = list(bins), list(systems), rows
        self._shown: dict[int, tuple[Case, list[np.ndarray]]] = {}

    def add(self, case: Case, output: np.ndarray) -> None:
        """Keeps a system's uint8 [h, w, 3] for a case, if the case is to be shown."""
        turn = self._bins[case.index % len(self._bins)]
        if case.index < self._rows and case.bin == turn:
            self._shown.setdefault(case.index, (case, []))[1].append(output)

    def draw(self) -> np.ndarray:
        """Returns the sheet, uint8 [H, W, 3]."""
        shown = list(self._shown.values())
        rows = [
            [sheet.show_mask(case.image, case.mask), *outputs, case.truth]
            for case, outputs in shown
        ]
        captions = [f"{Path(case.photo).stem}\n{case.bin} %" for case, _ in shown]
        scale = f"{shown[0][0].scale:g}"
        titles = [f"input, x{scale}", *self._systems, "truth"]
        if len(titles) <= WIDEST:
            return sheet.contact_sheet(rows, titles, captions)
        # Many systems stand below each other, small.
        flipped = list(zip(*rows, strict=True))
        return sheet.contact_sheet(flipped, captions, titles, cell=160)


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file (UTF-8); a file of that name is replaced whole."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def _block(
    title: str, scores: Sequence[Score], baseline: str, notes: Mapping[str, str]
) -> list[str]:
    systems = list(dict.fromkeys(score.system for score in scores))
    missing = [system for system in notes if system not in systems]
    columns = sorted({score.bin for score in scores}) + [POOLED]
    width = max(map(len, [*systems, *missing, "  vs " + baseline]))
    images = len(scores) // len(systems)
    lines = ["", f"{title}: {images} results per system; columns are hole ratios in %"]
    for metric, (heading, form) in METRICS.items():
        rows = means(scores, metric)
        lines += ["", heading, _line("", columns, width)]
        for system, row in rows.items():
            lines.append(_line(system, [format(row[c], form) for c in columns], width))
            compared = system != baseline and not system.endswith(UNTRAINED)
            if baseline in rows and compared:
                gains = [_difference(row[c], rows[baseline][c], form) for c in columns]
                lines.append(_line(f"  vs {baseline}", gains, width))
        dashes = ["-"] * len(columns)
        lines += [_line(system, dashes, width) for system in missing]
    lines += [""] * bool(notes) + [f"{name}: {what}" for name, what in notes.items()]
    if any(system.endswith(UNTRAINED) for system in systems):
        lines += ["", f"{UNTRAINED.strip()}: random weights; it runs, it is no result"]
    return lines


def _all_means(scores: Sequence[Score]) -> dict:
    """Means of every metric that all scores have, the pasted ones at scale 1."""
    names = [f"{metric}{kind}" for kind in ("", "_pasted") for metric in METRICS]
    return {
        name: means(scores, name)
        for name in names
        if all(getattr(score, name) is not None for score in scores)
    }


def _line(head: str, cells: Sequence[str], width: int) -> str:
    *bins, pooled = cells
    body = "".join(f"{cell:>9}" for cell in bins)
    return f"{head:<{width}}{body}  |{pooled:>9}"


def _difference(value: float, base: float, form: str) -> str:
    difference = value - base
    return "-" if math.isnan(difference) else format(difference, "+" + form)


def _pasted(score: Score) -> Score:
    return replace(
        score, psnr=score.psnr_pasted, ssim=score.ssim_pasted, l1=score.l1_pasted
    )


def _finite(value):
    """Replaces numbers that JSON cannot hold by their text, at any depth."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    return value


def _row_to_score(row: dict) -> Score:
    texts = {"system", "photo", "mask", "bin"}
    numbers = {k: float(v) for k, v in row.items() if k not in texts and v is not None}
    return Score(**{**row, **numbers})
