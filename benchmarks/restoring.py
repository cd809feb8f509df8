"""DEAR at the paper's widths against the authors' LIIF and LTE, on the CPU.

    python benchmarks/restoring.py --official FOLDER --torch-python PYTHON \\
        --liif-weights edsr-baseline-liif.pth --out benchmarks/results/restoring.md

FOLDER holds checkouts of the official repositories, `liif` and `lte`, and PYTHON is one
that has torch; see processes.py. Each enlarges one
bundled photo from an array to an array, each time in a fresh process on the same cores.
The processes take turns, so that a noisy machine hits all, but it should be idle. DEAR
also fills a drawn irregular mask of 30 %; the others have no such work. Its weights are
random, on which its time does not depend. What was measured how, the output says.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from measuring import busy_cores, say
from processes import (
    Failed,
    Side,
    parse_shared,
    photo_and_mask,
    run,
    write_state,
)
from query_flops import attention_flops, decoding_flops, encoding_flops
from restoring_tables import Flops, Row, report, time_row

from dear_jax.errors import InputError
from dear_jax.models.registry import build, fields_of, init_variables
from dear_jax.weights import Weights, write_weights

MODEL = "dear"
MISSING = 0.3
# Who takes part: the authors' systems, and ours.
OFFICIAL = ("liif", "lte")


class Case(NamedTuple):
    """How often a size is measured, and who takes part unless asked otherwise."""

    rounds: int
    who: tuple[str, ...]


# By "side of the photo:side of the target". LTE takes minutes at the largest.
CASES = {
    "64:256": Case(3, ("liif", "lte", MODEL)),
    "64:512": Case(3, ("liif", "lte", MODEL)),
    "256:1024": Case(2, ("liif", MODEL)),
}


def main() -> None:
    flags = parse()
    rows, notes, busy = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        contest = Contest(Path(folder), flags)
        for size in flags.sizes:
            rounds, who = CASES.get(size, Case(2, ("liif", MODEL)))
            jobs = contest.jobs(size, flags.who or who)
            for _ in range(flags.rounds or rounds):
                busy.append(busy_cores(seconds=1.0))
                contest.take_turns(size, jobs)
            for row in rows_of(size, contest.records):
                rows.append(row)
                say(time_row(row))
        notes += contest.notes
    conditions = {
        "threads": flags.threads,
        "busy": max(busy, default=0.0),
        "liif": "published" if flags.liif_weights else "random",
        "missing": MISSING,
    }
    text = report(rows, notes, conditions)
    print(text)
    if flags.out:
        flags.out.write_text(text + "\n")


class Contest:
    """Runs processes and keeps what they record.

    Args:
      folder: for photos, weights and results.
      flags: see `parse`.

    Attributes:
      records: by size, then by who.
      notes: who was left out where, and why.
    """

    def __init__(self, folder: Path, flags: argparse.Namespace):
        here = Path(__file__).resolve().parent
        self._folder, self._flags = folder, flags
        self._official = Side(flags.torch_python, here / "official.py")
        self._ours = Side(sys.executable, here / "ours.py")
        self._states: dict[str, dict[str, str]] = {}
        self.records: dict[str, dict[str, list[dict[str, Any]]]] = {}
        self.notes: list[str] = []

    def jobs(self, size: str, who: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What each is to do at a size, for `take_turns`."""
        self.records[size] = {}
        jobs = {}
        for name in who:
            job = {"threads": self._flags.threads, "runs": 20}
            job |= {"system": name if name in OFFICIAL else MODEL, "limits": True}
            job["seconds"] = self._flags.seconds
            job["checkout"] = str((self._flags.official / job["system"]).resolve())
            try:
                self._write_inputs(size, job)
            except (Failed, InputError) as error:
                self._leave_out(name, size, error)
            else:
                jobs[name] = job
        return jobs

    def take_turns(self, size: str, jobs: dict[str, dict[str, Any]]) -> None:
        """Runs every job once; those that fail are left out from then on."""
        for name, job in list(jobs.items()):
            side = self._official if name in OFFICIAL else self._ours
            say(f"{size}: {name} ...")
            try:
                record = run(side, job)
            except Failed as error:
                del jobs[name]
                self.records[size].pop(name, None)
                self._leave_out(name, size, error)
            else:
                self.records[size].setdefault(name, []).append(record)

    def _leave_out(self, name: str, size: str, error: Exception) -> None:
        self.notes.append(f"Left out: {name} at {size} ({error}).")
        say(self.notes[-1])

    def _write_inputs(self, size: str, job: dict[str, Any]) -> None:
        """Writes photo, mask and weights, unless they are there, into the job."""
        side, job["target"] = map(int, size.split(":"))
        job["photo"] = str(self._folder / f"{side}.npz")
        np.savez(job["photo"], **photo_and_mask(side, MISSING))
        name = job["system"]
        if name in self._states:
            job |= self._states[name]
            return
        if name in OFFICIAL:
            write_state(self._folder, self._flags, job, self._official)
            self._states[name] = {"state": job["state"]}
        else:
            path = str(self._folder / f"{name}.safetensors")
            fields = fields_of(name)
            variables = init_variables(build(fields), seed=0)
            write_weights(path, Weights(variables, fields, {}))
            self._states[name] = {"weights": path}
            job |= self._states[name]


def rows_of(size: str, records: dict[str, dict[str, Any]]) -> list[Row]:
    """Ours beside the others, or nothing if ours was left out."""
    side, target = map(int, size.split(":"))
    found = records[size]
    theirs = {name: found[name] for name in OFFICIAL if name in found}
    if MODEL not in found:
        return []
    return [Row(size, found[MODEL], theirs, flops(side, target))]


def flops(side: int, target: int) -> Flops:
    """What the model multiplies and adds for one photo."""
    fields = fields_of(MODEL)
    return Flops(
        encoding_flops(fields, side),
        attention_flops(fields, side, 1 - MISSING),
        decoding_flops(fields, side, target),
    )


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = parser.add_argument
    option("--sizes", nargs="+", default=[*CASES], metavar="SIDE:TARGET")
    option("--who", nargs="+", choices=(*OFFICIAL, MODEL), help="in place of the usual")
    option("--rounds", type=int, help="processes each a size; default: 3 or 2")
    return parse_shared(parser)


if __name__ == "__main__":
    main()
