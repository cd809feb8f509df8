"""Parts of photos to look at closely: which, framed in the photo, and enlarged.

Truth and mask alone decide which parts are enlarged, never what a system made of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, UInt8
from PIL import Image, ImageDraw

from dear_jax.evaluation import sheets
from dear_jax.evaluation.sheets import Picture

# Yellow, sky blue, orange, white: apart also for colour-blind eyes and on photos.
COLOURS = ((255, 221, 0), (0, 195, 255), (255, 120, 0), (255, 255, 255))


@dataclass(frozen=True)
class Box:
    """A square part of a photo, in pixels: rows top ... top + side - 1."""

    top: int
    left: int
    side: int


def zoom_boxes(
    truth: UInt8[np.ndarray, "h w 3"], mask: Bool[np.ndarray, "h w"], count: int = 2
) -> list[Box]:
    """Chooses squares to enlarge: in turn one that is missing, one that is known.

    The first lies where as much as possible is missing and, of such places, where the
    truth has most detail; the second where known pixels have most detail; and so on.
    The same photo and mask give the same squares, which do not overlap.

    Args:
      truth: the photo.
      mask: True = missing; may be all False.
      count: how many squares.

    Returns:
      At most `count` squares, fewer if the photo has no more room.
    """
    height, width, _ = truth.shape
    side = _side((height, width))
    detail = _detail(truth)
    missing, much = _sums(mask.astype(np.int64), side), _sums(detail, side)
    known = _sums(np.where(mask, 0, detail), side)
    free = _inner((len(missing), missing.shape[1]), max(1, side // 8))
    boxes: list[Box] = []
    while len(boxes) < count and free.any():
        # A tenth from the extreme is near enough, if there is more to be seen.
        if len(boxes) % 2 == 0:
            fit = free & (missing >= 0.9 * missing[free].max())
            best = np.argmax(np.where(fit, much, -1))
        else:
            fit = free & (missing <= missing[free].min() + 0.1 * side**2)
            best = np.argmax(np.where(fit, known, -1))
        top, left = (int(i) for i in np.unravel_index(best, free.shape))
        boxes.append(Box(top, left, side))
        near = side + side // 4  # frames shall not touch either
        rows, columns = (slice(max(0, i - near + 1), i + near) for i in (top, left))
        free[rows, columns] = False
    return boxes


def with_boxes(
    picture: Picture, size: tuple[int, int], boxes: Sequence[Box], full: int
) -> Image.Image:
    """The picture at `size` = (h, w) with coloured frames around the boxes.

    Args:
      picture: of any size.
      size: (h, w).
      boxes: in pixels of a photo that is `full` pixels wide.
      full: see `boxes`.
    """
    image = sheets.resized(picture, size)
    draw, ratio = ImageDraw.Draw(image), size[1] / full
    line = max(2, round(min(size) / 100))
    for box, colour in zip(boxes, _colours(boxes), strict=True):
        top, left = round(box.top * ratio), round(box.left * ratio)
        side = round(box.side * ratio)
        # Around the part, so that nothing of it is covered; dark outside for snow.
        for ring, paint in ((line + 1, sheets.INK), (line, colour)):
            low, high = (left - ring, top - ring), (left + side, top + side)
            high = tuple(x + ring - 1 for x in high)
            draw.rectangle((low, high), outline=paint, width=ring)
    return image


def enlarged(
    picture: Picture, boxes: Sequence[Box], full: int, side: int
) -> list[Image.Image]:
    """Each box of the picture, enlarged to `side` pixels, in a frame of its colour.

    Args:
      picture: of any size.
      boxes: in pixels of a photo that is `full` pixels wide.
      full: see `boxes`.
      side: in pixels, of the results with their frames.
    """
    ratio, line = picture.shape[1] / full, max(1, round(side / 50))
    parts = []
    for box, colour in zip(boxes, _colours(boxes), strict=True):
        corners = (box.top, box.left, box.top + box.side, box.left + box.side)
        corners = tuple(ratio * x for x in corners)
        part = sheets.resized(picture, (side, side), corners)
        frame = (0, 0, side - 1, side - 1)
        ImageDraw.Draw(part).rectangle(frame, outline=colour, width=line)
        parts.append(part)
    return parts


def _colours(boxes: Sequence[Box]) -> list[tuple[int, int, int]]:
    return [COLOURS[i % len(COLOURS)] for i in range(len(boxes))]


def _side(size: tuple[int, int]) -> int:
    """A sixth of the shorter side, but 8 pixels if two of them have room."""
    shorter = min(size)
    return max(1, min(max(shorter // 6, 8), shorter // 2))


def _inner(shape: tuple[int, int], margin: int) -> Bool[np.ndarray, "h w"]:
    """Places that leave room for a frame along the sides, where there is any."""
    inner = np.zeros(shape, bool)
    rows, columns = (
        slice(margin, -margin) if n > 2 * margin else slice(None) for n in shape
    )
    inner[rows, columns] = True
    return inner


def _detail(truth: UInt8[np.ndarray, "h w 3"]) -> Int[np.ndarray, "h w"]:
    """Differences to the right and lower neighbours, summed."""
    grey = truth.astype(np.int64).sum(-1)
    down = np.abs(np.diff(grey, axis=0, append=grey[-1:]))
    right = np.abs(np.diff(grey, axis=1, append=grey[:, -1:]))
    return down + right


def _sums(
    values: Int[np.ndarray, "h w"], side: int
) -> Int[np.ndarray, "h-{side}+1 w-{side}+1"]:
    """Sums over all squares of `side`."""
    table = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    rows = table[side:] - table[:-side]
    return rows[:, side:] - rows[:, :-side]
