"""What the reports of a run hold, as numbers to draw and to tell."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

Points = tuple[np.ndarray, np.ndarray]
Reports = Sequence[Mapping[str, Any]]


def points(reports: Reports, kind: str, key: str) -> Points:
    """Steps and finite values of what reports of a kind have, [N] each."""
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


def running_mean(values: np.ndarray, reach: int) -> np.ndarray:
    """Means of each value [N] and `reach` on both sides, or as many as there are."""
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
    steps, scores = points(reports, "evaluate", "psnr")
    if scores.size:
        best = int(np.argmax(scores))
        yield f"best PSNR {scores[best]:.2f} dB, step {steps[best]:,}"
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
