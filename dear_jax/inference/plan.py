"""What restoring a photo will take, settled before work begins.

Whole if that fits into the memory allowed, else in the fewest tiles that do. The
estimates of DEAR's stages are from XLA's own accounts of their programs and were held
against measured peaks, see benchmarks/results/restoring.md.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax

from dear_jax.errors import InputError
from dear_jax.inference.memory import allowed_memory, resident_memory
from dear_jax.inference.tiles import Tiling, bucket, tilings
from dear_jax.models.dear.geometry import Geometry
from dear_jax.models.registry import build

MIB = 2**20
# What a process takes beside arrays: libraries and weights (if not yet there),
# compiling, and what is under way while a picture is put together.
_BASE, _WORKING = 450 * MIB, 400 * MIB


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

    @property
    def is_long(self) -> bool:
        """Whether attention alone will take a CPU half a minute or more."""
        return self.work is not None and self.work.attention > 5e12

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
        if self.attention == "windowed" and share:
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
) -> Plan:
    """Plans for one DEAR model.

    Args:
      model: its fields, see `dear_jax.models.registry`.
      source: size (H, W) of the photos.
      target: size (h, w) of the results.
      max_memory: bytes that the process may take, None for most of what is free.
      attention: "exact" or "windowed"; with `attention_most_keys` always "exact".

    Raises:
      InputError: if no tiles are small enough, or the attention is unknown.
    """
    if attention not in ("exact", "windowed"):
        raise InputError(f"attention={attention!r}: choose 'exact' or 'windowed'")
    if model["attention_most_keys"]:
        attention = "exact"  # It is linear already.
    allowed = allowed_memory() if max_memory is None else max_memory
    geometry = geometry_of(model)
    work = _work(model, geometry, source, target, attention)
    extent = padded_size(source, geometry)
    ways = tilings(extent, geometry.halo, geometry.stride)
    if model["norm"] == "instance":  # Its statistics are the whole photo's.
        ways = (way for way in ways if way.count == 1)
    least, most_tiles = math.inf, 1
    for tiling in ways:
        need = _bytes(model, geometry, tiling, extent, target)
        if need <= allowed:
            return Plan(source, target, need, allowed, tiling, attention, work)
        least, most_tiles = min(least, need), max(most_tiles, tiling.count)
    tiled = " even in small tiles" if most_tiles > 1 else ""
    raise InputError(
        f"{source[1]} x {source[0]} to {target[1]} x {target[0]} pixels needs about "
        f"{_gib(least)}{tiled}, and {_gib(allowed)} are allowed; allow more memory or "
        "choose a smaller size"
    )


def fits(plan: Plan, model: Mapping[str, Any]) -> bool:
    """Whether a plan is for such a model: its tiles are what that needs."""
    if plan.tiling is None or plan.work is None:
        return False
    geometry = geometry_of(model)
    extent = padded_size(plan.source, geometry)
    return all(
        side.size == size
        and side.step % geometry.stride == 0
        and (side.parts == 1 or side.halo >= geometry.halo)
        for side, size in zip(plan.tiling, extent, strict=True)
    )


def geometry_of(model: Mapping[str, Any]) -> Geometry:
    """Of a DEAR model, given its fields."""
    return build(model).geometry


def padded_size(source: tuple[int, int], geometry: Geometry) -> tuple[int, int]:
    """The size (H, W) at which a photo is embedded."""
    if geometry.indifferent:
        return tuple(map(bucket, source))
    stride, least = geometry.stride, geometry.least
    return tuple(max(least, side + -side % stride) for side in source)


def _bytes(
    model: Mapping[str, Any],
    geometry: Geometry,
    tiling: Tiling,
    extent: tuple[int, int],
    target: tuple[int, int],
) -> int:
    # Maps are of one of few sizes, up to half as many pixels again.
    pixels = math.prod(map(bucket, extent))
    channels = geometry.channels
    # F and K_p, and what colours are added to, while the photo is embedded ...
    taps = model["importance_kernel"] ** 2 * model["importance"]
    kept = pixels * (4 * channels + 4 * taps + 2 * 12)
    embedding = kept * (tiling.count > 1) + tiling.read * geometry.bytes
    # ... then queries and keys in order, and answers; then E, and all together.
    cells = pixels / model["attention_pool"] ** 2
    attention = kept + 4 * channels * max(5 * cells, 3 * pixels)
    # ... which with `feature_unfold` go through the decoder's first layer at once.
    attention += 4 * model["decoder_width"] * pixels * model["feature_unfold"]
    # 64 bytes a pixel: the pyramid that fills the holes.
    peak = max(embedding, attention) + 64 * pixels * (model["residual"] == "fill")
    result = 15 * target[0] * target[1]  # As floats, and as they go into a file.
    process = _WORKING
    if jax.default_backend() == "cpu":
        process += max(resident_memory(), _BASE)
    return int(process + peak + result)


def _work(
    model: Mapping[str, Any],
    geometry: Geometry,
    source: tuple[int, int],
    target: tuple[int, int],
    attention: str,
) -> Work:
    pixels = source[0] * source[1]
    cells = pixels / model["attention_pool"] ** 2
    keys = cells if attention == "exact" else min(cells, 2**14 + cells / 64)
    if model["attention_most_keys"]:
        keys = min(cells, model["attention_most_keys"])
    width, hidden = model["decoder_width"], model["decoder_layers"] - 1
    # Neighbours blended before the hidden layers share them.
    shared = 4 if model["decoder_blend"] == "hidden" else 1
    return Work(
        geometry.flops * pixels,
        4.0 * cells * keys * geometry.channels * model["attention"],
        4 * 2 * target[0] * target[1] * (hidden * width / shared + 30) * width,
    )


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / MIB:.0f} MiB"
