"""A canvas four times finer than a photo's pixels, and what is painted on it.

Lengths and places, (x, y), are in pixels of the photo.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Float32, Int32, UInt8

# Points of the canvas along a pixel, and bits after the binary point for OpenCV.
_FINE, _BITS = 4, 4
Colour = tuple[float, float, float]
# A circle of ten corners.
_AROUND = np.stack([f(np.linspace(0, 1.8 * np.pi, 10)) for f in (np.cos, np.sin)], -1)


@dataclass
class Canvas:
    """Layers of one colour each.

    Attributes:
      size: (H, W) of the photo in pixels.
    """

    size: tuple[int, int]
    _layers: list = field(default_factory=list)

    def layer(self, colour: Colour, soft: float = 0.0) -> UInt8[np.ndarray, "h w"]:
        """Returns a new layer on top, four times as fine, of opacities times 255.

        Args:
          colour: RGB in grey levels of 255.
          soft: standard deviation, in pixels, that its edges are blurred by.
        """
        fine = np.zeros([_FINE * side for side in self.size], np.uint8)
        self._layers.append((colour, soft, fine))
        return fine

    def layers(self) -> Iterator[tuple[Colour, Float32[np.ndarray, "H W"]]]:
        """Yields colours and opacities in [0, 1], lowest first."""
        import cv2

        height, width = self.size
        for colour, soft, fine in self._layers:
            small = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
            opacity = small.astype(np.float32) / 255
            if soft:
                opacity = cv2.GaussianBlur(opacity, (0, 0), soft)
            yield colour, opacity


def fill(
    layer: UInt8[np.ndarray, "h w"], corners: Float[np.ndarray, "N 2"], opacity: float
) -> None:
    """Paints a polygon."""
    import cv2

    cv2.fillPoly(layer, [_fixed(corners)], round(255 * opacity), shift=_BITS)


def stroke(
    layer: UInt8[np.ndarray, "h w"],
    points: Float[np.ndarray, "N 2"],
    width: float,
    opacity: float,
) -> None:
    """Paints a line through `points`."""
    import cv2

    thick = max(1, round(_FINE * width))
    value = round(255 * opacity)
    cv2.polylines(layer, [_fixed(points)], False, value, thick, shift=_BITS)


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
