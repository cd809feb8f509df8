"""The tables that `restoring.py` prints."""

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any, NamedTuple

from roofline import cpu

NAMES = {"liif": "EDSR-baseline-LIIF", "lte": "EDSR-baseline-LTE"}
# Of processes of one side, see `measuring.measure`.
Records = Sequence[dict[str, Any]]
TITLE = "# Restoring on a CPU: DEAR at the paper's widths beside official LIIF and LTE"
NOTES = """\
Each takes one photo as an array and returns one: the authors' demo code
(`batched_predict` in chunks of 30000 queries) on the whole photo, `dear_jax` on the
photo with {missing:.0%} of its pixels missing, in irregular strokes: pixels that are
missing ask for no attention, all else is done for every pixel. Measurements are made in
fresh processes, in turns. Seconds are the median of all calls but each process's first
two, or first one where the second takes longer than the time for all of them. Ratios
are official / DEAR: above 1 DEAR takes less; in brackets the least and largest of the
turns. Compilation is what DEAR's first call takes longer than the others.
Attention is of every known pixel to all pixels."""
MEMORY = """\
Memory is resident memory in MiB, by the kernel's high-water mark (VmHWM), the median of
the processes. "Peak" is the mark above what was resident after the imports: weights and
the first call with its compilation included, reading the weights not. "Warm" is how far
memory rises during the second call, above what was resident before it."""
LIMITS = """\
Beside the limits of the machine: what DEAR's matrix products and convolutions multiply
and add, in GFLOP, and the seconds they alone would take at the rate of a dense float32
matrix product, the best that was measured in the same processes on the same cores.
"Attained" is their share of the time measured above; the rest is all else, such as the
exponentials of attention."""


class Flops(NamedTuple):
    """Floating-point operations for one photo.

    Attributes:
      encoder: all that is done once a pixel of the photo, but attention.
      attention: of the known pixels, or nearly so.
      decoder: what is done once a pixel of the target.
    """

    encoder: float
    attention: float
    decoder: float


class Row(NamedTuple):
    """What was measured at a size.

    Attributes:
      size: "side of the photo:side of the target", in pixels.
      ours: records of our processes, see `measuring.measure`; "product" is the
        FLOP/s of a matrix product that each measured.
      theirs: records of the official processes, by system; some may be missing.
      flops: what ours computes.
    """

    size: str
    ours: Records
    theirs: dict[str, Records]
    flops: Flops


def time_row(row: Row) -> str:
    """A line of the table of times."""
    cells = [f"{seconds(row.ours):.3g}"]
    for theirs in _others(row):
        known = theirs and [f"{seconds(theirs):.3g}", times_ratio(theirs, row.ours)]
        cells += known or ["-", "-"]
    return _line(row, [*cells, f"{compilation(row.ours):.1f}"])


def memory_row(row: Row, key: str) -> str:
    """A line of the table of "peak" or "warm" memory."""
    cells = [memory_cell(row.ours, key)]
    for theirs in _others(row):
        known = theirs and [
            memory_cell(theirs, key),
            memory_ratio(theirs, row.ours, key),
        ]
        cells += known or ["-", "-"]
    return _line(row, cells)


def limits_row(row: Row, rate: float) -> str:
    """A line of the table of limits; the rate is a product's FLOP/s."""
    taken, least = seconds(row.ours), sum(row.flops) / rate
    cells = [
        *(f"{part / 1e9:.4g}" for part in row.flops),
        f"{sum(row.flops) / taken / 1e9:.0f}",
        f"{rate / 1e9:.0f}",
        f"{least:.3g}",
        f"{least / taken:.0%}",
    ]
    return _line(row, cells)


def report(rows: Sequence[Row], notes: list[str], conditions: dict[str, Any]) -> str:
    """The whole text, in Markdown.

    Args:
      rows: one for each size.
      notes: lines on what is not in them.
      conditions: "threads", "busy" cores, what weights "liif" had, share "missing".
    """
    if not rows:
        return "\n\n".join([TITLE, *notes])
    names = [*rows[0].theirs]
    records = [rows[0].ours[0], *(rows[0].theirs[name][0] for name in names)]
    versions = ", ".join(sorted({record["version"] for record in records}))
    imported = ", ".join(
        f"{name} {record['imported']:.0f}"
        for name, record in zip(["DEAR", *map(str.upper, names)], records, strict=True)
    )
    count = ", ".join(sorted({str(len(row.ours)) for row in rows}, reverse=True))
    head = (
        f"{cpu()}, threads a process: {conditions['threads']}; {versions}; float32; "
        f"turns a size: {count}; other work kept at most {conditions['busy']:.1f} "
        "cores busy, looked at before each turn. Official systems: "
        f"{NAMES['liif']} ({conditions['liif']} weights) and {NAMES['lte']} (random "
        "weights). DEAR's weights are random."
    )
    times = _columns("s", "compilation, s")
    # The best: other work only ever takes away.
    rate = max(record["product"] for row in rows for record in row.ours)
    return "\n\n".join(
        [
            TITLE,
            head,
            NOTES.format(missing=conditions["missing"]),
            *notes,
            _table(times, map(time_row, rows)),
            f"{MEMORY} Resident after the imports: {imported}.",
            _table(_columns("peak"), (memory_row(row, "peak") for row in rows)),
            _table(_columns("warm"), (memory_row(row, "warm") for row in rows)),
            LIMITS,
            _table(
                "encoder | attention | decoder | GFLOP/s | of a product | "
                "products alone, s | attained",
                (limits_row(row, rate) for row in rows),
            ),
        ]
    )


def _others(row: Row) -> list[Records | None]:
    return [row.theirs.get(name) for name in ("liif", "lte")]


def _columns(unit: str, *more: str) -> str:
    columns = [f"DEAR, {unit}"]
    for name in ("LIIF", "LTE"):
        columns += [f"{name}, {unit}", f"{name} / DEAR"]
    return " | ".join([*columns, *more])


def _line(row: Row, cells: list[str]) -> str:
    side, target = row.size.split(":")
    return f"| {side} -> {target} | {' | '.join(cells)} |"


def _table(columns: str, lines: Iterable[str]) -> str:
    head = f"| side, pixels | {columns} |"
    return "\n".join([head, "|---" * (head.count("|") - 1) + "|", *lines])


def seconds(records: Records) -> float:
    """The median of all timed calls of some processes."""
    return median(seconds for record in records for seconds in record["times"])


def compilation(records: Records) -> float:
    """Seconds by which first calls take longer than later ones."""
    return median(record["start"] for record in records)


def times_ratio(theirs: Records, mine: Records) -> str:
    """Their time / mine; in brackets the least and largest of pairs of processes."""
    pairs = zip(theirs, mine, strict=True)
    each = [median(a["times"]) / median(b["times"]) for a, b in pairs]
    overall = seconds(theirs) / seconds(mine)
    return f"{overall:.2f} ({min(each):.2f} to {max(each):.2f})"


def memory_cell(records: Records, key: str) -> str:
    """MiB, the median of "peak" or "warm"; "-" where it is not known."""
    found = _memory(records, key)
    return "-" if found is None else f"{found:.0f}"


def memory_ratio(theirs: Records, mine: Records, key: str) -> str:
    """Their memory / mine; "-" where one is not known."""
    above, below = _memory(theirs, key), _memory(mine, key)
    return "-" if None in (above, below) or not below else f"{above / below:.2f}"


def _memory(records: Records, key: str) -> float | None:
    values = [record[key] for record in records]
    return None if None in values else median(values)
