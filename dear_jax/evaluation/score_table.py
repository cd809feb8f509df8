"""Scores of one protocol: mean scores as a table for people, all as JSON for programs.

A table has one block per scale, a row per system and a column per bin.
"""

import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dear_jax import files
from dear_jax.evaluation.protocol import V1, Protocol
from dear_jax.evaluation.scores import (
    METRICS,
    PASTED,
    SHOWN,
    Score,
    p_value,
    precise,
    spoken,
)
from dear_jax.evaluation.stats import (
    Difference,
    Estimate,
    compare,
    difference,
    estimate,
    gather,
)
from dear_jax.files import printable

WIDTH = 96
# Width of a bin's column, but for bins of long names.
COLUMN = 9
POOLED = "pooled"
# What the name of a system ends with whose weights are random.
UNTRAINED = " (untrained)"
_EXPLAINED = (
    "± is half of a 95 % interval of the mean (bootstrap over photos), p that of a "
    "paired test on the same images (sign flips over photos)"
)


def format_table(
    scores: Sequence[Score],
    about: Mapping[str, str] | None = None,
    notes: Mapping[float, Mapping[str, str]] | None = None,
    protocol: Protocol = V1,
) -> str:
    """Lays out mean scores: one block per scale, a row per system, a column per bin.

    Below each system stands its difference to the protocol's baseline, if that was
    scored too. At scale 1 a second block has the known pixels pasted back.

    Args:
      scores: of any systems and scales.
      about: facts for the head, such as {"photos": "bundled (8)"}.
      notes: scale -> system -> what to say of it below the block; a system without
        scores gets a row of dashes.
      protocol: how the scores were made.

    Returns:
      Lines of text, at most 96 wide for the usual six bins and short names; the
      first begins with the protocol's name.
    """
    lines = textwrap.wrap(protocol.summary, WIDTH)
    lines += [f"{key}: {value}" for key, value in (about or {}).items()]
    lines += textwrap.wrap(_EXPLAINED, WIDTH)
    for scale in sorted({score.scale for score in scores}):
        chosen = [score for score in scores if score.scale == scale]
        noted = (notes or {}).get(scale, {})
        for pasted in ("", PASTED) if scale == 1 else ("",):
            lines += _block(chosen, pasted, protocol, noted)
        lines += _remarks(chosen, noted)
    return printable("\n".join(lines) + "\n")


def write_json(
    path: str | Path,
    scores: Sequence[Score],
    about: Mapping[str, str] | None = None,
    protocol: Protocol = V1,
) -> None:
    """Writes scores with one row per image; a file of that name is replaced whole.

    The file also says the protocol, `about`, and the estimates of each scale, pooled
    and by bin. Infinite numbers are written as the text "inf", for which JSON has no
    number.
    """
    scales = sorted({score.scale for score in scores})
    result = {
        "protocol": protocol.name,
        "about": dict(about or {}),
        "estimates": {
            f"{scale:g}": _as_json([s for s in scores if s.scale == scale], protocol)
            for scale in scales
        },
        "rows": [score.to_row() for score in scores],
    }
    files.write_text(path, json.dumps(result, indent=1, allow_nan=False) + "\n")


def _parts(scores: Sequence[Score]) -> dict[tuple[str, str], list[Score]]:
    """(system, bin or "pooled") -> its scores, all of one scale."""
    parts: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        for column in (score.bin, POOLED):
            parts.setdefault((score.system, column), []).append(score)
    return parts


def _block(
    scores: Sequence[Score],
    pasted: str,
    protocol: Protocol,
    notes: Mapping[str, str],
) -> list[str]:
    """All metrics at one scale; `pasted` is the suffix of the metrics' names."""
    baseline = protocol.baseline
    chosen = METRICS if pasted else protocol.metrics
    metrics = [metric + pasted for metric in chosen]
    results = {key: gather(part, metrics) for key, part in _parts(scores).items()}
    cells = estimate(results)
    gains = compare(
        {
            (system, column): difference(found, results[baseline, column])
            for (system, column), found in results.items()
            if system != baseline and not system.endswith(UNTRAINED)
            if (baseline, column) in results
        }
    )
    systems = list(dict.fromkeys(system for system, _ in results))
    missing = [system for system in notes if system not in systems]
    columns = sorted({column for _, column in results} - {POOLED}) + [POOLED]
    width = max(map(len, [*systems, *missing, "  vs " + baseline]))
    wide = max(COLUMN, *(len(column) + 2 for column in columns))
    title = f"x{scores[0].scale:g}" + ", known pixels pasted back" * bool(pasted)
    images = len(results[systems[0], POOLED].images)
    title += f": {images} results per system; columns are {protocol.columns}"
    lines = ["", title]
    for metric in metrics:
        if ((systems[0], POOLED), metric) not in cells:
            continue
        shown = SHOWN[metric.removesuffix(PASTED)]
        better = "higher" if shown.higher_is_better else "lower"
        lines += ["", f"{shown.heading} ({better} is better)"]
        lines.append(_line("", columns, width, wide))
        for system in systems:
            row = [cells.get(((system, column), metric)) for column in columns]
            lines.append(_line(system, _means(row, metric), width, wide))
            row = [gains.get(((system, column), metric)) for column in columns]
            if any(row):
                changes = _changes(row, metric)
                lines.append(_line(f"  vs {baseline}", changes, width, wide))
        dashes = ["-"] * len(columns)
        lines += [_line(system, dashes, width, wide) for system in missing]
    return lines


def _remarks(scores: Sequence[Score], notes: Mapping[str, str]) -> list[str]:
    lines = [""] * bool(notes) + [f"{name}: {what}" for name, what in notes.items()]
    if any(score.system.endswith(UNTRAINED) for score in scores):
        lines += ["", f"{UNTRAINED.strip()}: random weights; it runs, it is no result"]
    return lines


def _means(row: Sequence[Estimate | None], metric: str) -> list[str]:
    cells = [precise(e.mean, metric) if e else "-" for e in row]
    return [*cells[:-1], cells[-1] + _half(row[-1], metric)]


def _changes(row: Sequence[Difference | None], metric: str) -> list[str]:
    texts = [precise(d.mean, metric, "+") if d else "-" for d in row]
    texts = ["-" if text.strip("+-") in ("nan", "") else text for text in texts]
    pooled = row[-1]
    if pooled and not math.isnan(pooled.p):
        texts[-1] += f"{_half(pooled, metric)}  p {p_value(pooled.p)}"
    return texts


def _half(found: Estimate | Difference | None, metric: str) -> str:
    if found is None or not math.isfinite(found.high - found.low):
        return ""
    return "±" + precise((found.high - found.low) / 2, metric)


def _line(head: str, cells: Sequence[str], width: int, wide: int) -> str:
    *bins, pooled = cells
    body = "".join(f"{cell:>{wide}}" for cell in bins)
    # The pooled means stand below each other, whatever follows them.
    return f"{head:<{width}}{body}  | {pooled:<}".rstrip()


def _as_json(scores: Sequence[Score], protocol: Protocol) -> dict[str, Any]:
    """System -> bin or "pooled" -> metric -> [mean, low, high]."""
    metrics = [*protocol.metrics, *(metric + PASTED for metric in METRICS)]
    results = {key: gather(part, metrics) for key, part in _parts(scores).items()}
    found: dict[str, Any] = {}
    for ((system, column), metric), e in estimate(results).items():
        values = [spoken(value) for value in (e.mean, e.low, e.high)]
        found.setdefault(system, {}).setdefault(column, {})[metric] = values
    return found
