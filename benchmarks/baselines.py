"""The baselines here against the code of their authors, on the CPU: time and memory.

    python benchmarks/baselines.py --official FOLDER --torch-python PYTHON

FOLDER holds checkouts of the official repositories, none of which comes with this
project (MISF's has no licence; it is run, not copied):

    liif   github.com/yinboc/liif           4c833f8   (EDSR-baseline too)
    lte    github.com/jaewon-lee-b/lte      a8815d6
    elan   github.com/xindongzhang/ELAN     97ab3fa
    misf   github.com/tsingqguo/misf        775ef7d
    lama   github.com/advimman/lama         786f593

PYTHON is one that has torch, numpy, pillow and einops. Both sides restore one bundled
photo with the same weights, from an array to an array, each time in a fresh process on
the same cores; the processes take turns, so that a noisy machine hits both, but it
should be idle: PyTorch's threads wait for each other. The weights are random unless
given, those of LIIF may be: `--liif-weights edsr-baseline-liif.pth` (see the help of
`python -m dear_jax.convert`). What was measured how, the output says.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from baseline_tables import NAMES, Row, report, time_row
from measuring import busy_cores, say

from dear_jax import bundled
from dear_jax.convert.checkpoint import read_checkpoint
from dear_jax.convert.conversion import MEMBERS
from dear_jax.convert.state_dicts import state_dict_of
from dear_jax.errors import InputError
from dear_jax.images import resize
from dear_jax.images.photo import read_mask, read_photo

# Sides of the photo and of the target.
CASES = {
    "liif": ("64:256", "64:1024"),
    "lte": ("64:256", "64:1024"),
    "edsr": ("64:256", "128:512"),
    "elan": ("64:256", "128:512"),
    "misf": ("256:256",),
    "lama": ("256:256",),
}
# Where it is not the system's own name.
CHECKOUTS = {"edsr": "liif"}


class Side(NamedTuple):
    """A side of the comparison: the Python and the script that run it."""

    python: str
    script: Path


class Failed(Exception):
    """A process that did not do its job."""


def main() -> None:
    flags = parse()
    here = Path(__file__).resolve().parent
    official = Side(flags.torch_python, here / "official.py")
    ours = Side(sys.executable, here / "ours.py")
    rows, notes, busy = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for name in flags.systems:
            checkout = flags.official / CHECKOUTS.get(name, name)
            job = {"system": name, "checkout": str(checkout.resolve())}
            job |= {"threads": flags.threads, "runs": 20, "seconds": flags.seconds}
            try:
                masked = name in ("misf", "lama")
                write_photo(Path(folder), CASES[name][0], masked, job)
                write_state(Path(folder), flags, job, official)
                for case in flags.sizes or CASES[name]:
                    write_photo(Path(folder), case, masked, job)
                    pairs = []
                    for _ in range(flags.rounds):
                        busy.append(busy_cores(seconds=1.0))
                        pairs.append([run(side, job) for side in (official, ours)])
                    rows.append(Row(name, case, pairs, *difference(job)))
                    say(time_row(rows[-1]))
            except (Failed, InputError) as error:
                notes.append(f"Left out: {NAMES[name]} ({error}).")
                say(notes[-1])
    conditions = {
        "threads": flags.threads,
        "rounds": flags.rounds,
        "busy": max(busy, default=0.0),
        "liif": "published" if flags.liif_weights else "random",
    }
    text = report(rows, notes, conditions)
    print(text)
    if flags.out:
        flags.out.write_text(text + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = parser.add_argument
    option("--systems", default=",".join(CASES), help="default: %(default)s")
    option("--sizes", nargs="+", metavar="SIDE:TARGET", help="in place of the usual")
    option("--rounds", type=int, default=3, help="pairs of processes a size")
    flags = parse_shared(parser)
    flags.systems = flags.systems.split(",")
    for name in flags.systems:
        if name not in CASES:
            parser.error(f"system {name!r}; choose from {', '.join(CASES)}")
    return flags


def parse_shared(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Parses with the flags that comparisons with official code have in common."""
    option = parser.add_argument
    option("--official", type=Path, required=True, metavar="FOLDER")
    option("--torch-python", default=sys.executable, metavar="PYTHON")
    option("--threads", type=int, default=cores(), help="default: all, %(default)s")
    option("--seconds", type=float, default=5.0, help="of timed calls a process")
    option("--liif-weights", type=Path, metavar="FILE", help="published checkpoint")
    option("--out", type=Path, metavar="FILE.md")
    flags = parser.parse_args()
    if not 1 <= flags.threads <= cores():
        parser.error(f"--threads {flags.threads}; there are {cores()} cores")
    return flags


def cores() -> int:
    known = hasattr(os, "sched_getaffinity")
    return len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1


def write_photo(folder: Path, case: str, masked: bool, job: dict[str, Any]) -> None:
    """Writes the photo and mask of a case, empty or not, and notes them in the job."""
    side, target = map(int, case.split(":"))
    photo = read_photo(bundled.PHOTOS / "astronaut.png")
    photo = resize.bicubic(photo, (side, side)).astype(np.float32) / 255
    mask = np.zeros((side, side), bool)
    if masked:
        mask = resize.nearest(read_mask(bundled.MASKS / "30-40.png"), mask.shape)
    job |= {"photo": str(folder / "photo.npz"), "target": target}
    np.savez(job["photo"], photo=photo, mask=mask)


def write_state(folder: Path, flags, job: dict[str, Any], official: Side) -> None:
    """Writes the official state_dict, published or drawn, and notes it in the job."""
    if not Path(job["checkout"]).is_dir():
        raise Failed(f"no checkout at {job['checkout']}")
    job["state"] = str(folder / f"{job['system']}.npz")
    if job["system"] == "liif" and flags.liif_weights:
        content = read_checkpoint(flags.liif_weights, MEMBERS["liif"])
        np.savez(job["state"], **state_dict_of(content, "liif").state)
    else:
        run(official, {**job, "do": "draw"})


def run(side: Side, job: dict[str, Any]) -> dict[str, Any]:
    """Has a side do a job in a fresh process; returns its record.

    Raises:
      Failed: with the last line of its errors.
    """
    start = Path(job["photo"]).parent / side.script.stem
    paths = {key: f"{start}.{key}" for key in ("job", "record")}
    job = {"do": "run", **job, "output": f"{start}.npy", "record": paths["record"]}
    Path(paths["job"]).write_text(json.dumps(job))
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "JAX_ENABLE_COMPILATION_CACHE": "false",
        "OMP_NUM_THREADS": str(job["threads"]),
        "PYTHONDONTWRITEBYTECODE": "1",
        # The tree that the script is of, whichever is installed.
        "PYTHONPATH": str(side.script.parents[1]),
    }
    command = [side.python, str(side.script), paths["job"]]
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
    except OSError as error:
        raise Failed(f"{side.python}: {error.strerror}") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["killed"])[-1]
        raise Failed(f"{side.script.stem}: {last}")
    return {} if job["do"] == "draw" else json.loads(Path(paths["record"]).read_text())


def difference(job: dict[str, Any]) -> tuple[float, float]:
    """Largest difference of the last outputs, and the official one's deviation."""
    folder = Path(job["photo"]).parent
    theirs, mine = (np.load(folder / f"{side}.npy") for side in ("official", "ours"))
    if theirs.shape != mine.shape:
        raise Failed(f"the official output is {theirs.shape}, ours {mine.shape}")
    with np.load(job["photo"]) as stored:
        shown = stored["mask"] if stored["mask"].any() else ...
    return float(abs(theirs - mine).max()), float(theirs[shown].std())


if __name__ == "__main__":
    main()
