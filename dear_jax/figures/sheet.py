"""Pictures of results for people: contact sheets, shown holes and heat maps.

Everything in and out is uint8 [H, W, 3] RGB, except masks, bool [H, W] with
True = missing, and maps, float [H, W] in [0, 1].
"""

import functools
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

HOLE_COLOUR = (255, 0, 255)
INK = (30, 30, 30)
FAINT = (110, 110, 110)


def contact_sheet(
    rows: Sequence[Sequence[np.ndarray]],
    titles: Sequence[str],
    captions: Sequence[str] | None = None,
    cell: int = 256,
) -> np.ndarray:
    """Draws pictures in a grid on white, with column titles and row captions.

    A picture smaller than its cell is enlarged with nearest neighbour, so that its
    pixels show; a larger one is reduced. Proportions are kept.

    Args:
      rows: pictures uint8 [H, W, 3] of any size; each row has one per title.
      titles: one per column; too long ones are cut.
      captions: one per row, left of it, may have several lines.
      cell: side of a picture in the sheet, in pixels.

    Returns:
      uint8 [H, W, 3].

    Raises:
      ValueError: if a row or the captions have the wrong number of entries.
    """
    _check_counts(rows, titles, captions)
    gap, text = max(2, cell // 32), max(9, cell // 14)
    font = ImageFont.load_default(size=text)
    small = ImageFont.load_default(size=max(8, round(0.8 * text)))
    lines = [line for caption in captions or () for line in caption.split("\n")]
    margin = round(max((small.getlength(line) for line in lines), default=0))
    left, top = gap + (margin and margin + gap), 2 * gap + round(1.3 * text)
    width = left + len(titles) * (cell + gap)
    sheet = Image.new("RGB", (width, top + len(rows) * (cell + gap)), "white")
    draw = ImageDraw.Draw(sheet)
    for j, title in enumerate(titles):
        middle = (left + j * (cell + gap) + cell / 2, top - gap)
        draw.text(middle, _shortened(title, font, cell), INK, font, anchor="ms")
    for i, row in enumerate(rows):
        y = top + i * (cell + gap)
        if captions:
            draw.multiline_text((gap, y), captions[i], FAINT, small, spacing=4)
        for j, picture in enumerate(row):
            tile = _fitted(picture, cell)
            x = left + j * (cell + gap)
            corner = (x + (cell - tile.width) // 2, y + (cell - tile.height) // 2)
            sheet.paste(tile, corner)
    return np.asarray(sheet)


def show_mask(
    image: np.ndarray,
    mask: np.ndarray,
    colour: tuple[int, int, int] = HOLE_COLOUR,
) -> np.ndarray:
    """Paints the missing pixels of a photo [H, W, 3] in one clear colour."""
    return np.where(mask[..., None], np.array(colour, np.uint8), image)


def heat(values: np.ndarray) -> np.ndarray:
    """Colours a map [H, W] in [0, 1]: dark violet is 0, light yellow is 1.

    Equal steps look equally large, also in greyscale. Values outside are clipped.
    """
    colours = _colour_map()
    levels = np.clip(np.nan_to_num(values), 0, 1) * (len(colours) - 1)
    return colours[np.round(levels).astype(int)]


@functools.cache
def _colour_map(steps: int = 256) -> np.ndarray:
    """A straight climb in OKLab lightness while the hue turns, uint8 [steps, 3]."""
    t = np.linspace(0, 1, steps)
    hue = np.radians(285 + 180 * t)
    chroma = 0.05 + 0.11 * np.sin(np.pi * t)  # stays inside sRGB all the way
    lab = np.stack([0.2 + 0.76 * t, chroma * np.cos(hue), chroma * np.sin(hue)], -1)
    # Ottosson's matrices: OKLab -> cube roots of cone responses -> linear sRGB.
    to_cones = [[1, 0.3963, 0.2158], [1, -0.1056, -0.0639], [1, -0.0895, -1.2915]]
    to_rgb = [
        [4.0767, -3.3077, 0.2310],
        [-1.2684, 2.6098, -0.3413],
        [-0.0042, -0.7034, 1.7076],
    ]
    linear = np.clip((lab @ np.transpose(to_cones)) ** 3 @ np.transpose(to_rgb), 0, 1)
    curve = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    )
    return np.round(255 * curve).astype(np.uint8)


def _fitted(picture: np.ndarray, cell: int) -> Image.Image:
    """The picture scaled so that its longer side is the cell's."""
    longest = max(picture.shape[:2])
    height, width = (max(1, round(side * cell / longest)) for side in picture.shape[:2])
    sampling = Image.Resampling
    chosen = sampling.NEAREST if longest <= cell else sampling.LANCZOS
    return Image.fromarray(picture).resize((width, height), chosen)


def _shortened(text: str, font, width: float) -> str:
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _check_counts(rows, titles, captions) -> None:
    for i, row in enumerate(rows):
        if len(row) != len(titles):
            raise ValueError(
                f"row {i} has {len(row)} pictures for {len(titles)} titles"
            )
    if captions is not None and len(captions) != len(rows):
        raise ValueError(f"{len(captions)} captions for {len(rows)} rows")
