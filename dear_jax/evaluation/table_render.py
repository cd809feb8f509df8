"""A filled table for people, as text and Markdown; for programs see `export`.

Equal tables give equal text.
"""

import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence

from dear_jax.evaluation import digits
from dear_jax.evaluation import table_layout as layout
from dear_jax.evaluation.estimates import Estimate
from dear_jax.evaluation.printable import printable
from dear_jax.evaluation.table_filled import Filled
from dear_jax.evaluation.table_layout import Block, Column
from dear_jax.evaluation.table_paper import DASH

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


def to_text(filled: Filled) -> str:
    """The table for a terminal, at most about 110 columns wide."""
    lines = [layout.title(filled), ""]
    legend = f"{_CELLS} ± half of the interval; * best of ours; {_ESTIMATES}."
    for said in (*filled.about, legend, layout.warning(filled)):
        lines += _wrapped(said)
    for block in layout.blocks(filled):
        lines += ["", *_wrapped(_titled(filled, block), indent=len(block.title) + 2)]
        columns = [_cell_column(filled, block, column) for column in block.columns]
        labels = [row.label for row in layout.rows(filled, block)]
        lines += _side_by_side(labels, columns, len(filled.table.rows))
    lines += _compared(filled)
    notes = layout.remarks(filled)
    lines += ["", "Notes"] if notes else []
    for note in notes:
        lines += _wrapped(note)
    return printable("\n".join(line.rstrip() for line in lines) + "\n")


def to_markdown(filled: Filled) -> str:
    """The table in Markdown: the paper's number and ours in a column each."""
    lines = [f"## {layout.title(filled)}", ""]
    said = [*filled.about, f"Best of ours bold; {_ESTIMATES}.", layout.warning(filled)]
    lines += [f"- {_escaped(line)}" for line in said if line]
    for block in layout.blocks(filled):
        lines += ["", f"### {_escaped(_titled(filled, block))}"]
        for columns in _batched(block.columns):
            lines += ["", *_markdown_cells(filled, block, columns)]
    found = layout.by_cell(filled)
    for block in layout.blocks(filled) if found else ():
        title = f"{block.title}: {_reference(filled)} minus each row, same images"
        lines += ["", f"### {_escaped(title)}", "", f"With {_TEST}."]
        for columns in _batched(block.columns):
            body = [
                [label, *(_difference(found, label, block, c) for c in columns)]
                for label in _compared_labels(filled, block)
            ]
            lines += ["", *_markdown(["", *(c.heading for c in columns)], body)]
    notes = [f"- {_escaped(line)}" for line in layout.remarks(filled)]
    lines += ["", "### Notes", "", *notes] if notes else []
    return printable("\n".join(lines) + "\n")


def _titled(filled: Filled, block: Block) -> str:
    count = layout.counted(filled, block)
    return f"{block.title}: {count}" if count else block.title


def _wrapped(text: str, indent: int = 2) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        subsequent_indent=" " * min(indent, WIDTH // 2),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _cell_column(filled: Filled, block: Block, column: Column) -> list[str]:
    """Heading and cells of a column, all of one width, aligned at the bar."""
    best = layout.best(filled, block.dataset, column)
    parts = []
    for row in layout.rows(filled, block):
        cell = filled.cells.get((row.label, block.dataset, *column[1:]))
        paper = layout.paper_number(filled, row.label, block.dataset, column)
        mean = digits.as_paper(cell.mean, column.metric) if cell else DASH
        half = _half(cell, column.metric) + "*" * (row.label in best)
        parts.append((paper, mean, half))
    wide = [max(map(len, texts)) for texts in zip(*parts, strict=True)]
    cells = [
        f"{paper:>{wide[0]}} | {mean:>{wide[1]}}{half:<{wide[2]}}"
        for paper, mean, half in parts
    ]
    return _padded(column.heading, cells)


def _half(cell: Estimate | None, metric: str) -> str:
    """±half of the interval; ±- where one photo has none; "" for what is infinite."""
    if cell is None or not math.isfinite(cell.mean):
        return ""
    half = (cell.high - cell.low) / 2
    return "±" + (digits.as_paper(half, metric) if math.isfinite(half) else DASH)


def _compared(filled: Filled) -> list[str]:
    found = layout.by_cell(filled)
    if not found:
        return []
    title = f"{_reference(filled)} minus each row on the same images, with {_TEST}"
    lines = ["", *_wrapped(title)]
    for block in layout.blocks(filled):
        labels = _compared_labels(filled, block)
        columns = []
        for column in block.columns if labels else ():
            keys = [(label, block.dataset, *column[1:]) for label in labels]
            parts = [
                layout.difference(found[key]) if key in found else (DASH, "", "")
                for key in keys
            ]
            wide = [max(map(len, texts)) for texts in zip(*parts, strict=True)]
            cells = [
                f"{value:>{wide[0]}} {interval:<{wide[1]}} {p:>{wide[2]}}"
                for value, interval, p in parts
            ]
            columns.append(_padded(column.heading, cells))
        if labels:
            lines += ["", block.title, *_side_by_side(labels, columns)]
    return lines


def _padded(heading: str, cells: list[str]) -> list[str]:
    width = max(len(heading), len(cells[0]))
    return [f"{heading:^{width}}", *(f"{cell:^{width}}" for cell in cells)]


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


def _markdown_cells(
    filled: Filled, block: Block, columns: Sequence[Column]
) -> list[str]:
    head = [""]
    for column in columns:
        head += [f"{column.heading} paper", "ours"]
    body: list[list[str]] = []
    best = [layout.best(filled, block.dataset, column) for column in columns]
    for index, row in enumerate(layout.rows(filled, block)):
        if index == len(filled.table.rows):
            body.append(["*not in the paper*"] + [""] * (len(head) - 1))
        texts = [row.label]
        for column, top in zip(columns, best, strict=True):
            cell = filled.cells.get((row.label, block.dataset, *column[1:]))
            mark = "**" * (row.label in top)
            texts.append(layout.paper_number(filled, row.label, block.dataset, column))
            texts.append(_estimate(cell, column.metric, mark))
        body.append(texts)
    return _markdown(head, body)


def _batched(columns: Sequence[Column]) -> Iterator[Sequence[Column]]:
    return (columns[i : i + WIDEST] for i in range(0, len(columns), WIDEST))


def _estimate(cell: Estimate | None, metric: str, mark: str) -> str:
    if cell is None:
        return DASH
    mean = f"{mark}{digits.as_paper(cell.mean, metric)}{mark}"
    ends = [digits.as_paper(end, metric) for end in (cell.low, cell.high)]
    return f"{mean} [{', '.join(ends)}]" if not math.isnan(cell.low) else f"{mean} [-]"


def _markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    rule = [":--"] + ["--:"] * (len(head) - 1)
    rows = [map(_escaped, head), rule, *(map(_escaped, row) for row in body)]
    return [f"| {' | '.join(row)} |" for row in rows]


def _escaped(text: str) -> str:
    return text.replace("|", r"\|")


def _reference(filled: Filled) -> str:
    return filled.comparisons[0].reference


def _compared_labels(filled: Filled, block: Block) -> list[str]:
    """Labels that any column of the block has a comparison of."""
    places = {(block.dataset, *column[1:]) for column in block.columns}
    found = {
        c.label for c in filled.comparisons if (c.dataset, c.scale, c.metric) in places
    }
    return [row.label for row in filled.rows if row.label in found]


def _difference(found: Mapping, label: str, block: Block, column: Column) -> str:
    comparison = found.get((label, block.dataset, *column[1:]))
    if comparison is None:
        return DASH
    value, interval, p = layout.difference(comparison)
    return f"{value} {interval}, p {p}"
