"""The masks LaMa is trained with: wide polygonal chains, or boxes.

A mask is bool [H, W], True = missing. Lengths are the authors', given for 256
pixels and scaled with the square root of H W. Their cap on the missing share is for
evaluation only; a mask may miss nearly everything.
"""

import math

import numpy as np

from dear_jax.errors import InputError

_SIDE = 256

# What one draws is uniform over low, ..., high - 1.
_CHAINS = (1, 7)
_SEGMENTS = (1, 6)
_LENGTH = (10, 210)
_WIDTH = (5, 105)
_TURNS = 4

_BOXES = (1, 5)
_BOX_SIDE = (30, 150)
_MARGIN = 10


def draw_lama_mask(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Draws chains or boxes, either with probability 1/2.

    Args:
      rng: the only source of randomness.
      size: (h, w) in pixels, each at least 1.

    Returns:
      bool [h, w], True = missing; some pixel always is.

    Raises:
      InputError: if a side is not positive.
    """
    if min(size) < 1:
        raise InputError(f"mask size {size}: both sides must be at least 1")
    return draw_chains(rng, size) if rng.random() < 0.5 else draw_boxes(rng, size)


def draw_chains(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
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


def draw_boxes(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
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
    return math.sqrt(size[0] * size[1]) / _SIDE
