"""Turns the bytes of an image file into the record that stands for it.

A record is again the bytes of an image file: the same bytes where nothing has to
change, else the reduced photo as JPEG, PNG or uncompressed PPM, or the changed mask as
PNG.
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from dear_jax.errors import Unreadable
from dear_jax.images.io import decode_photo
from dear_jax.images.masks import decode_mask


@dataclass(frozen=True)
class Recipe:
    """How records are made: `side` in pixels or None, `quality` of JPEG or 0 = PNG.

    `masks` says that the images are masks; `invert`, that black is missing in them;
    `raw`, that all photos become PPM files, whose pixels are not compressed.
    """

    masks: bool = False
    side: int | None = None
    quality: int = 0
    invert: bool = False
    raw: bool = False


@dataclass(frozen=True)
class Made:
    """A record, the size of its image in pixels and, of a mask, its hole ratio."""

    data: bytes
    width: int
    height: int
    missing: float | None = None


def make(data: bytes, place: str, recipe: Recipe) -> Made:
    """Makes the record of one file.

    Args:
      data: the file's content.
      place: where it is, for messages.
      recipe: see there.

    Raises:
      Unreadable: if `data` is no image, damaged, or smaller than the recipe's side.
      InputError: if there is too little memory.
    """
    return (_make_mask if recipe.masks else _make_photo)(data, place, recipe)


def _make_photo(data: bytes, place: str, recipe: Recipe) -> Made:
    pixels = decode_photo(data, place)
    square = _centre_square(pixels, recipe.side, place)
    if recipe.raw:
        data = _encode(square, "PPM")
    elif square.shape != pixels.shape:
        options = {"quality": recipe.quality, "subsampling": 0}
        data = _encode(square, "JPEG", options) if recipe.quality else _encode(square)
    return Made(data, square.shape[1], square.shape[0])


def _make_mask(data: bytes, place: str, recipe: Recipe) -> Made:
    mask = decode_mask(data, place)
    changed = _centre_square(mask, recipe.side, place) ^ recipe.invert
    if changed.shape != mask.shape or recipe.invert:
        data = _encode(changed.astype(np.uint8) * 255)
    return Made(data, changed.shape[1], changed.shape[0], float(changed.mean()))


def _centre_square(pixels: np.ndarray, side: int | None, place: str) -> np.ndarray:
    """Cuts out the centre square and reduces it to `side`; None changes nothing.

    Photos uint8 [H, W, 3] are reduced by Pillow's bicubic (as dear_jax.images.resize
    does, which would load JAX in every process), masks bool [H, W] by its nearest. A
    square of that side stays as it is; a smaller image is Unreadable.
    """
    if side is None:
        return pixels
    height, width = pixels.shape[:2]
    shorter = min(height, width)
    if shorter < side:
        raise Unreadable(
            f"{place}: {width} x {height} pixels, too small for --side {side}"
        )
    top, left = (height - shorter) // 2, (width - shorter) // 2
    square = pixels[top : top + shorter, left : left + shorter]
    if shorter == side:
        return square
    if square.dtype == bool:
        grey = Image.fromarray(square.astype(np.uint8) * 255)
        return np.asarray(grey.resize((side, side), Image.Resampling.NEAREST)) > 127
    reduced = Image.fromarray(square).resize((side, side), Image.Resampling.BICUBIC)
    return np.asarray(reduced)


def _encode(
    pixels: np.ndarray, form: str = "PNG", options: Mapping[str, Any] | None = None
) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **(options or {}))
    return file.getvalue()
