"""How fast a run goes, beside what its devices can do, its memory, and its profile."""

import contextlib
import re
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from dear_jax.inference.memory import resident_memory
from dear_jax.typing import Config

GIB = 2**30
# Steps before those profiled, which compile and warm up, and steps profiled.
WARM_UP, PROFILED = 5, 5


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


def peak_flops(devices: Sequence[Any], dtype: str) -> float | None:
    """FLOP/s of several devices at most, in "bfloat16" or "float32".

    Returns:
      None if that of one is unknown, as of CPUs, or if float32 is asked for and JAX is
      set to another precision than its default.
    """
    config: Config = jax.config
    precision = config.jax_default_matmul_precision
    if dtype == "float32" and precision not in (None, "default"):
        return None
    peaks = [peak_of(device.device_kind) for device in devices]
    flops = [getattr(peak, dtype) if peak else None for peak in peaks]
    known = [each for each in flops if each is not None]
    return float(sum(known)) if len(known) == len(flops) else None


class Profile:
    """Traces host and devices over a few steps of a run; a context manager.

    Args:
      workdir: folder of the run; the trace goes to profile/ in it, beside those of
        earlier starts. None traces nothing, and costs nothing.
      start: step after which the run begins or goes on.
      say: called with one line: where the trace is and how to open it, or why there
        is none.
    """

    def __init__(self, workdir: Path | None, start: int, say: Callable[[str], None]):
        self._folder = workdir and (workdir / "profile").absolute()
        self._first = start + WARM_UP + 1
        self._say = say
        self._tracing = False

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *error) -> None:
        if self._tracing:
            self._stop()
        elif self._folder:
            self._say(f"no profile: the run ended before step {self._first}")

    @contextlib.contextmanager
    def step(self, step: int) -> Iterator[None]:
        """To be entered with each step, which the trace marks.

        Other work of the loop between the steps, such as fetching data, is traced too.
        """
        if self._folder and step == self._first:
            self._start()
        if not self._tracing:
            yield
            return
        with jax.profiler.StepTraceAnnotation("train", step_num=step):
            yield
        if step == self._first + PROFILED - 1:
            self._stop()

    def _start(self) -> None:
        assert self._folder is not None
        with self._failures():
            jax.block_until_ready(jax.live_arrays())
            jax.profiler.start_trace(self._folder, create_perfetto_trace=True)
            self._tracing = True

    def _stop(self) -> None:
        folder, self._tracing = self._folder, False
        assert folder is not None
        with self._failures():
            jax.block_until_ready(jax.live_arrays())
            jax.profiler.stop_trace()
            trace = max(folder.glob("plugins/profile/*/perfetto_trace.json.gz"))
            self._say(
                f"profile from step {self._first} on: {trace}; open it at "
                "https://ui.perfetto.dev, or see more of it with XProf: "
                f"pip install xprof; xprof --logdir {folder}"
            )
            self._folder = None

    @contextlib.contextmanager
    def _failures(self) -> Iterator[None]:
        """Says, instead of raising it, what keeps a trace from being written."""
        try:
            yield
        except (OSError, RuntimeError, ValueError) as error:
            reason = " ".join(str(error).split())[:120]
            self._say(f"no profile: {self._folder} cannot be written ({reason})")
            self._folder = None
