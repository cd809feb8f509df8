"""The paper's tables with our numbers: estimates, and comparisons on equal images."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dear_jax.evaluation.estimates import Estimate, compare, estimate
from dear_jax.evaluation.per_photo import Results, difference, gather
from dear_jax.evaluation.scores import PASTED, Score
from dear_jax.evaluation.table_paper import Row, Table

REFERENCE = "DEAR"


@dataclass(frozen=True)
class Comparison:
    """The reference row against another, on the images both restored.

    Attributes:
      label: of the other row.
      reference: label of the reference row.
      dataset, scale, metric: where they are compared.
      difference: mean of (reference - other).
      low, high: its 95 % bootstrap interval over photos; NaN where there is one.
      p: of the two-sided sign-flip test over photos; NaN where a difference is
        infinite.
    """

    label: str
    reference: str
    dataset: str
    scale: float
    metric: str
    difference: float
    low: float
    high: float
    p: float


@dataclass(frozen=True)
class Filled:
    """A table of the paper with our numbers.

    Attributes:
      table: the paper's.
      cells: (label, dataset, scale, metric) -> ours; only what was measured. At
        scale 1 also metrics like "psnr_pasted".
      extra_rows: rows of ours that the paper does not have.
      comparisons: of the reference row with every other, in the order of the table.
      notes: label -> remark, or why there is no number; several are several lines.
      about: lines for the head: protocol, which photos stand for which set.
      paper_photos: the datasets whose photos are the paper's own, so that its
        numbers and ours compare.
    """

    table: Table
    cells: dict[tuple[str, str, float, str], Estimate]
    extra_rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    notes: dict[str, str]
    about: tuple[str, ...]
    paper_photos: tuple[str, ...] = ()

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
    reference: str = REFERENCE,
    paper_photos: Sequence[str] = (),
) -> Filled:
    """Puts our numbers into a table of the paper.

    Args:
      table: the paper's.
      scores: (label, dataset, scale) -> one score per image; what was not measured
        is absent.
      notes, about, extra_rows, paper_photos: see `Filled`.
      reference: label of the row that every other is compared with; the paper's last
        row where it has none of that label.

    Raises:
      ValueError: if scores belong to no cell of the table, or an image of a cell
        was scored twice.
    """
    extra_rows = tuple(extra_rows)
    labels = [row.label for row in (*table.rows, *extra_rows)]
    if reference not in labels:
        reference = table.rows[-1].label
    results = _results(table, scores, labels)
    return Filled(
        table=table,
        cells={(*place, m): found for (place, m), found in estimate(results).items()},
        extra_rows=extra_rows,
        comparisons=_comparisons(_gains(results, reference), reference),
        notes=dict(notes or {}),
        about=tuple(about),
        paper_photos=tuple(paper_photos),
    )


def measures(table: Table, scale: float) -> tuple[str, ...]:
    """The metrics of a table at one scale, the pasted ones at scale 1 included."""
    pasted = tuple(metric + PASTED for metric in table.metrics)
    return table.metrics + (pasted if scale == 1 else ())


_Place = tuple[str, str, float]


def _results(
    table: Table, scores: Mapping[_Place, Sequence[Score]], labels: Sequence[str]
) -> dict[_Place, Results]:
    """(label, dataset, scale) -> what was measured there, in the table's order."""
    places = list(itertools.product(table.datasets, table.scales, labels))
    places = [(label, dataset, scale) for dataset, scale, label in places]
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


def _gains(results: dict[_Place, Results], reference: str) -> dict[_Place, Results]:
    """Differences of the reference row to each other."""
    return {
        (label, *where): difference(results[reference, *where], others)
        for (label, *where), others in results.items()
        if label != reference and (reference, *where) in results
    }


def _comparisons(
    gains: dict[_Place, Results], reference: str
) -> tuple[Comparison, ...]:
    return tuple(
        Comparison(label, reference, *where, metric, d.mean, d.low, d.high, d.p)
        for ((label, *where), metric), d in compare(gains).items()
    )
