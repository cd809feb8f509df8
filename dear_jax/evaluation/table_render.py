"""A filled table as text and Markdown for people, as CSV and JSON for programs.

Equal tables give equal text.
"""

import csv
import io
import itertools
import json
import math
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from dear_jax.evaluation.scores import (
    PASTED,
    SHOWN,
    Metric,
    Score,
    as_paper,
    many,
    p_value,
    precise,
    spoken,
)
from dear_jax.evaluation.stats import Difference, Estimate
from dear_jax.evaluation.tables import DASH, Filled, measures
from dear_jax.files import printable

WIDTH = 110
# Columns side by side.
WIDEST = 4
_GAP = "   "
_CELLS = "Cells: paper | ours"
_ESTIMATES = (
    "ours are means with a 95 % interval (bootstrap over photos); "
    "- where there is no number"
)
_TEST = "95 % interval and p (sign flips over photos, each comparison by itself)"


class Cell(NamedTuple):
    """Where a row and a column meet.

    Attributes:
      paper: the paper's number as printed, or "-".
      ours: what was measured, if it was.
      best: whether our mean is the best of the column; of a single one none is.
      gain: the reference row's result minus ours, if there is one.
    """

    paper: str
    ours: Estimate | None
    best: bool
    gain: Difference | None


class Column(NamedTuple):
    """What is measured at one scale by one metric: label of a row -> cell."""

    heading: str
    metric: str
    cells: dict[str, Cell]


class Block(NamedTuple):
    """Columns that stand side by side: all metrics of a dataset at one scale, or one
    metric at all scales."""

    title: str
    columns: tuple[Column, ...]

    @property
    def labels(self) -> list[str]:
        """Those of the rows."""
        return list(self.columns[0].cells)

    @property
    def compared(self) -> list[str]:
        """Labels of rows that any column has a comparison of."""
        return [x for x in self.labels if any(c.cells[x].gain for c in self.columns)]


def to_text(filled: Filled) -> str:
    """The table for a terminal, at most about 110 columns wide."""
    lines, blocks = [_title(filled), ""], _blocks(filled)
    legend = f"{_CELLS} ± half of the interval; * best of ours; {_ESTIMATES}."
    for text in (*filled.about, legend, _warning(filled)):
        lines += _wrapped(text)
    for block in blocks:
        columns = [_text_column(column) for column in block.columns]
        lines += ["", *_wrapped(_counted(block), indent=len(block.title) + 2)]
        lines += _side_by_side(block.labels, columns, len(filled.table.rows))
    if filled.gains:
        title = f"{filled.reference} minus each row on the same images, with {_TEST}"
        lines += ["", *_wrapped(title)]
    for block in blocks:
        if labels := block.compared:
            columns = [_gain_column(column, labels) for column in block.columns]
            lines += ["", block.title, *_side_by_side(labels, columns)]
    notes = _remarks(filled)
    lines += ["", "Notes"] if notes else []
    for note in notes:
        lines += _wrapped(note)
    return printable("\n".join(line.rstrip() for line in lines) + "\n")


def to_markdown(filled: Filled) -> str:
    """The table in Markdown: the paper's number and ours in a column each."""
    lines, blocks = [f"## {_title(filled)}", ""], _blocks(filled)
    head = [*filled.about, f"Best of ours bold; {_ESTIMATES}.", _warning(filled)]
    lines += [f"- {_escaped(line)}" for line in head if line]
    for block in blocks:
        lines += ["", f"### {_escaped(_counted(block))}"]
        for columns in _batched(block.columns):
            lines += ["", *_markdown_cells(columns, len(filled.table.rows))]
    for block in blocks if filled.gains else ():
        title = f"{block.title}: {filled.reference} minus each row, same images"
        lines += ["", f"### {_escaped(title)}", "", f"With {_TEST}."]
        for columns in _batched(block.columns):
            body = [
                [label, *(_markdown_gain(c.cells[label], c.metric) for c in columns)]
                for label in block.compared
            ]
            lines += ["", *_markdown(["", *(c.heading for c in columns)], body)]
    notes = [f"- {_escaped(line)}" for line in _remarks(filled)]
    lines += ["", "### Notes", "", *notes] if notes else []
    return printable("\n".join(lines) + "\n")


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


def _title(filled: Filled) -> str:
    return f"Table {filled.table.number} of the paper: {filled.table.title}"


def _blocks(filled: Filled) -> list[Block]:
    """The blocks of a table, dataset by dataset.

    Rows are the paper's, then those extra ones that were measured on the dataset.
    """
    found, table = [], filled.table
    for dataset in table.datasets:
        measured = {label for label, where, *_ in filled.cells if where == dataset}
        rows = [r.label for r in filled.rows if r in table.rows or r.label in measured]
        groups: dict[str, list[Column]] = {}
        for scale in table.scales:
            for metric in measures(table, scale):
                shown, times = _shown(metric), f"×{scale:g}"
                name = f"{shown.heading} {'↑' if shown.higher_is_better else '↓'}"
                several = len(table.scales) > 1
                over, heading = (name, times) if several else (times, name)
                over += ", known pixels pasted back" * metric.endswith(PASTED)
                cells = _cells(filled, rows, (dataset, scale, metric))
                groups.setdefault(over, []).append(Column(heading, metric, cells))
        found += [
            Block(f"{dataset}, {over}", tuple(columns))
            for over, columns in groups.items()
        ]
    return found


def _cells(
    filled: Filled, rows: Sequence[str], where: tuple[str, float, str]
) -> dict[str, Cell]:
    """The cells of a column; `where` are its dataset, scale and metric.

    The paper's one number stands beside results with pixels pasted back too.
    """
    dataset, scale, metric = where
    printed = dataset, scale, metric.removesuffix(PASTED)
    ours = {label: filled.cells.get((label, *where)) for label in rows}
    means = {x: e.mean for x, e in ours.items() if e and not math.isnan(e.mean)}
    choose = max if _shown(metric).higher_is_better else min
    top = choose(means.values()) if len(means) > 1 else None
    return {
        label: Cell(
            filled.table.printed.get((label, *printed), DASH),
            ours[label],
            label in means and means[label] == top,
            filled.gains.get((label, *where)),
        )
        for label in rows
    }


def _counted(block: Block) -> str:
    """The block's title and how many results its rows have, such as "600 results of
    100 photos a row"; rows that have another number are named."""
    rows: dict[str, dict[str, None]] = {}
    for label in block.labels:
        for column in block.columns:
            if found := column.cells[label].ours:
                results = many(found.results, "result")
                count = f"{results} of {many(found.photos, 'photo')}"
                rows.setdefault(count, {})[label] = None
    if not rows:
        return block.title
    usual = max(rows, key=lambda count: len(rows[count]))
    others = [f"{', '.join(rows[c])}: {c}" for c in rows if c != usual]
    return f"{block.title}: " + "; ".join([f"{usual} a row", *others])


def _warning(filled: Filled) -> str:
    """Says of which sets the two numbers of a cell do not compare; "" if of none."""
    measured = {dataset for _, dataset, *_ in filled.cells}
    strange = [
        dataset
        for dataset in filled.table.datasets
        if dataset in measured and dataset not in filled.paper_photos
    ]
    return (
        f"{', '.join(strange)}: the paper's numbers and ours come from different "
        "photos and do not compare; ours compare with each other."
    ) * bool(strange)


def _remarks(filled: Filled) -> list[str]:
    """What to say below a table: each remark once, with the rows it concerns."""
    concerned: dict[str, list[str]] = {}
    for label, text in filled.notes.items():
        for line in filter(None, text.splitlines()):
            concerned.setdefault(line, []).append(label)
    lines = [f"{', '.join(labels)}: {line}" for line, labels in concerned.items()]
    return [*filled.table.remarks, *lines]


def _gain(found: Difference | None, metric: str) -> tuple[str, str, str]:
    """Difference, interval and p; "-" for what is undefined."""
    if found is None:
        return DASH, "", ""
    ends = [precise(end, metric, "+") for end in (found.low, found.high)]
    return (
        precise(found.mean, metric, "+"),
        DASH if math.isnan(found.low) else f"[{', '.join(ends)}]",
        DASH if math.isnan(found.p) else p_value(found.p),
    )


def _shown(metric: str) -> Metric:
    return SHOWN[metric.removesuffix(PASTED)]


# Text


def _wrapped(text: str, indent: int = 2) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        subsequent_indent=" " * min(indent, WIDTH // 2),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _text_column(column: Column) -> list[str]:
    """Heading and cells of a column, all of one width, aligned at the bar."""
    parts = []
    for paper, ours, best, _ in column.cells.values():
        mean = as_paper(ours.mean, column.metric) if ours else DASH
        parts.append((paper, mean, _half(ours, column.metric) + "*" * best))
    return _aligned(column.heading, parts, "{:>{}} | {:>{}}{:<{}}")


def _gain_column(column: Column, labels: Sequence[str]) -> list[str]:
    """Heading and comparisons of a column, all of one width."""
    parts = [_gain(column.cells[label].gain, column.metric) for label in labels]
    return _aligned(column.heading, parts, "{:>{}} {:<{}} {:>{}}")


def _aligned(heading: str, parts: list[tuple[str, ...]], form: str) -> list[str]:
    """Heading and cells, all of one width, the parts of cells below each other."""
    wide = [max(map(len, texts)) for texts in zip(*parts, strict=True)]
    cells = [
        form.format(*itertools.chain(*zip(texts, wide, strict=True))) for texts in parts
    ]
    width = max(len(heading), len(cells[0]))
    return [f"{text:^{width}}" for text in (heading, *cells)]


def _half(cell: Estimate | None, metric: str) -> str:
    """±half of the interval; ±- where one photo has none; "" for what is infinite."""
    if cell is None or not math.isfinite(cell.mean):
        return ""
    half = (cell.high - cell.low) / 2
    return "±" + (as_paper(half, metric) if math.isfinite(half) else DASH)


def _side_by_side(
    labels: Sequence[str], columns: list[list[str]], split: int | None = None
) -> list[str]:
    """Tables of as many columns as fit; ruled, if given, above the row `split`."""
    first = max(map(len, labels))
    head = [f"{label:<{first}}" for label in ("", *labels)]
    lines = []
    for chosen in _fitting(columns, WIDTH - first):
        rows = [_GAP.join(texts) for texts in zip(head, *chosen, strict=True)]
        lines += [""] * bool(lines)
        if split is None:
            lines += rows
            continue
        rule = "-" * max(len(row.rstrip()) for row in rows)
        lines += [rule, rows[0], rule, *rows[1 : split + 1], rule]
        lines += [*rows[split + 1 :], rule] if split < len(labels) else []
    return lines


def _fitting(columns: list[list[str]], room: int) -> Iterator[list[list[str]]]:
    chosen: list[list[str]] = []
    for column in columns:
        width = sum(len(_GAP) + len(other[0]) for other in [*chosen, column])
        if chosen and (width > room or len(chosen) == WIDEST):
            yield chosen
            chosen = []
        chosen.append(column)
    yield chosen


# Markdown


def _markdown_cells(columns: Sequence[Column], printed: int) -> list[str]:
    """Cells of columns; the first `printed` rows are the paper's."""
    head = ["", *itertools.chain(*((f"{c.heading} paper", "ours") for c in columns))]
    body: list[list[str]] = []
    for label in columns[0].cells:
        if len(body) == printed:
            body.append(["*not in the paper*"] + [""] * (len(head) - 1))
        body.append([label])
        for column in columns:
            cell = column.cells[label]
            body[-1] += [cell.paper, _markdown_estimate(cell, column.metric)]
    return _markdown(head, body)


def _markdown_estimate(cell: Cell, metric: str) -> str:
    if cell.ours is None:
        return DASH
    found = cell.ours.mean, cell.ours.low, cell.ours.high
    mean, *ends = (as_paper(number, metric) for number in found)
    mark = "**" * cell.best
    interval = DASH if math.isnan(cell.ours.low) else ", ".join(ends)
    return f"{mark}{mean}{mark} [{interval}]"


def _markdown_gain(cell: Cell, metric: str) -> str:
    value, interval, p = _gain(cell.gain, metric)
    return f"{value} {interval}, p {p}" if cell.gain else DASH


def _batched(columns: Sequence[Column]) -> Iterator[Sequence[Column]]:
    return (columns[i : i + WIDEST] for i in range(0, len(columns), WIDEST))


def _markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    rule = [":--"] + ["--:"] * (len(head) - 1)
    rows = [map(_escaped, head), rule, *(map(_escaped, row) for row in body)]
    return [f"| {' | '.join(row)} |" for row in rows]


def _escaped(text: str) -> str:
    return text.replace("|", r"\|")


# CSV and JSON


def _records(filled: Filled) -> Iterator[dict[str, Any]]:
    """What CSV has lines of: all that is known of a row at a scale by a metric."""
    table = filled.table
    numbers = [field.name for field in fields(Estimate)]
    for row in filled.rows:
        for dataset, scale in itertools.product(table.datasets, table.scales):
            for metric in measures(table, scale):
                place = (row.label, dataset, scale, metric)
                cell, gain = filled.cells.get(place), filled.gains.get(place)
                yield {
                    "table": table.number,
                    "row": row.label,
                    "system": row.system,
                    "in_paper": row in table.rows,
                    "dataset": dataset,
                    "scale": scale,
                    "metric": metric,
                    "paper": table.printed.get(place, DASH),
                    **{name: getattr(cell, name, None) for name in numbers},
                    "reference": gain and filled.reference,
                    "difference": gain and gain.mean,
                    "difference_low": gain and gain.low,
                    "difference_high": gain and gain.high,
                    "p": gain and gain.p,
                }


def _listed(key: str, items: Iterable[dict[str, Any]]) -> Iterator[str]:
    yield f'"{key}": [\n'
    for number, item in enumerate(items):
        yield ",\n" * bool(number) + _json(item)
    yield "\n]"


def _json(value: Any) -> str:
    """JSON in a line; numbers that it cannot hold, in a flat mapping, are text."""
    if isinstance(value, dict):
        value = {key: spoken(item) for key, item in value.items()}
    return printable(json.dumps(value, ensure_ascii=False, allow_nan=False))
