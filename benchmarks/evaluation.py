"""Measuring many photos: results a second, where the time goes, and memory on the way.

    python benchmarks/evaluation.py [--photos 2000] [--model dear-lite] [--scale 4]

The photos are JPEG files made of the bundled ones (turned, mirrored, cut and brought
back to 256 x 256), each with one mask. Memory is the resident set of this process.
"""

import argparse
import tempfile
from pathlib import Path

import jax
import numpy as np
from measuring import resident
from PIL import Image
from tqdm import tqdm

import dear_jax
from dear_jax import bundled
from dear_jax.evaluation import protocol
from dear_jax.evaluation.batches import Batches
from dear_jax.evaluation.evaluate import Seconds, evaluate
from dear_jax.evaluation.journal import Journal
from dear_jax.images import photo, resize

SIDE = 256


def make_photos(folder: Path, count: int) -> None:
    """Writes `count` different photos as JPEG."""
    rng = np.random.default_rng(0)
    originals = [photo.read_photo(p) for p in photo.list_photos(bundled.PHOTOS)]
    for i in range(count):
        original = np.rot90(originals[i % len(originals)], rng.integers(4))
        side = int(rng.integers(SIDE // 2, SIDE))
        top, left = rng.integers(0, SIDE - side, 2)
        part = original[top : top + side, left : left + side]
        part = part[:, :: rng.choice((-1, 1))]
        made = resize.bicubic(np.ascontiguousarray(part), (SIDE, SIDE))
        Image.fromarray(made).save(folder / f"{i:05d}.jpg", quality=95)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--photos", type=int, default=2000)
    parser.add_argument("--model", default="dear-lite")
    parser.add_argument("--scale", type=float, default=4)
    parser.add_argument("--weights", default="weights")
    flags = parser.parse_args()
    system = dear_jax.load(flags.model, weights=flags.weights)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "photos").mkdir()
        make_photos(folder / "photos", flags.photos)
        mask = next(iter(photo.list_photos(bundled.MASKS)))
        holes = np.where(photo.read_mask(mask), np.uint8(255), np.uint8(0))
        photo.write_photo(folder / "masks/m.png", holes)
        cases = protocol.cases(folder / "photos", folder / "masks", flags.scale)
        journal = Journal(folder / "scores", "benchmark", {})
        print(f"{jax.devices()[0].device_kind}, {jax.local_device_count()} device(s)")
        print(f"{flags.model}, x{flags.scale:g}: {len(cases)} results")
        # The first batch compiles.
        where = folder / "photos", folder / "masks", flags.scale
        evaluate(system, protocol.cases(*where, limit=Batches(cases).photos))
        memory, seconds = [], Seconds()
        with tqdm(total=len(cases)) as bar:

            def note(count: int) -> None:
                bar.update(count)
                memory.append(resident())

            evaluate(system, cases, journal, on_progress=note, seconds=seconds)
    tenth = max(1, len(memory) // 10)
    print(seconds)
    marks = [
        f"{memory[min(i, len(memory) - 1)]:.0f}" for i in range(0, len(memory), tenth)
    ]
    print(f"resident memory after each tenth, MiB: {' '.join(marks)}")
    print(f"most: {max(memory):.0f} MiB")


if __name__ == "__main__":
    main()
