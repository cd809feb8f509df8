"""Curves of results: metrics against scale, and against hole ratio.

Figures are matplotlib's, made without pyplot: no window, no state shared with the
caller's own. Bands are 95 % bootstrap intervals over photos.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dear_jax.evaluation.estimates import Estimate, estimate
from dear_jax.evaluation.looks import (
    FAINT,
    LARGE,
    SMALL,
    Look,
    by_family,
    looks,
    own_settings,
)
from dear_jax.evaluation.per_photo import gather
from dear_jax.evaluation.scores import METRICS, SHOWN, Score
from dear_jax.evaluation.table_filled import Filled
from dear_jax.evaluation.table_paper import DASH, Table
from dear_jax.files import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches, but for the resolution in pixels an inch.
WIDTH, PANEL, LINE, RESOLUTION = 10.0, 2.9, 0.165, 160
# Of small text, in letters: the sample of a line in a legend, and what fits in a line.
SAMPLE, LETTERS = 7, 150
BANDS = "Bands: 95 % bootstrap intervals over photos."


class _Curve(NamedTuple):
    """One system's numbers, [N] each; places without one are left out."""

    x: np.ndarray
    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray


@own_settings()
def draw_scale_curves(filled: Filled) -> "Figure":
    """Draws each metric against scale: the paper's numbers left, ours right.

    Both panels of a row have the same axes. A row per set and metric of the table.
    """
    table, labels = filled.table, [row.label for row in filled.rows]
    scales = table.scales
    rows = [(dataset, metric) for dataset in table.datasets for metric in table.metrics]
    title = f"Table {table.number}: {table.title}"
    figure, panels = _canvas(title, filled.about, len(rows), labels)
    for (dataset, metric), (left, right) in zip(rows, panels, strict=True):
        where = "" if dataset in filled.paper_photos else " (other photos, see above)"
        left.set_title(f"The paper: {dataset}")
        right.set_title(f"Ours: {dataset}{where}")
        right.sharey(left)
        for axes, cells in ((left, _printed(table)), (right, filled.cells)):
            curves = {
                label: _curve(
                    scales, [cells.get((label, dataset, x, metric)) for x in scales]
                )
                for label in labels
            }
            _plot(axes, curves, looks(labels))
            axes.set_xticks(scales, [f"×{scale:g}" for scale in scales])
            axes.set_xlabel("scale: side of the result / side of the input")
            axes.set_ylabel(_heading(metric))
    return figure


@own_settings()
def draw_ratio_curves(
    scores: Mapping[str, Sequence[Score]], about: Sequence[str] = ()
) -> "Figure":
    """Draws each metric against the bins of hole ratios, a line per system.

    Args:
      scores: label of a system -> its scores, all of one scale.
      about: lines for the head, such as which photos these are.

    Raises:
      ValueError: if there is no score, or they are of several scales.
    """
    labels = [label for label, found in scores.items() if found]
    if not labels:
        raise ValueError("no scores to draw")
    cells, scale, bins = _by_bin({label: scores[label] for label in labels})
    metrics = [m for m in METRICS if any(key[-1] == m for key in cells)]
    title = f"Quality against hole ratio, ×{scale:g}"
    figure, panels = _canvas(title, about, -(-len(metrics) // 2), labels)
    places = np.arange(len(bins))
    for metric, axes in zip(metrics, panels.flat, strict=False):
        curves = {
            label: _curve(places, [cells.get(((label, b), metric)) for b in bins])
            for label in labels
        }
        _plot(axes, curves, looks(labels))
        axes.set_xticks(places, bins)
        axes.set_xlabel("missing pixels of the input, %")
        axes.set_ylabel(_heading(metric))
    for axes in panels.flat[len(metrics) :]:
        axes.set_axis_off()
    return figure


@own_settings()
def save(path: str | Path, figure: "Figure") -> None:
    """Writes a figure as PNG; the same figure gives the same bytes.

    Raises:
      InputError: if the file cannot be written.
    """
    with replacing(path) as partial:
        figure.savefig(
            partial, format="png", dpi=RESOLUTION, metadata={"Software": None}
        )


def _by_bin(
    scores: Mapping[str, Sequence[Score]],
) -> tuple[dict[tuple[tuple[str, str], str], Estimate], float, list[str]]:
    """((label, bin), metric) -> estimate; the scale; the bins."""
    bins = sorted({score.bin for found in scores.values() for score in found})
    (scale,) = {score.scale for found in scores.values() for score in found}
    parts = {
        (label, b): gather([score for score in found if score.bin == b], METRICS)
        for label, found in scores.items()
        for b in bins
    }
    return estimate(parts), scale, bins


def _printed(table: Table) -> dict[tuple[str, str, float, str], Estimate]:
    """The paper's numbers, which have no intervals."""
    return {
        place: Estimate(float(text), math.nan, math.nan, 0, 0)
        for place, text in table.printed.items()
        if text != DASH
    }


def _curve(x: Sequence[float], estimates: Sequence[Estimate | None]) -> _Curve:
    numbers = [
        (place, e.mean, e.low, e.high)
        for place, e in zip(x, estimates, strict=True)
        if e is not None and math.isfinite(e.mean)
    ]
    return _Curve(*np.array(numbers, float).reshape(-1, 4).T)


def _plot(axes: "Axes", curves: Mapping[str, _Curve], styles: Mapping) -> None:
    for label, curve in curves.items():
        if not curve.x.size:
            continue
        options = styles[label].options
        axes.plot(curve.x, curve.mean, label=label, **options)
        if np.isfinite(curve.low).any():
            axes.fill_between(
                curve.x,
                curve.low,
                curve.high,
                color=options["color"],
                alpha=0.13 if len(curves) <= 12 else 0.07,
                linewidth=0,
            )
    if not any(curve.x.size for curve in curves.values()):
        middle = {"ha": "center", "va": "center", "color": FAINT}
        axes.text(0.5, 0.5, "no numbers", transform=axes.transAxes, **middle)


def _heading(metric: str) -> str:
    shown = SHOWN[metric]
    return f"{shown.heading}   " + (
        "↑ better" if shown.higher_is_better else "↓ better"
    )


def _canvas(
    title: str, about: Sequence[str], rows: int, labels: Sequence[str]
) -> tuple["Figure", np.ndarray]:
    """A figure with title and facts above, [rows, 2] panels, and a legend below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = [part for line in (*about, BANDS) for part in textwrap.wrap(line, LETTERS)]
    above = 0.3 + LINE * len(lines)
    families = _legend_rows(labels)
    under = LINE * sum(map(_height, families))
    heights = [above, *[PANEL] * rows, under]
    figure = Figure((WIDTH, sum(heights) + 0.3), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(h_pad=0.1, w_pad=0.12)
    grid = figure.add_gridspec(rows + 2, 2, height_ratios=heights)
    head, foot = (figure.add_subplot(grid[row, :]) for row in (0, rows + 1))
    panels = [
        [figure.add_subplot(grid[1 + row, column]) for column in range(2)]
        for row in range(rows)
    ]
    for axes in (head, foot):
        axes.set_axis_off()
    texts = [head.text(0, 1, title, fontsize=LARGE, weight="bold", va="top")]
    texts += [
        head.text(0, 0, "\n".join(lines), fontsize=SMALL, color=FAINT, va="bottom")
    ]
    for text in texts:
        text.set_in_layout(False)
    _legend(foot, families, looks(labels))
    return figure, np.array(panels)


def _legend_rows(labels: Sequence[str]) -> list[dict[str, list[str]]]:
    """The labels by family, families that fit beside each other in a row."""
    rows, taken = [{}], 0
    for family, systems in by_family(labels).items():
        taken += _letters(family, systems)
        if taken > LETTERS and rows[-1]:
            rows.append({})
            taken = _letters(family, systems)
        rows[-1][family] = systems
    return rows


def _letters(family: str, systems: Sequence[str]) -> int:
    """How wide a family is in a legend, its name in bold, with the gap behind it."""
    return max(len(family) + 3, SAMPLE + max(map(len, systems))) + 2


def _height(row: Mapping[str, Sequence[str]]) -> int:
    """Lines of text that a row of a legend takes, with the gap below it."""
    return max(map(len, row.values())) + 2


def _legend(
    axes: "Axes",
    rows: Sequence[Mapping[str, Sequence[str]]],
    styles: Mapping[str, Look],
) -> None:
    """A legend per family, beside and below each other as `_legend_rows` says."""
    from matplotlib.legend import Legend
    from matplotlib.lines import Line2D

    heights = list(map(_height, rows))
    for number, row in enumerate(rows):
        left, top = 0, 1 - sum(heights[:number]) / sum(heights)
        for family, systems in row.items():
            legend = Legend(
                axes,
                [Line2D([], [], **styles[name].options) for name in systems],
                systems,
                title=family,
                title_fontproperties={"size": SMALL, "weight": "bold"},
                alignment="left",
                loc="upper left",
                bbox_to_anchor=(left / LETTERS, top),
                borderpad=0,
                borderaxespad=0,
                frameon=False,
                fontsize=SMALL,
                handlelength=3.2,
            )
            legend.set_in_layout(False)
            axes.add_artist(legend)
            left += _letters(family, systems)
