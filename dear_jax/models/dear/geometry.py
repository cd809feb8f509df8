"""How far DEAR's encoder sees, and what it costs for each pixel of the photo.

The embedding is local: F and K_p of a pixel depend on the photo within a halo of it. So
tiles with that halo, whose origins are multiples of `stride`, give what the whole photo
gives. It is the same in two stages: "deep", the photo's embedding Z at a quarter of its
size, which sees far; then "surface", F of Z and the photo, which sees little and costs
most. Where neither attention nor importance need F everywhere at once, only Z is kept
whole, a small part of F's memory, and F is made where a picture is rendered.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Stage(NamedTuple):
    """A part of the encoder.

    Attributes:
      halo: reach around a pixel, in pixels, a multiple of the geometry's `stride`.
      channels: of the result.
      bytes: held at once for each pixel, as XLA accounts for its programs.
      flops: floating-point operations for each pixel.
    """

    halo: int
    channels: int
    bytes: float
    flops: float


class Geometry(NamedTuple):
    """Of an encoder.

    Attributes:
      stride: sides of embedded arrays and origins of tiles are multiples of it, pixels.
      least: the least side of an embedded array, pixels.
      indifferent: whether a photo in a larger array is embedded as it is alone, so
        that few sizes of arrays serve all photos.
      embedding: from the photo to F and K_p.
      deep: from the photo to Z, at a quarter of its size.
      surface: from Z and the photo to F.
    """

    stride: int
    least: int
    indifferent: bool
    embedding: Stage
    deep: Stage
    surface: Stage


def paper_geometry(width: int, blocks: int, detail_reach: int) -> Geometry:
    """Of the paper's two towers.

    Args:
      width: channels after the stem.
      blocks: residual blocks of each tower.
      detail_reach: of the detail filters, in cells of a quarter size.
    """
    # A block reaches 3 cells of 4 pixels; the others are stem and strides.
    halo = 12 * blocks + 4 * detail_reach + 12
    wide = width / 64
    bytes_, flops = 1600 * max(1.0, wide), 2.97e6 * wide**2
    # The upsampler's two transposed convolutions reach a cell each, and its pixels.
    up = 2 * 16 * width**2 * (4 * 2 / 4 + 2 * 1) / 4
    return Geometry(
        stride=4,
        # Reflect padding by 2 needs 3 cells.
        least=12,
        indifferent=False,
        embedding=Stage(halo, width, bytes_, flops),
        deep=Stage(halo, 4 * width, bytes_, flops - up),
        surface=Stage(12, width, bytes_, up),
    )


def lite_geometry(
    widths: Sequence[int],
    depths: Sequence[int],
    detail_reach: int,
    projection_reach: int,
) -> Geometry:
    """Of the U-shaped encoder.

    Args:
      widths, depths: see `LiteEncoder`; the last two depths are `LiteUpsampler`'s.
      detail_reach: of the detail filters, in cells of a quarter size.
      projection_reach: of the decoder's first layer, in pixels.
    """
    deepest = len(widths) - 1
    stride = 2**deepest
    down, up = depths[:deepest], depths[deepest:]
    full, half = up[-2:]
    levels = [*range(1, deepest + 1), *range(deepest - 1, 1, -1)]
    blocks = list(zip(levels, (*down, *up[:-2]), strict=True))
    surface_blocks = [(0, full), (1, half)]

    def reach(pixels: int) -> int:
        return pixels + -pixels % stride

    # A block reaches 2 cells of its level; the stem and whole cells come on top.
    deep_halo = sum(2 * 2**level * depth for level, depth in blocks)
    deep_halo += stride + 4 * detail_reach
    surface_halo = sum(2 * 2**level * depth for level, depth in surface_blocks)
    # The predictor, a block at a quarter size, reaches 12.
    halo = reach(max(12, deep_halo + surface_halo))
    # The skips come by way of the stem and half size's blocks on the way down.
    surface_halo += 4 * down[0] + 4 + projection_reach

    def of_blocks(blocks: Sequence[tuple[int, int]]) -> float:
        # Two 3x3 convolutions a block.
        return sum(d * 36 * widths[level] ** 2 / 4**level for level, d in blocks)

    # 1x1 convolutions between the levels, as many down as up.
    pairs = enumerate(zip(widths, widths[1:], strict=False))
    between = [8 * a * b / 4 ** (i + 1) for i, (a, b) in pairs]
    deep = of_blocks(blocks) + sum(between) + sum(between[2:]) + 1.5e4
    surface = of_blocks(surface_blocks) + sum(between[:2])
    again = of_blocks([(1, down[0])]) + between[0] + 54 * 2 * widths[0]
    # Maps at full size, or at half size, which XLA holds at once.
    held = 40 + max(12.0 * widths[0], 5.0 * widths[1])
    wide = max(a / b for a, b in zip(widths, (48, 80, 144, 144), strict=False))
    return Geometry(
        stride=stride,
        least=stride,
        indifferent=True,
        embedding=Stage(halo, widths[0], 900 * max(1.0, wide), deep + surface),
        deep=Stage(reach(max(12, deep_halo)), widths[2], 0.8 * held, deep),
        surface=Stage(reach(surface_halo), widths[0], held, surface + again),
    )
