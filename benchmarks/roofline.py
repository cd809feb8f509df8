"""What this machine can do, and the least time that a program needs on it.

The limits are measured in the same process as what is held against them: FLOP/s of a
dense matrix product, in the default precision as the models' own (on NVIDIA's GPUs a
"float32" product rounds its factors to TF32), and bytes/s of a large array read, added
and written back. Beside them stand those of the data sheet, where the device is known.

    roofline time = max(model FLOPs / measured FLOP/s, bytes / measured bytes/s)

Bytes are XLA's count for the compiled program: what each fused loop and each call
reads and writes. So it depends on the fusion; caches may save some of it; and work
in calls of other libraries (cuDNN, cuBLAS) and all passes but one of a loop are not
counted. It is a guide, the FLOPs' side of the roof is firm.
"""

import functools
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import flax
import jax
import jax.numpy as jnp
import numpy as np

# The recipes in configs/, which are not installed, and the package where it is not.
sys.path.append(str(Path(__file__).resolve().parents[1]))

from dear_jax.training.throughput import Peak, peak_of  # noqa: E402

DTYPES = ("float32", "bfloat16")
# Sides of the matrices, and values of an array of the sum.
_ON_CPU = ((512, 1024), 2**26)
_ELSEWHERE = ((4096, 8192), 2**28)


class Limits(NamedTuple):
    """What the default device can do.

    Attributes:
      flops: measured FLOP/s of a matrix product, by dtype.
      bandwidth: measured bytes/s.
      sheet: what its data sheet says, or None.
    """

    flops: dict[str, float]
    bandwidth: float
    sheet: Peak | None

    def sheet_flops(self, dtype: str) -> float | None:
        """The data sheet's FLOP/s; None if not known."""
        return self.sheet and getattr(self.sheet, dtype)

    def or_better(self, other: "Limits") -> "Limits":
        """The better of two measurements: other work only ever takes away."""
        flops = {k: max(v, other.flops[k]) for k, v in self.flops.items()}
        bandwidth = max(self.bandwidth, other.bandwidth)
        return Limits(flops, bandwidth, self.sheet)

    def line(self) -> str:
        """The limits as a sentence."""
        lines = [("measured", self.flops, self.bandwidth)]
        if self.sheet:
            known = {k: self.sheet_flops(k) for k in self.flops}
            known = {k: v for k, v in known.items() if v}
            lines.append(("data sheet", known, self.sheet.bandwidth))
        return "Limits, " + "; ".join(
            f"{source}: matrix product "
            + ", ".join(f"{k} {v / 1e12:.3g} TFLOP/s" for k, v in flops.items())
            + f", memory {bandwidth / 1e9:.0f} GB/s"
            for source, flops, bandwidth in lines
        )


class Costs(NamedTuple):
    """What XLA says of a compiled program, for one device; 0 where it says nothing."""

    flops: float
    bytes: float
    temporary: int


def measure_limits(dtypes: Sequence[str] = DTYPES) -> Limits:
    """Measures the default device, the best of several each: a second or two."""
    device = jax.devices()[0]
    sides, values = _ON_CPU if device.platform == "cpu" else _ELSEWHERE
    flops = {
        dtype: max(_product_rate(side, dtype) for side in sides) for dtype in dtypes
    }
    return Limits(flops, _copy_rate(values), peak_of(device.device_kind))


def costs(compiled: Any) -> Costs:
    """Reads what XLA counted of a compiled function (`jax.jit(f).lower(x).compile()`).

    What a loop does is counted once, however often it runs.
    """
    counted = compiled.cost_analysis() or {}
    memory = compiled.memory_analysis()
    return Costs(
        counted.get("flops", 0.0),
        counted.get("bytes accessed", 0.0),
        getattr(memory, "temp_size_in_bytes", 0),
    )


def roof(flops: float, moved: float, rate: float, bandwidth: float) -> float:
    """Seconds that so many FLOPs and bytes take at least at such rates."""
    return max(flops / rate, moved / bandwidth)


def side_of_roof(flops: float, moved: float, rate: float, bandwidth: float) -> str:
    """ "compute" or "memory": which of the two takes longer."""
    return "compute" if flops / rate >= moved / bandwidth else "memory"


def beside_limits(
    flops: float, moved: float, seconds: float, dtype: str, limits: Limits
) -> list[str]:
    """Cells of a table: TFLOP/s, share of what was measured and of the data sheet,
    the roofline in ms with its side, and its share of the time."""
    bounds = flops, moved, limits.flops[dtype], limits.bandwidth
    return [
        *beside_product(flops, seconds, dtype, limits)[:-1],
        f"{1e3 * roof(*bounds):.3g} ({side_of_roof(*bounds)})",
        f"{roof(*bounds) / seconds:.0%}",
    ]


def beside_product(
    flops: float, seconds: float, dtype: str, limits: Limits
) -> list[str]:
    """Cells of a table: TFLOP/s, share of what was measured and of the data sheet, ms
    that the products alone would take."""
    rate, sheet = flops / seconds, limits.sheet_flops(dtype)
    return [
        f"{rate / 1e12:.3g}",
        f"{rate / limits.flops[dtype]:.1%}",
        f"{rate / sheet:.1%}" if sheet else "-",
        f"{1e3 * flops / limits.flops[dtype]:.3g}",
    ]


def seconds_of(
    function: Callable[[], Any], budget: float, least: int = 3, most: int = 200
) -> float:
    """Median seconds of calls, each until its result is there, after one to warm up.

    Args:
      function: returns arrays.
      budget: seconds to spend.
      least: calls at least, whatever the budget.
      most: calls at most.
    """
    jax.block_until_ready(function())
    times: list[float] = []
    while len(times) < least or (sum(times) < budget and len(times) < most):
        start = time.perf_counter()
        jax.block_until_ready(function())
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def conditions(busy: float) -> str:
    """Device, versions and how busy the machine was with other work, as a sentence."""
    device = jax.devices()[0]
    name = device.device_kind
    if device.platform == "cpu":
        name = f"{cpu()}, {os.cpu_count()} cores"
    count = jax.device_count()
    return (
        f"{name}{f' x {count}' if count > 1 else ''}, JAX {jax.__version__}, Flax "
        f"{flax.__version__}, Python {platform.python_version()}; other work kept at "
        f"most {busy:.1f} cores busy."
    )


def brief(error: Exception) -> str:
    """An error in a few words that fit a cell."""
    if "RESOURCE_EXHAUSTED" in str(error):
        return "out of memory"
    text = (str(error).strip().splitlines() or [""])[0].replace("|", "/")
    return f"{type(error).__name__}: {text[:80]}"


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _product_rate(side: int, dtype: str) -> float:
    """FLOP/s of the product of two [side, side] matrices.

    Of results in the factors' dtype and in float32 the quicker counts: a CPU may know
    instructions for one only.
    """
    rng = np.random.default_rng(0)
    # Random, as zeros cost a GPU less power.
    x, y = (jnp.asarray(rng.normal(size=(side, side)), dtype) for _ in range(2))
    seconds = []
    for result in {dtype, "float32"}:
        product = functools.partial(jnp.matmul, preferred_element_type=result)
        seconds.append(_best(functools.partial(jax.jit(product), x, y)))
    return 2 * side**3 / min(seconds)


def _copy_rate(values: int) -> float:
    """Bytes/s of b = b / 2 + c in place: two arrays read, one written."""
    add = jax.jit(lambda b, c: 0.5 * b + c, donate_argnums=0)
    arrays = [jnp.ones(values), jnp.ones(values)]

    def step() -> jax.Array:
        arrays[0] = add(*arrays)
        return arrays[0]

    return 3 * 4 * values / _best(step)


def _best(function: Callable[[], jax.Array], rounds: int = 5, calls: int = 4) -> float:
    """Least seconds of a call, of some in a row, so that dispatch takes no time."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(calls):
            result = function()
        jax.block_until_ready(result)
        times.append((time.perf_counter() - start) / calls)
    return min(times)


def cpu() -> str:
    """The processor's name."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return names[0] if names else platform.processor()
