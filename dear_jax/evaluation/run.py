"""A training run at a glance: WORKDIR/curves.png from WORKDIR/metrics.jsonl."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dear_jax.evaluation.curves import save
from dear_jax.evaluation.digits import many
from dear_jax.evaluation.looks import (
    BLACK,
    BLUE,
    FAINT,
    GREEN,
    GREY,
    LARGE,
    ORANGE,
    PINK,
    RED,
    SKY,
    SMALL,
    own_settings,
)
from dear_jax.evaluation.metrics_file import read_metrics
from dear_jax.evaluation.series import (
    Points,
    Reports,
    facts,
    of_kind,
    points,
    running_mean,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "curves.png"
WIDTH, PANEL, HEAD = 10.0, 2.3, 0.62
COLOURS = (BLUE, ORANGE, GREEN, PINK, SKY, BLACK, RED, GREY)
# What a report has beside the loss's parts.
OTHERS = {
    *("step", "kind", "loss", "skipped", "gradient_norm", "learning_rate"),
    *("images_per_second", "step_seconds", "data_wait_share"),
    *("tflops_per_second", "peak_share", "device_memory_gib", "host_memory_gib"),
}
THEIRS = "discriminator_"
# Key, title and colour of panels with one curve.
SINGLE = (
    ("gradient_norm", "norm of the gradient", BLUE),
    ("learning_rate", "learning rate", GREEN),
    ("images_per_second", "images/s", ORANGE),
)
# Largest / smallest value from which on an axis is logarithmic.
MUCH = 6


def draw_run(workdir: Path) -> Path | None:
    """Draws loss and its parts, scores, gradient, learning rate and speed over steps.

    Training curves are running means, of a fortieth of the run, before the reports
    themselves in a lighter line. Reports with skipped steps are marked.

    Args:
      workdir: folder of the run.

    Returns:
      The file, WORKDIR/curves.png, or None if the run has told nothing yet.

    Raises:
      InputError: if the metrics cannot be read or the file cannot be written.
    """
    reports = read_metrics(workdir)
    if not reports:
        return None
    figure = draw_reports(reports, workdir.absolute().name)
    save(workdir / NAME, figure)
    return workdir / NAME


@own_settings()
def draw_reports(reports: Reports, name: str) -> "Figure":
    """Draws the reports of a run, at least one, under its name."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    panels = list(_panels(reports))
    rows = max(1, -(-len(panels) // 2))
    height = HEAD + PANEL * rows
    figure = Figure((WIDTH, height), layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(
        h_pad=0.06, w_pad=0.1, hspace=0.04, rect=(0, 0, 1, 1 - HEAD / height)
    )
    told = " · ".join(facts(reports))
    head = {"x": 0.012, "va": "top"}
    figure.text(y=1 - 0.1 / height, s=name, fontsize=LARGE, weight="bold", **head)
    figure.text(y=1 - 0.38 / height, s=told, fontsize=SMALL, color=FAINT, **head)
    last = max(report["step"] for report in reports)
    grid = figure.subplots(rows, 2, squeeze=False)
    for axes, (title, draw) in zip(grid.flat, panels, strict=False):
        axes.set_title(title, loc="left", weight="bold")
        draw(axes)
        axes.set_xlim(-0.01 * last, 1.02 * max(last, 1))
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.xaxis.set_major_formatter("{x:,.0f}")
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    for axes in grid.flat[max(0, len(panels) - 2) : len(panels)]:
        axes.set_xlabel("step")
    return figure


def _panels(reports: Reports) -> Iterator[tuple[str, Callable[["Axes"], None]]]:
    """Title of each panel there are numbers for, and what draws it."""
    keys = {
        key: None for report in reports for key in report if of_kind(report, "train")
    }
    parts = [key for key in keys if key not in OTHERS and not key.startswith(THEIRS)]
    theirs = [key for key in keys if key.startswith(THEIRS)]
    if "loss" in keys:
        yield "loss", partial(_draw_loss, reports=reports)
    scores = points(reports, "evaluate", "psnr")
    if scores[0].size:
        yield "PSNR of held-out photos, dB", partial(_draw_scores, scores=scores)
    for title, names in (("parts of the loss", parts), ("discriminator", theirs)):
        if len(names) > 1:  # A loss of one part is that part.
            yield title, partial(_draw_parts, reports=reports, names=names)
    for key, title, colour in SINGLE:
        found = points(reports, "train", key)
        if found[0].size:
            yield title, partial(_draw_single, key=key, found=found, colour=colour)


def _draw_loss(axes: "Axes", reports: Reports) -> None:
    losses = points(reports, "train", "loss")
    _draw_training(axes, losses, BLUE)
    _scale(axes, [losses[1]])
    steps, skipped = points(reports, "train", "skipped")
    if skipped.any():
        axes.plot(
            steps[skipped > 0],
            np.full(np.count_nonzero(skipped), 0.03),
            linestyle="none",
            marker="^",
            markersize=5,
            color=RED,
            transform=axes.get_xaxis_transform(),
            label=many(round(skipped.sum()), "step") + " skipped",
            clip_on=False,
        )
        _legend(axes)


def _draw_scores(axes: "Axes", scores: Points) -> None:
    steps, values = scores
    size = 3.5 if len(values) <= 60 else 1.5
    axes.plot(steps, values, color=RED, marker="o", markersize=size, linewidth=1.4)
    best = int(np.argmax(values))
    label = f"best: {values[best]:.2f}"
    look = {"linestyle": "none", "marker": "o", "markersize": 8, "mfc": "none"}
    axes.plot(steps[best], values[best], color=RED, label=label, **look)
    axes.margins(y=0.12)
    axes.ticklabel_format(axis="y", useOffset=False)
    _legend(axes)


def _draw_parts(axes: "Axes", reports: Reports, names: Sequence[str]) -> None:
    drawn = []
    for place, name in enumerate(names):
        found = points(reports, "train", name)
        label = name.removeprefix(THEIRS).replace("_", " ").replace("l1", "L1")
        _draw_training(axes, found, COLOURS[place % len(COLOURS)], label)
        drawn.append(found[1])
    _scale(axes, drawn)
    _legend(axes)


def _draw_single(axes: "Axes", key: str, found: Points, colour: str) -> None:
    _draw_training(axes, found, colour, smooth=key != "learning_rate")
    if key == "gradient_norm":
        _scale(axes, [found[1]])
    else:
        axes.set_ylim(0, 1.08 * found[1].max() or 1)


def _draw_training(
    axes: "Axes", found: Points, colour: str, label: str = "", smooth: bool = True
) -> None:
    """Reports, and a running mean of them if there are enough."""
    steps, values = found
    options = {"color": colour, "label": label or None}
    if len(values) < 20 or not smooth:
        marker = "o" if len(values) < 3 else None
        axes.plot(steps, values, linewidth=1.6, marker=marker, markersize=4, **options)
        return
    axes.plot(steps, values, color=colour, linewidth=0.7, alpha=0.28)
    axes.plot(steps, running_mean(values, len(values) // 40), linewidth=1.7, **options)


def _scale(axes: "Axes", values: Sequence[np.ndarray]) -> None:
    """A logarithmic axis for what spans much."""
    found = np.concatenate(values)
    if found.size and found.min() > 0 and found.max() > MUCH * found.min():
        axes.set_yscale("log")
        axes.grid(which="minor", linewidth=0.3)


def _legend(axes: "Axes") -> None:
    """Beside the panel's title, where no curve runs; in two rows if it is long."""
    labels = axes.get_legend_handles_labels()[1]
    short = sum(map(len, labels)) + 4 * len(labels) < 48
    axes.legend(
        frameon=False,
        fontsize=SMALL,
        ncols=len(labels) if short else -(-len(labels) // 2),
        loc="lower right",
        bbox_to_anchor=(1.0, 0.98),
        borderpad=0.1,
        columnspacing=1.2,
        handlelength=1.3,
        handletextpad=0.5,
    )
