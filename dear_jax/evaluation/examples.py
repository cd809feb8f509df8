"""Training examples as a sheet: what the model sees, what is masked, what it learns.

    python -m dear_jax.evaluation.examples OUT.png --config=configs/quickstart.py \\
        --config.data.degrade.share=0.5 --config.data.damage.share=0.5

Eight examples to a row, each as its input, the same with the mask's outline, and the
crop that it was made of; below it side, level and share of the mask. With
config.data.queries=0 or not, whole crops are shown.
"""

import dataclasses
import sys
from typing import Any

import numpy as np
from absl import app, flags
from jaxtyping import Bool, UInt8
from ml_collections import config_flags
from PIL import Image

from dear_jax.data import settings
from dear_jax.data.examples import MakeExample
from dear_jax.data.sources import open_photos
from dear_jax.errors import InputError
from dear_jax.evaluation.sheets import HOLE_COLOUR, below, beside, resized, words
from dear_jax.typing import Config

_COLUMNS, _CELL, _GAP = 4, 192, 4


def examples_sheet(config: Config, count: int) -> UInt8[np.ndarray, "H W 3"]:
    """Draws the first examples of a configuration, not those of a training run.

    Args:
      config: see configs/; its sides come in turn.
      count: how many examples.

    Raises:
      InputError: if photos or masks cannot be used.
    """
    data = config.data.copy_and_resolve_references()
    # Some, for which the scale may have a range; the crops are whole all the same.
    data.queries = 1
    settings.check(data)
    whole = dataclasses.replace(settings.chooser(data), queries=0)
    photos = open_photos(settings.parts(data), data.skip_unreadable)
    sides = settings.sides(data)
    cells = []
    for number in range(count):
        rng = np.random.default_rng((config.seed, number))
        chooser = dataclasses.replace(whole, side=sides[number % len(sides)])
        make = MakeExample(chooser, settings.degradations(data), settings.damages(data))
        cells.append(
            _cell(make.random_map(photos[int(rng.integers(len(photos)))], rng))
        )
    rows = [cells[i : i + _COLUMNS] for i in range(0, count, _COLUMNS)]
    return np.asarray(below([beside(row, 4 * _GAP) for row in rows], 2 * _GAP))


def outlined(
    image: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"]
) -> UInt8[np.ndarray, "H W 3"]:
    """Draws the outline of a mask on a photo."""
    import cv2

    around = cv2.dilate(mask.view(np.uint8), np.ones((3, 3), np.uint8)).view(bool)
    return np.where((around & ~mask)[..., None], np.array(HOLE_COLOUR, np.uint8), image)


def _cell(example: dict[str, Any]) -> Image.Image:
    image, target = (
        np.rint(255 * example[key]).astype(np.uint8) for key in ("image", "target")
    )
    mask, size = example["mask"][..., 0] > 0, (_CELL, _CELL)
    shown = [resized(picture, size) for picture in (image, _fine(image, mask), target)]
    text = f"{len(image)}, level {example['level']:.2f}, {mask.mean():.1%} masked"
    return below([beside(shown, _GAP), words(text, 12)], 0)


def _fine(
    image: UInt8[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"]
) -> UInt8[np.ndarray, "3*H 3*W 3"]:
    """The outline in a third of a pixel, so that it hides little."""
    times = np.ones((3, 3, 1), np.uint8)
    return outlined(np.kron(image, times), np.kron(mask, times[..., 0]).astype(bool))


def main(arguments: list[str]) -> int:
    """Runs the command; returns its exit status."""
    try:
        if len(arguments) != 2:
            raise InputError("give one file to write, such as examples.png")
        sheet = examples_sheet(flags.FLAGS.config, flags.FLAGS.count)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    Image.fromarray(sheet).save(arguments[1])
    return 0


if __name__ == "__main__":
    # Here, since other programs define flags of these names.
    config_flags.DEFINE_config_file("config", None, "Configuration of the run.")
    flags.DEFINE_integer("count", 64, "How many examples.", lower_bound=1)
    flags.mark_flag_as_required("config")
    app.run(main)
