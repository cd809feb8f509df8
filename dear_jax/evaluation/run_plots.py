"""A training run at a glance: WORKDIR/curves.png."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from dear_jax.evaluation.plots import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    RED,
    SKY,
    SMALL,
    canvas,
    own_settings,
    save,
)
from dear_jax.evaluation.scores import many

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Points = tuple[Int[np.ndarray, " N"], Float[np.ndarray, " N"]]
Reports = Sequence[Mapping[str, Any]]

NAME = "curves.png"
PANEL = 2.3
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
# Scores of held-out photos, and their units.
SCORES = {"psnr": ("PSNR", " dB"), "f1": ("F1", "")}
# Largest / smallest value from which on an axis is logarithmic.
MUCH = 6


def draw_run(workdir: Path, reports: Reports) -> Path | None:
    """Draws loss and its parts, scores, gradient, learning rate and speed over steps.

    Training curves are running means, of a fortieth of the run, before the reports
    themselves in a lighter line. Reports with skipped steps are marked.

    Args:
      workdir: folder of the run.
      reports: what it reported, see `dear_jax.training.logging`.

    Returns:
      The file, WORKDIR/curves.png, or None without reports.

    Raises:
      InputError: if the file cannot be written.
    """
    if not reports:
        return None
    figure = draw_reports(reports, workdir.absolute().name)
    save(workdir / NAME, figure)
    return workdir / NAME


@own_settings()
def draw_reports(reports: Reports, name: str) -> "Figure":
    """Draws the reports of a run, at least one, under its name."""
    from matplotlib.ticker import MaxNLocator

    panels = list(_panels(reports))
    rows = max(1, -(-len(panels) // 2))
    figure, grid = canvas(name, [" · ".join(facts(reports))], rows, PANEL)
    last = max(report["step"] for report in reports)
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
    for key, (name, unit) in SCORES.items():
        scores = points(reports, "evaluate", key)
        if scores[0].size:
            title = f"{name} of held-out photos{unit and ','}{unit}"
            yield title, partial(_draw_scores, scores=scores)
    curves = partial(partial, _draw_curves, reports=reports)
    for title, names in (("parts of the loss", parts), ("discriminator", theirs)):
        if len(names) > 1:  # A loss of one part is that part.
            yield title, curves(names=names)
    for key, title, colour in SINGLE:
        if points(reports, "train", key)[0].size:
            options = {"smooth": key != "learning_rate"}
            options["from_zero"] = key != "gradient_norm"
            yield title, curves(names=[key], colours=[colour], **options)


def _draw_loss(axes: "Axes", reports: Reports) -> None:
    _draw_curves(axes, reports, ["loss"])
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


def _draw_curves(
    axes: "Axes",
    reports: Reports,
    names: Sequence[str],
    colours: Sequence[str] = COLOURS,
    smooth: bool = True,
    from_zero: bool = False,
) -> None:
    """Training curves, on an axis from 0 or logarithmic where values span much."""
    drawn = []
    for name, colour in zip(names, itertools.cycle(colours), strict=False):
        found = points(reports, "train", name)
        label = name.removeprefix(THEIRS).replace("_", " ").replace("l1", "L1")
        _draw_training(axes, found, colour, label if len(names) > 1 else "", smooth)
        drawn.append(found[1])
    values = np.concatenate(drawn)
    if from_zero:
        axes.set_ylim(0, 1.08 * values.max() or 1)
    elif values.size and values.min() > 0 and values.max() > MUCH * values.min():
        axes.set_yscale("log")
        axes.grid(which="minor", linewidth=0.3)
    if len(names) > 1:
        _legend(axes)


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


def points(reports: Reports, kind: str, key: str) -> Points:
    """Steps and finite values of what reports of a kind have."""
    found = [
        (report["step"], report[key])
        for report in reports
        if of_kind(report, kind)
        and isinstance(report.get(key), int | float)
        and math.isfinite(report[key])
    ]
    steps, values = np.array(found, float).reshape(-1, 2).T
    return steps.astype(int), values


def of_kind(report: Mapping[str, Any], kind: str) -> bool:
    """Whether it is a report of "train" or "evaluate"."""
    return report["kind"] == kind


def running_mean(
    values: Float[np.ndarray, " N"], reach: int
) -> Float[np.ndarray, " N"]:
    """Means of each value and `reach` on both sides, or as many as there are."""
    places = np.arange(len(values))
    reaches = np.minimum(np.minimum(places, places[::-1]), reach)
    # Not as differences of sums: one huge value would blur all that follow it.
    return np.array(
        [values[i - r : i + r + 1].mean() for i, r in zip(places, reaches, strict=True)]
    )


def facts(reports: Reports) -> Iterator[str]:
    """The run in a few numbers."""
    yield f"{max(report['step'] for report in reports):,} steps"
    _, losses = points(reports, "train", "loss")
    if losses.size:
        yield f"loss {losses[-max(1, len(losses) // 40) :].mean():.4g} at the end"
    for key, (name, unit) in SCORES.items():
        steps, scores = points(reports, "evaluate", key)
        if scores.size:
            best = int(np.argmax(scores))
            yield f"best {name} {scores[best]:.2f}{unit}, step {steps[best]:,}"
    _, rates = points(reports, "train", "images_per_second")
    if rates.size:
        yield f"{np.median(rates):,.{0 if np.median(rates) >= 100 else 1}f} images/s"
    for key, words in (
        ("peak_share", "of the devices' peak"),
        ("data_wait_share", "of the time waiting for data"),
    ):
        _, shares = points(reports, "train", key)
        if shares.size:
            yield f"{100 * np.median(shares):.0f} % {words}"
