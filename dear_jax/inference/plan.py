"""What restoring a photo will take, settled before work begins.

Whole if that fits into the memory allowed, else in the fewest tiles that do; on a CPU
large photos always in tiles, whose arrays leave less memory to be fetched. The
estimates of DEAR's stages are from XLA's own accounts of their programs and were held
against measured peaks, see benchmarks/results/restoring.md.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool

from dear_jax.errors import InputError
from dear_jax.inference.memory import allowed_memory, resident_memory
from dear_jax.inference.tiles import Tiling, bucket, tilings
from dear_jax.inference.windows import Window, hole_windows
from dear_jax.models.dear.dear import DEAR, QUARTER
from dear_jax.models.dear.geometry import Geometry, Stage
from dear_jax.models.registry import build

MIB = 2**20
# What a process takes beside arrays: libraries and weights (if not yet there),
# compiling, and what is under way while a picture is put together.
_BASE, _WORKING = 450 * MIB, 400 * MIB
# Sides of the blocks in which a picture is rendered, in pixels of the photo; 0: whole.
_BLOCKS = (0, 1024, 512, 256)
# Pixels that a CPU embeds at once where it need not more: of a whole photo, of a tile.
_WHOLE, _TILE = 2**20, 2**21


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
      tiling: of what is kept of all the photo, F or Z; None for systems that take
        photos whole.
      block: side of the photo's blocks in which pictures are rendered, pixels; 0: the
        whole photo.
      work: see `Work`; None if not known.
      holes_only: whether only what the holes need is computed, at the photo's own
        size: colours of known pixels are not those of the model then.
      windows: around the holes, each with its own plan, where these suffice.
    """

    source: tuple[int, int]
    target: tuple[int, int]
    bytes: int = 0
    allowed: float = 0
    tiling: Tiling | None = None
    block: int = 0
    work: Work | None = None
    holes_only: bool = False
    windows: "tuple[tuple[Window, Plan], ...]" = ()

    @property
    def is_long(self) -> bool:
        """Whether it will take a CPU half a minute or more."""
        return self.work is not None and sum(self.work) > 2.5e12

    def lines(self) -> list[str]:
        """The plan in plain sentences."""
        (height, width), (rows, columns) = self.source, self.target
        said = [f"{width} x {height} to {columns} x {rows} pixels."]
        if not self.bytes:
            return [*said, "The photo is taken whole; memory is not known beforehand."]
        tiling = self.tiling
        if self.windows:
            part = sum(math.prod(plan.source) for _, plan in self.windows)
            share = part / math.prod(self.source)
            said.append(
                f"{len(self.windows)} windows, {share:.1%} of it, are computed."
            )
        elif tiling is None or (tiling.count == 1 and not self.block):
            said.append("The photo is embedded whole.")
        else:
            said.append(
                f"The photo is embedded in {tiling.count} tiles of "
                f"{tiling.columns.read} x {tiling.rows.read} pixels, which overlap by "
                f"{tiling.rows.halo}, so that the result is the same."
            )
        said.append(
            f"Memory: about {_gib(self.bytes)} at the peak; allowed are "
            f"{_gib(self.allowed)}."
        )
        share = self.work.attention / sum(self.work) if self.work else 0
        if share > 0.5:
            said.append(
                f"Attention of every known pixel to the photo: {share:.0%} of the work."
            )
        return said


def make_plan(
    model: Mapping[str, Any],
    source: tuple[int, int],
    target: tuple[int, int],
    max_memory: float | None = None,
) -> Plan:
    """Plans for one DEAR model.

    Args:
      model: its fields, see `dear_jax.models.registry`.
      source: size (H, W) of the photos.
      target: size (h, w) of the results.
      max_memory: bytes that the process may take, None for most of what is free.

    Raises:
      InputError: if no tiles are small enough.
    """
    allowed = allowed_memory() if max_memory is None else max_memory
    module = _built(model)
    extent = padded_size(source, module.geometry)
    least, most_tiles = math.inf, 1
    for tiling, block in _ways(module, extent):
        need = _bytes(module, tiling, block, extent, target)
        if need <= allowed:
            work = _work(module, tiling, block, source, target)
            return Plan(source, target, need, allowed, tiling, block, work)
        least, most_tiles = min(least, need), max(most_tiles, tiling.count)
    tiled = " even in small tiles" if most_tiles > 1 else ""
    raise InputError(
        f"{source[1]} x {source[0]} to {target[1]} x {target[0]} pixels needs about "
        f"{_gib(least)}{tiled}, and {_gib(allowed)} are allowed; allow more memory or "
        "choose a smaller size"
    )


def plan_holes(
    model: Mapping[str, Any],
    mask: Bool[np.ndarray, "H W"],
    max_memory: float | None = None,
) -> Plan:
    """Plans for one photo whose known pixels stay, see `hole_windows`.

    Args:
      model: its fields.
      mask: True = missing.
      max_memory: see `make_plan`.

    Raises:
      InputError: if no tiles are small enough.
    """
    allowed = allowed_memory() if max_memory is None else max_memory
    module, size, windows = _built(model), mask.shape, None
    if module.streams and module.norm != "instance" and mask.any():
        geometry = module.geometry
        halo = geometry.deep.halo + geometry.surface.halo + QUARTER
        windows = hole_windows(mask, halo, geometry.stride)
    if not windows:
        return make_plan(model, size, size, max_memory)._replace(holes_only=True)
    kept = 30 * mask.size  # The photo and its result.
    sizes = [mask[window].shape for window in windows]
    plans = {s: make_plan(model, s, s, allowed - kept) for s in dict.fromkeys(sizes)}
    plans = {s: plan._replace(holes_only=True) for s, plan in plans.items()}
    parts = tuple((w, plans[s]) for w, s in zip(windows, sizes, strict=True))
    work = Work(*(sum(each) for each in zip(*(p.work for _, p in parts), strict=True)))
    need = kept + max(plan.bytes for plan in plans.values())
    return Plan(size, size, need, allowed, None, 0, work, True, parts)


def _ways(module: DEAR, extent: tuple[int, int]) -> Iterator[tuple[Tiling, int]]:
    """Tilings and blocks, the best first."""
    geometry = module.geometry
    ways = list(tilings(extent, _kept(module).halo, geometry.stride))
    whole = math.inf
    if module.norm == "instance":  # Its statistics are the whole photo's.
        ways = [way for way in ways if way.count == 1]
    elif jax.default_backend() == "cpu":
        whole = _WHOLE
        most = _WHOLE if math.prod(extent) <= _WHOLE else _TILE
        ways = [way for way in ways if way.read <= most] or ways[-1:]
    for block, way in itertools.product(_BLOCKS, ways):
        # What streams is encoded in one go, or else rendered in blocks.
        at_once = way.count == 1 and way.read <= whole
        if block < max(extent) and (block or at_once or not module.streams):
            yield way, block


def _kept(module: DEAR) -> Stage:
    """The stage of whose result all of the photo is kept."""
    return module.geometry.deep if module.streams else module.geometry.embedding


def fits(plan: Plan, model: Mapping[str, Any]) -> bool:
    """Whether a plan is for such a model: its tiles are what that needs."""
    if plan.tiling is None or plan.work is None:
        return False
    module = _built(model)
    extent = padded_size(plan.source, module.geometry)
    return all(
        side.size == size
        and side.step % module.geometry.stride == 0
        and (side.parts == 1 or side.halo >= _kept(module).halo)
        for side, size in zip(plan.tiling, extent, strict=True)
    )


def geometry_of(model: Mapping[str, Any]) -> Geometry:
    """Of a DEAR model, given its fields."""
    return _built(model).geometry


def _built(model: Mapping[str, Any]) -> DEAR:
    module = build(model)
    assert isinstance(module, DEAR)
    return module


def padded_size(source: tuple[int, int], geometry: Geometry) -> tuple[int, int]:
    """The size (H, W) at which a photo is embedded."""
    if geometry.indifferent:
        height, width = map(bucket, source)
    else:
        stride, least = geometry.stride, geometry.least
        height, width = (max(least, side + -side % stride) for side in source)
    return height, width


def _bytes(
    module: DEAR,
    tiling: Tiling,
    block: int,
    extent: tuple[int, int],
    target: tuple[int, int],
) -> int:
    geometry, width = module.geometry, 4 * module.decoder_width
    # Arrays are of one of few sizes, up to half as many pixels again.
    pixels = math.prod(map(bucket, extent))
    rendered = min(block**2, pixels) if block else pixels
    # The photo, what colours are added to, and the pyramid that fills the holes.
    photo, filling = 28 * pixels, 64 * pixels * (module.residual == "fill")
    if module.streams and not block:
        peak = pixels * (geometry.surface.bytes + width)
    elif module.streams:
        z = 4 * geometry.deep.channels * pixels / QUARTER**2
        tile = tiling.read * geometry.deep.bytes
        peak = z + max(tile, rendered * (geometry.surface.bytes + width))
    else:
        # F and K_p while the photo is embedded ...
        channels = geometry.embedding.channels
        kept = pixels * 4 * (channels + module.taps)
        tile = kept * (tiling.count > 1) + tiling.read * geometry.embedding.bytes
        # ... then queries and keys in order, and answers; then E, and all together,
        # which goes through the decoder's first layer.
        cells = pixels / module.attention_pool**2
        attention = kept + 4 * channels * max(5 * cells, 3 * pixels) + width * rendered
        peak = max(tile, attention)
    result = 15 * target[0] * target[1]  # As floats, and as they go into a file.
    process = _WORKING
    if jax.default_backend() == "cpu":
        process += max(resident_memory(), _BASE)
    return int(process + photo + max(peak, filling) + result)


def _work(
    module: DEAR,
    tiling: Tiling,
    block: int,
    source: tuple[int, int],
    target: tuple[int, int],
) -> Work:
    geometry, pixels = module.geometry, math.prod(source)
    cells = pixels / module.attention_pool**2
    width, hidden = module.decoder_width, module.decoder_layers - 1
    # Neighbours blended before the hidden layers share them.
    shared = 4 if module.decoder_blend == "hidden" else 1
    decoding = 8 * math.prod(target) * (hidden * width / shared + 30) * width
    embedding = tiling.cost * _kept(module).flops * pixels
    if module.streams and not block:
        embedding = geometry.embedding.flops * pixels
    elif module.streams:
        overlap = (block / (block - 2 * geometry.surface.halo)) ** 2
        decoding += overlap * geometry.surface.flops * pixels
    attention = 4.0 * cells**2 * geometry.embedding.channels * module.attention
    return Work(embedding, attention, decoding)


def _gib(size: float) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / MIB:.0f} MiB"
