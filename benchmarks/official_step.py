"""LIIF's training step by its authors and this project's steps, in turns.

For `train_step.py --official FOLDER`: FOLDER is a checkout of github.com/yinboc/liif
(4c833f8), which does not come with this project. Both sides train EDSR-baseline-LIIF,
48 x 48 pixels and 2304 queries, from a batch that lies on the device; DEAR's step of
the same batch and this machine's sizes stands beside them. The official side runs in a
process of its own, see liif_step.py, and waits while the other measures.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
from roofline import DTYPES, brief, table
from steps import Case, Step, time_step

TITLE = "## Beside LIIF's official step"
SIDE, QUERIES = 48, 2304
COLUMNS = ("step", "ms a step", "images/s", "images/s, ours / official (least, most)")
NOTES = """\
Official: "plain" as its authors train; on a GPU also with TF32 products and under
bfloat16 autocast. Ratios are to "plain", the median of the rounds and in brackets the
least and largest; ours in float32 has JAX's default precision, which on a GPU is TF32.
Steps are timed in a row, the median; the official one reads its loss at every step, as
its authors' loop does. DEAR has the sizes of the first table, not LIIF's. On a CPU that
is not idle the ratios mean nothing: PyTorch's threads wait for each other."""


class Failed(Exception):
    """An official process that did not do its job."""


def compare(flags: argparse.Namespace, say: Callable[[Any], None]) -> str:
    """Measures all in turns; a section in Markdown.

    Args:
      flags: of `train_step.py`.
      say: told about progress.
    """
    try:
        return "\n\n".join([TITLE, *_compare(flags, say)])
    except Failed as error:
        return f"{TITLE}\n\nLeft out: {error}"


def _compare(flags: argparse.Namespace, say: Callable[[Any], None]) -> list[str]:
    batch, notes = flags.official_batch, [NOTES]
    ours, seconds, official = {}, {}, {}
    with contextlib.ExitStack() as stack:
        for mode in _modes():
            say(f"official LIIF, {mode}: starting ...")
            official[mode] = stack.enter_context(_official(flags, batch, mode))
        for case in _cases(batch):
            say(f"{case.model} {case.dtype}, batch {batch}: compiling ...")
            try:
                ours[f"ours: {case.model}, {case.dtype}"] = Step(case)
            except Exception as error:
                notes.append(f"Left out: {case.model}, {case.dtype}: {brief(error)}")
        turns = {f"official: {mode}": side.train for mode, side in official.items()}
        for name, step in ours.items():
            turns[name] = lambda budget, step=step: time_step(step, budget).row
        for _ in range(flags.rounds):
            for name, turn in turns.items():
                seconds.setdefault(name, []).append(turn(flags.seconds))
                say(f"{name}: {1e3 * seconds[name][-1]:.4g} ms a step")
        facts = official["plain"].facts
    rows = [_row(name, batch, seconds) for name in seconds]
    where = f"{facts['version']} on {facts['device']}, {facts['parameters']} parameters"
    return [
        f"Batch {batch}, {SIDE} x {SIDE} pixels, {QUERIES} queries, {flags.rounds} "
        f"rounds; official: {where}.",
        table(COLUMNS, rows),
        *notes,
    ]


def _cases(batch: int) -> list[Case]:
    liif = [Case("liif", t, batch, SIDE, 4.0, QUERIES, 64) for t in DTYPES]
    return liif + [Case("dear", t, batch) for t in DTYPES]


def _modes() -> tuple[str, ...]:
    cpu = jax.default_backend() == "cpu"
    return ("plain",) if cpu else ("plain", "tf32", "bfloat16")


def _row(name: str, batch: int, seconds: dict[str, list[float]]) -> list[str]:
    plain, mine = seconds["official: plain"], seconds[name]
    ratios = [a / b for a, b in zip(plain, mine, strict=True)]
    middle = statistics.median(mine)
    return [
        name,
        f"{1e3 * middle:.4g}",
        f"{batch / middle:.4g}",
        f"{statistics.median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f})",
    ]


class _Official:
    """A process that trains when told to."""

    def __init__(self, process: subprocess.Popen):
        self._process = process
        self.facts = json.loads(self._read())

    def train(self, budget: float) -> float:
        """Seconds a step."""
        with contextlib.suppress(BrokenPipeError):  # Reading tells why it ended.
            self._process.stdin.write(f"{budget}\n")
            self._process.stdin.flush()
        return float(self._read())

    def _read(self) -> str:
        line = self._process.stdout.readline()
        if not line:
            last = self._process.stderr.read().strip().splitlines() or ["killed"]
            raise Failed(f"liif_step.py: {last[-1]}")
        return line


@contextlib.contextmanager
def _official(flags: argparse.Namespace, batch: int, mode: str) -> Iterator[_Official]:
    script = Path(__file__).with_name("liif_step.py")
    sizes = [str(n) for n in (batch, SIDE, QUERIES)]
    command = [flags.torch_python, str(script), str(flags.official.resolve())]
    if not flags.official.is_dir():
        raise Failed(f"no checkout at {flags.official}")
    pipe = subprocess.PIPE
    try:
        process = subprocess.Popen(
            [*command, *sizes, mode], text=True, stdin=pipe, stdout=pipe, stderr=pipe
        )
    except OSError as error:
        raise Failed(f"{flags.torch_python}: {error.strerror}") from None
    try:
        yield _Official(process)
    finally:
        process.kill()
        process.communicate()
