"""Curves of results: metrics against scale, and against hole ratio.

Each system looks the same in every figure: colour says which upscaler it is, or which
model if it does all at once; line and marker say with which inpainter, and which of
both comes first. Bands are 95 % bootstrap intervals over photos. Figures are
matplotlib's, made without pyplot: no window, no state shared with the caller's own.
"""

import math
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dear_jax.evaluation.scores import METRICS, SHOWN, Score
from dear_jax.evaluation.stats import Estimate, estimate, gather
from dear_jax.evaluation.tables import DASH, Filled
from dear_jax.files import replacing
from dear_jax.inference.loading import CLASSICAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SMALL, USUAL, LARGE = 7.5, 9, 12
INK, FAINT, GRID = "#1e1e1e", "#6e6e6e", "#e4e4e4"
SETTINGS: dict[Any, Any] = {
    "text.color": INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.edgecolor": FAINT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelsize": USUAL,
    "axes.titlesize": USUAL,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
}
# Okabe and Ito's colours, which colour-blind eyes tell apart too.
GREY, BLACK, BLUE, SKY = "#808080", "#000000", "#0072B2", "#56B4E9"
GREEN, ORANGE, RED, PINK = "#009E73", "#E69F00", "#D55E00", "#CC79A7"
COLOURS = {
    "bi": GREY,
    "bilinear": GREY,
    "bicubic": SKY,
    "edsr": ORANGE,
    "elan": GREEN,
    "lte": BLUE,
    "liif": PINK,
    "dear": RED,
    "dear-lite": BLACK,
    "misf": SKY,
    "lama": GREEN,
    # DEAR's parts, as the paper's Table 5 adds them.
    "base": GREY,
    "+dse": ORANGE,
    "+use": BLUE,
    "+pim": RED,
}
# For systems without a colour of their own, in turn; then again, with other markers.
OTHERS = (SKY, BLACK, GREEN, PINK, BLUE, ORANGE, GREY, RED)
MARKERS = ("D", "s", "v", "p")
INPAINTERS = {"misf": "MISF", "lama": "LaMa", "telea": "Telea"}
DIRECT = "one model"
# Family -> line, marker, whether the marker is filled; in the order of legends.
FAMILIES = {
    "MISF, then enlarged": ("-", "o", True),
    "enlarged, then MISF": ((0, (4, 1.5)), "o", False),
    "LaMa, then enlarged": ((0, (6, 1.5, 1, 1.5)), "^", True),
    "enlarged, then LaMa": ((0, (1, 1.2)), "^", False),
    "Telea, then enlarged": ((0, (8, 1.5)), "x", True),
    "enlarged, then Telea": ((0, (2, 1)), "x", False),
    DIRECT: ("-", "D", True),
}
# Inches, but for the resolution in pixels an inch.
WIDTH, PANEL, LINE, RESOLUTION = 10.0, 2.9, 0.165, 160
# Letters in a line of small text, families beside each other in a legend.
LETTERS, FAMILIES_BESIDE = 150, 4
BANDS = "Bands: 95 % bootstrap intervals over photos."


@dataclass(frozen=True)
class Look:
    """How to draw a system: its family in legends, and options of matplotlib's plot."""

    family: str
    options: dict[str, Any]


@contextmanager
def own_settings() -> Iterator[None]:
    """Not the user's settings: the same numbers shall give the same picture."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


@own_settings()
def draw_scale_curves(filled: Filled) -> "Figure":
    """Draws each metric against scale: the paper's numbers left, ours right.

    Both panels of a row have the same axes. A row per set and metric of the table.
    """
    table, labels = filled.table, [row.label for row in filled.rows]
    rows = [(dataset, metric) for dataset in table.datasets for metric in table.metrics]
    title = f"Table {table.number}: {table.title}"
    figure, panels = _with_legend(title, filled.about, len(rows), labels)
    printed = {
        place: Estimate(float(text), math.nan, math.nan, 0, 0)
        for place, text in table.printed.items()
        if text != DASH
    }
    for (dataset, metric), (left, right) in zip(rows, panels, strict=True):
        where = "" if dataset in filled.paper_photos else " (other photos, see above)"
        left.set_title(f"The paper: {dataset}")
        right.set_title(f"Ours: {dataset}{where}")
        right.sharey(left)
        for axes, cells in ((left, printed), (right, filled.cells)):
            curves = {
                label: [cells.get((label, dataset, x, metric)) for x in table.scales]
                for label in labels
            }
            _plot(axes, table.scales, curves, metric)
            axes.set_xticks(table.scales, [f"×{scale:g}" for scale in table.scales])
            axes.set_xlabel("scale: side of the result / side of the input")
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
    scores = {label: found for label, found in scores.items() if found}
    if not scores:
        raise ValueError("no scores to draw")
    (scale,) = {score.scale for found in scores.values() for score in found}
    bins = sorted({score.bin for found in scores.values() for score in found})
    cells = estimate(
        {
            (label, b): gather([s for s in found if s.bin == b], METRICS)
            for label, found in scores.items()
            for b in bins
        }
    )
    metrics = [m for m in METRICS if any(key[-1] == m for key in cells)]
    title = f"Quality against hole ratio, ×{scale:g}"
    figure, panels = _with_legend(title, about, -(-len(metrics) // 2), list(scores))
    for metric, axes in zip(metrics, panels.flat, strict=False):
        curves = {
            label: [cells.get(((label, b), metric)) for b in bins] for label in scores
        }
        _plot(axes, range(len(bins)), curves, metric)
        axes.set_xticks(range(len(bins)), bins)
        axes.set_xlabel("missing pixels of the input, %")
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


def looks(labels: Sequence[str]) -> dict[str, Look]:
    """The look of each system, by labels such as "MISF→BI", "elan+misf" or "LTE"."""
    named = {label: _family_and_name(label) for label in labels}
    own = {label: _own_colour(name) for label, (_, name) in named.items()}
    taken = {own[label] for label in labels if named[label][0] == DIRECT}
    free = [colour for colour in OTHERS if colour not in taken] or OTHERS
    strangers = [label for label in named if not own[label]]
    turns = {label: divmod(i, len(free)) for i, label in enumerate(strangers)}
    found = {}
    for label, (family, _) in named.items():
        again, place = turns.get(label, (0, 0))
        options = _options(family, own[label] or free[place], again)
        found[label] = Look(family, options)
    return found


def by_family(labels: Sequence[str]) -> dict[str, list[str]]:
    """The labels of each family that has any, families in the order of legends."""
    found = looks(labels)
    groups = {f: [x for x in labels if found[x].family == f] for f in FAMILIES}
    return {family: group for family, group in groups.items() if group}


def canvas(
    title: str, lines: Sequence[str], rows: int, panel: float, foot: float = 0
) -> tuple["Figure", np.ndarray]:
    """A figure with a title and facts above [rows, 2] panels.

    Args:
      title: in bold.
      lines: of facts; long ones are wrapped.
      rows: of panels.
      panel: height of a row in inches.
      foot: height in inches of what stands below the panels.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    lines = [part for line in lines for part in textwrap.wrap(line, LETTERS)]
    head = 0.45 + LINE * len(lines)
    height = head + panel * rows + foot
    layout = ConstrainedLayoutEngine(
        h_pad=0.06, w_pad=0.1, hspace=0.04, rect=(0, 0, 1, 1 - head / height)
    )
    figure = Figure((WIDTH, height), layout=layout)
    FigureCanvasAgg(figure)
    where: dict[str, Any] = {"x": 0.012, "va": "top"}
    figure.text(y=1 - 0.1 / height, s=title, fontsize=LARGE, weight="bold", **where)
    facts = "\n".join(lines)
    figure.text(y=1 - 0.38 / height, s=facts, fontsize=SMALL, color=FAINT, **where)
    return figure, figure.subplots(rows, 2, squeeze=False)


def _plot(
    axes: "Axes",
    x: Sequence[float],
    curves: Mapping[str, Sequence[Estimate | None]],
    metric: str,
) -> None:
    """Draws means and bands of each system; places without a number are left out."""
    styles, shown = looks(list(curves)), SHOWN[metric]
    better = "↑ better" if shown.higher_is_better else "↓ better"
    axes.set_ylabel(f"{shown.heading}   {better}")
    for label, estimates in curves.items():
        numbers = [
            (place, e.mean, e.low, e.high)
            for place, e in zip(x, estimates, strict=True)
            if e is not None and math.isfinite(e.mean)
        ]
        if not numbers:
            continue
        at, mean, low, high = np.array(numbers, float).T
        options = styles[label].options
        axes.plot(at, mean, label=label, **options)
        if np.isfinite(low).any():
            faint = 0.13 if len(curves) <= 12 else 0.07
            band = {"color": options["color"], "alpha": faint, "linewidth": 0}
            axes.fill_between(at, low, high, **band)
    if not axes.lines:
        middle: dict[str, Any] = {"ha": "center", "va": "center", "color": FAINT}
        axes.text(0.5, 0.5, "no numbers", transform=axes.transAxes, **middle)


def _with_legend(
    title: str, about: Sequence[str], rows: int, labels: Sequence[str]
) -> tuple["Figure", np.ndarray]:
    """A canvas with a legend below: families side by side, systems under theirs."""
    from matplotlib.lines import Line2D

    families, styles = by_family(labels), looks(labels)
    columns: list[list[str]] = [[] for _ in range(min(len(families), FAMILIES_BESIDE))]
    for start in range(0, len(families), len(columns)):
        part = list(families.items())[start : start + len(columns)]
        tallest = max(len(systems) for _, systems in part)
        part += [("", [])] * (len(columns) - len(part))
        for column, (family, systems) in zip(columns, part, strict=True):
            gap = [""] * (tallest - len(systems) + 1)
            column += [family, *systems, *gap]
    entries = [text for column in columns for text in column]
    none: dict[str, Any] = {"linestyle": "none"}
    lines = [
        Line2D([], [], **(styles[text].options if text in styles else none))
        for text in entries
    ]
    foot = 1.1 * LINE * len(columns[0])
    figure, panels = canvas(title, [*about, BANDS], rows, PANEL, foot)
    legend = figure.legend(
        lines,
        entries,
        loc="outside lower left",
        ncols=len(columns),
        frameon=False,
        fontsize=SMALL,
        handlelength=3.2,
    )
    for text in legend.get_texts():
        if text.get_text() in families:
            text.set_fontweight("bold")
    return figure, panels


def _own_colour(name: str) -> str | None:
    """The colour of a system, or of the one that it is a kind of."""
    # As "lte-fast" and "dear (untrained)" are.
    for key in (name, re.split(r"[- ]", name)[0]):
        if key in COLOURS:
            return COLOURS[key]
    return None


def _family_and_name(label: str) -> tuple[str, str]:
    """The family, and the name that decides the colour."""
    stages = CLASSICAL.get(label, label).lower()
    parts = [part.strip() for part in re.split(r"[+→]", stages)]
    if len(parts) == 2:
        first, second = parts
        if first in INPAINTERS:
            return f"{INPAINTERS[first]}, then enlarged", second
        if second in INPAINTERS:
            return f"enlarged, then {INPAINTERS[second]}", first
    return DIRECT, label.lower()


def _options(family: str, colour: str, again: int) -> dict[str, Any]:
    """Options of a plot; `again` counts how often the colour was given before."""
    line, marker, filled = FAMILIES[family]
    direct = family == DIRECT
    return {
        "color": colour,
        "linestyle": line,
        "linewidth": 2.2 if direct else 1.2,
        "marker": MARKERS[again % len(MARKERS)] if direct else marker,
        "markersize": 4.5,
        "markerfacecolor": colour if filled else "white",
        "zorder": 4 if direct else 3,
    }
