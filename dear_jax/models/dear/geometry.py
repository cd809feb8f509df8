"""How far DEAR's encoder sees, and what it costs for each pixel of the photo.

The embedding is local: F and K_p of a pixel depend on the photo within `halo` pixels of
it. So tiles with that halo, whose origins are multiples of `stride`, give what the
whole photo gives.
"""

from collections.abc import Sequence
from typing import NamedTuple


class Geometry(NamedTuple):
    """Of an encoder.

    Attributes:
      stride: sides of embedded arrays and origins of tiles are multiples of it, pixels.
      least: the least side of an embedded array, pixels.
      halo: reach of the embedding around a pixel, a multiple of `stride`.
      channels: of F.
      indifferent: whether a photo in a larger array is embedded as it is alone, so
        that few sizes of arrays serve all photos.
      bytes: held at once for each pixel, as XLA accounts for its programs.
      flops: floating-point operations for each pixel.
    """

    stride: int
    least: int
    halo: int
    channels: int
    indifferent: bool
    bytes: float
    flops: float


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
    # Reflect padding by 2 needs 3 cells.
    return Geometry(4, 12, halo, width, False, 1600 * max(1.0, wide), 2.97e6 * wide**2)


def lite_geometry(
    widths: Sequence[int], depths: Sequence[int], detail_reach: int
) -> Geometry:
    """Of the U-shaped encoder; see `LiteEncoder` for widths and depths."""
    deepest = len(widths) - 1
    stride = 2**deepest
    levels = [*range(1, deepest + 1), *range(deepest - 1, 1, -1), 0, 1]
    blocks = list(zip(levels, depths, strict=True))
    # A block reaches 2 cells of its level; the stem and whole cells come on top.
    halo = sum(2 * 2**level * depth for level, depth in blocks)
    halo += stride + 4 * detail_reach
    # The predictor, a block at a quarter size, reaches 12.
    halo = max(12, halo)
    halo += -halo % stride
    # Two 3x3 convolutions a block, and 1x1 ones between the levels, down and up.
    flops = sum(depth * 36 * widths[level] ** 2 / 4**level for level, depth in blocks)
    pairs = zip(widths, widths[1:], strict=False)
    flops += sum(16 * a * b / 4 ** (i + 1) for i, (a, b) in enumerate(pairs))
    wide = max(a / b for a, b in zip(widths, (48, 80, 144, 144), strict=False))
    return Geometry(
        stride, stride, halo, widths[0], True, 900 * max(1.0, wide), flops + 1.5e4
    )
