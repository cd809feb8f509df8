"""What restoring a photo will take, settled before work begins.

Whole if that fits into the memory allowed, else in the fewest tiles that do. The
estimates of DEAR's stages are from XLA's own accounts of their programs and were held
against measured peaks, see benchmarks/results/restoring.md.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax

from dear_jax.errors import InputError
from dear_jax.systems.tiles import Tiling, bucket, tilings

MIB = 2**20
# Of what is free, what a plan may use if nobody says.
SHARE = 0.8
# What a process takes beside arrays: libraries and weights (if not yet there),
# compiling, and what is under way while a picture is put together.
_BASE, _WORKING = 450 * MIB, 400 * MIB


class Network(NamedTuple):
    """What is known of a kind of encoder, at its preset's widths.

    Attributes:
      halo: pixels that an embedding depends on around its own.
      step: tiles begin at multiples of it.
      bytes: held at once for each pixel while embedding.
      flops: for each pixel.
    """

    halo: int
    step: int
    bytes: int
    flops: float


NETWORKS = {
    "paper": Network(112, 4, 1600, 2.97e6),
    "lite": Network(72, 8, 900, 3.6e5),
}


class Work(NamedTuple):
    """Floating-point operations of the stages, roughly; what progress counts in."""

    embedding: float
    attention: float
    decoding: float


class Plan(NamedTuple):
    """How a photo will be restored.

    Attributes:
      source, target: sizes (H, W) and (h, w).
      bytes: memory expected at the peak, the process itself included; 0: not known.
      allowed: what it may be.
      tiling: of the embedding; None for systems that take photos whole.
      attention: "exact" or "windowed".
      work: see `Work`; None if not known.
    """

    source: tuple[int, int]
    target: tuple[int, int]
    bytes: int = 0
    allowed: int = 0
    tiling: Tiling | None = None
    attention: str = "exact"
    work: Work | None = None

    def lines(self) -> list[str]:
        """The plan in plain sentences."""
        (height, width), (rows, columns) = self.source, self.target
        said = [f"{width} x {height} to {columns} x {rows} pixels."]
        if not self.bytes:
            return [*said, "The photo is taken whole; memory is not known beforehand."]
        tiling = self.tiling
        if tiling is None or tiling.count == 1:
            said.append("The photo is embedded whole.")
        else:
            said.append(
                f"The photo is embedded in {tiling.count} tiles of "
                f"{tiling.columns.read} x {tiling.rows.read} pixels; their overlap "
                f"of {tiling.rows.halo} pixels makes that {tiling.cost:.1f} times "
                "the work, and the result the same."
            )
        said.append(
            f"Memory: about {_gib(self.bytes)} at the peak; allowed are "
            f"{_gib(self.allowed)}."
        )
        share = self.work.attention / sum(self.work) if self.work else 0
        if self.attention == "windowed":
            said.append("Attention: windowed, an approximation.")
        elif share > 0.5:
            said.append(
                f"Attention: exact, {share:.0%} of the work; --attention windowed "
                "approximates it in much less."
            )
        return said


def make_plan(
    model: Mapping[str, Any],
    source: tuple[int, int],
    target: tuple[int, int],
    max_memory: float | None = None,
    attention: str = "exact",
    photos: int = 1,
) -> Plan:
    """Plans for one DEAR model.

    Args:
      model: its fields, see `dear_jax.registry`.
      source: size (H, W) of the photos.
      target: size (h, w) of the results.
      max_memory: bytes that the process may take, None for most of what is free.
      attention: "exact" or "windowed".
      photos: how many at once.

    Raises:
      InputError: if no tiles are small enough, or the attention is unknown.
    """
    if attention not in ("exact", "windowed"):
        raise InputError(f"attention={attention!r}: choose 'exact' or 'windowed'")
    allowed = allowed_memory() if max_memory is None else max_memory
    network = NETWORKS[model["network"]]
    work = _work(model, source, target, attention)
    need = allowed
    extent = padded_size(source, model)
    if model["norm"] == "instance":  # Its statistics are the whole photo's.
        ways = [next(w for w in tilings(extent, *network[:2]) if w.count == 1)]
    else:
        ways = tilings(extent, *network[:2])
    for tiling in ways:
        need = _bytes(model, network, tiling, source, target, photos)
        if need <= allowed:
            return Plan(source, target, need, allowed, tiling, attention, work)
    raise InputError(
        f"{source[1]} x {source[0]} to {target[1]} x {target[0]} pixels needs about "
        f"{_gib(need)} even in small tiles, and {_gib(allowed)} are allowed; allow "
        "more memory or choose a smaller size"
    )


def padded_size(source: tuple[int, int], model: Mapping[str, Any]) -> tuple[int, int]:
    """The size (H, W) at which a photo is embedded.

    The paper's towers take multiples of 4, at least 12; `dear-lite` does not mind
    padding, so it is compiled for few sizes.
    """
    if model["network"] == "paper":
        return tuple(max(12, side + -side % 4) for side in source)
    return tuple(map(bucket, source))


def allowed_memory() -> int:
    """Bytes that a plan may count on: most of what is free, on the device that works.

    What this process has taken already counts as free to it.
    """
    device = jax.local_devices()[0]
    if device.platform != "cpu":
        stats = device.memory_stats() or {}
        if "bytes_limit" in stats:
            return int(SHARE * stats["bytes_limit"])
    return int(SHARE * _free_memory()) + resident_memory()


def resident_memory() -> int:
    """Bytes of memory that this process holds now; 0 where nothing says."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _free_memory() -> int:
    """Bytes of memory that are free, within the limits of this process's group."""
    free = 4 * 2**30  # Where nothing says.
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        known = dict(line.split(":") for line in lines)
        free = int(known["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        pass
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())
        free = min(free, limit - int((group / "memory.current").read_text()))
    except (OSError, ValueError):  # No limit, which is the word "max".
        pass
    return max(free, 0)


def _bytes(
    model: Mapping[str, Any],
    network: Network,
    tiling: Tiling,
    source: tuple[int, int],
    target: tuple[int, int],
    photos: int,
) -> int:
    pixels = source[0] * source[1]
    channels, wide = _channels(model)
    # F and K_p, and what colours are added to, while the photo is embedded ...
    kept = pixels * (4 * channels + 4 * 9 + 2 * 12)
    embedding = kept * (tiling.count > 1) + tiling.read * network.bytes * wide
    # ... then queries and keys in order, and answers; then E, and all together.
    cells = pixels / model["attention_pool"] ** 2
    attention = kept + 4 * channels * max(5 * cells, 3 * pixels)
    # 64 bytes a pixel: the pyramid that fills the holes.
    peak = max(embedding, attention) + 64 * pixels * (model["residual"] == "fill")
    result = 15 * target[0] * target[1]  # As floats, and as they go into a file.
    process = _WORKING
    if jax.default_backend() == "cpu":
        process += max(resident_memory(), _BASE)
    return int(process + photos * (peak + result))


def _channels(model: Mapping[str, Any]) -> tuple[int, float]:
    """Channels of F, and how wide the networks are beside their preset."""
    if model["network"] == "lite":
        return model["widths"][0], max(1.0, model["widths"][2] / 144)
    return model["width"], max(1.0, model["width"] / 64)


def _work(
    model: Mapping[str, Any],
    source: tuple[int, int],
    target: tuple[int, int],
    attention: str,
) -> Work:
    pixels = source[0] * source[1]
    channels, wide = _channels(model)
    cells = pixels / model["attention_pool"] ** 2
    keys = cells if attention == "exact" else min(cells, 2**14 + cells / 64)
    width, hidden = model["decoder_width"], model["decoder_layers"] - 1
    return Work(
        NETWORKS[model["network"]].flops * wide**2 * pixels,
        4.0 * cells * keys * channels * model["attention"],
        4 * 2 * target[0] * target[1] * (hidden * width + 30) * width,
    )


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / MIB:.0f} MiB"
