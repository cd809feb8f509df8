"""Masks drawn by rule: irregular brush strokes, or the shapes LaMa is trained with.

In a mask, True = missing. The hole ratio of strokes, the share of missing pixels, is
measured and always lies in the range asked for. LaMa's wide polygonal chains and boxes
have the authors' lengths, given for 256 pixels and scaled with the square root of the
number of pixels; their cap on the missing share is for evaluation only.
"""

import math

import numpy as np
from jaxtyping import Bool
from PIL import Image, ImageDraw

from dear_jax.errors import InputError

RATIO_BINS = (
    (0.01, 0.1),
    (0.1, 0.2),
    (0.2, 0.3),
    (0.3, 0.4),
    (0.4, 0.5),
    (0.5, 0.6),
)

# About forty shapes fill the last bin. What many more do not reach (a hole ratio
# near 1, a mask of few pixels) is filled pixel by pixel.
_MOST_SHAPES = 400


def bin_name(ratio: tuple[float, float]) -> str:
    """Returns a bin's folder name: (0.01, 0.1) -> "01-10"."""
    low, high = ratio
    return f"{round(low * 100):02d}-{round(high * 100):02d}"


def draw_strokes(
    rng: np.random.Generator, size: tuple[int, int], ratio: tuple[float, float]
) -> Bool[np.ndarray, "h w"]:
    """Draws one mask of random strokes, blots and boxes.

    Args:
      rng: the only source of randomness.
      size: (h, w) in pixels, each at least 1.
      ratio: (low, high) bounds of the hole ratio, 0 <= low <= high <= 1. In a
        mask so small that no whole number of pixels lies between the bounds,
        the ratio is the possible one nearest to their middle.

    Raises:
      InputError: if the size or the bounds are not as described.
    """
    height, width = size
    low, high = ratio
    _check_size(size)
    if not 0 <= low <= high <= 1:
        raise InputError(f"hole ratio {ratio}: needs 0 <= low <= high <= 1")
    least, most = _allowed_counts(height * width, low, high)
    wanted = int(rng.integers(least, most + 1))
    mask = np.zeros((height, width), bool)
    for _ in range(_MOST_SHAPES):
        if wanted == 0:
            return mask
        added = _shape(rng, size, wanted / mask.size) & ~mask
        if np.count_nonzero(added) > wanted:
            added = _trim(rng, added, wanted)
        mask |= added
        wanted -= int(np.count_nonzero(added))
    return mask | _trim(rng, ~mask, wanted)


def _check_size(size: tuple[int, int]) -> None:
    if min(size) < 1:
        raise InputError(f"mask size {size}: both sides must be at least 1")


def _allowed_counts(pixels: int, low: float, high: float) -> tuple[int, int]:
    """Returns the least and the greatest number of missing pixels within bounds."""
    # The guard keeps 0.1 * 30 = 3.0000000000000004 from excluding 3.
    least = math.ceil(low * pixels - 1e-9)
    most = math.floor(high * pixels + 1e-9)
    if least <= most:
        return least, most
    nearest = round((low + high) / 2 * pixels)
    return nearest, nearest


def _trim(
    rng: np.random.Generator, shape: Bool[np.ndarray, "h w"], count: int
) -> Bool[np.ndarray, "h w"]:
    """Keeps the `count` pixels of `shape` nearest to a random one, so it ends round."""
    rows, columns = np.nonzero(shape)
    kept = np.zeros_like(shape)
    if count:
        start = rng.integers(len(rows))
        distance = (rows - rows[start]) ** 2 + (columns - columns[start]) ** 2
        nearest = np.argsort(distance, kind="stable")[:count]
        kept[rows[nearest], columns[nearest]] = True
    return kept


def _shape(
    rng: np.random.Generator, size: tuple[int, int], room: float
) -> Bool[np.ndarray, "h w"]:
    """Draws one shape; `room`, the share still wanted, bounds it."""
    height, width = size
    canvas = Image.new("L", (width, height))
    draw = ImageDraw.Draw(canvas)
    side = math.sqrt(height * width)
    reach = side * math.sqrt(room)
    kind = rng.random()
    if kind < 0.75:
        _stroke(rng, draw, size, reach)
    else:
        box = _box(rng, size, reach)
        (draw.ellipse if kind < 0.9 else draw.rectangle)(box, fill=1)
    return np.asarray(canvas, bool)


def _stroke(
    rng: np.random.Generator, draw: ImageDraw.ImageDraw, size: tuple, reach: float
) -> None:
    """Draws one wandering brush stroke with round ends and joints."""
    height, width = size
    side = math.sqrt(height * width)
    thick = max(1.0, min(rng.uniform(0.015, 0.1) * side, reach))
    y, x = rng.uniform(0, height), rng.uniform(0, width)
    angle = rng.uniform(0, 2 * math.pi)
    radius = thick / 2
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)
    for _ in range(rng.integers(2, 9)):
        angle += rng.normal(0, 0.7)
        step = rng.uniform(0.03, 0.15) * side
        after_y, after_x = y + step * math.sin(angle), x + step * math.cos(angle)
        draw.line((x, y, after_x, after_y), fill=1, width=round(thick))
        y, x = after_y, after_x
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=1)


def _box(
    rng: np.random.Generator, size: tuple[int, int], reach: float
) -> tuple[float, float, float, float]:
    """Returns the corners (x0, y0, x1, y1) of a random box, in pixels."""
    height, width = size
    tall = min(rng.uniform(0.05, 0.3) * height, 2 * reach)
    wide = min(rng.uniform(0.05, 0.3) * width, 2 * reach)
    y, x = rng.uniform(0, height), rng.uniform(0, width)
    return x - wide / 2, y - tall / 2, x + wide / 2, y + tall / 2


_LAMA_SIDE = 256

# What one draws is uniform over low, ..., high - 1.
_CHAINS = (1, 7)
_SEGMENTS = (1, 6)
_LENGTH = (10, 210)
_WIDTH = (5, 105)
_TURNS = 4

_BOXES = (1, 5)
_BOX_SIDE = (30, 150)
_MARGIN = 10


def draw_lama_mask(
    rng: np.random.Generator, size: tuple[int, int]
) -> Bool[np.ndarray, "h w"]:
    """Draws chains or boxes, either with probability 1/2; some pixel is missing.

    Args:
      rng: the only source of randomness.
      size: (h, w) in pixels, each at least 1.

    Raises:
      InputError: if a side is not positive.
    """
    _check_size(size)
    return draw_chains(rng, size) if rng.random() < 0.5 else draw_boxes(rng, size)


def draw_chains(
    rng: np.random.Generator, size: tuple[int, int]
) -> Bool[np.ndarray, "h w"]:
    """Draws 1 to 6 chains of 1 to 5 thick segments; arguments as above.

    A segment's angle is one of 0.01, 1.01, 2.01, 3.01 radians from the downward
    direction, to the right in every second chain and to the left in the others.
    """
    import cv2

    height, width = size
    unit = _unit(size)
    mask = np.zeros(size, np.uint8)
    for chain in range(rng.integers(*_CHAINS)):
        x, y = int(rng.integers(width)), int(rng.integers(height))
        for _ in range(rng.integers(*_SEGMENTS)):
            angle = 0.01 + rng.integers(_TURNS)
            if chain % 2 == 0:
                angle = 2 * math.pi - angle
            length = unit * rng.integers(*_LENGTH)
            thick = max(1, round(unit * rng.integers(*_WIDTH)))
            end_x = min(max(int(x + length * math.sin(angle)), 0), width)
            end_y = min(max(int(y + length * math.cos(angle)), 0), height)
            cv2.line(mask, (x, y), (end_x, end_y), 1, thick)
            x, y = end_x, end_y
    return mask > 0


def draw_boxes(
    rng: np.random.Generator, size: tuple[int, int]
) -> Bool[np.ndarray, "h w"]:
    """Draws 1 to 4 boxes that keep off the border; arguments as above."""
    unit = _unit(size)
    margin = min(round(unit * _MARGIN), (min(size) - 1) // 2)
    most = min(round(unit * _BOX_SIDE[1]), min(size) - 2 * margin)
    most = max(most, 1)
    least = min(max(round(unit * _BOX_SIDE[0]), 1), most)
    mask = np.zeros(size, bool)
    for _ in range(rng.integers(*_BOXES)):
        sides = rng.integers(least, most + 1, 2)
        top, left = (
            rng.integers(margin, whole - margin - side + 1)
            for whole, side in zip(size, sides, strict=True)
        )
        mask[top : top + sides[0], left : left + sides[1]] = True
    return mask


def _unit(size: tuple[int, int]) -> float:
    """One of the authors' pixels in pixels of this mask."""
    return math.sqrt(size[0] * size[1]) / _LAMA_SIDE
