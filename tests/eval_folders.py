"""Small photos and masks, and run_eval.py on them, for tests of the command."""

from pathlib import Path

import numpy as np
from tiny import draw_like

import run_eval
from dear_jax.images import resize
from dear_jax.images.io import write_photo
from dear_jax.models import registry
from dear_jax.weights import Weights, write_weights

BINS = ("01-10", "20-30")


def write_photos(folder: Path, names=("a", "b", "c"), seed: int = 0) -> Path:
    """Photos of 32 x 32 pixels, the last one of 32 x 40."""
    rng = np.random.default_rng(seed)
    for name in names:
        coarse = rng.integers(0, 256, (4, 4, 3), np.uint8)
        size = (32, 40 if name == names[-1] else 32)
        write_photo(folder / f"{name}.png", resize.bicubic(coarse, size))
    return folder


def write_masks(folder: Path) -> Path:
    """Two bins of two and one masks."""
    for name, ratio in (("01-10/x", 0.1), ("01-10/y", 0.05), ("20-30/z", 0.25)):
        mask = np.zeros((40, 40), np.uint8)
        mask[: round(40 * ratio)] = 255
        write_photo(folder / f"{name}.png", mask)
    return folder


def command_on(folder: Path):
    """A function that calls run_eval.main in this process on such photos and masks,
    results in folder / "out"; the first arguments of all may be replaced."""
    data, masks = write_photos(folder / "photos"), write_masks(folder / "masks")
    usual = ["--data", data, "--masks", masks, "--out", folder / "out"]
    return lambda *flags: run_eval.main([*map(str, (*usual, *flags))])


def write_random_weights(path: Path, architecture: str, **fields) -> None:
    """Weights that nobody trained."""
    fields = {**registry.fields_of(architecture), **fields}
    variables = draw_like(registry.init_shapes(registry.build(fields)))
    write_weights(path, Weights(variables, fields, {}))
