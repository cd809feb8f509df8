"""A sheet that shows a damaged photo beside its result, and what mattered for it.

Photos are uint8 [H, W, 3], or floats in [0, 1]; masks bool [H, W], True = missing; an
importance map is [H, W] in [0, 1].
"""

from pathlib import Path

import numpy as np
from PIL import Image

from dear_jax.evaluation import sheet
from dear_jax.evaluation.shown import sides
from dear_jax.images.io import write_photo

# Height of all pictures in a sheet: that of the result, but within these, and none
# wider than twice the most. Panoramas stand below each other.
_LEAST, _MOST = 256, 768
_WIDE = 2.5


def draw_preview(
    path: str | Path,
    image: np.ndarray,
    mask: np.ndarray | None,
    result: np.ndarray,
    importance: np.ndarray | None = None,
) -> None:
    """Writes the sheet of a photo; a file of that name is replaced whole.

    Args:
      path: where to; its suffix decides the format.
      image: [H, W, 3], the photo that was given.
      mask: bool [H, W], its holes; None if it has none.
      result: [h, w, 3].
      importance: [H, W], its importance map, or None.

    Raises:
      InputError: if the file cannot be written.
    """
    write_photo(path, preview_sheet(image, mask, result, importance))


def preview_sheet(
    image: np.ndarray,
    mask: np.ndarray | None,
    result: np.ndarray,
    importance: np.ndarray | None = None,
) -> np.ndarray:
    """Draws the sheet that `draw_preview` writes, uint8 [H, W, 3].

    All pictures are as high as the result, within limits; the pixels of smaller ones
    show as squares. They stand beside each other, or below if they are very wide.
    Missing pixels are magenta.
    """
    image, result = _eight_bits(image), _eight_bits(result)
    note = sides(image)
    if mask is not None and mask.any():
        image = sheet.show_mask(image, mask)
        note += ", missing pixels magenta"
    panels = [("photo", note, image), ("result", sides(result), result)]
    if importance is not None:
        panels.append(("importance", "dark 0, light 1", sheet.heat(importance)))
    height = _height(result.shape[:2])
    drawn = [_panel(*panel, height) for panel in panels]
    gap = max(8, height // 32)
    wide = result.shape[1] > _WIDE * result.shape[0]
    drawn = sheet.below(drawn, 2 * gap) if wide else sheet.beside(drawn, gap)
    return np.asarray(sheet.with_margin(drawn, gap))


def _panel(title: str, note: str, picture: np.ndarray, height: int) -> Image.Image:
    """The picture, `height` pixels high, with its title and a note below."""
    width = round(picture.shape[1] * height / picture.shape[0])
    shown = sheet.resized(picture, (height, max(1, width)))
    text = max(11, height // 28)
    lines = [
        sheet.words(title, text),
        sheet.words(note, round(0.8 * text), sheet.FAINT),
    ]
    return sheet.below([shown, sheet.below(lines, 0, align=0.5)], text // 2, align=0.5)


def _height(size: tuple[int, int]) -> int:
    height = min(max(size[0], _LEAST), _MOST)
    return max(1, min(height, round(2 * _MOST * size[0] / size[1])))


def _eight_bits(image: np.ndarray) -> np.ndarray:
    if image.dtype == np.uint8:
        return image
    return np.rint(255 * np.clip(np.nan_to_num(image), 0, 1)).astype(np.uint8)
