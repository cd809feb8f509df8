"""Damage of film and prints, drawn by rule: what it looks like and where it is.

damage_film.py and damage_print.py have the kinds, damage_shapes.py paints them, four
times finer than pixels, so that edges are soft. `Damage` holds the truth, for a
network that is to find damage; `draw_mask` makes of it what a mask may look like.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from dear_jax.data.damage_film import FILM, paint_film
from dear_jax.data.damage_print import PRINT, paint_print
from dear_jax.data.damage_shapes import Canvas, log_uniform

KINDS = (*FILM, *PRINT)
# Opacity from which a pixel counts as damaged, and change in grey levels of 255 from
# which that shows.
VISIBLE, SHOWN = 0.08, 6
# Shares of photos with damage of prints, and of those with damage of film as well.
_PRINT, _BOTH = 0.45, 0.6
# Share of photos with more than the typical area of damage.
_HEAVY = 0.15
# Shares of masks that are wider than the damage, and narrower; the rest are exact.
_WIDER, _NARROWER = 0.6, 0.2


@dataclass(frozen=True)
class Damages:
    """What `config.data.damage` says.

    Attributes:
      share: of examples with drawn damage, in [0, 1].
      joined: share of them whose irregular mask stays too, in [0, 1].
      area: (low, typical, high), shares of a photo's pixels: mostly from the first to
        the second, rarely up to the last; each log-uniform.
      kinds: what is drawn, of `KINDS`.
      photo: an example is a part of a photo with up to so many times its sides,
        log-uniform, which the damage is drawn on: large spots and long lines come as
        often as there, and some parts are spared. 1: an example is a photo.
    """

    share: float
    joined: float
    area: tuple[float, float, float]
    kinds: tuple[str, ...]
    photo: float = 1.0


@dataclass(frozen=True)
class Damage:
    """Damage of a photo.

    Attributes:
      kept: share of the photo that still shows through.
      added: what covers it, in grey levels of 255, times the share it has.
    """

    kept: Float32[np.ndarray, "H W"]
    added: Float32[np.ndarray, "H W 3"]

    @property
    def opacity(self) -> Float32[np.ndarray, "H W"]:
        """Share of each pixel that the damage covers."""
        return 1 - self.kept

    @property
    def mask(self) -> Bool[np.ndarray, "H W"]:
        """The truth: True = visibly damaged."""
        return self.opacity >= VISIBLE

    def on(self, photo: Float32[np.ndarray, "H W 3"]) -> Float32[np.ndarray, "H W 3"]:
        """The damaged photo; both in grey levels of 255."""
        return photo * self.kept[:, :, None] + self.added

    def to_find(
        self, photo: Float32[np.ndarray, "H W 3"]
    ) -> Float32[np.ndarray, "H W 1"]:
        """What a detector is to find of it on a photo, in grey levels of 255.

        1 where the photo is damaged, 0 where it is not, 1/2 where the damage has the
        photo's own colour and does not show.
        """
        change = np.abs(self.on(photo) - photo).max(-1)
        found = np.where(change < SHOWN, np.float32(0.5), np.float32(1))
        return np.where(self.mask, found, np.float32(0))[:, :, None]


def draw_damage(
    rng: np.random.Generator, size: tuple[int, int], settings: Damages
) -> Damage:
    """Draws the damage of one photo.

    Args:
      rng: the only source of randomness.
      size: (H, W) in pixels.
      settings: area and kinds; its shares of examples do not matter here.

    Returns:
      Damage; something is damaged, unless it is a part of a photo only.
    """
    part = None
    if settings.photo > 1:
        whole = log_uniform(rng, 1, settings.photo)
        height, width = (round(whole * side) for side in size)
        top, left = (
            int(rng.integers(long - side + 1))
            for long, side in zip((height, width), size, strict=True)
        )
        part = slice(top, top + size[0]), slice(left, left + size[1])
        size = height, width
    low, typical, high = settings.area
    heavy = rng.random() < _HEAVY
    bounds = (typical, high) if heavy else (low, typical)
    wanted = max(1.0, log_uniform(rng, *bounds) * size[0] * size[1])
    canvas = Canvas(size, part)
    film = [kind for kind in FILM if kind in settings.kinds]
    paper = [kind for kind in PRINT if kind in settings.kinds]
    if paper and (not film or rng.random() < _PRINT):
        both = film and rng.random() < _BOTH
        part = wanted * (rng.uniform(0.3, 0.8) if both else 1.0)
        paint_print(rng, canvas, paper, part)
        wanted = wanted - part if both else 0.0
    if wanted > 0 and film:
        paint_film(rng, canvas, film, wanted)
    return _composed(canvas)


def draw_mask(rng: np.random.Generator, damage: Damage) -> Bool[np.ndarray, "H W"]:
    """What a person or a detector marks: the damage, a little wider or narrower.

    Of what a narrower one leaves, less than half as opaque as the damage beside it, a
    residue remains visible.
    """
    import cv2

    kind = rng.random()
    if kind < _WIDER:
        reach = 2 if rng.random() < 0.15 else 1
        square = np.ones((2 * reach + 1,) * 2, np.uint8)
        return cv2.dilate(damage.mask.view(np.uint8), square).view(bool)
    if kind < _WIDER + _NARROWER:
        peak = cv2.dilate(damage.opacity, np.ones((3, 3), np.uint8))
        return damage.mask & (damage.opacity >= 0.5 * peak)
    return damage.mask


def _composed(canvas: Canvas) -> Damage:
    """Puts the canvas's layers on each other."""
    kept = np.ones(canvas.shape, np.float32)
    added = np.zeros((*canvas.shape, 3), np.float32)
    for colour, opacity in canvas.layers():
        kept *= 1 - opacity
        added *= (1 - opacity)[:, :, None]
        added += opacity[:, :, None] * np.asarray(colour, np.float32)
    return Damage(kept, added)
