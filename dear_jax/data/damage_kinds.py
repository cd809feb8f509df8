"""Kinds of damage: of film (dust, dirt, hair, scratches) and of prints (cracks, ...).

`FILM` has what was counted on ten frames of about 4968 x 3400 pixels (annotations of
FilmDamageSimulator, Ivanova et al. 2022). How large a pixel of the photo is on such a
frame is drawn for each photo, between the film's own pixels and the whole frame
reduced to the photo's size. `PRINT` has cracks with branches, creases, stains and torn
corners.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from dear_jax.data import damage_shapes as shapes

_FRAME = 3400
# Shapes passed over because they would exceed the area, before a speck ends it.
_MOST_TRIES = 64


@dataclass(frozen=True)
class Kind:
    """One kind of damage.

    Attributes:
      count: median number in a frame.
      extent: median, 90 % quantile and maximum of the length in the frame's pixels.
      width: (low, high) of a line's width in them, or None for spots.
      ratio: (low, high) of a spot's length to its width.
      bend: standard deviation of a line's turn over its length, in radians.
    """

    count: int
    extent: tuple[float, float, float]
    width: tuple[float, float] | None = None
    ratio: tuple[float, float] = (1.0, 1.0)
    bend: float = 0.0


# Widths, ratios and bends are choices; only lengths were counted.
FILM = {
    "dust": Kind(854, (8, 12, 37), ratio=(1.0, 1.6)),
    "dirt": Kind(262, (13, 22, 161), ratio=(1.0, 2.5)),
    "short hair": Kind(102, (34, 69, 158), (2.5, 5.0), bend=1.2),
    "long hair": Kind(12, (102, 189, 596), (2.5, 5.0), bend=2.5),
    "scratch": Kind(4, (172, 496, 3087), (1.5, 4.0), bend=0.05),
}


def paint_film(
    rng: np.random.Generator, canvas: shapes.Canvas, names: list[str], area: float
) -> None:
    """Paints damage of film.

    Args:
      rng: source of all randomness.
      canvas: is painted on.
      names: kinds to choose from, keys of `FILM`; at least one.
      area: about how many pixels are to be damaged.
    """
    # As film runs through machines; the photo may have been turned since.
    run = rng.choice((0, math.pi / 2, rng.uniform(0, math.pi)))
    bright, mixed = rng.random() < 0.5, rng.random() < 0.25
    tint = int(rng.integers(2))
    layers = {}
    for name, length, width in _film_shapes(rng, canvas.size, names, area):
        light = rng.random() < 0.5 if mixed else bright
        if light not in layers:
            layers[light] = canvas.layer(shapes.draw_colour(rng, light, tint))
        kind, opacity = FILM[name], shapes.draw_opacity(rng)
        height, wide = canvas.size
        centre = np.array([rng.uniform(0, wide), rng.uniform(0, height)])
        if kind.width is None:
            corners = shapes.blob(rng, centre, length, width)
            shapes.fill(layers[light], corners, opacity)
            continue
        angle = rng.uniform(0, math.pi)
        if name == "scratch":
            angle = run + rng.normal(0, 0.05)
        points = shapes.line(rng, centre, length, angle, kind.bend)
        shapes.stroke(layers[light], points, width, opacity)


def _film_shapes(
    rng: np.random.Generator, size: tuple[int, int], names: list[str], area: float
) -> Iterator[tuple[str, float, float]]:
    """Yields kind, length and width in pixels until the area is used up."""
    # The largest at which a median speck of dust does not exceed the area.
    most = min(1.0, math.sqrt(area) / FILM["dust"].extent[0])
    least = min(size) / _FRAME
    zoom = shapes.log_uniform(rng, least, max(least, most))
    # Every reel has its own mix, the count's on average.
    mix = np.cumsum([FILM[name].count * math.exp(rng.normal(0, 1)) for name in names])
    tries = 0
    while area > 0:
        name = names[int(np.searchsorted(mix, rng.random() * mix[-1], side="right"))]
        kind = FILM[name]
        length, width = _film_size(rng, kind, zoom)
        # A soft edge shows about half a pixel more.
        shown = (min(length, max(size)) + 0.6) * (width + 0.6)
        shown *= math.pi / 4 if kind.width is None else 1
        tries += 1
        if shown > 1.5 * area + 2:
            if tries < _MOST_TRIES:
                continue
            length = width = max(1.0, math.sqrt(area))
        yield name, length, width
        tries = 0
        area -= shown


def _film_size(
    rng: np.random.Generator, kind: Kind, zoom: float
) -> tuple[float, float]:
    """Length and width of one shape, in pixels of the photo, each at least 1."""
    median, tenth, most = kind.extent
    spread = math.log(tenth / median) / 1.2816
    length = max(1.0, zoom * min(median * math.exp(rng.normal(0, spread)), most))
    if kind.width:
        return length, max(1.0, zoom * rng.uniform(*kind.width))
    return length, max(1.0, length / rng.uniform(*kind.ratio))


def paint_print(
    rng: np.random.Generator, canvas: shapes.Canvas, names: list[str], area: float
) -> None:
    """Paints one or two kinds of damage of prints.

    Args:
      rng: source of all randomness.
      canvas: is painted on.
      names: kinds to choose from, keys of `PRINT`; at least one.
      area: about how many pixels are to be damaged.
    """
    count = 2 if rng.random() < 0.3 and len(names) > 1 else 1
    chosen = rng.permutation(names)[:count]
    for name in chosen:
        PRINT[str(name)](rng, canvas, area / count)


def paint_cracks(rng: np.random.Generator, canvas: shapes.Canvas, area: float) -> None:
    """Light cracks with branches, each with a dark edge on one side or around it."""
    side = min(canvas.size)
    bright = rng.random() < 0.85  # The paper shows; rarely, dirt has filled the crack.
    edge = canvas.layer(shapes.draw_colour(rng, not bright))
    core = canvas.layer(shapes.draw_colour(rng, bright))
    edge_opacity = rng.uniform(0.2, 0.8)
    width = shapes.log_uniform(rng, 1, max(1.2, min(side / 24, math.sqrt(area) / 4)))
    rim = rng.uniform(0.5, 1.0) * max(1.0, 0.4 * width)
    offset = rng.uniform(-0.6, 0.6, 2) * rim
    for points, thick in _cracks(rng, canvas.size, area, width, rim):
        shapes.stroke(edge, points + offset, thick + rim, edge_opacity)
        # The emulsion breaks unevenly.
        for part in range(0, len(points) - 1, 2):
            uneven = thick * rng.uniform(0.7, 1.3)
            shapes.stroke(core, points[part : part + 3], uneven, rng.uniform(0.8, 1))


def _cracks(
    rng: np.random.Generator,
    size: tuple[int, int],
    area: float,
    width: float,
    rim: float,
) -> Iterator[tuple[Float[np.ndarray, "N 2"], float]]:
    """Yields points and widths of cracks and their branches until area is used up."""
    height, wide = size
    left = area / (width + rim + 0.6)  # Length.
    while left > 0:
        length = min(left, shapes.log_uniform(rng, 0.25, 1.4) * min(size))
        angle = rng.uniform(0, math.pi)
        centre = np.array([rng.uniform(0, wide), rng.uniform(0, height)])
        count = max(5, min(40, round(length / 2)))
        trunk = shapes.line(rng, centre, length, angle, 0.4, 0.35, count)
        yield trunk, width
        left -= length
        for _ in range(rng.integers(5)):
            if left <= 2:
                break
            start = trunk[rng.integers(1, count)]
            part = min(left, length * rng.uniform(0.1, 0.5))
            turned = angle + rng.choice((-1, 1)) * rng.uniform(0.4, 1.3)
            half = part / 2 * np.array([math.cos(turned), math.sin(turned)])
            points = max(4, round(part / 2))
            branch = shapes.line(rng, start + half, part, turned, 0.4, 0.35, points)
            yield branch + start - branch[0], max(1.0, 0.7 * width)
            left -= part


def paint_crease(rng: np.random.Generator, canvas: shapes.Canvas, area: float) -> None:
    """A fold: a straight faint line along which flakes of emulsion are missing."""
    height, wide = canvas.size
    layer = canvas.layer(shapes.draw_colour(rng, rng.random() < 0.8))
    angle = rng.uniform(0, math.pi)
    width = rng.uniform(1, 1.6)
    length = min(1.5 * max(canvas.size), 0.6 * area / width)
    centre = np.array([rng.uniform(0, wide), rng.uniform(0, height)])
    fold = shapes.line(rng, centre, length, angle, 0.03, 0.02, 16)
    shapes.stroke(layer, fold, width, rng.uniform(0.25, 1))
    left, typical = 0.4 * area, max(1.5, 0.25 * math.sqrt(area))
    while left > 0:
        flake = min(shapes.log_uniform(rng, 1, 2 * typical), 1.2 * math.sqrt(left) + 1)
        near = fold[rng.integers(len(fold))] + rng.normal(0, 0.3 * flake, 2)
        corners = shapes.blob(rng, near, flake, 0.7 * flake, 0.3)
        shapes.fill(layer, corners, rng.uniform(0.8, 1))
        left -= 0.55 * flake**2 + 0.5


def paint_stains(rng: np.random.Generator, canvas: shapes.Canvas, area: float) -> None:
    """Spots of water, ink or mould, soft: brownish, dark or bleached."""
    height, wide = canvas.size
    count = int(rng.integers(1, 4))
    each = max(1.2, math.sqrt(area / count * 4 / math.pi))
    kind = rng.random()
    if kind < 0.5:
        depth = rng.uniform(0.4, 1)
        colour = tuple(depth * np.array((150, 115, 70)) + rng.normal(0, 8, 3))
    else:
        colour = shapes.draw_colour(rng, kind < 0.7)
    layer = canvas.layer(colour, soft=rng.uniform(0.05, 0.15) * each)
    opacity = rng.uniform(0.3, 0.95)
    for _ in range(count):
        centre = np.array([rng.uniform(0, wide), rng.uniform(0, height)])
        length = each * rng.uniform(0.7, 1.2)
        # Several overlapping spots make an outline that no single one has.
        for _ in range(3):
            near = centre + rng.normal(0, 0.15 * length, 2)
            part = rng.uniform(0.6, 0.9) * length
            corners = shapes.blob(rng, near, part, rng.uniform(0.6, 1) * part, 0.12)
            shapes.fill(layer, corners, opacity)


def paint_torn_corner(
    rng: np.random.Generator, canvas: shapes.Canvas, area: float
) -> None:
    """A corner that is missing, with a ragged rim of white paper along the tear."""
    height, wide = canvas.size
    ratio = rng.uniform(0.4, 2.5)
    across = min(math.sqrt(2 * area * ratio), 0.7 * wide)
    down = min(2 * area / across, 0.7 * height)
    right, below = rng.random() < 0.5, rng.random() < 0.5
    corner = np.array([wide if right else 0.0, height if below else 0.0])
    ends = [[wide - across if right else across, corner[1]],
            [corner[0], height - down if below else down]]  # fmt: skip
    count = max(4, min(24, round(math.hypot(across, down) / 2)))
    along = np.linspace(0, 1, count)[:, None]
    tear = (1 - along) * ends[0] + along * ends[1]
    ragged = 0.04 * math.hypot(across, down)
    # A walk that ends where it began, so that both ends stay on the border.
    walk = np.cumsum(rng.standard_normal((count, 2)), 0)
    walk -= walk[0] + along * (walk[-1] - walk[0])
    tear = tear + ragged * walk * 1.5 / math.sqrt(count)
    rim = rng.uniform(0, 0.12) * math.sqrt(area)
    if rim > 0.4:
        paper = canvas.layer(shapes.draw_colour(rng, True))
        shapes.stroke(paper, tear, 2 * rim, 1.0)
    behind = canvas.layer(shapes.draw_colour(rng, rng.random() < 0.6))
    shapes.fill(behind, np.concatenate([tear, corner[None]]), 1.0)


PRINT = {
    "crack": paint_cracks,
    "crease": paint_crease,
    "stain": paint_stains,
    "torn corner": paint_torn_corner,
}
