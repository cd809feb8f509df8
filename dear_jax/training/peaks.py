"""What devices can do at most, by their makers' data sheets.

Sources: NVIDIA's data sheets of B200 (HGX), GH200, H200, H100, A100, A40, A10, A10G,
A30, L40S, L40, L4, T4, V100 and P100, and its white papers on the architectures of
GeForce and RTX cards (GA102, AD102, GB202); Google Cloud's pages on the TPU versions.
Numbers are of dense products: no sparsity. Those of bfloat16 accumulate in float32.

In float32 a product is what JAX makes of it by default: TF32 on GPUs since Ampere,
float32 proper on older ones, bfloat16 on TPUs.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import jax

TERA, GIGA = 1e12, 1e9


class Peak(NamedTuple):
    """What one device can do at most.

    Attributes:
      bfloat16: FLOP/s of matrix products in bfloat16; None where the sheet has none.
      float32: FLOP/s of those in float32, at JAX's default precision.
      bandwidth: of the device's memory, bytes/s.
    """

    bfloat16: float | None
    float32: float
    bandwidth: float


# Name without its maker's, as a pattern -> TFLOP/s in bfloat16 and float32, GB/s. What
# has more in its name, such as a slice of a GPU ("MIG 1g.10gb"), is another device.
_SHEETS = {
    r"B200": (2250, 1125, 8000),
    r"GH200 (480|120)GB": (989.4, 494.7, 4000),
    r"H200": (989.4, 494.7, 4800),
    r"H200 NVL": (835.5, 417.5, 4800),
    r"H100 (80GB HBM3|SXM5.*)": (989.4, 494.7, 3350),
    r"H100 PCIe": (756, 378, 2000),
    r"H100 NVL": (835.5, 417.5, 3900),
    r"A100-SXM4-80GB": (312, 156, 2039),
    r"A100 80GB PCIe": (312, 156, 1935),
    r"A100-(SXM4|PCIE)-40GB": (312, 156, 1555),
    r"A40": (149.7, 74.8, 696),
    r"A30": (165, 82, 933),
    r"A10": (125, 62.5, 600),
    r"A10G": (70, 35, 600),
    r"L40S": (362.05, 183, 864),
    r"L40": (181.05, 90.5, 864),
    r"L4": (121, 60, 300),
    r"T4": (None, 8.1, 320),
    r"V100-SXM2-(16|32)GB": (None, 15.7, 900),
    r"V100-PCIE-(16|32)GB": (None, 14, 900),
    r"V100S-PCIE-32GB": (None, 16.4, 1134),
    r"P100-SXM2-16GB": (None, 10.6, 732),
    r"P100-PCIE-16GB": (None, 9.3, 732),
    r"RTX 6000 Ada Generation": (364.2, 182.1, 960),
    r"RTX A6000": (154.8, 77.4, 768),
    r"GeForce RTX 5090": (209.5, 104.8, 1792),
    r"GeForce RTX 4090": (165.2, 82.6, 1008),
    r"GeForce RTX 4080": (97.5, 48.7, 717),
    r"GeForce RTX 3090": (71, 35.6, 936),
    r"GeForce RTX 3090 Ti": (80, 40, 1008),
    # Half a chip: a device of JAX is one of its two cores.
    r"TPU v3": (61.5, 61.5, 450),
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
            return Peak(bfloat16 and bfloat16 * TERA, float32 * TERA, bandwidth * GIGA)
    return None


def peak_flops(devices: Sequence[jax.Device], dtype: str) -> float | None:
    """FLOP/s that devices can do together, in "bfloat16" or "float32".

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
