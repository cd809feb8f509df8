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

MIB = 2**20
# What a process takes beside arrays: libraries and weights (if not yet there),
# compiling, and what is under way while a picture is put together.
_BASE, _WORKING = 450 * MIB, 400 * MIB


class Network(NamedTuple):
    """What is known of an encoder, the costs at its preset's widths.

    Attributes:
      halo: pixels that an embedding depends on around its own, a multiple of `step`.
      step: tiles begin at multiples of it.
      bytes: held at once for each pixel while embedding.
      flops: for each pixel.
    """

    halo: int
    step: int
    bytes: int
    flops: float


def network_of(model: Mapping[str, Any]) -> Network:
    """The encoder of a DEAR model, whose depth decides how far it sees.

    Args:
      model: its fields, see `dear_jax.models.registry`.
    """
    detail = 4 * (model["detail_kernel"] // 2) * model["detail"]
    if model["network"] == "paper":
        # A block is 3 cells of 4 pixels wide; the others are stem and strides.
        return Network(12 * model["blocks"] + detail + 12, 4, 1600, 2.97e6)
    # A block is 2 cells of its level wide; the stem and whole cells come on top.
    blocks = _lite_blocks(model)
    step = 2 ** (len(model["widths"]) - 1)
    halo = sum(2 * 2**level * depth for level, depth in blocks) + step + detail
    # The predictor, a block at a quarter size, sees 12.
    halo = max(12, halo)
    return Network(halo + -halo % step, step, 900, _lite_flops(model))


def _lite_blocks(model: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Level, 0 at full size, and number of blocks of each run of them."""
    deepest, depths = len(model["widths"]) - 1, model["depths"]
    levels = [*range(1, deepest + 1), *range(deepest - 1, 1, -1), 0, 1]
    return list(zip(levels, depths, strict=True))


def _lite_flops(model: Mapping[str, Any]) -> float:
    """Floating-point operations of "lite" for each pixel: blocks, and 1x1 between."""
    widths = model["widths"]
    blocks = sum(
        depth * 36 * widths[level] ** 2 / 4**level
        for level, depth in _lite_blocks(model)
    )
    pairs = zip(widths, widths[1:], strict=False)
    # Down and up, each four fine pixels to or from a coarse one.
    steps = sum(2 * 8 * a * b / 4 ** (i + 1) for i, (a, b) in enumerate(pairs))
    return blocks + steps + 1.5e4


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
    network = network_of(model)
    work = _work(model, source, target, attention)
    ways = tilings(padded_size(source, model), *network[:2])
    if model["norm"] == "instance":  # Its statistics are the whole photo's.
        ways = (way for way in ways if way.count == 1)
    least, most_tiles = math.inf, 1
    for tiling in ways:
        need = _bytes(model, network, tiling, source, target)
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
    network, extent = network_of(model), padded_size(plan.source, model)
    return all(
        side.size == size
        and side.step % network.step == 0
        and (side.parts == 1 or side.halo >= network.halo)
        for side, size in zip(plan.tiling, extent, strict=True)
    )


def padded_size(source: tuple[int, int], model: Mapping[str, Any]) -> tuple[int, int]:
    """The size (H, W) at which a photo is embedded.

    The paper's towers take multiples of 4, at least 12; `dear-lite` does not mind
    padding, so it is compiled for few sizes.
    """
    if model["network"] == "paper":
        return tuple(max(12, side + -side % 4) for side in source)
    return tuple(map(bucket, source))


def _bytes(
    model: Mapping[str, Any],
    network: Network,
    tiling: Tiling,
    source: tuple[int, int],
    target: tuple[int, int],
) -> int:
    # Maps are of one of few sizes, up to half as many pixels again.
    pixels = math.prod(map(bucket, padded_size(source, model)))
    channels, wide = _channels(model)
    # F and K_p, and what colours are added to, while the photo is embedded ...
    taps = model["importance_kernel"] ** 2 * model["importance"]
    kept = pixels * (4 * channels + 4 * taps + 2 * 12)
    embedding = kept * (tiling.count > 1) + tiling.read * network.bytes * wide
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


def _channels(model: Mapping[str, Any]) -> tuple[int, float]:
    """Channels of F, and how wide the networks are beside their preset."""
    if model["network"] == "lite":
        wide = zip(model["widths"], (48, 80, 144, 144), strict=False)
        return model["widths"][0], max(1.0, *(a / b for a, b in wide))
    return model["width"], max(1.0, model["width"] / 64)


def _work(
    model: Mapping[str, Any],
    source: tuple[int, int],
    target: tuple[int, int],
    attention: str,
) -> Work:
    pixels = source[0] * source[1]
    channels, _ = _channels(model)
    cells = pixels / model["attention_pool"] ** 2
    keys = cells if attention == "exact" else min(cells, 2**14 + cells / 64)
    if model["attention_most_keys"]:
        keys = min(cells, model["attention_most_keys"])
    width, hidden = model["decoder_width"], model["decoder_layers"] - 1
    # Neighbours blended before the hidden layers share them.
    shared = 4 if model["decoder_blend"] == "hidden" else 1
    return Work(
        network_of(model).flops * _growth(model) * pixels,
        4.0 * cells * keys * channels * model["attention"],
        4 * 2 * target[0] * target[1] * (hidden * width / shared + 30) * width,
    )


def _growth(model: Mapping[str, Any]) -> float:
    """How the paper's towers cost more or less with their width."""
    return (model["width"] / 64) ** 2 if model["network"] == "paper" else 1.0


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / MIB:.0f} MiB"
