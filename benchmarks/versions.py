"""A bundled model of this tree against that of an earlier commit, on the CPU.

    git worktree add ../before COMMIT
    python benchmarks/versions.py --before ../before --out FILE.md

Each restores one bundled photo from an array to an array, each time in a fresh process
on the same cores; processes of the two trees take turns, so that a noisy machine hits
both, but it should be idle. Weights are random, on which time does not depend; of the
photo a share is missing. Where the earlier tree refuses a photo or wants its attention
approximated, `--windowed SIDE:TARGET` says so for that size.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from measuring import busy_cores, say
from processes import Failed, Side, cores, photo_and_mask, run

# Enlarged, then at scale 1, the last of them 12 megapixels.
SIZES = (
    *("64:256", "256:1024"),
    *("128:128", "256:256", "512:512", "1024:1024", "3464:3464"),
)
TREES = ("before", "now")
# What makes a weights file in a tree; either has its own fields and parameters.
WEIGHTS = """
import sys
try:
    from dear_jax.registry import build, fields_of, init_variables  # Of earlier trees.
except ImportError:
    from dear_jax.models.registry import build, fields_of, init_variables
from dear_jax.weights import Weights, write_weights
name, path = sys.argv[1:]
fields = fields_of(name)
write_weights(path, Weights(init_variables(build(fields), seed=0), fields, {}))
"""


def main() -> None:
    flags = parse()
    roots = {"before": flags.before, "now": Path(__file__).resolve().parents[1]}
    sides = {
        tree: Side(sys.executable, root.resolve() / "benchmarks" / "ours.py")
        for tree, root in roots.items()
    }
    with tempfile.TemporaryDirectory() as folder:
        for tree, side in sides.items():
            write_random(side, flags.model, Path(folder) / f"{tree}.safetensors")
        rows, busy = [], 0.0
        for size in flags.sizes:
            busy = max(busy, busy_cores(seconds=1.0))
            jobs = {tree: job_of(flags, size, tree, Path(folder)) for tree in TREES}
            try:
                rows.append(row(size, take_turns(sides, jobs, flags)))
            except Failed as error:
                rows.append(f"| {size} | {error} |" + " |" * 6)
            say(rows[-1])
    text = report(flags, rows, busy)
    print(text)
    if flags.out:
        flags.out.write_text(text)


def write_random(side: Side, model: str, path: Path) -> None:
    """Writes random weights by the code of a tree."""
    command = [side.python, "-c", WEIGHTS, model, str(path)]
    subprocess.run(command, check=True, cwd=side.script.parents[1])


def take_turns(sides: dict, jobs: dict, flags: Any) -> dict[str, list[dict[str, Any]]]:
    """The records of each tree; a tree whose call is long runs once.

    Raises:
      Failed: as `run`.
    """
    records = {tree: [] for tree in sides}
    for _ in range(flags.rounds):
        for tree, found in records.items():
            if not found or min(found[0]["times"]) <= flags.long:
                found.append(run(sides[tree], jobs[tree]))
                say(f"{tree}: {min(found[-1]['times']):.3f} s")
    return records


def job_of(flags: Any, size: str, tree: str, folder: Path) -> dict[str, Any]:
    """What a process is to do; writes photo and mask unless they are there."""
    side, target = map(int, size.split(":"))
    missing = flags.missing if target > side else flags.missing_at_scale_1
    photo = folder / f"{side}-{missing}.npz"
    if not photo.exists():
        np.savez(photo, **photo_and_mask(side, missing))
    job = {"system": flags.model, "photo": str(photo), "target": target}
    job |= {"weights": str(folder / f"{tree}.safetensors"), "threads": flags.threads}
    if tree == "before" and size in flags.windowed:
        job["attention"] = "windowed"
    return job | {"runs": 20, "seconds": flags.seconds}


def row(size: str, records: dict[str, list[dict[str, Any]]]) -> str:
    """A row of the table."""
    side, target = map(int, size.split(":"))
    times, peaks = {}, {}
    for tree, found in records.items():
        times[tree] = statistics.median(min(one["times"]) for one in found)
        peaks[tree] = max(one["peak"] for one in found)
    cells = [f"{side} -> {target}"]
    cells += [f"{1000 * times[tree]:.1f}" for tree in TREES]
    cells.append(f"{times['now'] / times['before']:.2f}")
    cells += [f"{1e6 * times[tree] / side**2:.2f}" for tree in TREES]
    cells += [f"{peaks[tree]:.0f}" for tree in TREES]
    return "| " + " | ".join(cells) + " |"


def report(flags: Any, rows: list[str], busy: float) -> str:
    """The table and how it was measured."""
    heads = "| size | before, ms | now, ms | now / before | before, us a photo pixel "
    heads += "| now | before, peak MiB | now |"
    said = (
        f"`{flags.model}`, {flags.threads} threads, float32; {flags.missing:.0%} of "
        f"the photo missing, {flags.missing_at_scale_1:.0%} at scale 1. The median "
        f"over {flags.rounds} processes (one if a call takes {flags.long:.0f} s) of "
        "each one's quickest call; memory is that of the process above its imports. "
        f"Other work kept at most {busy:.1f} cores busy."
    )
    if flags.windowed:
        said += f" Windowed attention before: {', '.join(flags.windowed)}."
    return "\n".join([heads, "|---" * 8 + "|", *rows, "", said, ""])


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = parser.add_argument
    option("--before", type=Path, required=True, metavar="CHECKOUT")
    option("--model", default="dear-lite", help="default: %(default)s")
    option("--sizes", nargs="+", default=[*SIZES], metavar="SIDE:TARGET")
    option("--windowed", nargs="*", default=["3464:3464"], metavar="SIDE:TARGET")
    option("--missing", type=float, default=0.3, help="share of the photo")
    option("--missing-at-scale-1", type=float, default=0.01)
    option("--rounds", type=int, default=3, help="processes each a size")
    option("--threads", type=int, default=cores(), help="default: all, %(default)s")
    option("--seconds", type=float, default=3.0, help="of timed calls a process")
    option("--long", type=float, default=10.0, help="seconds of a call made only once")
    option("--out", type=Path, metavar="FILE.md")
    flags = parser.parse_args()
    if not (flags.before / "benchmarks" / "ours.py").is_file():
        parser.error(f"--before {flags.before}: no checkout with benchmarks/ours.py")
    return flags


if __name__ == "__main__":
    main()
