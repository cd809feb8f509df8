"""Damage of film: dust, dirt, hair and scratches, as counted.

The counts are those of ten frames of about 4968 x 3400 pixels (annotations of
FilmDamageSimulator, Ivanova et al. 2022). How large a pixel of the photo is on such a
frame is drawn for each photo, or for each shape, between the film's own pixels and the
whole frame reduced to the photo's size.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from dear_jax.data import damage_shapes as shapes

_FRAME = 3400
_SEVERAL = 0.6
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
    # Of some photos each shape has its own, as if from several reels.
    several = rng.random() < _SEVERAL
    # Every reel has its own mix, the count's on average.
    mix = np.cumsum([FILM[name].count * math.exp(rng.normal(0, 1)) for name in names])
    tries = 0
    while area > 0:
        name = names[int(np.searchsorted(mix, rng.random() * mix[-1], side="right"))]
        kind = FILM[name]
        if several:
            zoom = shapes.log_uniform(rng, least, max(least, most))
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
