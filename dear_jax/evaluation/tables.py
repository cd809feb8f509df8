"""The paper's six tables as printed, what fills them here, and our numbers in them.

The printed numbers are in assets/paper/tables.toml. A setup says which photos stand
for the paper's sets and which systems fill its rows; it is a small TOML file, such as
results/bundled.toml:

    [data.CelebAHQ]            # one of the paper's sets
    photos = "data/celebahq256/test"
    masks = "data/irregular_masks/test"
    of_the_paper = true        # all photos are the paper's: its numbers compare

    [systems]                  # row -> name, weights file or workdir; other rows
    DEAR = "runs/celebahq"     # find their weights in the folder of weights

    [extra]                    # further rows, ours only
    classical = "classical"

A section [tableN.data.SET], [tableN.systems] or [tableN.extra] is for one table and
goes before the general one.
"""

import functools
import itertools
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from dear_jax.errors import InputError
from dear_jax.evaluation.scores import PASTED, Score
from dear_jax.evaluation.stats import (
    Difference,
    Estimate,
    Results,
    compare,
    difference,
    estimate,
    gather,
)

TABLES = Path(__file__).parents[1] / "assets" / "paper" / "tables.toml"
# What stands where the paper prints no number.
DASH = "-"
REFERENCE = "DEAR"
# Label of a row, dataset, scale, metric.
Place = tuple[str, str, float, str]
# What a value has to be, in words of TOML.
_KINDS = {dict: "a section", str: 'a text in "..."', bool: "true or false"}


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
      printed: place -> the number as printed or "-"; every combination is there.
      remarks: what a reader of the numbers should know.
    """

    number: int
    title: str
    masked: bool
    datasets: tuple[str, ...]
    scales: tuple[float, ...]
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    printed: dict[Place, str]
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


@dataclass(frozen=True)
class PhotoSet:
    """Photos and masks that stand for one of the paper's sets.

    Attributes:
      photos, masks: as run_eval.py's --data and --masks.
      of_the_paper: whether they are the paper's own, all of them.
    """

    photos: str
    masks: str = "bundled"
    of_the_paper: bool = False


@dataclass(frozen=True)
class Setup:
    """What fills one table.

    Attributes:
      data: the paper's set -> our photos.
      systems: label of a row -> system.
      extra: label of a further row -> system.
    """

    data: dict[str, PhotoSet]
    systems: dict[str, str]
    extra: dict[str, str]


def read_setup(path: str | Path, table: int) -> Setup:
    """Reads what a setup says of one table.

    Raises:
      InputError: if the file is missing, says what no table has or values of the wrong
        kind, or calls a further row as the paper calls one of its own.
    """
    path = Path(path).expanduser()
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: no such setup of tables; see results/") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: not a setup of tables ({error})") from None
    sections = _schema()
    known = sections | {f"table{number}": sections for number in paper_tables()}
    _check(path, "", content, known)
    # The general ones first: those of one table go before them.
    merged = {
        key: content.get(key, {}) | content.get(f"table{table}", {}).get(key, {})
        for key in sections
    }
    data = {name: PhotoSet(**values) for name, values in merged["data"].items()}
    return Setup(data, merged["systems"], merged["extra"])


def _schema() -> dict[str, Any]:
    """Section -> its keys -> the kinds of their values; further rows may have any."""
    tables = paper_tables().values()
    photos = {field.name: field.type for field in fields(PhotoSet)}
    return {
        "data": dict.fromkeys(sorted({x for t in tables for x in t.datasets}), photos),
        "systems": dict.fromkeys(
            sorted({r.label for t in tables for r in t.rows}), str
        ),
        "extra": None,
    }


def _check(path: Path, where: str, value: Any, known: Any) -> None:
    """Raises InputError unless a value is of a kind, or a section of known keys."""
    kind = known if isinstance(known, type) else dict
    if not isinstance(value, kind):
        raise InputError(f"{path}: {where} = {value!r}: give {_KINDS[kind]}")
    if known is None:
        _check_extra(path, where, value)
    elif isinstance(known, Mapping):
        for key, item in value.items():
            at = f"{where}.{key}" if where else key
            if key not in known:
                raise InputError(
                    f"{path}: {at} is unknown; choose from {', '.join(known)}"
                )
            _check(path, at, item, known[key])
        if "photos" in known and "photos" not in value:
            raise InputError(f"{path}: {where} names no photos")


def _check_extra(path: Path, where: str, values: dict[str, Any]) -> None:
    """Raises InputError unless further rows are systems and no rows of the paper."""
    for label, system in values.items():
        _check(path, f"{where}.{label}", system, str)
        if label in _schema()["systems"]:
            raise InputError(
                f"{path}: {where}.{label} is a row of the paper's; call it otherwise, "
                "or put what fills the paper's row under systems"
            )


@dataclass(frozen=True)
class Filled:
    """A table of the paper with our numbers.

    Attributes:
      table: the paper's.
      cells: place -> ours; only what was measured. At scale 1 also metrics like
        "psnr_pasted".
      extra_rows: rows of ours that the paper does not have.
      gains: place of another row -> the reference row's result minus that row's, on
        the images of both.
      notes: label -> remark, or why there is no number; several are several lines.
      about: lines for the head: protocol, which photos stand for which set.
      paper_photos: the datasets whose photos are the paper's own, so that its
        numbers and ours compare.
      reference: label of the row that the others are compared with.
    """

    table: Table
    cells: dict[Place, Estimate]
    extra_rows: tuple[Row, ...]
    gains: dict[Place, Difference]
    notes: dict[str, str]
    about: tuple[str, ...]
    paper_photos: tuple[str, ...] = ()
    reference: str = REFERENCE

    @property
    def rows(self) -> tuple[Row, ...]:
        """The paper's rows, then the extra ones."""
        return self.table.rows + self.extra_rows


def fill_table(
    table: Table,
    scores: Mapping[tuple[str, str, float], Sequence[Score]],
    notes: Mapping[str, str] | None = None,
    about: Sequence[str] = (),
    extra_rows: Sequence[Row] = (),
    paper_photos: Sequence[str] = (),
) -> Filled:
    """Puts our numbers into a table of the paper.

    Every row is compared with DEAR's, or with the paper's last row where it has none.

    Args:
      table: the paper's.
      scores: (label, dataset, scale) -> one score per image; what was not measured
        is absent.
      notes, about, extra_rows, paper_photos: see `Filled`.

    Raises:
      ValueError: if scores belong to no cell of the table, or an image of a cell
        was scored twice.
    """
    labels = [row.label for row in (*table.rows, *extra_rows)]
    reference = REFERENCE if REFERENCE in labels else table.rows[-1].label
    results = _results(table, scores, labels)
    gains = {
        (label, dataset, scale): difference(results[reference, dataset, scale], others)
        for (label, dataset, scale), others in results.items()
        if label != reference and (reference, dataset, scale) in results
    }
    return Filled(
        table=table,
        cells={(*at, metric): e for (at, metric), e in estimate(results).items()},
        extra_rows=tuple(extra_rows),
        gains={(*at, metric): d for (at, metric), d in compare(gains).items()},
        notes=dict(notes or {}),
        about=tuple(about),
        paper_photos=tuple(paper_photos),
        reference=reference,
    )


def measures(table: Table, scale: float) -> tuple[str, ...]:
    """The metrics of a table at one scale, the pasted ones at scale 1 included."""
    pasted = tuple(metric + PASTED for metric in table.metrics)
    return table.metrics + (pasted if scale == 1 else ())


def _results(
    table: Table,
    scores: Mapping[tuple[str, str, float], Sequence[Score]],
    labels: Sequence[str],
) -> dict[tuple[str, str, float], Results]:
    """(label, dataset, scale) -> what was measured there, in the table's order."""
    where = itertools.product(table.datasets, table.scales, labels)
    places = [(label, dataset, scale) for dataset, scale, label in where]
    doubtful = set(scores) - set(places)
    doubtful |= {label for label in labels if labels.count(label) > 1}
    if doubtful:
        raise ValueError(f"table {table.number} has no one place for {doubtful}")
    found = {}
    for place in places:
        try:
            results = gather(scores.get(place, ()), measures(table, place[2]))
        except ValueError as error:
            raise ValueError(f"table {table.number}, {place}: {error}") from None
        if results.images:
            found[place] = results
    return found
