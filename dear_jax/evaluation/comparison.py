"""Photos and what systems made of them beside each other: the paper's Figures 3 to 6.

All pictures are uint8 [H, W, 3] RGB; holes of inputs are shown in sheet.HOLE_COLOUR.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from dear_jax.evaluation import sheet
from dear_jax.evaluation.printable import printable
from dear_jax.evaluation.protocol import Case
from dear_jax.evaluation.scores import Score
from dear_jax.evaluation.shown import holes_note, mask_of_truth, sides, within
from dear_jax.evaluation.zoom import Box, enlarged, with_boxes, zoom_boxes

# Pictures in a line of a sheet, examples below each other.
WIDEST = 8
TALLEST = 8


@dataclass(frozen=True, eq=False)
class Example:
    """A damaged photo and what systems made of it.

    Attributes:
      case: the photo.
      outputs: label of a system -> its result, uint8 [h, w, 3].
      psnr: label -> PSNR of its result in dB, to be written above it; may be empty.
    """

    case: Case
    outputs: Mapping[str, np.ndarray]
    psnr: Mapping[str, float] | None = None


def examples(
    shown: Sequence[Case],
    pictures: Mapping[str, Sequence[np.ndarray]],
    scores: Mapping[str, Sequence[Score]],
) -> list[Example]:
    """What each system made of some cases, with what that scored.

    Args:
      shown: the cases.
      pictures: label of a system -> its results, uint8 [h, w, 3], in their order.
      scores: label -> its scores of these cases and others.
    """
    psnr = {
        (label, score.photo, score.bin): score.psnr
        for label, found in scores.items()
        for score in found
    }
    return [
        Example(
            case,
            {label: made[i] for label, made in pictures.items()},
            {label: psnr[label, case.photo, case.bin] for label in pictures},
        )
        for i, case in enumerate(shown)
    ]


def comparison_sheet(
    shown: Sequence[Example], cell: int = 256, widest: int = WIDEST
) -> np.ndarray:
    """Shows what systems made of a few photos: input, results, truth, parts enlarged.

    Args:
      shown: one block of the sheet each, below each other; many fill columns of
        equal length, the first one first.
      cell: width of a picture, in pixels.
      widest: pictures in a line; what is more goes on the next.

    Returns:
      uint8 [H, W, 3].

    Raises:
      ValueError: if there is no example.
    """
    if not shown:
        raise ValueError("no examples to show")
    gap = cell // 8
    blocks = [_block(example, cell, widest) for example in shown]
    columns = [sheet.below(part, gap) for part in _parts(blocks, TALLEST)]
    body = sheet.beside(columns, gap)
    if any(example.case.mask.any() for example in shown):
        body = sheet.below([body, holes_note(cell)], gap)
    return np.asarray(sheet.with_margin(body, cell // 16))


def _parts(images: Sequence[Image.Image], most: int) -> list[Sequence[Image.Image]]:
    """The images in order, in as few parts of equal length as `most` of them allow."""
    count = -(-len(images) // most)
    length = -(-len(images) // count)
    return [images[i : i + length] for i in range(0, len(images), length)]


def _block(example: Example, cell: int, widest: int) -> Image.Image:
    """A heading, then input, results and truth in lines of equal length."""
    case, psnr = example.case, example.psnr or {}
    boxes = zoom_boxes(case.truth, mask_of_truth(case))
    shown = [("input", sides(case.image), sheet.show_mask(case.image, case.mask))]
    for label, output in example.outputs.items():
        note = f"{psnr[label]:.2f} dB" if label in psnr else ""
        shown.append((label, note, output))
    shown.append(("truth", sides(case.truth), case.truth))
    tiles = [_tile(*each, case.truth.shape[:2], boxes, cell) for each in shown]
    gap = max(2, cell // 32)
    rows = [sheet.beside(part, gap) for part in _parts(tiles, widest)]
    body = sheet.below(rows, 2 * gap)
    return sheet.below([_heading(case, cell, body.width), body], gap)


def _heading(case: Case, cell: int, width: int) -> Image.Image:
    """The photo's name, of which the end tells most, and facts; `width` at most."""
    size = max(9, cell // 15)
    share = f"{case.mask.mean():.0%}" if case.mask.any() else "nothing"
    facts = sheet.words(f"×{case.scale:g}, {share} missing", size, sheet.FAINT)
    font, room = sheet.typeface(size, bold=True), width - facts.width - size - 1
    name = sheet.shortened(printable(case.photo), font, room, keep_end=True)
    return sheet.beside([sheet.words(name, size, bold=True), facts], size)


def _tile(
    title: str,
    note: str,
    picture: np.ndarray,
    full: tuple[int, int],
    boxes: Sequence[Box],
    cell: int,
) -> Image.Image:
    """Title, note, the picture and its enlarged parts below each other."""
    text, gap = max(9, cell // 15), max(1, cell // 64)
    head = [
        sheet.words(title, text, width=cell),
        sheet.words(note, max(8, round(0.8 * text)), sheet.FAINT, width=cell),
    ]
    picture_size = within(full, cell)
    parts = enlarged(picture, boxes, full[1], (cell - gap) // 2)
    whole = with_boxes(picture, picture_size, boxes, full[1])
    body = sheet.below([whole, sheet.beside(parts, gap)], gap, align=0.5)
    return sheet.below([sheet.below(head, 0), body], gap, align=0.5)
