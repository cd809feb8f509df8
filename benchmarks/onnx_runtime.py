"""A model by onnxruntime beside JAX: seconds and memory, each in processes of its own.

    python benchmarks/onnx_runtime.py [--model dear-lite] [--cores 1]

For each size the two take turns, so that what else the machine does meets both. A
process imports, loads the weights, restores once (the first picture; JAX compiles for
it, on an empty cache) and then again and again. Memory is above what is resident once
everything is imported. Pictures are compared in grey levels. At the photo's own size
1 % is missing, in scratches, and JAX restores only what is (as `dear restore` does);
the ONNX driver restores all of it.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measuring import limit_cores, measure, resident, say

SIDES = ("jax", "onnx")
# Side of the photo and the scale.
JOBS = ((64, 4), (256, 4), (1440, 1))


def main() -> None:
    flags = parse()
    if flags.side:
        print(json.dumps(record_of(flags)))
        return
    from roofline import table

    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for side, scale in JOBS:
            found: dict[str, list[dict]] = {name: [] for name in SIDES}
            for _ in range(flags.turns):
                for name in SIDES:
                    given = ["--side", name, "--job", f"{side},{scale}"]
                    found[name].append(run(given, flags, folder))
                    say(f"{side} x{scale} {name}: {found[name][-1]}")
            rows += [row(side, scale, name, found[name]) for name in SIDES]
    heads = "photo", "scale", "by", "first picture, s", "then, s", "MiB"
    print(table(heads, rows))


def run(given: list[str], flags: argparse.Namespace, folder: str) -> dict:
    """What a process of its own measures."""
    shared = ["--model", flags.model, "--cores", str(flags.cores), "--out", folder]
    done = subprocess.run(
        [sys.executable, __file__, *given, *shared], capture_output=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def record_of(flags: argparse.Namespace) -> dict:
    """Measures one side in this process."""
    limit_cores(flags.cores)
    import numpy as np
    from PIL import Image

    from dear_jax import bundled
    from dear_jax.export.graphs import bundled_graphs
    from dear_jax.export.runtime import OnnxModel
    from dear_jax.inference.loading import find, load

    side, scale = map(int, flags.job.split(","))
    cat = Image.open(bundled.PHOTOS / "cat.png").convert("RGB").resize((side, side))
    photo, mask = np.asarray(cat), np.zeros((side, side), bool)
    mask[:, :: side // 10] = True  # Ten lines: 1 % of the largest.
    size, imported = (scale * side, scale * side), resident()
    start = time.perf_counter()
    if flags.side == "jax":
        restorer = load(flags.model)

        def restore():
            return restorer(photo, mask, size=size, denoise=0.0)
    else:
        weights = find(flags.model).weights
        graphs = bundled_graphs(weights.model)
        assert graphs is not None
        model = OnnxModel.bare(graphs, weights.variables, flags.cores)

        def restore():
            picture = np.rint(255 * model.restore(photo, mask, size))
            picture = picture.astype(np.uint8)
            return np.where(mask[..., None], picture, photo) if scale == 1 else picture

    restore()
    first = time.perf_counter() - start
    record, result = measure(restore, imported, {"runs": 5, "seconds": 20.0})
    out = Path(flags.out) / f"{side}-{scale}.npy"
    apart = 0
    if out.exists():
        apart = int(np.abs(np.load(out).astype(int) - result.astype(int)).max())
    np.save(out, result)
    assert apart <= 1, f"{flags.side}: {apart} grey levels apart"
    then = statistics.median(record["times"])
    return {"first": first, "then": then, "peak": record["peak"]}


def row(side: int, scale: int, name: str, found: list[dict]) -> list[str]:
    least = {key: min(record[key] for record in found) for key in found[0]}
    label = {"jax": "JAX", "onnx": "onnxruntime"}[name]
    seconds = f"{least['first']:.2f}", f"{least['then']:.3f}"
    return [f"{side} x {side}", str(scale), label, *seconds, f"{least['peak']:.0f}"]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="dear-lite")
    parser.add_argument("--cores", type=int, default=1)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    parser.add_argument("--out", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
