"""What the renderings of a filled table have in common: its blocks, marks and words."""

import math
from typing import NamedTuple

from dear_jax.evaluation import digits
from dear_jax.evaluation.scores import PASTED, SHOWN, Metric
from dear_jax.evaluation.table_filled import Comparison, Filled, measures
from dear_jax.evaluation.table_paper import DASH, Row


class Column(NamedTuple):
    """A column of a block: what is measured at which scale."""

    heading: str
    scale: float
    metric: str


class Block(NamedTuple):
    """Columns that stand side by side: all metrics of a dataset at one scale, or one
    metric at all scales."""

    title: str
    dataset: str
    columns: tuple[Column, ...]


def title(filled: Filled) -> str:
    """What stands above a table."""
    return f"Table {filled.table.number} of the paper: {filled.table.title}"


def blocks(filled: Filled) -> list[Block]:
    """The blocks of a table, dataset by dataset."""
    found = []
    for dataset in filled.table.datasets:
        groups: dict[str, list[Column]] = {}
        for scale in filled.table.scales:
            for metric in measures(filled.table, scale):
                name, times = _name(metric), f"×{scale:g}"
                pasted = ", known pixels pasted back" * metric.endswith(PASTED)
                if len(filled.table.scales) > 1:
                    over, heading = f"{dataset}, {name}{pasted}", times
                else:
                    over, heading = f"{dataset}, {times}{pasted}", name
                groups.setdefault(over, []).append(Column(heading, scale, metric))
        found += [
            Block(over, dataset, tuple(columns)) for over, columns in groups.items()
        ]
    return found


def rows(filled: Filled, block: Block) -> tuple[Row, ...]:
    """The paper's rows, then those extra ones that were measured on the dataset."""
    measured = {
        label for label, dataset, *_ in filled.cells if dataset == block.dataset
    }
    extra = tuple(row for row in filled.extra_rows if row.label in measured)
    return filled.table.rows + extra


def paper_number(filled: Filled, label: str, dataset: str, column: Column) -> str:
    """As printed, or "-"; the paper's one number stands beside pasted results too."""
    metric = column.metric.removesuffix(PASTED)
    return filled.table.printed.get((label, dataset, column.scale, metric), DASH)


def best(filled: Filled, dataset: str, column: Column) -> set[str]:
    """Labels of the rows of ours with the best mean; none where only one has any."""
    means = {
        row.label: cell.mean
        for row in filled.rows
        if (cell := filled.cells.get((row.label, dataset, column.scale, column.metric)))
        and not math.isnan(cell.mean)
    }
    if len(means) < 2:
        return set()
    choose = max if _shown(column.metric).higher_is_better else min
    top = choose(means.values())
    return {label for label, mean in means.items() if mean == top}


def counted(filled: Filled, block: Block) -> str:
    """How many results the rows of a block have, such as "600 results of 100 photos
    a row"; rows that have another number are named. "" without results."""
    rows: dict[str, dict[str, None]] = {}
    for row in filled.rows:
        for column in block.columns:
            cell = filled.cells.get((row.label, block.dataset, *column[1:]))
            if cell:
                results = digits.many(cell.results, "result")
                count = f"{results} of {digits.many(cell.photos, 'photo')}"
                rows.setdefault(count, {})[row.label] = None
    usual = max(rows, key=lambda count: len(rows[count]), default="")
    others = [f"{', '.join(rows[c])}: {c}" for c in rows if c != usual]
    return "; ".join([usual + " a row" * bool(usual), *others])


def difference(found: Comparison) -> tuple[str, str, str]:
    """Difference, interval and p of a comparison; "-" for what is undefined."""
    ends = [digits.precise(end, found.metric, "+") for end in (found.low, found.high)]
    interval = f"[{', '.join(ends)}]"
    return (
        digits.precise(found.difference, found.metric, "+"),
        DASH if math.isnan(found.low) else interval,
        DASH if math.isnan(found.p) else digits.p_value(found.p),
    )


def by_cell(filled: Filled) -> dict[tuple[str, str, float, str], Comparison]:
    """The comparisons by (label, dataset, scale, metric) of the other row."""
    return {(c.label, c.dataset, c.scale, c.metric): c for c in filled.comparisons}


def warning(filled: Filled) -> str:
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


def remarks(filled: Filled) -> list[str]:
    """What to say below a table: each remark once, with the rows it concerns."""
    concerned: dict[str, list[str]] = {}
    for label, text in filled.notes.items():
        for line in filter(None, text.splitlines()):
            concerned.setdefault(line, []).append(label)
    lines = [f"{', '.join(labels)}: {line}" for line, labels in concerned.items()]
    return [*filled.table.remarks, *lines]


def _shown(metric: str) -> Metric:
    return SHOWN[metric.removesuffix(PASTED)]


def _name(metric: str) -> str:
    return f"{_shown(metric).heading} {'↑' if _shown(metric).higher_is_better else '↓'}"
