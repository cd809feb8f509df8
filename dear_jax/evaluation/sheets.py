"""Pictures for people: contact sheets, previews, shown holes and heat maps.

Pictures are RGB; in masks, True = missing; maps are in [0, 1]. The last functions are
for making other sheets: Pillow images of photos and of words, put beside and below each
other.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Num, UInt8
from PIL import Image, ImageDraw, ImageFont, ImageOps

from dear_jax.images.decode import with_bits
from dear_jax.images.io import write_photo

# Of any size each, also where a function has several.
Picture: TypeAlias = UInt8[np.ndarray, "_ _ 3"]

HOLE_COLOUR = (255, 0, 255)
INK = (30, 30, 30)
FAINT = (110, 110, 110)
# Height of all pictures in a sheet: that of the result, but within these, and none
# wider than twice the most. Panoramas stand below each other.
_LEAST, _MOST = 256, 768
_WIDE = 2.5


def contact_sheet(
    rows: Sequence[Sequence[Picture]],
    titles: Sequence[str],
    captions: Sequence[str] | None = None,
    cell: int = 256,
) -> Picture:
    """Draws pictures in a grid on white, with column titles and row captions.

    A picture smaller than its cell is enlarged with nearest neighbour, so that its
    pixels show; a larger one is reduced. Proportions are kept.

    Args:
      rows: pictures of any size; each row has one per title.
      titles: one per column; too long ones are cut.
      captions: one per row, left of it, may have several lines.
      cell: side of a picture in the sheet, in pixels.

    Raises:
      ValueError: if a row or the captions have the wrong number of entries.
    """
    _check_counts(rows, titles, captions)
    gap, text = max(2, cell // 32), max(9, cell // 14)
    head = beside([words(title, text, width=cell) for title in titles], gap)
    lines = [beside([_fitted(p, cell) for p in row], gap) for row in rows]
    if captions:
        small = max(8, round(0.8 * text))
        notes = [
            below([words(line, small, FAINT) for line in caption.split("\n")], 0)
            for caption in captions
        ]
        width = max(note.width for note in notes)
        lines = [
            beside(
                [ImageOps.expand(note, (0, 0, width - note.width, 0), "white"), x], gap
            )
            for note, x in zip(notes, lines, strict=True)
        ]
    grid = below([head, *lines], gap, align=1)
    return np.asarray(with_margin(grid, gap))


def show_mask(
    image: UInt8[np.ndarray, "H W 3"],
    mask: Bool[np.ndarray, "H W"],
    colour: tuple[int, int, int] = HOLE_COLOUR,
) -> UInt8[np.ndarray, "H W 3"]:
    """Paints the missing pixels of a photo in one clear colour."""
    return np.where(mask[..., None], np.array(colour, np.uint8), image)


def heat(values: Float[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W 3"]:
    """Colours a map in [0, 1]: near black is 0, light yellow is 1.

    Equal steps look equally large, also in greyscale. Values outside are clipped.
    """
    from matplotlib import colormaps

    colours = colormaps["magma"](np.clip(np.nan_to_num(values), 0, 1), bytes=True)
    return colours[..., :3]


def draw_preview(
    path: str | Path,
    image: Num[np.ndarray, "H W 3"],
    mask: Bool[np.ndarray, "H W"] | None,
    result: Num[np.ndarray, "h w 3"],
    importance: Float[np.ndarray, "H W"] | None = None,
) -> None:
    """Writes the sheet of a photo; a file of that name is replaced whole.

    Args:
      path: where to; its suffix decides the format.
      image: the photo that was given.
      mask: its holes; None if it has none.
      result: what was made of it.
      importance: its importance map, or None.

    Raises:
      InputError: if the file cannot be written.
    """
    write_photo(path, preview_sheet(image, mask, result, importance))


def preview_sheet(
    image: Num[np.ndarray, "H W 3"],
    mask: Bool[np.ndarray, "H W"] | None,
    result: Num[np.ndarray, "h w 3"],
    importance: Float[np.ndarray, "H W"] | None = None,
) -> Picture:
    """Draws the sheet that `draw_preview` writes.

    All pictures are as high as the result, within limits; the pixels of smaller ones
    show as squares. They stand beside each other, or below if they are very wide.
    Missing pixels are magenta.
    """
    image, result = (with_bits(np.nan_to_num(x), 8) for x in (image, result))
    note = sides(image)
    if mask is not None and mask.any():
        image = show_mask(image, mask)
        note += ", missing pixels magenta"
    panels = [("photo", note, image), ("result", sides(result), result)]
    if importance is not None:
        panels.append(("importance", "dark 0, light 1", heat(importance)))
    return _panels(panels, result.shape[:2])


def draw_damage(
    path: str | Path, image: Num[np.ndarray, "H W 3"], mask: Bool[np.ndarray, "H W"]
) -> None:
    """Writes a sheet of a photo and the damage found in it, magenta.

    Raises:
      InputError: if the file cannot be written.
    """
    image = with_bits(np.nan_to_num(image), 8)
    found = f"{mask.mean():.1%} of it, magenta"
    panels = [("photo", sides(image), image)]
    panels.append(("damage found", found, show_mask(image, mask)))
    write_photo(path, _panels(panels, image.shape[:2]))


def resized(
    picture: Picture,
    size: tuple[int, int],
    box: tuple[float, float, float, float] | None = None,
) -> Image.Image:
    """Brings a picture, or a part of it, to `size` = (h, w).

    Enlarged pixels show as equal squares; reduced ones are averaged.

    Args:
      picture: of any size.
      size: (h, w).
      box: (top, left, bottom, right) in pixels, need not be whole; default all.
    """
    image, (height, width) = Image.fromarray(picture), size
    top, left, bottom, right = box or (0, 0, *picture.shape[:2])
    part = left, top, right, bottom
    sampling = Image.Resampling
    if height < bottom - top or width < right - left:
        return image.resize((width, height), sampling.LANCZOS, part)
    # Rounded to a fine grid first, or squares would differ by a whole pixel.
    fine = image.resize((4 * width, 4 * height), sampling.NEAREST, part)
    return fine.reduce(4)


@functools.cache
def typeface(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    """DejaVu Sans at `size` pixels; unlike Pillow's own font it has arrows."""
    import matplotlib  # which brings the font

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/{name}", size)


def words(
    text: str,
    size: int,
    colour: tuple[int, int, int] = INK,
    bold: bool = False,
    width: int | None = None,
) -> Image.Image:
    """One line of text on white, `size` pixels high letters, 1.4 `size` high in all.

    Args:
      text: what to write.
      size: of the letters, in pixels.
      colour: RGB.
      bold: heavy letters.
      width: of the image, with the text in its middle, cut if it is too long; default
        as the text needs.
    """
    font = typeface(size, bold)
    if width is not None:
        text = shortened(text, font, width)
    needed = width if width is not None else round(font.getlength(text)) + 1
    image = Image.new("RGB", (needed, round(1.4 * size)), "white")
    middle = (needed / 2, round(1.05 * size))
    ImageDraw.Draw(image).text(middle, text, colour, font, anchor="ms")
    return image


def shortened(
    text: str, font: ImageFont.FreeTypeFont, width: float, keep_end: bool = False
) -> str:
    """The text, cut at its end or beginning so that it takes at most `width` pixels."""
    mark = "" if font.getlength(text) <= width else "…"
    while mark and text and font.getlength(text + mark) > width:
        text = text[1:] if keep_end else text[:-1]
    return mark + text if keep_end else text + mark


def beside(images: Sequence[Image.Image], gap: int, align: float = 0) -> Image.Image:
    """Images in a row on white: top-aligned at 0, middles at 0.5, bottoms at 1."""
    height = max(image.height for image in images)
    width = sum(image.width for image in images) + gap * (len(images) - 1)
    row, x = Image.new("RGB", (width, height), "white"), 0
    for image in images:
        row.paste(image, (x, round((height - image.height) * align)))
        x += image.width + gap
    return row


def below(images: Sequence[Image.Image], gap: int, align: float = 0) -> Image.Image:
    """Images in a column on white: left-aligned at 0, middles at 0.5, right at 1."""
    width = max(image.width for image in images)
    height = sum(image.height for image in images) + gap * (len(images) - 1)
    column, y = Image.new("RGB", (width, height), "white"), 0
    for image in images:
        column.paste(image, (round((width - image.width) * align), y))
        y += image.height + gap
    return column


def arrow(label: str, size: int) -> Image.Image:
    """An arrow to the right, the label's words in up to two lines above it.

    The shaft is at half the height.

    Args:
      label: what the arrow stands for.
      size: height of a line of the sheet's text, in pixels; the label's is smaller.
    """
    lines = [words(line, round(0.85 * size)) for line in label.split(" ", 1)]
    above, tip = below(lines, 0, align=0.5), size // 2
    length = max(above.width, 4 * size)
    # Drawn large and reduced, for smooth edges.
    fine = Image.new("RGB", (4 * length, 8 * tip), "white")
    draw, middle = ImageDraw.Draw(fine), 4 * tip
    end, back = 4 * length - 1, 4 * length - 6 * tip
    draw.line((0, middle, back, middle), INK, width=6)
    corners = [(end, middle), (back, middle - 3 * tip), (back, middle + 3 * tip)]
    draw.polygon(corners, INK)
    under = Image.new("RGB", (1, above.height), "white")
    return below([above, fine.reduce(4), under], 0, align=0.5)


def with_margin(
    image: Image.Image, margin: int | tuple[int, int, int, int]
) -> Image.Image:
    """The image with white all around, or left, above, right and below."""
    return ImageOps.expand(image, margin, "white")


def sides(picture: Num[np.ndarray, "H W 3"]) -> str:
    """Width and height of a picture, to be written."""
    return f"{picture.shape[1]} × {picture.shape[0]}"


def within(size: tuple[int, int], width: float) -> tuple[int, int]:
    """Scales (h, w) to the width, or to less if it would be 1.5 times as high."""
    ratio = min(width / size[1], 1.5 * width / size[0])
    return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))


def _fitted(picture: Picture, cell: int) -> Image.Image:
    """The picture in the middle of a square cell, its longer side as long as that."""
    longest = max(picture.shape[:2])
    height, width = (max(1, round(side * cell / longest)) for side in picture.shape[:2])
    return ImageOps.pad(resized(picture, (height, width)), (cell, cell), color="white")


def _check_counts(rows, titles, captions) -> None:
    for i, row in enumerate(rows):
        if len(row) != len(titles):
            raise ValueError(
                f"row {i} has {len(row)} pictures for {len(titles)} titles"
            )
    if captions is not None and len(captions) != len(rows):
        raise ValueError(f"{len(captions)} captions for {len(rows)} rows")


def _panels(
    panels: Sequence[tuple[str, str, Picture]], size: tuple[int, int]
) -> Picture:
    """Titles, notes and pictures beside each other, or below if `size` is very wide."""
    height = _height(size)
    drawn = [_panel(*panel, height) for panel in panels]
    gap = max(8, height // 32)
    wide = size[1] > _WIDE * size[0]
    drawn = below(drawn, 2 * gap) if wide else beside(drawn, gap)
    return np.asarray(with_margin(drawn, gap))


def _panel(title: str, note: str, picture: Picture, height: int) -> Image.Image:
    """The picture, `height` pixels high, with its title and a note below."""
    width = round(picture.shape[1] * height / picture.shape[0])
    shown = resized(picture, (height, max(1, width)))
    text = max(11, height // 28)
    lines = [
        words(title, text),
        words(note, round(0.8 * text), FAINT),
    ]
    return below([shown, below(lines, 0, align=0.5)], text // 2, align=0.5)


def _height(size: tuple[int, int]) -> int:
    height = min(max(size[0], _LEAST), _MOST)
    return max(1, min(height, round(2 * _MOST * size[0] / size[1])))
