"""WORKDIR/metrics.jsonl: what a run told, one report a line.

A report is {"step": int, "kind": "train" or "evaluate", name: number, ...}. Numbers
that JSON has no word for are text: "nan", "inf", "-inf". A line that is no report, as
a kill or a crash of the machine leaves one, does not count.
"""

import json
from pathlib import Path
from typing import Any

from dear_jax.errors import InputError
from dear_jax.evaluation.scores import spoken
from dear_jax.files import replacing

NAME = "metrics.jsonl"
_SPOKEN = ("nan", "inf", "-inf")


class MetricsFile:
    """The file of a run that begins or goes on after a step.

    Args:
      workdir: folder of the run.
      start: reports of later steps are dropped: they are trained again. At 0 the file
        begins anew.

    Raises:
      InputError: if it cannot be read or written.
    """

    def __init__(self, workdir: Path, start: int):
        self._path = workdir / NAME
        self._unwritten = b""
        reports = [(line, _report(line)) for line in _lines(self._path)]
        with replacing(self._path) as partial:
            partial.write_bytes(
                b"".join(
                    line + b"\n"
                    for line, report in reports
                    if start and report and report["step"] <= start
                )
            )

    def add(self, step: int, kind: str, values: dict[str, float]) -> None:
        """Writes a report, and those that could not be written before.

        Raises:
          OSError: if they cannot be written; they are kept for the next time.
        """
        spoken_values = {key: spoken(float(value)) for key, value in values.items()}
        line = json.dumps({"step": step, "kind": kind, **spoken_values})
        self._unwritten += line.encode() + b"\n"
        self.write()

    def write(self) -> None:
        """Writes what could not be written before, if anything.

        Raises:
          OSError: if it cannot be written now either.
        """
        if not self._unwritten:
            return
        # Opened each time: a folder that is gone takes no more lines in silence.
        with open(self._path, "ab", buffering=0) as file:
            end, rest = file.tell(), self._unwritten
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError:
                file.truncate(end)
                raise
        self._unwritten = b""


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """The reports of a run in the order they were made; none if there is no file.

    Raises:
      InputError: if the file cannot be read.
    """
    reports = filter(None, map(_report, _lines(workdir / NAME)))
    return [
        {key: float(v) if v in _SPOKEN else v for key, v in report.items()}
        for report in reports
    ]


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


def _report(line: bytes) -> dict[str, Any] | None:
    """The report in a line, None if there is none."""
    try:
        report = json.loads(line)
    except (ValueError, RecursionError):
        return None
    sound = isinstance(report, dict) and isinstance(report.get("step"), int)
    return report if sound and isinstance(report.get("kind"), str) else None
