"""Scores a system on the protocol's cases, batch by batch.

The system sees the damaged inputs, black where missing, and nothing else. Reading
the photos, restoring and measuring overlap where they can.
"""

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh

from dear_jax import metrics
from dear_jax.errors import InputError
from dear_jax.evaluation.batches import Batch, Batches
from dear_jax.evaluation.journal import Journal
from dear_jax.evaluation.protocol import Case, Cases, Place, Protocol
from dear_jax.evaluation.scores import METRICS, PARTS, PASTED, Score
from dear_jax.images import resize
from dear_jax.inference.devices import compiled, mesh_for, per_device, spread, to_floats
from dear_jax.inference.restorer import Restorer


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
    told: bool = False,
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
      told: whether the system is given the level of each case, see
        `Restorer.takes_denoise`.

    Returns:
      One score per case, in their order.

    Raises:
      InputError: for a photo or mask that cannot be read.
      ValueError: if the system returns anything but uint8 of the asked size.
    """
    kept: dict[Place, Score] = {}
    order: list[Place] = []

    def is_done(indices: Sequence[int]) -> bool:
        places = [place for i in indices for place in cases.places(i)]
        order.extend(places)
        found = {place: journal.get(place) if journal else None for place in places}
        if None in found.values():
            return False
        kept.update(found)
        on_progress(len(places))
        return True

    clock = _Clock(seconds or Seconds())
    for group in Batches(cases).groups(is_done):
        scores: dict[Place, Score] = {}
        for batch in group:
            clock.tick("reading")
            outputs = _restore(system, batch, told)
            clock.tick("restoring")
            measured = _measure_batch(cases.protocol, batch, outputs, perceptual)
            scores |= _scores(system.name, batch, measured)
            clock.tick("measuring", results=len(batch.cases))
            for case, output in zip(batch.cases, outputs, strict=False):
                on_restored(case, output)
            on_progress(len(batch.cases))
        if journal:
            journal.add(scores)
        kept.update(scores)
    if changed := [place.photo for place in order if place not in kept]:
        raise InputError(
            f"{changed[0]}: it, or its mask, changed while it was measured; run again"
        )
    return [kept[place] for place in order]


class _Clock:
    """Books the time since its last tick."""

    def __init__(self, seconds: Seconds):
        self._seconds, self._last = seconds, time.perf_counter()

    def tick(self, what: str, results: int = 0) -> None:
        now = time.perf_counter()
        setattr(self._seconds, what, getattr(self._seconds, what) + now - self._last)
        self._seconds.results += results
        self._last = now


def _restore(system: Restorer, batch: Batch, told: bool) -> np.ndarray:
    """Outputs uint8 [B, h, w, 3] of a batch."""
    # Copies, so that no system can change what is measured or shown.
    given = batch.images.copy(), batch.masks.copy(), batch.truths.shape[1:3]
    denoise = batch.levels if told else 0.0
    outputs = np.asarray(system.batch(*given, denoise=denoise))
    if outputs.dtype != np.uint8 or outputs.shape != batch.truths.shape:
        raise ValueError(
            f"system {system.name!r} returned {outputs.dtype} {outputs.shape} for "
            f"{batch.cases[0].photo}; it must return uint8 {batch.truths.shape}"
        )
    return outputs


def _measure_batch(
    protocol: Protocol, batch: Batch, outputs: np.ndarray, perceptual: bool
) -> dict[str, np.ndarray]:
    """Metric -> values [B] of outputs uint8 [B, h, w, 3]."""
    scale = batch.cases[0].scale
    border = round(scale) if protocol.on_luma else None
    values = _measure(outputs, batch.truths, perceptual, border)
    if set(PARTS) & set(protocol.metrics):
        values |= _measure_parts(outputs, batch)
    if scale == 1:
        pasted = np.where(batch.masks[..., None], outputs, batch.images)
        again = _measure(pasted, batch.truths, perceptual, border)
        values |= {metric + PASTED: value for metric, value in again.items()}
    return values


def _scores(
    name: str, batch: Batch, values: dict[str, np.ndarray]
) -> dict[Place, Score]:
    """The scores of a system on a batch, given metric -> values [B]."""
    return {
        case.place: Score(
            system=name,
            photo=case.photo,
            mask=case.mask_name,
            bin=case.bin,
            scale=case.scale,
            **{metric: float(value[i]) for metric, value in values.items()},
        )
        for i, case in enumerate(batch.cases)
    }


def _measure(
    outputs: np.ndarray, truths: np.ndarray, perceptual: bool, border: int | None
) -> dict[str, np.ndarray]:
    """Metric -> values [B] of uint8 [B, h, w, 3]."""
    measure = _measures(perceptual, mesh_for(len(outputs)), border)
    values = measure(spread(outputs), spread(truths))
    return {metric: np.asarray(value) for metric, value in values.items()}


def _measure_parts(outputs: np.ndarray, batch: Batch) -> dict[str, np.ndarray]:
    """PSNR and L1 inside and outside of holes; NaN where nothing is there.

    A pixel of the truth is in a hole if the input's nearest pixel is missing.
    """
    errors = np.abs(outputs.astype(np.float32) - batch.truths) / 255
    found: dict[str, list[float]] = {metric: [] for metric in PARTS}
    for error, mask in zip(errors, batch.masks, strict=True):
        hole = resize.nearest(mask, error.shape[:2])
        for part, chosen in (("inside", error[hole]), ("outside", error[~hole])):
            mean, square = np.nan, np.nan
            if chosen.size:
                mean, square = chosen.mean(), np.mean(chosen * chosen, dtype=float)
            with np.errstate(divide="ignore"):
                found[f"psnr_{part}"].append(-10 * np.log10(square))
            found[f"l1_{part}"].append(mean)
    return {metric: np.array(values) for metric, values in found.items()}


@functools.lru_cache(maxsize=8)
def _measures(perceptual: bool, mesh: Mesh | None, border: int | None = None):
    """Whole RGB, or luma without a border where one is given; LPIPS always whole."""
    measured = METRICS if perceptual else METRICS[:-1]
    options = {} if border is None else {"channels": "luma", "border": border}

    def measure(outputs: jax.Array, truths: jax.Array) -> dict[str, jax.Array]:
        # Not divided by 255 here: a compiler may round that differently for both.
        pair = [to_floats(x) for x in (outputs, truths)]
        return {
            metric: getattr(metrics, metric)(
                *pair, **({} if metric == "lpips" else options)
            )
            for metric in measured
        }

    return compiled(per_device(measure, mesh, "bb"))
