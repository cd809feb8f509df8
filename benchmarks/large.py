"""Large photos: time and peak memory of the command, and whether its tiles show.

    python benchmarks/large.py [MODEL:SIDE:TARGET ...] [--max-memory 3G] [--out FILE.md]
    python benchmarks/large.py --seams FOLDER dear-lite:512:1024 dear:512:1024

The first measures `dear restore` as one starts it, in a fresh process that compiles
everything anew, from a photo of SIDE x SIDE pixels, some of them missing, to TARGET x
TARGET. The second restores in tiles and whole, and compares the two; for each case it
writes a picture into FOLDER, the result in tiles on the left, on the right the
difference, amplified, with the borders of the tiles in red. Weights are random where
none come along.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from baseline_tables import cpu
from baselines import cores
from large_photos import MISSING, Case, Failed, as_case, inputs, weights_of
from measuring import busy_cores, limit_cores, say
from roofline import table
from seams import COMPARED, SEAMS, measure_seams

from dear_jax.errors import InputError
from dear_jax.images.photo import read_photo, write_photo

CASES = ("dear-lite:1024:4096", "dear:512:3072")
# Seconds between looks at the mark.
EVERY = 0.02
BESIDE = ("seconds", "peak, MiB", "planned", "allowed")
NOTES = """\
The command in a fresh process, `python -m dear_jax restore`, from files to a PNG file,
everything compiled anew. Peak memory is the high-water mark of the process's resident
memory (VmHWM), interpreter and libraries included; beside it what the plan expected
before the work began, and what --max-memory allowed. {missing:.0%} of the photo are
missing, in irregular strokes."""


def main() -> None:
    flags = parse()
    limit_cores(flags.threads)
    rows, notes, busy = [], [], []
    measure = measure_seams if flags.seams else measure_command
    with tempfile.TemporaryDirectory() as folder:
        for case in flags.cases:
            say(f"{case.model}, {case.pixels} ...")
            busy.append(busy_cores(seconds=1.0))
            try:
                cells, said = measure(case, Path(folder), flags)
            except (Failed, InputError) as error:
                notes.append(f"- {case.model}, {case.pixels}: {error}")
            else:
                rows.append([case.model, case.pixels, *cells])
                notes.append(f"- {case.model}, {case.pixels}: {said}")
                say(" | ".join(rows[-1]))
            say(notes[-1])
    title = "# Large photos" + (": in tiles and whole" if flags.seams else "")
    facts = (
        f"{cpu()}, cores: {flags.threads}; JAX {jax.__version__}; other work kept at "
        f"most {max(busy):.1f} cores busy, looked at before each case."
    )
    columns = ("model", "pixels", *(COMPARED if flags.seams else BESIDE))
    about = (SEAMS if flags.seams else NOTES).format(missing=MISSING)
    text = [title, facts, about, table(columns, rows), "\n".join(notes)]
    print("\n\n".join(text))
    if flags.out:
        flags.out.write_text("\n\n".join(text) + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = parser.add_argument
    option("cases", nargs="*", type=as_case, metavar="MODEL:SIDE:TARGET")
    option("--max-memory", default="3G", metavar="3G", help="default: %(default)s")
    option("--attention", choices=("exact", "windowed"), default="exact")
    option("--photo", type=Path, metavar="FILE", help="resized; default: a bundled one")
    option("--seams", type=Path, metavar="FOLDER", help="compare tiles with the whole")
    option("--tiles", type=int, default=3, help="rows and columns; default: 3")
    option("--threads", type=int, default=cores(), help="default: all, %(default)s")
    option("--out", type=Path, metavar="FILE.md")
    flags = parser.parse_args()
    flags.cases = flags.cases or [as_case(text) for text in CASES]
    return flags


def measure_command(
    case: Case, folder: Path, flags: argparse.Namespace
) -> tuple[list[str], str]:
    """Cells of `BESIDE`, and what the command says of its plan.

    Raises:
      Failed: with the last line of what the command said.
    """
    model = weights_of(case.model, folder)
    photo, mask = inputs(case.side, flags.photo)
    paths = [str(folder / name) for name in ("photo.png", "mask.png", "out.png")]
    write_photo(paths[0], photo)
    write_photo(paths[1], np.where(mask, np.uint8(255), np.uint8(0)))
    command = [sys.executable, "-m", "dear_jax", "restore", paths[0]]
    command += ["--mask", paths[1], "-o", paths[2], "--overwrite", "--model", model]
    command += ["--size", f"{case.target}x{case.target}"]
    command += ["--max-memory", flags.max_memory, "--attention", flags.attention]
    seconds, peak = watch(command, folder / "said.txt")
    if read_photo(paths[2]).shape[:2] != (case.target, case.target):
        raise Failed("its output has another size")
    plan, planned = plan_in((folder / "said.txt").read_text())
    return [f"{seconds:.1f}", f"{peak:.0f}", planned, flags.max_memory], plan


def plan_in(said: str) -> tuple[str, str]:
    """The plan among what the command said, and the memory that it expects."""
    lines = [line for line in said.splitlines() if line.startswith("photo.png: ")]
    plan = lines[0].partition(": ")[2] if lines else "no plan was told"
    expected = re.search(r"about ([\d.]+ \w+) at the peak", plan)
    return plan, expected[1] if expected else "-"


def watch(command: list[str], said: Path) -> tuple[float, float]:
    """Runs a command with nothing compiled before; (seconds, peak in MiB).

    Args:
      command: what to run.
      said: file for what it prints.

    Raises:
      Failed: if it does.
    """
    root = str(Path(__file__).resolve().parents[1])
    paths = [root, os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        "DEAR_JAX_CACHE": "off",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    peak, start = 0.0, time.perf_counter()
    with said.open("w") as file:
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env=environment
        )
        while process.poll() is None:
            peak = max(peak, mark_of(process.pid))
            time.sleep(EVERY)
    seconds = time.perf_counter() - start
    if process.returncode:
        last = (said.read_text().strip().splitlines() or ["killed"])[-1]
        raise Failed(last)
    return seconds, peak


def mark_of(process: int) -> float:
    """High-water mark of the resident memory of a process, MiB; 0 if it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    marks = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
    return int(marks[0]) / 1024 if marks else 0.0


if __name__ == "__main__":
    main()
