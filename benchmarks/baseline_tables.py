"""The tables that `baselines.py` prints."""

import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

NAMES = {
    "liif": "EDSR-baseline-LIIF",
    "lte": "EDSR-baseline-LTE",
    "edsr": "EDSR-baseline x4",
    "elan": "ELAN-light x4",
    "misf": "MISF",
    "lama": "LaMa-fourier",
}
NOTES = """\
Both sides have the same weights and cores and restore one photo from an array to an
array, coordinates, normalisation and clipping included: the authors' test or demo code
(LIIF and LTE: `batched_predict` in chunks of 30000 queries) against `dear_jax`'s
systems. Measurements are made in fresh processes, the two sides in turns. Seconds are
the median of all calls but each process's first two, or first one where the second
takes longer than the time for all of them. Ratios are official / ours: above
1 ours takes less; in brackets the least and largest of the pairs of processes.
Compilation is what the first call here takes longer than the others. The difference is
the largest of any value of the outputs, which are in [0, 1]; in brackets the official
output's standard deviation (of an inpainter's, in the holes).

Memory is resident memory in MiB, by the kernel's high-water mark (VmHWM), the median of
the processes. "Peak" is the mark above what was resident after the imports: weights and
the first call with its compilation included, reading the weights not. "Warm" is how far
memory rises during the second call, above what was resident before it."""

# What processes of one side recorded, see `measuring.measure`.
Records = Sequence[dict[str, Any]]


class Row(NamedTuple):
    """What was measured of a system at a size.

    Attributes:
      system: see `NAMES`.
      case: "side of the photo:side of the target", in pixels.
      pairs: the records of the official process and of ours, see `measuring.measure`.
      difference: largest difference of the outputs.
      deviation: standard deviation of the official output.
    """

    system: str
    case: str
    pairs: list[list[dict[str, Any]]]
    difference: float
    deviation: float


def time_row(row: Row) -> str:
    """A line of the table of times."""
    theirs, mine = zip(*row.pairs, strict=True)
    return (
        f"| {_where(row)} | {seconds(theirs):.3g} | {seconds(mine):.3g} | "
        f"{times_ratio(theirs, mine)} | {compilation(mine):.1f} | "
        f"{row.difference:.0e} ({row.deviation:.2g}) |"
    )


def memory_row(row: Row) -> str:
    """A line of the table of memory."""
    theirs, mine = zip(*row.pairs, strict=True)
    cells = [
        cell
        for key in ("peak", "warm")
        for cell in (
            memory_cell(theirs, key),
            memory_cell(mine, key),
            memory_ratio(theirs, mine, key),
        )
    ]
    return f"| {_where(row)} | {' | '.join(cells)} |"


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


def _where(row: Row) -> str:
    side, target = row.case.split(":")
    return f"{NAMES[row.system]} | {side} -> {target}"


def report(rows: list[Row], notes: list[str], conditions: dict[str, Any]) -> str:
    """The whole text, in Markdown.

    Args:
      rows: one for each system and size.
      notes: lines on what is not in them.
      conditions: "threads", "rounds", "busy" cores and what weights "liif" had.
    """
    title = "# Baselines on a CPU: the authors' code against this project"
    if not rows:
        return "\n".join([title, "", *notes])
    first = rows[0].pairs[0]
    imported = " and ".join(f"{record['imported']:.0f} MiB" for record in first)
    versions = ", ".join(record["version"] for record in first)
    times = "official, s | ours, s | ratio | compilation, s | largest difference"
    memory = "official peak | ours | ratio | official warm | ours | ratio"
    lines = [
        f"{cpu()}, threads a side: {conditions['threads']}; {versions}; "
        f"{conditions['rounds']} pairs of processes a row; other work kept at most "
        f"{conditions['busy']:.1f} cores busy, looked at before each pair. Weights: "
        f"random, LIIF's {conditions['liif']}.",
        f"{NOTES} Resident after the imports: {imported}.",
        *notes,
        "\n".join(_table(times, map(time_row, rows))),
        "\n".join(_table(memory, map(memory_row, rows))),
    ]
    return "\n\n".join([title, *lines])


def _table(columns: str, lines: Iterable[str]) -> list[str]:
    head = f"| system | side, pixels | {columns} |"
    return [head, "|---" * (head.count("|") - 1) + "|", *lines]


def cpu() -> str:
    """The processor's name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()
