"""Damage of film and prints, drawn by rule on a photo at its own size.

Film's kinds (dust, dirt, short and long hair, scratches) come as often and as large
as on ten annotated frames of 35 mm film (FilmDamageSimulator, MIT); prints add
cracks with branches and a dark edge. All geometry is whole numbers, sums, products
and square roots; what comes from libm is rounded to 2^-16 before use, and randomness
is uniform numbers alone: the same seed draws the same damage on every machine.
"""

import bisect
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy import ndimage

# Long side of an annotated frame, in pixels.
FRAME = 4968
# Share of a photo's area that damage covers.
LEAST_SHARE, MOST_SHARE = 0.001, 0.022
# Part of all photos that are cracked prints, and of their damage that is cracks,
# of which there are so many at most.
PRINTS, CRACKED, MOST_CRACKS = 0.3, (0.4, 0.9), 8
# Part of the pieces that hide what is below, and opacities of the others.
OPAQUE, OPACITIES = 0.5, (0.25, 0.75)
# Part of a photo's pieces that are light on a light photo, dark on a dark one.
ALIKE = 0.85
LIGHT, DARK, TINT = (205, 255), (0, 55), 10
# Coverage, of 255, from which a pixel counts as damaged.
_DAMAGED = 64
_TRIES = 40


class Kind(NamedTuple):
    """A kind of film damage, in pixels of an annotated frame.

    Attributes:
      count: median number on a frame.
      median, p90, most: of its extents, the longer side of the bounding box.
      widths: range of the widths of what is thin; None for specks.
    """

    count: int
    median: float
    p90: float
    most: float
    widths: tuple[float, float] | None = None


KINDS = {
    "dust": Kind(854, 8, 12, 37),
    "dirt": Kind(262, 13, 22, 161),
    "short hair": Kind(102, 34, 69, 158, (2, 5)),
    "long hair": Kind(12, 102, 189, 596, (2, 5)),
    "scratch": Kind(4, 172, 496, 3087, (2, 6)),
}


class Piece(NamedTuple):
    """One piece of damage as drawn, in pixels of the photo.

    Attributes:
      kind: of `KINDS`, or "crack".
      extent: longer side of its bounding box, parts outside of the photo included.
      width: of its line, or the shorter side of a speck.
      light: whether it is lighter than most photos, else darker.
      opacity: 1 hides what is below.
    """

    kind: str
    extent: float
    width: float
    light: bool
    opacity: float


@dataclass(eq=False)
class Damaged:
    """A photo while it is being damaged.

    Attributes:
      image: the photo so far.
      coverage: 255 where damage covers a pixel wholly.
      covered: sum of the coverage, a whole number.
      pieces: what was drawn, in order.
    """

    image: UInt8[np.ndarray, "H W 3"]
    coverage: UInt8[np.ndarray, "H W"] = field(init=False)
    covered: int = 0
    pieces: list[Piece] = field(default_factory=list)

    def __post_init__(self):
        self.image = self.image.copy()
        self.coverage = np.zeros(self.image.shape[:2], np.uint8)

    @property
    def area(self) -> float:
        """Covered area in pixels."""
        return self.covered / 255

    @property
    def mask(self) -> Bool[np.ndarray, "H W"]:
        """The damage, one pixel wider, and all that it touches."""
        wider = ndimage.binary_dilation(self.coverage >= _DAMAGED, np.ones((3, 3)))
        return np.logical_or(wider, self.coverage > 0)

    def add(
        self,
        capsules: Float[np.ndarray, "N 5"],
        colour: Int[np.ndarray, " 3"],
        opacity: float,
    ) -> None:
        """Draws the union of capsules in one colour.

        Args:
          capsules: ends x, y, x, y, in pixels from the photo's upper left corner, and
            radius.
          colour: from 0 to 255.
          opacity: 1 hides what is below.
        """
        size, reach = self.image.shape[:2], capsules[:, 4:] + 1
        low = np.minimum(capsules[:, :2], capsules[:, 2:4]) - reach
        high = np.maximum(capsules[:, :2], capsules[:, 2:4]) + reach
        left, top = (max(0, math.floor(v)) for v in low.min(0))
        right, bottom = (
            min(n, math.ceil(v)) for n, v in zip(size[::-1], high.max(0), strict=True)
        )
        if left >= right or top >= bottom:
            return
        drawn = np.zeros((bottom - top, right - left), np.uint8)
        for capsule in capsules - np.array([left, top, left, top, 0.0]):
            _cover(drawn, capsule)
        window = np.s_[top:bottom, left:right]
        before, below = self.coverage[window], self.image[window]
        union = np.maximum(before, drawn)
        added = int(union.sum(dtype=np.int64)) - int(before.sum(dtype=np.int64))
        self.covered += added
        self.coverage[window] = union
        weight = drawn[..., None].astype(np.int64) * round(255 * opacity)
        mixed = below * (255 * 255 - weight) + colour * weight
        self.image[window] = (mixed + 255 * 255 // 2) // (255 * 255)


def add_damage(
    rng: np.random.Generator, image: UInt8[np.ndarray, "H W 3"], tinted: bool
) -> Damaged:
    """Draws damage on a photo until it covers 0.1 to 2.2 % of it.

    At least one piece of one pixel is drawn, on however small a photo.

    Args:
      rng: the only source of randomness.
      image: the photo; not changed.
      tinted: whether damage may have a slight colour; else it is grey.
    """
    height, width = image.shape[:2]
    damaged = Damaged(image)
    area = uniform(rng, LEAST_SHARE, MOST_SHARE) * height * width
    light, is_print = rng.random() < 0.5, rng.random() < PRINTS
    cracked = uniform(rng, *CRACKED) * area
    for _ in range(MOST_CRACKS if is_print else 0):
        if (room := cracked - damaged.area) < 4:
            break
        _add_crack(rng, damaged, room, tinted)
    while (room := area - damaged.area) >= 1 or not damaged.pieces:
        kind = _any_kind(rng)
        extent, thick = _extents(rng, kind, max(height, width), max(room, 1.0))
        capsules = _shape(rng, kind, extent, thick)
        middle = [snap(uniform(rng, 0, width)), snap(uniform(rng, 0, height))]
        capsules[:, :4] += middle * 2
        is_light = (rng.random() < ALIKE) == light
        opacity = 1.0 if rng.random() < OPAQUE else uniform(rng, *OPACITIES)
        colour = _colour(rng, LIGHT if is_light else DARK, tinted)
        damaged.add(capsules, colour, opacity)
        damaged.pieces.append(Piece(kind, extent, thick, is_light, opacity))
    return damaged


def uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number from low to high."""
    return low + (high - low) * rng.random()


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number from low to high whose logarithm is uniform; both above 0."""
    return snap(math.exp(uniform(rng, math.log(low), math.log(high))))


def snap(number: float) -> float:
    """The nearest multiple of 2^-16: what libm's last bits do not reach."""
    return math.floor(number * 65536 + 0.5) / 65536


def _any_kind(rng: np.random.Generator) -> str:
    """A kind of film damage, as often as it is on the annotated frames."""
    counts = [kind.count for kind in KINDS.values()]
    drawn = math.floor(rng.random() * sum(counts))
    return list(KINDS)[bisect.bisect(list(itertools.accumulate(counts)), drawn)]


def _extents(
    rng: np.random.Generator, name: str, side: int, room: float
) -> tuple[float, float]:
    """Extent and width, at least 1 each, of a piece of about `room` pixels at most.

    Drawn as on film, times a factor between 1, film's own pixels, and that which
    reduces a frame to the photo's long side.
    """
    kind = KINDS[name]
    for attempt in range(_TRIES):
        spread = math.log(kind.p90 / kind.median) / 1.2816
        normal = sum(rng.random() for _ in range(12)) - 6
        extent = min(kind.most, kind.median * math.exp(spread * normal))
        thick = uniform(rng, *kind.widths) if kind.widths else extent
        thick /= 1 if kind.widths else uniform(rng, 1, 2.2)
        reduced = side / FRAME
        factor = log_uniform(rng, reduced, 1) if attempt < _TRIES - 1 else reduced
        extent, thick = (max(1.0, snap(factor * v)) for v in (extent, thick))
        if extent * thick <= room:
            break
    return extent, min(thick, extent)


def _shape(
    rng: np.random.Generator, kind: str, extent: float, thick: float
) -> Float[np.ndarray, "N 5"]:
    """Capsules of a piece around (0, 0)."""
    if kind in ("dust", "dirt"):
        return _speck(rng, extent, thick, lumps=2 if kind == "dust" else 5)
    if kind == "scratch":
        # Most run along the film, or along what the print was wiped with.
        leaning = 0.06 if rng.random() < 0.7 else math.pi / 2
        heading, turns, wobble = math.pi / 2 + uniform(rng, -1, 1) * leaning, 0.0, 0.02
    else:
        heading = uniform(rng, 0, 2 * math.pi)
        turns = uniform(rng, -1, 1) * (1.5 if kind == "short hair" else 4.0)
        wobble = 0.15
    count = min(32, max(3, math.ceil(extent / max(2.0, thick))))
    points = _walk(rng, count, heading, turns / count, wobble)
    low, high = points.min(0), points.max(0)
    points = (points - (low + high) / 2) * (max(extent - thick, 0) / (high - low).max())
    return _along(points, np.full(count, thick / 2))


def _speck(
    rng: np.random.Generator, extent: float, thick: float, lumps: int
) -> Float[np.ndarray, "N 5"]:
    """An oval with lumps on it, `extent` long and about `thick` wide."""
    x, y = _direction(uniform(rng, 0, 2 * math.pi))
    radius, half = thick / 2, (extent - thick) / 2
    capsules = [[-half * x, -half * y, half * x, half * y, radius]]
    for _ in range(lumps if thick > 2 else 0):
        small = uniform(rng, 0.3, 0.7) * radius
        along = uniform(rng, -1, 1) * (half + radius - small)
        across = uniform(rng, -1, 1) * radius
        at = [along * x - across * y, along * y + across * x]
        capsules.append([*at, *at, small])
    return np.array(capsules)


def _add_crack(
    rng: np.random.Generator, damaged: Damaged, room: float, tinted: bool
) -> None:
    """Draws a crack with branches of about `room` pixels at most."""
    height, width = damaged.image.shape[:2]
    side = max(height, width)
    thick = log_uniform(rng, 1, max(1.5, side / 100))
    thick = max(1.0, min(thick, room / 8))
    # The dark edge is half as wide again.
    length = min(uniform(rng, 0.25, 1.2) * side, room / (1.5 * thick))
    lines = list(_branches(rng, length, thick, side))
    start = np.array([snap(uniform(rng, 0, width)), snap(uniform(rng, 0, height))])
    edge = np.array(_direction(uniform(rng, 0, 2 * math.pi))) * max(0.7, thick / 2)
    opacity = 1.0 if rng.random() < OPAQUE else uniform(rng, *OPACITIES)
    dark, light = (_colour(rng, levels, tinted) for levels in (DARK, LIGHT))
    for shift, colour, opaque in ((edge, dark, opacity / 2), (0, light, opacity)):
        capsules = [_along(points + start + shift, radii) for points, radii in lines]
        damaged.add(np.concatenate(capsules), colour, opaque)
    points = np.concatenate([points for points, _ in lines])
    extent = float((points.max(0) - points.min(0)).max() + thick)
    damaged.pieces.append(Piece("crack", extent, thick, True, opacity))


def _branches(
    rng: np.random.Generator, length: float, thick: float, side: int
) -> Iterator[tuple[Float[np.ndarray, "points 2"], Float[np.ndarray, " N"]]]:
    """The lines of a crack from (0, 0): N + 1 points, and radii between them."""
    step = max(2.0, side * uniform(rng, 0.015, 0.04))
    rest = uniform(rng, 0, 0.5) * length  # Of it what becomes branches.
    left = [(np.zeros(2), uniform(rng, 0, 2 * math.pi), length - rest, thick)]
    while left:
        start, heading, long, wide = left.pop()
        count = max(1, math.ceil(long / step))
        points = start + _walk(rng, count, heading, 0.0, 0.45) * (long / count)
        # Thinner towards its end, never under 1 pixel.
        radii = wide / 2 * (1 - np.arange(count) / (2 * count))
        yield points, np.maximum(radii, 0.5)
        if rest >= 3 and len(points) > 2:
            long = max(3.0, uniform(rng, 0.3, 0.8) * rest)
            at = 1 + math.floor(rng.random() * (len(points) - 2))
            aside = uniform(rng, 0.5, 1.2) * (1 if rng.random() < 0.5 else -1)
            along = points[at + 1] - points[at]
            heading = snap(math.atan2(along[1], along[0])) + aside
            left.append((points[at], heading, long, max(1.0, 0.7 * wide)))
            rest -= long


def _walk(
    rng: np.random.Generator, count: int, heading: float, turn: float, wobble: float
) -> Float[np.ndarray, "{count}+1 2"]:
    """Points of a way of unit steps from (0, 0).

    Args:
      rng: the only source of randomness.
      count: of steps.
      heading: the first step's, radians.
      turn: how much each step turns from the one before, radians.
      wobble: how far a step strays from its heading at most, and how much of that
        the next ones keep on average, radians.
    """
    points = np.zeros((count + 1, 2))
    for i in range(count):
        stray = uniform(rng, -1, 1) * wobble
        points[i + 1] = points[i] + _direction(heading + stray)
        heading += turn + stray / 2
    return points


def _along(
    points: Float[np.ndarray, "points 2"], radii: Float[np.ndarray, " points-1"]
) -> Float[np.ndarray, "points-1 5"]:
    """Capsules between points."""
    return np.concatenate([points[:-1], points[1:], radii[:, None]], axis=1)


def _direction(angle: float) -> tuple[float, float]:
    return snap(math.cos(angle)), snap(math.sin(angle))


def _colour(
    rng: np.random.Generator, levels: tuple[int, int], tinted: bool
) -> Int[np.ndarray, " 3"]:
    """A shade between two levels, with a slight tint or grey."""
    shade = uniform(rng, *levels)
    tint = [uniform(rng, -TINT, TINT) * tinted for _ in range(3)]
    return np.array([min(255, max(0, math.floor(shade + t))) for t in tint])


def _cover(drawn: UInt8[np.ndarray, "H W"], capsule: Float[np.ndarray, " 5"]) -> None:
    """Raises pixels to what a capsule covers of each."""
    x0, y0, x1, y1, radius = map(float, capsule)
    top, bottom = _span(y0, y1, radius, len(drawn))
    left, right = _span(x0, x1, radius, drawn.shape[1])
    y = np.arange(top, bottom)[:, None] + 0.5 - y0
    x = np.arange(left, right)[None] + 0.5 - x0
    dx, dy = x1 - x0, y1 - y0
    squared = dx * dx + dy * dy
    part = np.clip((x * dx + y * dy) / squared, 0, 1) if squared else 0.0
    away_x, away_y = x - part * dx, y - part * dy
    inside = radius + 0.5 - np.sqrt(away_x * away_x + away_y * away_y)
    covered = np.floor(np.clip(inside, 0, 1) * 255 + 0.5).astype(np.uint8)
    window = np.s_[top:bottom, left:right]
    drawn[window] = np.maximum(drawn[window], covered)


def _span(a: float, b: float, radius: float, count: int) -> tuple[int, int]:
    """The pixels of a row that something from a to b, so much wider, may touch."""
    first = max(0, math.floor(min(a, b) - radius - 1))
    return first, max(first, min(count, math.ceil(max(a, b) + radius + 1)))
