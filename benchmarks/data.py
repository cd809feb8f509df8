"""How many training examples a second the host can feed, and what one costs it.

    python benchmarks/data.py
    python benchmarks/data.py --photos data/ffhq256/photos --threads 16 --workers 16
    python benchmarks/data.py --old --render host --side 96 --scale 4.5 --least-scale 1

Reads batches as training does and throws them away. The photos lie in a folder of
JPEG files, in ArrayRecord files of those JPEGs, or in such files of uncompressed
photos (data_prep --raw); examples are made on the host, or on the device of crops, or
of numbers alone since the device holds all photos. Each row is one way of reading:
threads without processes, or processes with one thread each. Then rendering itself is
timed on this machine's device.

"CPU ms" is the processor time of all threads and processes for one example, so that
cores / CPU ms bounds what a machine can feed, and "of a core" is the share of one core
that was busy. Other work on the machine slows all rows: the least of several parts is
taken of the CPU times, the best of the rates.
"""

import argparse
import itertools
import multiprocessing
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import measuring
import ml_collections
import numpy as np
from PIL import Image

# data_prep and configs, which are not installed.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from configs import quickstart  # noqa: E402
from data_prep.plan import Options  # noqa: E402
from data_prep.prepare import prepare  # noqa: E402
from data_prep.workers import usual_count  # noqa: E402
from dear_jax import bundled  # noqa: E402
from dear_jax.data.pipeline import training_batches  # noqa: E402
from dear_jax.images import photo  # noqa: E402

PIECES = 500
COPIES = 8
PARTS = 4
RENDERS = ("host", "resident")


def cut_pieces(folder: Path, side: int) -> None:
    """Makes JPEG photos of `side` pixels out of the bundled ones."""
    rng = np.random.default_rng(0)
    whole = [
        Image.open(path).convert("RGB") for path in photo.list_photos(bundled.PHOTOS)
    ]
    for i in range(PIECES):
        image = whole[i % len(whole)]
        size = round(min(image.size) * rng.uniform(0.3, 1))
        left, top = (int(rng.integers(n - size + 1)) for n in image.size)
        box = (left, top, left + size, top + size)
        piece = image.resize((side, side), Image.Resampling.BICUBIC, box)
        piece.save(folder / f"{i:05d}.jpg", quality=90)
        # grain shuffles sets of less than some thousand photos far more slowly.
        for copy in range(1, COPIES):
            shutil.copy(folder / f"{i:05d}.jpg", folder / f"{i:05d}-{copy}.jpg")


def make_sets(arguments: argparse.Namespace, root: Path) -> dict[str, Path]:
    """Puts the photos below `root` in each way of keeping them."""
    folder, side = root / "photos", round(arguments.side * arguments.scale)
    folder.mkdir()
    if arguments.photos:
        for path in photo.list_photos(arguments.photos)[: arguments.limit]:
            shutil.copy(path, folder / f"{len(os.listdir(folder)):06d}{path.suffix}")
    else:
        cut_pieces(folder, side)
    sets = {"folder of JPEG": folder}
    for name, options in (
        ("records of JPEG", {"quality": 90}),
        ("records, raw", {"raw": True}),
    ):
        out = root / name.replace(" ", "-").replace(",", "")
        options = Options(side=side, skip_unreadable=True, **options)
        prepare("folder", folder, out, options)
        sets[name] = out / "train"
    return sets


def processor_time() -> float:
    """Seconds that this process and its living children have computed."""
    ticks = 0
    for child in multiprocessing.active_children():
        try:
            fields = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2]
        except OSError:
            continue  # No such files here: only this process counts.
        ticks += sum(map(int, fields.split()[11:13]))
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


def feed(batches: Iterator[dict], size: int, seconds: float) -> dict[str, float]:
    """Takes batches for some seconds, after some that warm up."""
    for _ in range(3):
        batch = next(batches)
    rates, costs, shares = [], [], []
    for _ in range(PARTS):
        start, busy, count = time.perf_counter(), processor_time(), 0
        while time.perf_counter() - start < seconds / PARTS:
            next(batches)
            count += size
        passed, worked = time.perf_counter() - start, processor_time() - busy
        rates.append(count / passed)
        costs.append(worked / count)
        shares.append(worked / passed)
    return {
        "rate": max(rates),
        "cost": 1e3 * min(costs),
        "share": statistics.median(shares),
        "bytes": sum(array.nbytes for array in batch.values()) / size,
        "memory": measuring.resident(),
    }


def ways(arguments: argparse.Namespace) -> list[tuple[int, int]]:
    """(threads, workers) of the rows."""
    alone = [(threads, 0) for threads in arguments.threads]
    return alone + [(1, workers) for workers in arguments.workers if workers]


def time_rendering(data: ml_collections.ConfigDict, size: int) -> float:
    """Milliseconds in which this machine's first device makes an example."""
    import jax
    from jax.sharding import AxisType

    from dear_jax.data.resident import make_render

    device = jax.devices()[:1]
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,), devices=device)
    render = make_render(data, mesh)
    batch = jax.device_put(next(training_batches(data, size, 0)), device[0])
    job = {"runs": 20, "seconds": 2}
    record, _ = measuring.measure(
        lambda: jax.block_until_ready(render(batch)), measuring.resident(), job
    )
    return 1e3 * min(record["times"]) / size


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--photos", type=Path, help="folder of photos (pieces of the bundled ones)")
    add("--limit", type=int, default=2000, help="of them, at most so many (2000)")
    add("--old", action="store_true", help="degrade half, damage a quarter")
    add("--masks", default="bundled", help="as config.data.masks (bundled)")
    add("--threads", type=int, nargs="+", default=[0, 2], metavar="N")
    add("--workers", type=int, nargs="+", default=[0, 2], metavar="N")
    add("--render", nargs="+", choices=RENDERS, default=RENDERS)
    add("--side", type=int, default=64)
    add("--scale", type=float, default=4.0)
    add("--least-scale", type=float, help="of a range up to --scale (the same)")
    add("--queries", type=int, default=2304)
    add("--batch", type=int, default=32)
    add("--seconds", type=float, default=1.5, help="of measuring in each row (1.5)")
    arguments = parser.parse_args()

    with tempfile.TemporaryDirectory() as root:
        sets = make_sets(arguments, Path(root))
        settings = {
            "masks": arguments.masks,
            "skip_unreadable": False,
            "side": arguments.side,
            "scale": (arguments.least_scale or arguments.scale, arguments.scale),
            "queries": arguments.queries,
            "threads": 0,
            "workers": 0,
        }
        if arguments.old:
            usual = quickstart.base().data
            usual.degrade.share, usual.damage.share = 0.5, 0.25
            settings |= {key: usual[key].to_dict() for key in ("degrade", "damage")}
            settings["clean"] = 0.25
        show(arguments, sets, settings)


def show(arguments, sets: dict[str, Path], settings: dict) -> None:
    """Measures and prints the tables."""
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    print(f"{usual_count()} cores, load {load}, batches of {arguments.batch}")
    print(
        f"{'photos':16}{'render':10}{'threads':>8}{'workers':>8}{'images/s':>10}"
        f"{'CPU ms':>8}{'of a core':>10}{'bytes/image':>13}{'MiB':>7}"
    )
    rows = [
        (name, render)
        for name, render in itertools.product(sets, arguments.render)
        if render != "resident" or name == "records, raw"
    ]
    for (name, render), (threads, workers) in itertools.product(rows, ways(arguments)):
        changes = {"render": render, "threads": threads, "workers": workers}
        data = ml_collections.ConfigDict(
            settings | changes | {"photos": (str(sets[name]),)}
        )
        batches = training_batches(data, arguments.batch, 0)
        found = feed(batches, arguments.batch, arguments.seconds)
        if hasattr(batches, "close"):
            batches.close()
        print(
            f"{'-' if render == 'resident' else name:16}{render:10}{threads:>8}"
            f"{workers:>8}{found['rate']:>10.0f}{found['cost']:>8.3f}"
            f"{found['share']:>10.0%}{found['bytes']:>13,.0f}{found['memory']:>7.0f}",
            flush=True,
        )
    for render in arguments.render:
        if render != "host":
            photos = {"photos": (str(sets["records, raw"]),), "render": render}
            data = ml_collections.ConfigDict(settings | photos)
            milliseconds = time_rendering(data, arguments.batch)
            print(f"rendering, {render}: {milliseconds:.3f} ms an image on the device")


if __name__ == "__main__":
    main()
