"""Per-pixel filtering: a sum of shifted copies against the vmapped unfold.

    python benchmarks/filtering.py
    python benchmarks/filtering.py --case 4,16,16,256,256 --kernel 5

Shows what `filter_pixels` gains or loses against its definition
`filter_pixels_by_unfold`, in time and in temporary memory, forward and in the
gradient by photo and kernels (that pass alone). Both are compiled and run in
turns, so a busy machine slows both alike; a ratio above 1 says how many times
quicker or smaller the sum is. The default cases are the detail filters and the
image reconstruction of the paper model.
"""

import argparse
import functools
import time

import jax
import numpy as np

from dear_jax.models.dear.filtering import filter_pixels, filter_pixels_by_unfold

WAYS = (filter_pixels, filter_pixels_by_unfold)
CASES = ["4,16,16,256,256", "4,64,64,3,1"]


def forward(way, x: jax.Array, kernels: jax.Array, _) -> jax.Array:
    return way(x, kernels)


def gradient(way, x: jax.Array, kernels: jax.Array, cotangent: jax.Array):
    return jax.vjp(way, x, kernels)[1](cotangent)


def seconds_in_turns(functions: list, arguments: tuple, repeats: int) -> list[float]:
    """The least time of each function, all called in turn `repeats` times."""
    best = [float("inf")] * len(functions)
    for _ in range(repeats):
        for i, function in enumerate(functions):
            start = time.perf_counter()
            jax.block_until_ready(function(*arguments))
            # Other work on the machine only ever adds time.
            best[i] = min(best[i], time.perf_counter() - start)
    return best


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--case",
        nargs="+",
        default=CASES,
        metavar="B,H,W,C,G",
        help="sizes of the photos and how many kernels the channels share",
    )
    parser.add_argument("--kernel", type=int, default=3, help="K, odd")
    parser.add_argument("--repeats", type=int, default=50)
    arguments = parser.parse_args()

    print(f"{jax.devices()[0].platform}, K = {arguments.kernel}")
    print(
        f"{'B,H,W,C,G':18}{'':10}{'sum ms':>9}{'unfold ms':>11}{'ratio':>7}"
        f"{'sum MiB':>10}{'unfold MiB':>12}{'ratio':>7}"
    )
    rng = np.random.default_rng(0)
    for case in arguments.case:
        *shape, groups = map(int, case.split(","))
        x = rng.normal(size=shape).astype(np.float32)
        kernels = rng.normal(size=(*shape[:3], arguments.kernel**2, groups))
        arrays = jax.device_put((x, kernels.astype(np.float32), x[::-1].copy()))
        for run in (forward, gradient):
            compiled = [
                jax.jit(functools.partial(run, way)).lower(*arrays).compile()
                for way in WAYS
            ]
            ours, unfold = seconds_in_turns(compiled, arrays, arguments.repeats)
            small, large = (
                c.memory_analysis().temp_size_in_bytes / 2**20 for c in compiled
            )
            memory = f"{large / small:7.1f}" if small else f"{'-':>7}"
            print(
                f"{case:18}{run.__name__:10}{1e3 * ours:9.2f}{1e3 * unfold:11.2f}"
                f"{unfold / ours:7.1f}{small:10.2f}{large:12.2f}{memory}"
            )


if __name__ == "__main__":
    main()
