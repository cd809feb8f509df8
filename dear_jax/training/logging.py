"""What a run reports: a progress bar, JSON lines and TensorBoard events.

    WORKDIR/metrics.jsonl    one report a line: {"step": int, "kind": "train" or
                             "evaluate", name: number, ...}; numbers that JSON has no
                             word for are text: "nan", "inf", "-inf"
    WORKDIR/tensorboard/     the same, and the picture sheets

A disk that is full, or a folder that is gone, does not stop a run here: lines are kept
until they can be written. Checkpoints decide whether it can go on. A line that is no
report, as a kill or a crash of the machine leaves one, does not count.
"""

import collections
import contextlib
import json
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, UInt8

from dear_jax.errors import InputError
from dear_jax.files import replacing
from dear_jax.training.throughput import Rates, memory
from dear_jax.typing import Array

METRICS, EVENTS = "metrics.jsonl", "tensorboard"
# Share of the time from which on the bar says that steps wait for data.
MUCH_WAITING = 0.1
# Steps in a row without a finite loss after which a run is given up.
MOST_SKIPPED = 20
_NOT_IN_JSON = ("nan", "inf", "-inf")


class Log:
    """Writes reports; a context manager.

    Args:
      workdir: folder of the run.
      steps: length of the run.
      start: step at which this process begins; reports of later steps are dropped:
        they are trained again. At 0 the file begins anew.
      rates: clock of this process's steps.
      writes: False for processes other than the first: nothing is written or said.

    Raises:
      InputError: if nothing can be written to the workdir.
    """

    def __init__(
        self, workdir: Path, steps: int, start: int, rates: Rates, writes: bool = True
    ):
        self._workdir, self._rates, self._writes = workdir, rates, writes
        self._failing: set[str] = set()
        self._moving = False
        if not writes:
            return
        self._unwritten = b""
        _drop_reports(workdir / METRICS, start)
        try:
            self._events = _Events(workdir / EVENTS, start)
        except OSError as error:
            raise InputError(
                f"{workdir / EVENTS}: cannot be written "
                f"({error.strerror or error}); make room or choose another --workdir"
            ) from None
        self._bar = _bar(steps, start)

    def __enter__(self) -> "Log":
        return self

    def __exit__(self, *error) -> None:
        if self._writes:
            self._bar.close()
            self._try(METRICS, self._write_lines)
            self._try(EVENTS, self._events.close)
            if METRICS in self._failing:
                self.say(f"{self._workdir / METRICS}: the last reports are lost")

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
        if skipped := round(values.get("skipped", 0)):
            steps = "1 step" if skipped == 1 else f"{skipped} steps"
            self.say(f"step {step}: {steps} without a finite loss skipped")
        self._report(step, "train", {**values, **rates, **memory()})

    def evaluation(
        self, step: int, values: dict[str, float], sheet: UInt8[np.ndarray, "h w 3"]
    ) -> None:
        """Reports an evaluation and its picture sheet."""
        if self._writes:
            self._report(step, "evaluate", values, sheet)
            listed = ", ".join(f"{key} {value:.4g}" for key, value in values.items())
            self.say(f"step {step}: {listed}")
            self._bar.unpause()
        self._rates.restart(step)

    def say(self, message: str) -> None:
        """Prints a line without tearing the bar."""
        if self._writes:
            from tqdm import tqdm

            tqdm.write(message)

    def _report(self, step: int, kind: str, values: dict[str, float], sheet=None):
        report = {"step": step, "kind": kind}
        for name, value in values.items():
            value = float(value)
            report[name] = value if math.isfinite(value) else str(value)
        self._unwritten += json.dumps(report).encode() + b"\n"
        self._try(METRICS, self._write_lines)
        named = {f"{kind}/{name}": value for name, value in values.items()}
        self._try(EVENTS, lambda: self._events.add(step, named, sheet))

    def _write_lines(self) -> None:
        """Writes the lines that are not yet written; whole ones or none."""
        if not self._unwritten:
            return
        # Opened each time: a folder that is gone takes no more lines in silence.
        with open(self._workdir / METRICS, "ab", buffering=0) as file:
            end, rest = file.tell(), self._unwritten
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError:
                file.truncate(end)
                raise
        self._unwritten = b""

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


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """The reports of a run in the order they were made; none if there is no file.

    Raises:
      InputError: if the file cannot be read.
    """
    reports = filter(None, map(_parsed, _lines(workdir / METRICS)))
    return [
        {key: float(v) if v in _NOT_IN_JSON else v for key, v in report.items()}
        for report in reports
    ]


def _drop_reports(path: Path, start: int) -> None:
    """Drops reports of steps after `start`, all if it is 0, and what is no report."""
    kept = b""
    for line in _lines(path):
        report = _parsed(line)
        if start and report and report["step"] <= start:
            kept += line + b"\n"
    with replacing(path) as partial:
        partial.write_bytes(kept)


def _lines(path: Path) -> list[bytes]:
    try:
        return path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); make it readable or "
            "move it away"
        ) from None


def _parsed(line: bytes) -> dict[str, Any] | None:
    """The report in a line, None if there is none."""
    try:
        report = json.loads(line)
    except (ValueError, RecursionError):
        return None
    sound = isinstance(report, dict) and isinstance(report.get("step"), int)
    return report if sound and isinstance(report.get("kind"), str) else None


class _Events:
    """TensorBoard's file of a run that begins or goes on after a step.

    tensorboardX's `SummaryWriter` writes in a thread that dies where a disk is full;
    training would then wait for it for ever. Here an error is raised, once, and the
    file ends.
    """

    def __init__(self, folder: Path, start: int):
        from tensorboardX.event_file_writer import EventsWriter

        log = _protocol().SessionLog
        folder.mkdir(exist_ok=True)  # Not a workdir that is gone.
        self._writer = EventsWriter(str(folder / "events"), f".{os.getpid()}")
        # TensorBoard forgets events of later steps: they are trained again.
        self._write(start + 1, session_log=log(status=log.START))
        self._writer.flush()

    def add(self, step: int, values: dict[str, float], sheet=None) -> None:
        """Adds numbers by name, and a picture; raises OSError."""
        from tensorboardX import summary

        if self._writer is None:
            return
        try:
            for name, value in values.items():
                self._write(step, summary=summary.scalar(name, value))
            if sheet is not None:
                image = summary.image("sheet", sheet, dataformats="HWC")
                self._write(step, summary=image)
            self._writer.flush()
        except OSError:
            with contextlib.suppress(OSError):
                self.close()
            raise

    def close(self) -> None:
        """Ends the file; raises OSError."""
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.close()

    def _write(self, step: int, **content) -> None:
        assert self._writer is not None
        event = _protocol().Event(wall_time=time.time(), step=step, **content)
        self._writer.write_event(event)


def _protocol() -> Any:
    """Messages that are made as it is imported, which no type checker sees."""
    from tensorboardX.proto import event_pb2

    return event_pb2


class StepMetrics:
    """Collects the metrics of steps, read a little behind them.

    A device works on while the host reads the metrics of earlier steps, so reading
    costs no time as long as the newest steps are left alone.

    Attributes:
      stop: whether a step read so far carries a process's request to stop.
    """

    def __init__(self):
        self.stop = False
        self._unread = collections.deque()
        self._read: list[dict[str, float]] = []
        self._skipped_in_a_row = 0

    def add(self, step: int, metrics: dict[str, Float[Array, ""]]) -> None:
        """Keeps the metrics of a step; reads nothing yet."""
        self._unread.append((step, metrics))

    def settle(self, ahead: int = 0) -> "StepMetrics":
        """Reads all metrics but those of the last `ahead` steps, waiting for them.

        Raises:
          InputError: after too many steps in a row without a finite loss.
        """
        while len(self._unread) > ahead:
            step, metrics = self._unread.popleft()
            values = {key: float(v) for key, v in jax.device_get(metrics).items()}
            self.stop |= bool(values.pop("stop"))
            self._read.append(values)
            row = self._skipped_in_a_row + 1 if values["skipped"] else 0
            self._skipped_in_a_row = row
            if row >= MOST_SKIPPED:
                raise InputError(
                    f"no finite loss and gradient in {MOST_SKIPPED} steps in a row, up "
                    f"to step {step}; training stopped, the last checkpoint is sound. "
                    "Lower config.optimizer.learning_rate or set "
                    "config.optimizer.clip_norm, in a new --workdir or with "
                    "--accept_changes"
                )
        return self

    def means(self) -> dict[str, float]:
        """Means over the steps read since the last call; "skipped" is a number.

        Steps that were skipped count nowhere else; if all were, the means are NaN.
        """
        read, self._read = self._read, []
        skipped = sum(values["skipped"] for values in read)
        kept = [values for values in read if not values["skipped"]]
        means = {
            key: float(np.mean([values[key] for values in kept])) if kept else math.nan
            for key in read[0]
        }
        return {**means, "skipped": skipped}


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
