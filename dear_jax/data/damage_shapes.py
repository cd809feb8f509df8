"""A canvas four times finer than a photo's pixels, and what is painted on it.

Lengths and places, (x, y), are in pixels of the photo.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8

# Points of the canvas along a pixel, and bits after the binary point for OpenCV.
_FINE, _BITS = 4, 4
Colour = tuple[float, float, float]
# A circle of ten corners.
_AROUND = np.stack([f(np.linspace(0, 1.8 * np.pi, 10)) for f in (np.cos, np.sin)], -1)


class Layer(NamedTuple):
    """What is painted in one colour.

    Attributes:
      colour: RGB in grey levels of 255.
      soft: standard deviation, in pixels, that its edges are blurred by.
      fine: opacities times 255, four times as fine as pixels.
      corner: (x, y) of its upper left corner in the photo, in pixels.
    """

    colour: Colour
    soft: float
    fine: UInt8[np.ndarray, "h w"]
    corner: Float[np.ndarray, " 2"]


@dataclass
class Canvas:
    """Layers on a part of a photo.

    Attributes:
      size: (H, W) of the photo in pixels.
      part: rows and columns that are painted; None for all.
    """

    size: tuple[int, int]
    part: tuple[slice, slice] | None = None
    _layers: list[Layer] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the part."""
        if self.part is None:
            return self.size
        rows, columns = self.part
        return rows.stop - rows.start, columns.stop - columns.start

    def layer(self, colour: Colour, soft: float = 0.0) -> Layer:
        """Returns a new layer on top; see `Layer`."""
        fine = np.zeros([_FINE * side for side in self.shape], np.uint8)
        rows, columns = self.part or (slice(0, 0), slice(0, 0))
        corner = np.array([columns.start, rows.start], float)
        self._layers.append(Layer(colour, soft, fine, corner))
        return self._layers[-1]

    def layers(self) -> Iterator[tuple[Colour, Float32[np.ndarray, "H W"]]]:
        """Yields colours and opacities in [0, 1], lowest first."""
        import cv2

        height, width = self.shape
        for layer in self._layers:
            small = cv2.resize(
                layer.fine, (width, height), interpolation=cv2.INTER_AREA
            )
            opacity = small.astype(np.float32) / 255
            if layer.soft:
                opacity = cv2.GaussianBlur(opacity, (0, 0), layer.soft)
            yield layer.colour, opacity


def fill(layer: Layer, corners: Float[np.ndarray, "N 2"], opacity: float) -> None:
    """Paints a polygon."""
    import cv2

    if _meets(layer, corners, 0):
        value = round(255 * opacity)
        cv2.fillPoly(layer.fine, [_fixed(corners - layer.corner)], value, shift=_BITS)


def stroke(
    layer: Layer, points: Float[np.ndarray, "N 2"], width: float, opacity: float
) -> None:
    """Paints a line through `points`."""
    import cv2

    if _meets(layer, points, width):
        thick, value = max(1, round(_FINE * width)), round(255 * opacity)
        path = [_fixed(points - layer.corner)]
        cv2.polylines(layer.fine, path, False, value, thick, shift=_BITS)


def _meets(layer: Layer, places: Float[np.ndarray, "N 2"], margin: float) -> bool:
    """Whether any of what lies around these places is in the layer's part."""
    low, high = places.min(0) - margin - 1, places.max(0) + margin + 1
    size = np.array(layer.fine.shape[::-1]) / _FINE
    return bool((high > layer.corner).all() and (low < layer.corner + size).all())


def blob(
    rng: np.random.Generator,
    centre: Float[np.ndarray, " 2"],
    length: float,
    width: float,
    ragged: float = 0.15,
) -> Float[np.ndarray, "10 2"]:
    """Corners of a spot in any direction.

    `ragged` is the standard deviation of its radius, relative to it.
    """
    turn = rng.uniform(0, 2 * math.pi)
    radius = (1 + ragged * rng.standard_normal(10)).clip(0.4, 1.6)
    c, s = math.cos(turn), math.sin(turn)
    axes = np.array([[length * c, length * s], [-width * s, width * c]])
    return centre + 0.5 * radius[:, None] * (_AROUND @ axes)


def line(
    rng: np.random.Generator,
    centre: Float[np.ndarray, " 2"],
    length: float,
    angle: float,
    bend: float,
    rough: float = 0.0,
    points: int = 12,
) -> Float[np.ndarray, "{points} 2"]:
    """Points of a line of that length, its middle near `centre`.

    Args:
      rng: source of all randomness.
      centre: (x, y).
      length: in pixels.
      angle: of its middle, radians from the x axis towards y.
      bend: standard deviation of its whole smooth turn, in radians.
      rough: standard deviation of the turn at each point.
      points: how many, at least 3.
    """
    along = np.arange(points - 1) / (points - 2) - 0.5
    arc, wave = bend * rng.standard_normal(2)
    heading = angle + arc * along + 0.5 * wave * (along**2 * 4 - 0.33)
    if rough:
        heading = heading + rough * rng.standard_normal(points - 1)
    path = np.zeros((points, 2))
    np.cos(heading).cumsum(out=path[1:, 0])
    np.sin(heading).cumsum(out=path[1:, 1])
    path *= length / (points - 1)
    return centre + path - path[points // 2]


def draw_colour(rng: np.random.Generator, bright: bool, tint: float = 1.0) -> Colour:
    """A colour of dirt: nearly white, or nearly black; `tint` is how far from grey."""
    level = rng.uniform(190, 255) if bright else rng.uniform(0, 60)
    red, green, blue = level + tint * 8 * rng.standard_normal(3)
    return red, green, blue


def draw_opacity(rng: np.random.Generator) -> float:
    """Opaque as often as semi-transparent."""
    return rng.uniform(0.85, 1) if rng.random() < 0.5 else rng.uniform(0.25, 0.8)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is uniform between those of the bounds."""
    return math.exp(rng.uniform(math.log(low), math.log(high)))


def _fixed(places: Float[np.ndarray, "N 2"]) -> Int32[np.ndarray, "N 2"]:
    """As OpenCV takes them: whole numbers, the canvas's points centred at theirs."""
    fine = _FINE * np.asarray(places) - 0.5
    return np.rint(fine * 2**_BITS).astype(np.int32)
