"""How fast a run goes, beside what its devices can do, and how much memory it takes.

FLOP/s are those of the model: the work of its matrix products and convolutions, a
multiply-add as two, all else as nothing. They are counted in the traced program, so
neither the device nor fused kernels make a difference.
"""

import math
import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend import core

from dear_jax.inference.memory import resident_memory

GIB = 2**30
# What cuDNN does at once: products of the size of Q K^T that each of them stands for.
FUSED_ATTENTION = {
    "dot_product_attention_fwd_wrapper": 2,
    "dot_product_attention_bwd_wrapper": 4,
}


class Rates:
    """A clock for steps. The first one, which compiles, is not counted.

    Args:
      start: step after which the run begins or goes on.
      batch_size: photos a step, on average.
      flops: floating-point operations of a step, over all devices; 0 if not known.
      peak: FLOP/s of all devices at most; None if not known.
    """

    def __init__(self, start: int, batch_size: float, flops: float, peak: float | None):
        self._batch_size = batch_size
        self._flops = flops
        self._peak = peak
        self._first = start + 1
        self.restart(start)

    def restart(self, step: int) -> None:
        """Counts from the end of this step, leaving out what was before."""
        self._step, self._since, self._waited = step, time.monotonic(), 0.0

    def waited(self, seconds: float) -> None:
        """Notes that a step was made, and how long it waited for its data."""
        self._waited += seconds
        if self._first is not None:
            self.restart(self._first)
            self._first = None

    def since(self, step: int) -> dict[str, float]:
        """Rates up to this step since the last call, or since the restart after it.

        Returns:
          images_per_second; step_seconds; data_wait_share, of the time (devices may
          still be at work meanwhile); and, if known, tflops_per_second and
          peak_share, of the devices' peak. Nothing if no step was counted.
        """
        steps, seconds = step - self._step, time.monotonic() - self._since
        waited = self._waited
        self.restart(step)
        if steps <= 0 or seconds <= 0:
            return {}
        rates = {
            "images_per_second": self._batch_size * steps / seconds,
            "step_seconds": seconds / steps,
            "data_wait_share": min(waited / seconds, 1.0),
        }
        if self._flops:
            flops = self._flops * steps / seconds
            rates["tflops_per_second"] = flops / 1e12
            if self._peak:
                rates["peak_share"] = flops / self._peak
        return rates


def memory() -> dict[str, float]:
    """Memory in GiB: of the device and of this process.

    Returns:
      device_memory_gib, the most that was in use so far on the local device that
      needed most, where devices say; host_memory_gib, what is resident of this
      process now (without /proc, the most that ever was), its workers not counted.
    """
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    found = {
        "device_memory_gib": max(s.get("peak_bytes_in_use", 0) for s in stats),
        "host_memory_gib": resident_memory(),
    }
    return {key: size / GIB for key, size in found.items() if size}


# Peaks.


class Peak(NamedTuple):
    """What one device can do at most.

    Attributes:
      bfloat16: FLOP/s of dense matrix products in bfloat16; None if it has none.
      float32: FLOP/s of those in float32, at JAX's default precision: TF32 on GPUs
        since Ampere, float32 proper on older ones, bfloat16 on TPUs.
      bandwidth: of the device's memory, bytes/s.
    """

    bfloat16: float | None
    float32: float
    bandwidth: float


# Name without the maker's, as a pattern -> TFLOP/s in bfloat16 and float32, GB/s, by
# NVIDIA's data sheets and white papers and Google Cloud's pages. What has more in its
# name, such as a slice of a GPU ("MIG 1g.10gb"), is another device.
_SHEETS = {
    r"B200": (2250, 1125, 8000),
    r"H200": (989.4, 494.7, 4800),
    r"H100 (80GB HBM3|SXM5.*)": (989.4, 494.7, 3350),
    r"H100 PCIe": (756, 378, 2000),
    r"A100-SXM4-80GB": (312, 156, 2039),
    r"A100 80GB PCIe": (312, 156, 1935),
    r"A100-(SXM4|PCIE)-40GB": (312, 156, 1555),
    r"A10G": (70, 35, 600),
    r"L40S": (362.05, 183, 864),
    r"L4": (121, 60, 300),
    r"T4": (None, 8.1, 320),
    r"V100-SXM2-(16|32)GB": (None, 15.7, 900),
    r"V100-PCIE-(16|32)GB": (None, 14, 900),
    r"RTX A6000": (154.8, 77.4, 768),
    r"GeForce RTX 5090": (209.5, 104.8, 1792),
    r"GeForce RTX 4090": (165.2, 82.6, 1008),
    r"GeForce RTX 3090": (71, 35.6, 936),
    r"TPU v4": (275, 275, 1228),
    r"TPU (v5 lite|v5e)": (197, 197, 819),
    r"TPU (v5|v5p)": (459, 459, 2765),
    r"TPU (v6 lite|v6e)": (918, 918, 1640),
}


def peak_of(kind: str) -> Peak | None:
    """The peaks of a device by `jax.Device.device_kind`; None for unknown ones."""
    name = re.sub(r"^(NVIDIA|Tesla) ", "", kind)
    for pattern, (bfloat16, float32, bandwidth) in _SHEETS.items():
        if re.fullmatch(pattern, name):
            return Peak(bfloat16 and bfloat16 * 1e12, float32 * 1e12, bandwidth * 1e9)
    return None


def peak_flops(devices: Sequence[jax.Device], dtype: str) -> float | None:
    """FLOP/s of several devices at most, in "bfloat16" or "float32".

    Returns:
      None if that of one is unknown, as of CPUs, or if float32 is asked for and JAX is
      set to another precision than its default.
    """
    precision = jax.config.jax_default_matmul_precision
    if dtype == "float32" and precision not in (None, "default"):
        return None
    peaks = [peak_of(device.device_kind) for device in devices]
    flops = [peak and getattr(peak, dtype) for peak in peaks]
    return None if None in flops else float(sum(flops))


# Floating-point operations.


def count_flops(function: Callable, *arguments: Any) -> float:
    """Counts the floating-point operations of `function(*arguments)`.

    In a convolution only products of a weight with a pixel that there is count: none
    with padding, none with the zeros between pixels of a transposed one. So the two
    gradients of a product or convolution are as much work each as itself. What a
    gradient computes again (`jax.checkpoint`) counts again; leave that out for model
    FLOP/s. Of the branches of a `cond` the one with the most work counts; of a
    `platform_dependent` one the default, which is the function as it is meant.

    Args:
      function: of arrays, or trees of them; may be compiled.
      arguments: arrays or jax.ShapeDtypeStruct, or trees of them.

    Returns:
      The operations, over all devices together.

    Raises:
      ValueError: for products in a loop whose number of turns is not known before it
        runs (`while_loop`).
    """
    return float(_work(jax.make_jaxpr(function)(*arguments).jaxpr))


def _work(jaxpr: core.Jaxpr) -> int:
    return sum(_work_of(equation) for equation in jaxpr.eqns)


def _work_of(equation: core.JaxprEqn) -> int:
    name, params = equation.primitive.name, equation.params
    inner = [_work(jaxpr) for jaxpr in _jaxprs(params.values())]
    if name == "dot_general":
        return _product(equation)
    if name == "conv_general_dilated":
        return _convolution(equation)
    if name in FUSED_ATTENTION:
        return _fused_attention(equation)
    if name == "cond":
        platforms = params.get("branches_platforms") or ()
        return inner[platforms.index(None)] if None in platforms else max(inner)
    if name == "scan":
        return params["length"] * sum(inner)
    if name == "while" and sum(inner):
        raise ValueError(
            "products in a while_loop cannot be counted: its number of turns is not "
            "known; use scan, or fori_loop with constant bounds"
        )
    if name == "shard_map":
        # Its program is one device's.
        axes, mesh = params["newly_manual_axes"], params["mesh"]
        return math.prod(mesh.shape[axis] for axis in axes) * sum(inner)
    if name == "pallas_call":
        return math.prod(params["grid_mapping"].grid) * sum(inner)
    return sum(inner)


def _jaxprs(values: Iterable[Any]) -> list[core.Jaxpr]:
    """The programs among the parameters of an equation."""
    found = []
    for value in values:
        if isinstance(value, core.ClosedJaxpr):
            found.append(value.jaxpr)
        elif isinstance(value, core.Jaxpr):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += _jaxprs(value)
    return found


def _product(equation: core.JaxprEqn) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left, out = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    return 2 * math.prod(out) * math.prod(left[axis] for axis in contracted)


def _convolution(equation: core.JaxprEqn) -> int:
    params = equation.params
    image, kernel = (variable.aval.shape for variable in equation.invars)
    out = equation.outvars[0].aval.shape
    numbers = params["dimension_numbers"]
    # Batch and features; out of each of these, features of one group only.
    outer = math.prod(out[axis] for axis in numbers.out_spec[:2])
    inner = kernel[numbers.rhs_spec[1]]
    pairs = math.prod(
        _pairs(
            pixels=image[numbers.lhs_spec[2 + i]],
            weights=kernel[numbers.rhs_spec[2 + i]],
            places=out[numbers.out_spec[2 + i]],
            stride=params["window_strides"][i],
            before=params["padding"][i][0],
            image_dilation=params["lhs_dilation"][i],
            kernel_dilation=params["rhs_dilation"][i],
        )
        for i in range(len(params["window_strides"]))
    )
    return 2 * outer * inner * pairs


def _pairs(
    pixels: int,
    weights: int,
    places: int,
    stride: int,
    before: int,
    image_dilation: int,
    kernel_dilation: int,
) -> int:
    """Pairs of a place and a weight that meet at a pixel, along one axis."""
    starts = stride * np.arange(places)[:, None] - before
    met = starts + kernel_dilation * np.arange(weights)
    inside = (met >= 0) & (met <= (pixels - 1) * image_dilation)
    return int(np.count_nonzero(inside & (met % image_dilation == 0)))


def _fused_attention(equation: core.JaxprEqn) -> int:
    """Of Q [B, T, N, C] and K [B, S, N, C], or with N before T and S."""
    query, key = (variable.aval.shape for variable in equation.invars[:2])
    keys = key[1 if equation.params["layout"] == 0 else 2]
    products = FUSED_ATTENTION[equation.primitive.name]
    return products * 2 * math.prod(query) * keys
