"""How fast training is, beside what the machine could do.

    python benchmarks/train_step.py [--out FILE.md] [options]

First the step alone, on a batch that lies on the device; then, with the same compiled
step, end to end: the data pipeline, copies and the step, as training runs it. On an
accelerator the default is DEAR at the paper's size (64 -> 256, 2304 queries) in batches
of 16, 32 and 64, in float32 and bfloat16; on a CPU that of configs/quickstart.py:dear.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import jax
from measuring import MIB, busy_cores, say
from roofline import (
    DTYPES,
    Costs,
    Limits,
    beside_limits,
    brief,
    conditions,
    measure_limits,
    table,
)
from steps import Case, Step, Timing, time_step

COLUMNS = (
    "model",
    "dtype",
    "batch",
    "how",
    "ms a step",
    "one by one",
    "dispatch",
    "images/s",
    "TFLOP/s",
    "of measured",
    "of data sheet",
    "roofline, ms",
    "attained",
    "temporary, MiB",
    "compiling, s",
)
NOTES = """\
"ms a step" is of steps dispatched in a row, as training does, and gives images/s and
all shares; "one by one" is of steps each waited for; "dispatch" is how long the call
in Python takes to return, in ms (on a CPU it may compute meanwhile); all are medians.
TFLOP/s are the model's on one device: products and convolutions of the step as
defined, nothing computed twice. The roofline is the larger of these FLOPs / the
measured product's FLOP/s and XLA's bytes / the measured bandwidth; "attained" is its
share of the time. XLA's bytes leave out what happens in calls of cuDNN and cuBLAS,
count a loop's passes once, and count what stays in a cache; so that side of the roof
is a guide, and a step can be quicker than it."""


class Record(NamedTuple):
    """What was measured of a step.

    Attributes:
      case: which.
      timing: of a dispatch.
      flops: the model's, of a step on one device.
      costs: XLA's, likewise.
      compiling: seconds.
    """

    case: Case
    timing: Timing
    flops: float
    costs: Costs
    compiling: float


class Report:
    """The text, written anew whenever there is more of it.

    Args:
      path: where to, or None.
    """

    def __init__(self, path: Path | None):
        self._path = path
        self._busy, self._limits = [busy_cores()], measure_limits()
        self._records: list[Record | list[str]] = []
        self._ends: list[list[str]] = []
        say(self._limits.line())

    def look_again(self) -> None:
        """Measures the machine again, whose other work may have hidden its limits."""
        self._busy.append(busy_cores())
        self._limits = self._limits.or_better(measure_limits())

    def add(self, record: Record | list[str]) -> None:
        """Adds a line to the first table; of cells if nothing was measured."""
        self._records.append(record)
        self._wrote(self._row(record))

    def add_end(self, line: list[str]) -> None:
        """Adds a line to the second table."""
        self._ends.append(line)
        self._wrote(line)

    def text(self) -> str:
        """All there is so far."""
        rows = [self._row(record) for record in self._records]
        facts = f"{conditions(max(self._busy))} {self._limits.line()}."
        parts = ["# The training step", facts, table(COLUMNS, rows), NOTES]
        if self._ends:
            from end_to_end import COLUMNS as END_COLUMNS
            from end_to_end import NOTES as END_NOTES

            parts += [table(END_COLUMNS, self._ends), END_NOTES]
        return "\n\n".join(parts) + "\n"

    def _row(self, record: Record | list[str]) -> list[str]:
        return record if isinstance(record, list) else row(record, self._limits)

    def _wrote(self, line: list[str]) -> None:
        say(f"| {' | '.join(line)} |")
        if self._path:
            self._path.write_text(self.text())


def main() -> None:
    flags = parse()
    report = Report(flags.out)
    for case in cases(flags):
        say(f"{' '.join(case.head())}: compiling ...")
        try:
            measure(case, flags, report)
        except Exception as error:  # Out of memory, say; the others go on.
            line = [*case.head(), case.label(), brief(error)]
            report.add(line + ["-"] * (len(COLUMNS) - len(line)))
        report.look_again()
    print(report.text(), end="")


def parse() -> argparse.Namespace:
    small = jax.default_backend() == "cpu"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = parser.add_argument
    option("--model", nargs="+", default=["dear"], help="default: %(default)s")
    batches = [4] if small else [16, 32, 64]
    option("--batch", nargs="+", type=int, default=batches, help="default: %(default)s")
    option("--dtype", nargs="+", choices=DTYPES, default=DTYPES)
    option("--side", type=int, help="low-resolution pixels; default: the recipe's")
    option("--scale", type=float, help="target side / side; default: the recipe's")
    option("--queries", type=int, help="pixels asked for in a photo")
    option("--width", type=int, help="the model's field")
    option("--accumulate", type=int, default=1, metavar="PARTS")
    option("--deterministic", action=argparse.BooleanOptionalAction, default=True)
    option("--steps-per-dispatch", nargs="+", type=int, default=[1], metavar="K")
    option("--seconds", type=float, default=4.0, help="of each timing")
    option("--photos", type=Path, metavar="FOLDER", help="default: the bundled ones")
    option("--masks", default="generated", help="folder, or %(default)s (default)")
    renders = ["host"] if small else ["host", "resident"]
    option("--render", nargs="*", default=renders, help="end to end; none: skip it")
    option("--threads", type=int, help="of the pipeline; default: the recipe's")
    option("--workers", type=int, default=0, help="processes of the pipeline")
    option("--out", type=Path, metavar="FILE.md")
    return parser.parse_args()


def cases(flags: argparse.Namespace) -> list[Case]:
    """Every combination that was asked for."""
    return [
        Case(
            model,
            dtype,
            batch,
            flags.side,
            flags.scale,
            flags.queries,
            flags.width,
            flags.accumulate,
            flags.deterministic,
            steps,
        )
        for model in flags.model
        for batch in flags.batch
        for dtype in flags.dtype
        for steps in flags.steps_per_dispatch
    ]


def measure(case: Case, flags: argparse.Namespace, report: Report) -> None:
    """Measures a step, alone and fed by the pipeline."""
    step = Step(case)
    flops = step.flops / step.mesh.size
    timing = time_step(step, flags.seconds)
    report.add(Record(case, timing, flops, step.costs, step.compiling))
    if flags.render and case.steps == 1:
        from end_to_end import end_to_end

        for render in flags.render:
            alone = case.batch / timing.row
            report.add_end(end_to_end(step, render, flags, alone))


def row(record: Record, limits: Limits) -> list[str]:
    """A line of the first table."""
    case, timing = record.case, record.timing
    seconds = timing.row / case.steps
    work = record.flops, record.costs.bytes, seconds
    return [
        *case.head(),
        case.label(),
        f"{1e3 * seconds:.4g}",
        f"{1e3 * timing.single / case.steps:.4g}",
        f"{1e3 * timing.dispatch:.3g}",
        f"{case.batch / seconds:.4g}",
        *beside_limits(*work, case.dtype, limits),
        f"{record.costs.temporary / MIB:.0f}",
        f"{record.compiling:.0f}",
    ]


if __name__ == "__main__":
    main()
