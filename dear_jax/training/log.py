"""What a run tells: a progress bar, JSON lines and TensorBoard events.

WORKDIR/metrics.jsonl    one object per report: step, kind, values
WORKDIR/tensorboard/     the same, and the picture sheets

A disk that is full, or a folder that is gone, does not stop a run here: reports are
kept until they can be written. Checkpoints decide whether it can go on.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from dear_jax.errors import InputError
from dear_jax.evaluation.scores import many
from dear_jax.training.events import Events
from dear_jax.training.metrics_file import NAME, MetricsFile
from dear_jax.training.rates import Rates, memory

# Share of the time from which on the bar says that steps wait for data.
MUCH_WAITING = 0.1


class Log:
    """Writes reports; a context manager.

    Args:
      workdir: folder of the run.
      steps: length of the run.
      start: step at which this process begins.
      batch_size: photos per step, over all devices, for the rate; their mean.
      flops: floating-point operations of a whole step, over all devices; 0 if they
        are not known.
      writes: False for processes other than the first: nothing is written or said.
      peak: FLOP/s that all devices can do together, see `monitoring.peaks`; None if
        that is not known.

    Raises:
      InputError: if nothing can be written to the workdir.
    """

    def __init__(
        self,
        workdir: Path,
        steps: int,
        start: int,
        batch_size: float,
        flops: float = 0.0,
        writes: bool = True,
        peak: float | None = None,
    ):
        self._workdir = workdir
        self._rates = Rates(start, batch_size, flops, peak)
        self._failing: set[str] = set()
        self._moving = False
        self._writes = writes
        if not writes:
            return
        self._metrics = MetricsFile(workdir, start)
        try:
            self._events = Events(workdir / "tensorboard", start)
        except OSError as error:
            raise InputError(
                f"{workdir / 'tensorboard'}: cannot be written "
                f"({error.strerror or error}); make room or choose another --workdir"
            ) from None
        self._bar = _bar(steps, start)

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *error) -> None:
        if self._writes:
            self._bar.close()
            self._try(NAME, self._metrics.write)
            self._try("tensorboard", self._events.close)
            if NAME in self._failing:
                self.say(f"{self._workdir / NAME}: the last reports are lost")

    def advance(self, waited: float = 0.0) -> None:
        """Counts one step, which waited so many seconds for its data."""
        self._rates.waited(waited)
        if self._writes:
            if not self._moving:
                self._bar.unpause()  # Compiling says nothing of the time left.
            self._moving = True
            self._bar.update()

    def train(self, step: int, values: dict[str, float]) -> None:
        """Reports training metrics, with rates since the last report, and memory.

        See `Rates.since` and `memory`. Time that evaluations took is left out, and so
        is the first step of this process, which compiles.
        """
        rates = self._rates.since(step)
        if not self._writes:
            return
        self._bar.set_postfix_str(_short(values, rates), refresh=False)
        if values.get("skipped"):
            skipped = many(round(values["skipped"]), "step")
            self.say(f"step {step}: {skipped} without a finite loss skipped")
        self._write(step, "train", {**values, **rates, **memory()})

    def evaluation(self, step: int, values: dict[str, float], sheet: np.ndarray):
        """Reports an evaluation and its picture sheet, uint8 [h, w, 3]."""
        if self._writes:
            self._write(step, "evaluate", values)
            self._try("tensorboard", lambda: self._events.image(step, "sheet", sheet))
            told = ", ".join(f"{key} {value:.4g}" for key, value in values.items())
            self.say(f"step {step}: {told}")
            self._bar.unpause()
        self._rates.restart(step)

    def say(self, message: str) -> None:
        """Prints a line without tearing the bar."""
        if self._writes:
            from tqdm import tqdm

            tqdm.write(message)

    def _write(self, step: int, kind: str, values: dict[str, float]) -> None:
        named = {f"{kind}/{key}": value for key, value in values.items()}
        self._try(NAME, lambda: self._metrics.add(step, kind, values))
        self._try("tensorboard", lambda: self._events.scalars(step, named))

    def _try(self, name: str, write: Callable[[], None]) -> None:
        """Writes; says so, once, if that fails."""
        try:
            write()
            self._failing.discard(name)
        except OSError as error:
            if name not in self._failing:
                self._failing.add(name)
                self.say(
                    f"{self._workdir / name}: cannot be written "
                    f"({error.strerror or error}); training goes on"
                )


def _bar(steps: int, start: int):
    from tqdm import tqdm

    # A file that the bar is written to need not hold it ten times a second.
    seconds = 0.1 if sys.stderr.isatty() else 10.0
    return tqdm(
        total=steps,
        initial=start,
        unit="step",
        desc="train",
        smoothing=0.05,
        mininterval=seconds,
        maxinterval=max(10.0, seconds),
    )


def _short(values: dict[str, float], rates: dict[str, float]) -> str:
    """What the bar has room for."""
    parts = [f"loss {values['loss']:.4g}"]
    if rates:
        rate = rates["images_per_second"]
        parts.append(f"{rate:.{1 if rate < 100 else 0}f} images/s")
        if "peak_share" in rates:
            parts.append(f"{100 * rates['peak_share']:.0f} % of peak")
        if rates["data_wait_share"] > MUCH_WAITING:
            parts.append(f"waiting for data {100 * rates['data_wait_share']:.0f} %")
    return ", ".join(parts)
