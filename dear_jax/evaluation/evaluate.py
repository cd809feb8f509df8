"""Restores a protocol's samples batch by batch, and scores the results.

The system sees the damaged inputs, black where missing, and nothing else. Reading
the photos, restoring and measuring overlap where they can.

Photos are taken in fixed groups, in order, and a group is done wholly or not at all;
which samples share a batch, and the batch's shape, do not depend on where an
evaluation was stopped. So one that goes on gives the same digits as one that was never
stopped.
"""

import functools
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Float, UInt8

from dear_jax import metrics
from dear_jax.errors import InputError
from dear_jax.evaluation.protocol import Protocol, Sample, SampleKey, Samples
from dear_jax.evaluation.scores import METRICS, PARTS, PASTED, Score
from dear_jax.images import resize
from dear_jax.inference.devices import (
    compiled,
    device_count,
    mesh_for,
    per_device,
    spread,
    to_floats,
)
from dear_jax.inference.restorer import Restorer
from dear_jax.typing import Array

READ_AHEAD = 2
# Results of a device in a batch, and pixels of their truths: a CPU gains nothing from
# more of them, and nothing has room for many large ones.
RESULTS_AT_ONCE, RESULTS_AT_ONCE_ELSEWHERE = {"cpu": 8}, 64
PIXELS_AT_ONCE, PIXELS_AT_ONCE_ELSEWHERE = {"cpu": 2**20}, 2**22


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


class Batch:
    """Samples whose inputs are of one size and whose truths are of one size.

    Attributes:
      samples: the samples.
      images: their inputs. The first len(samples) of B are theirs, the rest repeats
        the last one.
      masks: what is missing of them.
      truths: what they were.
      levels: how degraded each input is.
    """

    images: UInt8[np.ndarray, "B H W 3"]
    masks: Bool[np.ndarray, "B H W"]
    truths: UInt8[np.ndarray, "B h w 3"]

    def __init__(self, samples: Sequence[Sample], size: int):
        self.samples = list(samples)
        padded = self.samples + self.samples[-1:] * (size - len(samples))
        self.images = np.stack([sample.image for sample in padded])
        self.masks = np.stack([sample.mask for sample in padded])
        self.truths = np.stack([sample.truth for sample in padded])
        self.levels = [sample.level for sample in padded]


class Batches:
    """The samples of an evaluation in groups of photos and batches of samples.

    Args:
      samples: what is to be restored.

    Attributes:
      photos: how many photos make a group.
    """

    def __init__(self, samples: Samples):
        self._samples, self._devices = samples, device_count()
        kind = jax.default_backend()
        self._most = RESULTS_AT_ONCE.get(kind, RESULTS_AT_ONCE_ELSEWHERE)
        self._most *= self._devices
        self._pixels = PIXELS_AT_ONCE.get(kind, PIXELS_AT_ONCE_ELSEWHERE)
        self._pixels *= self._devices
        self.photos = min(max(1, self._most // samples.per_photo), len(samples.names))
        self._usual = samples.of_photo(0)[0].truth.shape

    def size(self, truth: tuple[int, ...], count: int) -> int:
        """Samples of a batch, given the truths' shape (h, w, 3) and how many there are.

        Those of the first photo's shape always come in batches of one size, so that
        nothing is compiled for the last; rare shapes in the next power of two.
        """
        full = min(self._most, self.photos * self._samples.per_photo)
        room = self._pixels // (truth[0] * truth[1])
        most = max(1, min(full, room))
        if truth != self._usual:
            most = min(most, 2 ** (count - 1).bit_length())
        return most + -most % self._devices

    def groups(
        self, is_done: Callable[[Sequence[int]], bool]
    ) -> Iterator[Iterator[Batch]]:
        """Reads the samples group by group, a little ahead of what is being used.

        Args:
          is_done: whether the photos of these indices need not be read; asked once
            for each group, in order.

        Yields:
          The batches of each group that is not done.
        """
        count = len(self._samples.names)
        with ThreadPoolExecutor(max_workers=READ_AHEAD) as pool:
            under_way: deque[Future] = deque()
            try:
                for start in range(0, count, self.photos):
                    indices = range(start, min(start + self.photos, count))
                    if is_done(indices):
                        continue
                    under_way.append(pool.submit(self._read, indices))
                    if len(under_way) > READ_AHEAD:
                        yield self._batches(under_way.popleft().result())
                while under_way:
                    yield self._batches(under_way.popleft().result())
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _read(self, indices: Sequence[int]) -> list[list[Sample]]:
        """The samples of some photos, those of one shape together."""
        alike: dict[tuple, list[Sample]] = {}
        for index in indices:
            for sample in self._samples.of_photo(index):
                alike.setdefault((sample.image.shape, sample.truth.shape), []).append(
                    sample
                )
        return list(alike.values())

    def _batches(self, read: list[list[Sample]]) -> Iterator[Batch]:
        """Stacked one by one, as they are needed: stacked, truths are copied."""
        for alike in read:
            size = self.size(alike[0].truth.shape, len(alike))
            for start in range(0, len(alike), size):
                yield Batch(alike[start : start + size], size)


def evaluate(
    system: Restorer,
    samples: Samples,
    cache: dict[SampleKey, Score] | None = None,
    perceptual: bool = True,
    on_progress: Callable[[int], object] = lambda count: None,
    on_restored: Callable[
        [Sample, UInt8[np.ndarray, "h w 3"]], None
    ] = lambda sample, output: None,
    seconds: Seconds | None = None,
    given_level: bool = False,
) -> list[Score]:
    """Restores every sample and scores the results.

    Args:
      system: what restores.
      samples: what to restore.
      cache: takes the scores as they come, see `score_cache`; what it has already is
        not restored again.
      perceptual: whether to measure LPIPS too.
      on_progress: called with how many more scores are there.
      on_restored: called with each sample and its result, unless the cache had its
        score.
      seconds: counts up where the time goes.
      given_level: whether the system is given the level of each sample, see
        `Restorer.takes_denoise`.

    Returns:
      One score per sample, in their order.

    Raises:
      InputError: for a photo or mask that cannot be read.
      ValueError: if the system returns anything but uint8 of the asked size.
    """
    kept: dict[SampleKey, Score] = {}
    order: list[SampleKey] = []

    def is_done(indices: Sequence[int]) -> bool:
        keys = [key for i in indices for key in samples.keys(i)]
        order.extend(keys)
        if cache is None or not all(key in cache for key in keys):
            return False
        kept.update((key, cache[key]) for key in keys)
        on_progress(len(keys))
        return True

    clock = _Clock(seconds or Seconds())
    for group in Batches(samples).groups(is_done):
        scores: dict[SampleKey, Score] = {}
        for batch in group:
            clock.tick("reading")
            outputs = _restore(system, batch, given_level)
            clock.tick("restoring")
            measured = _measure_batch(samples.protocol, batch, outputs, perceptual)
            scores |= _scores(system.name, batch, measured)
            clock.tick("measuring", results=len(batch.samples))
            for sample, output in zip(batch.samples, outputs, strict=False):
                on_restored(sample, output)
            on_progress(len(batch.samples))
        if cache is not None:
            cache.update(scores)
        kept.update(scores)
    if changed := [key.photo for key in order if key not in kept]:
        raise InputError(
            f"{changed[0]}: it, or its mask, changed while it was measured; run again"
        )
    return [kept[key] for key in order]


class _Clock:
    """Books the time since its last tick."""

    def __init__(self, seconds: Seconds):
        self._seconds, self._last = seconds, time.perf_counter()

    def tick(self, what: str, results: int = 0) -> None:
        now = time.perf_counter()
        setattr(self._seconds, what, getattr(self._seconds, what) + now - self._last)
        self._seconds.results += results
        self._last = now


def _restore(
    system: Restorer, batch: Batch, given_level: bool
) -> UInt8[np.ndarray, "B h w 3"]:
    """Outputs of a batch."""
    # Copies, so that no system can change what is measured or shown.
    given = batch.images.copy(), batch.masks.copy(), batch.truths.shape[1:3]
    denoise = batch.levels if given_level else 0.0
    outputs = np.asarray(system.batch(*given, denoise=denoise, keep_known=False))
    if outputs.dtype != np.uint8 or outputs.shape != batch.truths.shape:
        raise ValueError(
            f"system {system.name!r} returned {outputs.dtype} {outputs.shape} for "
            f"{batch.samples[0].photo}; it must return uint8 {batch.truths.shape}"
        )
    return outputs


def _measure_batch(
    protocol: Protocol,
    batch: Batch,
    outputs: UInt8[np.ndarray, "B h w 3"],
    perceptual: bool,
) -> dict[str, Float[np.ndarray, " B"]]:
    """Metric -> values of outputs."""
    scale = batch.samples[0].scale
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
    name: str, batch: Batch, values: dict[str, Float[np.ndarray, " B"]]
) -> dict[SampleKey, Score]:
    """The scores of a system on a batch, given metric -> values."""
    return {
        sample.key: Score(
            system=name,
            photo=sample.photo,
            mask=sample.mask_name,
            bin=sample.bin,
            scale=sample.scale,
            **{metric: float(value[i]) for metric, value in values.items()},
        )
        for i, sample in enumerate(batch.samples)
    }


def _measure(
    outputs: UInt8[np.ndarray, "B h w 3"],
    truths: UInt8[np.ndarray, "B h w 3"],
    perceptual: bool,
    border: int | None,
) -> dict[str, Float[np.ndarray, " B"]]:
    """Metric -> values."""
    measure = _measures(perceptual, mesh_for(len(outputs)), border)
    values = measure(spread(outputs), spread(truths))
    return {metric: np.asarray(value) for metric, value in values.items()}


def _measure_parts(
    outputs: UInt8[np.ndarray, "B h w 3"], batch: Batch
) -> dict[str, Float[np.ndarray, " B"]]:
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
def _measures(
    perceptual: bool, mesh: Mesh | None, border: int | None = None
) -> Callable[[Array, Array], dict[str, jax.Array]]:
    """Whole RGB, or luma without a border where one is given; LPIPS always whole."""
    measured = METRICS if perceptual else METRICS[:-1]
    options = {} if border is None else {"channels": "luma", "border": border}

    def measure(
        outputs: UInt8[jax.Array, "B h w 3"], truths: UInt8[jax.Array, "B h w 3"]
    ) -> dict[str, Float[jax.Array, " B"]]:
        # Not divided by 255 here: a compiler may round that differently for both.
        pair = [to_floats(x) for x in (outputs, truths)]
        return {
            metric: getattr(metrics, metric)(
                *pair, **({} if metric == "lpips" else options)
            )
            for metric in measured
        }

    return compiled(per_device(measure, mesh, "bb"))
