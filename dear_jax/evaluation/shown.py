"""What sheets of damaged photos have in common: sizes, the note on holes."""

import numpy as np
from PIL import Image

from dear_jax.evaluation import sheet
from dear_jax.evaluation.protocol import Case
from dear_jax.images import resize

HOLES = "Missing pixels are magenta here; what the systems get is black there."


def holes_note(cell: int) -> Image.Image:
    """Says below pictures `cell` pixels wide what magenta means."""
    return sheet.words(HOLES, max(8, cell // 20), sheet.FAINT)


def within(size: tuple[int, int], width: float) -> tuple[int, int]:
    """Scales (h, w) to the width, or to less if it would be 1.5 times as high."""
    ratio = min(width / size[1], 1.5 * width / size[0])
    return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))


def sides(picture: np.ndarray) -> str:
    """Width and height of a picture [H, W, 3], to be written."""
    return f"{picture.shape[1]} × {picture.shape[0]}"


def mask_of_truth(case: Case) -> np.ndarray:
    """What is missing of a case, in its truth's pixels: bool [h, w]."""
    return resize.nearest(case.mask, case.truth.shape[:2])
