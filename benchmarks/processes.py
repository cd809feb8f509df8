"""Processes that restore a photo, one after the other, on the same cores.

Official code is run from checkouts of its authors' repositories, which do not come
with this project:

    liif   github.com/yinboc/liif           4c833f8   (EDSR-baseline too)
    lte    github.com/jaewon-lee-b/lte      a8815d6

by a Python that has torch, numpy and pillow; see official.py and ours.py. All restore
from an array to an array, each time in a fresh process, with the same weights, random
ones unless given: `--liif-weights edsr-baseline-liif.pth` (see the help of
`python -m dear_jax.convert`).
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dear_jax import bundled
from dear_jax.convert import MEMBERS
from dear_jax.convert.checkpoint import read_checkpoint
from dear_jax.convert.rules import state_dict_of
from dear_jax.data.drawn_masks import draw_strokes
from dear_jax.images import resize
from dear_jax.images.io import read_photo


class Side(NamedTuple):
    """A side of the comparison: the Python and the script that run it."""

    python: str
    script: Path


class Failed(Exception):
    """A process that did not do its job."""


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


def write_state(folder: Path, flags, job: dict[str, Any], official: Side) -> None:
    """Writes the official state_dict, published or drawn, and notes it in the job."""
    if not Path(job["checkout"]).is_dir():
        raise Failed(f"no checkout at {job['checkout']}")
    job["state"] = str(folder / f"{job['system']}.npz")
    if job["system"] == "liif" and flags.liif_weights:
        content = read_checkpoint(flags.liif_weights, MEMBERS["liif"])
        np.savez(job["state"], **state_dict_of(content, "liif")[0])
    else:
        run(official, {**job, "do": "draw"})


def photo_and_mask(side: int, missing: float) -> dict[str, np.ndarray]:
    """A photo float32 [side, side, 3] in [0, 1] and an irregular mask of it.

    Args:
      side: in pixels.
      missing: share of the photo.
    """
    photo = read_photo(bundled.PHOTOS / "astronaut.png")
    photo = resize.bicubic(photo, (side, side)).astype(np.float32) / 255
    rng = np.random.default_rng(0)
    return {
        "photo": photo,
        "mask": draw_strokes(rng, (side, side), (missing, missing)),
    }


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
