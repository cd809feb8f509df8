"""Photos, masks and weights that `large.py` works with."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dear_jax import bundled
from dear_jax.data.drawn_masks import draw_strokes
from dear_jax.images import resize
from dear_jax.images.photo import read_photo
from dear_jax.models.registry import build, fields_of, init_variables
from dear_jax.weights import Weights, write_weights

MISSING = 0.25


class Case(NamedTuple):
    """A model, and the sides of the photo and of the target."""

    model: str
    side: int
    target: int

    @property
    def pixels(self) -> str:
        """The sides, for a table."""
        return f"{self.side} -> {self.target}"


class Failed(Exception):
    """A command that did not do its job."""


def as_case(text: str) -> Case:
    """Turns "MODEL:SIDE:TARGET" into a case."""
    model, side, target = text.rsplit(":", 2)
    return Case(model, int(side), int(target))


def inputs(side: int, photo: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """A photo uint8 [side, side, 3] and a mask bool [side, side] of it."""
    found = read_photo(photo or bundled.PHOTOS / "astronaut.png")
    rng, size = np.random.default_rng(0), (side, side)
    return resize.bicubic(found, size), draw_strokes(rng, size, (MISSING, MISSING))


def weights_of(model: str, folder: Path) -> str:
    """What to load: a bundled model's name, or a file of random weights."""
    if (bundled.WEIGHTS / f"{model}.safetensors").exists():
        return model
    path, fields = folder / f"{model}.safetensors", fields_of(model)
    if not path.exists():
        variables: Any = init_variables(build(fields), seed=0)
        write_weights(path, Weights(variables, fields, {}))
    return str(path)
