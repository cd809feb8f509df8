"""The paper's six tables, as printed; the numbers are in assets/paper/tables.toml."""

import functools
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TABLES = Path(__file__).parents[1] / "assets" / "paper" / "tables.toml"
# What stands where the paper prints no number.
DASH = "-"


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
      label: as printed, such as "MISF→BI".
      system: the system of this project that stands in it, such as "misf+bilinear".
    """

    label: str
    system: str


@dataclass(frozen=True)
class Table:
    """One table of the paper.

    Attributes:
      number: the paper's.
      title: what it measures, in our words.
      masked: whether pixels of the inputs are missing.
      datasets: names of the photo sets.
      scales: side of the truth / side of the input; 1 = nothing is enlarged.
      metrics: names of fields of `Score`.
      rows: in the paper's order, labels unique.
      printed: (label, dataset, scale, metric) -> the number as printed or "-"; every
        combination is there.
      remarks: what a reader of the numbers should know.
    """

    number: int
    title: str
    masked: bool
    datasets: tuple[str, ...]
    scales: tuple[float, ...]
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    printed: dict[tuple[str, str, float, str], str]
    remarks: tuple[str, ...] = ()


@functools.cache
def paper_tables() -> dict[int, Table]:
    """Reads the tables: number -> table, in the paper's order."""
    contents = tomllib.loads(TABLES.read_text(encoding="utf-8"))
    tables = [_table(entry, contents["systems"]) for entry in contents["table"]]
    return {table.number: table for table in tables}


def _table(entry: dict[str, Any], systems: dict[str, str]) -> Table:
    datasets, metrics = tuple(entry["datasets"]), tuple(entry["metrics"])
    scales = tuple(map(float, entry["scales"]))
    columns = [(scale, metric) for scale in scales for metric in metrics]
    printed = {
        (label, dataset, *column): number
        for label, texts in entry["rows"].items()
        for dataset, text in zip(datasets, texts, strict=True)
        for column, number in zip(columns, text.split(), strict=True)
    }
    return Table(
        number=entry["number"],
        title=entry["title"],
        masked=entry["masked"],
        datasets=datasets,
        scales=scales,
        metrics=metrics,
        rows=tuple(Row(label, systems[label]) for label in entry["rows"]),
        printed=printed,
        remarks=tuple(entry.get("remarks", ())),
    )
