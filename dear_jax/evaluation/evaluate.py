"""Scores a system on the protocol's cases, batch by batch.

The system sees the damaged inputs, black where missing, and nothing else. Reading
the photos, restoring and measuring overlap where they can.
"""

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from dear_jax import metrics
from dear_jax.evaluation import batches
from dear_jax.evaluation.batches import Batch
from dear_jax.evaluation.journal import Journal
from dear_jax.evaluation.protocol import Case, Cases
from dear_jax.evaluation.scores import METRICS, PASTED, Score
from dear_jax.systems.compiling import compiled
from dear_jax.systems.devices import spread
from dear_jax.systems.restorer import Restorer

# Truth pixels restored at once per device: a CPU gains nothing from more.
PIXELS_AT_ONCE = {"cpu": 2**19}
PIXELS_AT_ONCE_ELSEWHERE = 2**22


@dataclass
class Seconds:
    """Where the time of an evaluation went.

    Attributes:
      reading: waiting for photos, masks and their reduction.
      restoring: in the system.
      measuring: in the metrics.
      results: how many restorations were scored meanwhile.
    """

    reading: float = 0.0
    restoring: float = 0.0
    measuring: float = 0.0
    results: int = 0

    def __str__(self) -> str:
        total = self.reading + self.restoring + self.measuring
        if not self.results:
            return "every result was there already"
        return (
            f"{self.results} results in {total:.0f} s, {self.results / total:.3g} a "
            f"second: {self.restoring / total:.0%} restoring, "
            f"{self.measuring / total:.0%} measuring, {self.reading / total:.0%} "
            "waiting for photos"
        )


def evaluate(
    system: Restorer,
    cases: Cases,
    journal: Journal | None = None,
    perceptual: bool = True,
    on_progress: Callable[[int], None] = lambda count: None,
    on_restored: Callable[[Case, np.ndarray], None] = lambda case, output: None,
    seconds: Seconds | None = None,
) -> list[Score]:
    """Restores every case and scores the results.

    Args:
      system: what restores.
      cases: what to restore.
      journal: keeps the scores as they come; what it has already is not restored
        again.
      perceptual: whether to measure LPIPS too.
      on_progress: called with how many more scores are there.
      on_restored: called with each case and its restored uint8 [h, w, 3], unless
        the journal had its score.
      seconds: counts up where the time goes.

    Returns:
      One score per case, in their order.

    Raises:
      InputError: for a photo or mask that cannot be read.
      ValueError: if the system returns anything but uint8 of the asked size.
    """
    kept: dict[tuple[str, str], Score] = {}

    def is_done(indices: Sequence[int]) -> bool:
        places = [
            (cases.names[i], bin_name) for i in indices for bin_name in cases.bins
        ]
        found = [journal.get(*place) for place in places] if journal else [None]
        if None in found:
            return False
        kept.update(zip(places, found, strict=True))
        on_progress(len(found))
        return True

    clock = _Clock(seconds or Seconds())
    for group in batches.groups(cases, *group_sizes(cases), is_done):
        clock.tick("reading")
        scores = []
        for batch in group:
            outputs = _restore(system, batch)
            clock.tick("restoring")
            scores += _measure_batch(system.name, batch, outputs, perceptual)
            clock.tick("measuring", results=len(batch.cases))
            for case, output in zip(batch.cases, outputs, strict=False):
                on_restored(case, output)
            on_progress(len(batch.cases))
        if journal:
            journal.add(scores)
        kept.update({(score.photo, score.bin): score for score in scores})
    return [kept[name, bin_name] for name in cases.names for bin_name in cases.bins]


def group_sizes(cases: Cases) -> tuple[int, int]:
    """How many photos are read together, and how many results a batch has.

    They depend on the first photo's size and on the devices, nothing else. A batch
    is all results of one photo or more, unless these are too large to hold at once.
    """
    devices = jax.local_device_count()
    budget = PIXELS_AT_ONCE.get(jax.default_backend(), PIXELS_AT_ONCE_ELSEWHERE)
    height, width = cases.of_photo(0)[0].truth.shape[:2]
    results = max(devices, devices * budget // (height * width))
    photos = min(max(1, results // len(cases.bins)), len(cases.names))
    batch = min(results, photos * len(cases.bins))
    return photos, batch + -batch % devices


class _Clock:
    """Books the time since its last tick."""

    def __init__(self, seconds: Seconds):
        self._seconds, self._last = seconds, time.perf_counter()

    def tick(self, what: str, results: int = 0) -> None:
        now = time.perf_counter()
        setattr(self._seconds, what, getattr(self._seconds, what) + now - self._last)
        self._seconds.results += results
        self._last = now


def _restore(system: Restorer, batch: Batch) -> np.ndarray:
    """Outputs uint8 [B, h, w, 3] of a batch."""
    outputs = np.asarray(
        # Copies, so that no system can change what is measured or shown.
        system.batch(batch.images.copy(), batch.masks.copy(), batch.truths.shape[1:3])
    )
    if outputs.dtype != np.uint8 or outputs.shape != batch.truths.shape:
        raise ValueError(
            f"system {system.name!r} returned {outputs.dtype} {outputs.shape} for "
            f"{batch.cases[0].photo}; it must return uint8 {batch.truths.shape}"
        )
    return outputs


def _measure_batch(
    name: str, batch: Batch, outputs: np.ndarray, perceptual: bool
) -> list[Score]:
    values = _measure(outputs, batch.truths, perceptual)
    if batch.cases[0].scale == 1:
        pasted = np.where(batch.masks[..., None], outputs, batch.truths)
        again = _measure(pasted, batch.truths, perceptual)
        values |= {metric + PASTED: value for metric, value in again.items()}
    return [
        Score(
            system=name,
            photo=case.photo,
            mask=case.mask_name,
            bin=case.bin,
            scale=case.scale,
            **{metric: float(value[i]) for metric, value in values.items()},
        )
        for i, case in enumerate(batch.cases)
    ]


def _measure(
    outputs: np.ndarray, truths: np.ndarray, perceptual: bool
) -> dict[str, np.ndarray]:
    """Metric -> values [B] of uint8 [B, h, w, 3]."""
    values = _measures(perceptual)(spread(outputs), spread(truths))
    return {metric: np.asarray(value) for metric, value in values.items()}


@functools.cache
def _measures(perceptual: bool):
    measured = METRICS if perceptual else METRICS[:-1]

    @compiled
    def measure(outputs: jax.Array, truths: jax.Array) -> dict[str, jax.Array]:
        pair = [x.astype(jnp.float32) / 255 for x in (outputs, truths)]
        return {metric: getattr(metrics, metric)(*pair) for metric in measured}

    return measure
