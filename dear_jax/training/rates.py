"""How fast a run goes, and how much memory it takes."""

import time

import jax

from dear_jax.inference.memory import resident_memory

GIB = 2**30


class Rates:
    """A clock for steps. The first one, which compiles, is not counted.

    Args:
      start: step after which the run begins or goes on.
      batch_size: photos a step, on average.
      flops: floating-point operations of a step, over all devices; 0 if not known.
      peak: FLOP/s that all devices can do together; None if not known.
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
          still be at work meanwhile); and, if known,
          tflops_per_second and peak_share, of the devices' peak. Nothing if no step
          was counted.
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
      needed most, where devices tell; host_memory_gib, what is resident of this
      process now (without /proc, the most that ever was), its workers not counted.
    """
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    found = {
        "device_memory_gib": max(s.get("peak_bytes_in_use", 0) for s in stats),
        "host_memory_gib": resident_memory(),
    }
    return {key: size / GIB for key, size in found.items() if size}
