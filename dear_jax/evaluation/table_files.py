"""A filled table for programs, as CSV and JSON, in full precision."""

import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any

from dear_jax.evaluation import table_layout as layout
from dear_jax.evaluation.estimates import Estimate
from dear_jax.evaluation.printable import printable
from dear_jax.evaluation.scores import Score, spoken
from dear_jax.evaluation.table_filled import Filled, measures
from dear_jax.evaluation.table_paper import DASH


def to_csv(filled: Filled) -> str:
    """One line per row, dataset, scale and metric, numbers in full precision.

    Differences are the reference row's mean - this row's, on the images of both.
    What is not there is empty.
    """
    records = list(_records(filled))
    text = io.StringIO()
    writer = csv.DictWriter(text, records[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return printable(text.getvalue())


def json_lines(
    filled: Filled, scores: Mapping[tuple[str, str, float], Sequence[Score]]
) -> Iterator[str]:
    """All of the table and of every image as one JSON document, line by line.

    Numbers that JSON cannot hold are text: "inf", "-inf", "nan". Only a line is made
    at a time: there may be a million images.

    Args:
      filled: the table.
      scores: what it was filled with: (label, dataset, scale) -> scores.
    """
    table = filled.table
    head = {
        "table": table.number,
        "title": table.title,
        "about": filled.about,
        "masked": table.masked,
        "paper_photos": filled.paper_photos,
        "remarks": table.remarks,
        "notes": filled.notes,
    }
    images = (
        {"row": label, "dataset": dataset, **score.to_row()}
        for (label, dataset, _), listed in scores.items()
        for score in listed
    )
    yield "{\n"
    for key, value in head.items():
        yield f'"{key}": {_json(value)},\n'
    # A cell or an image a line: such files are read by people, too.
    yield from _listed("cells", _records(filled))
    yield ",\n"
    yield from _listed("images", images)
    yield "\n}\n"


def _listed(key: str, items: Iterable[dict[str, Any]]) -> Iterator[str]:
    yield f'"{key}": [\n'
    for number, item in enumerate(items):
        yield ",\n" * bool(number) + _json(item)
    yield "\n]"


def _records(filled: Filled) -> Iterator[dict[str, Any]]:
    """What CSV has lines of: all that is known of a row at a scale by a metric."""
    table, comparisons = filled.table, layout.by_cell(filled)
    for row in filled.rows:
        for dataset, scale in itertools.product(table.datasets, table.scales):
            for metric in measures(table, scale):
                key = (row.label, dataset, scale, metric)
                found = comparisons.get(key)
                yield {
                    "table": table.number,
                    "row": row.label,
                    "system": row.system,
                    "in_paper": row in table.rows,
                    "dataset": dataset,
                    "scale": scale,
                    "metric": metric,
                    "paper": table.printed.get(key, DASH),
                    **_estimate(filled.cells.get(key)),
                    "reference": found and found.reference,
                    "difference": found and found.difference,
                    "difference_low": found and found.low,
                    "difference_high": found and found.high,
                    "p": found and found.p,
                }


def _estimate(cell: Estimate | None) -> dict[str, Any]:
    names = [field.name for field in fields(Estimate)]
    return {name: getattr(cell, name, None) for name in names}


def _json(value: Any) -> str:
    text = json.dumps(_speakable(value), ensure_ascii=False, allow_nan=False)
    return printable(text)


def _speakable(value: Any) -> Any:
    """Replaces numbers that JSON cannot hold by their text, in a flat mapping."""
    if isinstance(value, dict):
        return {key: _speakable(item) for key, item in value.items()}
    return spoken(value)
