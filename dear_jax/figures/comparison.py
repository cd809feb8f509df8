"""Pictures of restored photos for people, laid out as the paper's figures.

`comparison_sheet` is the paper's Figures 3 to 6, `stages_sheet` its Figure 1. All
pictures are uint8 [H, W, 3] RGB; holes of inputs are shown in sheet.HOLE_COLOUR.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase

import numpy as np
from PIL import Image

from dear_jax import resize
from dear_jax.evaluation.protocol import Case
from dear_jax.evaluation.scores import Score
from dear_jax.figures import sheet
from dear_jax.figures.zoom import Box, enlarged, with_boxes, zoom_boxes

# Pictures in a line of a sheet.
WIDEST = 8
HOLES = "Missing pixels are magenta here; what the systems get is black there."


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


@dataclass(frozen=True, eq=False)
class Stages:
    """A way to the result, in one or two stages.

    Attributes:
      label: of the system, such as "MISF→ELAN".
      intermediate: what the first stage made, uint8; None if there is one stage only.
      result: uint8 [h, w, 3].
    """

    label: str
    intermediate: np.ndarray | None
    result: np.ndarray


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
      shown: one block of the sheet each, below each other.
      cell: width of a picture, in pixels.
      widest: pictures in a line; what is more goes on the next.

    Returns:
      uint8 [H, W, 3].

    Raises:
      ValueError: if there is no example.
    """
    if not shown:
        raise ValueError("no examples to show")
    blocks = [_block(example, cell, widest) for example in shown]
    return np.asarray(sheet.with_margin(sheet.below(blocks, cell // 8), cell // 16))


def _block(example: Example, cell: int, widest: int) -> Image.Image:
    """A heading, then input, results and truth in lines of equal length."""
    case, psnr = example.case, example.psnr or {}
    boxes = zoom_boxes(case.truth, _mask_of_truth(case))
    shown = [("input", _sides(case.image), sheet.show_mask(case.image, case.mask))]
    for label, output in example.outputs.items():
        note = f"{psnr[label]:.2f} dB" if label in psnr else ""
        shown.append((label, note, output))
    shown.append(("truth", _sides(case.truth), case.truth))
    tiles = [_tile(*each, case.truth.shape[:2], boxes, cell) for each in shown]
    lines = -(-len(tiles) // widest)
    columns = -(-len(tiles) // lines)
    gap = max(2, cell // 32)
    rows = [
        sheet.beside(tiles[i : i + columns], gap) for i in range(0, len(tiles), columns)
    ]
    return sheet.below([_heading(case, cell), sheet.below(rows, 2 * gap)], gap)


def _heading(case: Case, cell: int) -> Image.Image:
    name, size = Path(case.photo).stem, max(9, cell // 15)
    share = f"{case.mask.mean():.0%}" if case.mask.any() else "nothing"
    facts = f"×{case.scale:g}, {share} missing"
    parts = [
        sheet.words(name, size, bold=True),
        sheet.words(facts, size, sheet.FAINT),
    ]
    return sheet.beside(parts, size)


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
    picture_size = _within(full, cell)
    parts = enlarged(picture, boxes, full[1], (cell - gap) // 2)
    whole = with_boxes(picture, picture_size, boxes, full[1])
    body = sheet.below([whole, sheet.beside(parts, gap)], gap, align=0.5)
    return sheet.below([sheet.below(head, 0), body], gap, align=0.5)


def stages_sheet(case: Case, chains: Sequence[Stages], cell: int = 256) -> np.ndarray:
    """Shows ways to restore one photo stage by stage, with parts enlarged.

    Args:
      case: the photo; (a) is the task itself, from input to truth.
      chains: (b), (c), ...: each from the input to its result.
      cell: width of a full-size picture, in pixels; low-resolution ones are drawn
        half as wide.

    Returns:
      uint8 [H, W, 3].
    """
    boxes, gap = zoom_boxes(case.truth, _mask_of_truth(case)), cell // 32
    damaged = sheet.show_mask(case.image, case.mask)
    task = Stages("the task", None, case.truth)
    ways, groups = [], [[("input", damaged)]]
    for letter, chain in zip(ascii_lowercase, [task, *chains], strict=False):
        title, steps = f"({letter}) {chain.label}", _steps(chain, case)
        ways.append(_way(title, damaged, steps, case.truth.shape[:2], boxes, cell))
        groups.append([(f"({letter}) {step}", made) for step, made in steps])
    groups.append([("truth", groups.pop(1)[0][1])])
    pairs = [ways[i : i + 2] for i in range(0, len(ways), 2)]
    width = max(sum(way.width for way in pair) for pair in pairs) + 6 * gap
    top = sheet.below([_spread(pair, width) for pair in pairs], 3 * gap)
    bottom = _parts(groups, boxes, case.truth.shape[1], width, cell)
    note = sheet.words(HOLES, max(8, cell // 20), sheet.FAINT)
    drawn = sheet.below([top, sheet.below([bottom, note], gap)], 3 * gap)
    return np.asarray(sheet.with_margin(drawn, 2 * gap))


def _steps(chain: Stages, case: Case) -> list[tuple[str, np.ndarray]]:
    """What each stage does, and what it made."""
    if chain.intermediate is None:
        return [("fill + enlarge", chain.result)]
    names = ["fill", "then enlarge"]
    if chain.intermediate.shape != case.image.shape:
        names = ["enlarge", "then fill"]
    return list(zip(names, (chain.intermediate, chain.result), strict=True))


def _way(
    title: str,
    damaged: np.ndarray,
    steps: Sequence[tuple[str, np.ndarray]],
    full: tuple[int, int],
    boxes: Sequence[Box],
    cell: int,
) -> Image.Image:
    """A title, then the input and what each stage made of it, with arrows between."""
    text, large = max(9, cell // 16), _within(full, cell)

    def drawn(picture: np.ndarray) -> Image.Image:
        small = picture.shape[0] < full[0]
        size = tuple(x // 2 for x in large) if small else large
        image = with_boxes(picture, size, boxes, full[1])
        note = sheet.words(_sides(picture), round(0.8 * text), sheet.FAINT)
        return sheet.below([image, note], cell // 64, align=0.5)

    row = [drawn(damaged)]
    for step, made in steps:
        row += [sheet.arrow(step.removeprefix("then "), text), drawn(made)]
    chain = sheet.beside(row, cell // 32, align=0.5)
    return sheet.below([sheet.words(title, text, bold=True), chain], cell // 32)


def _spread(images: Sequence[Image.Image], width: int) -> Image.Image:
    """One or two images in a row of the given width, flush on both sides."""
    row = Image.new("RGB", (width, max(image.height for image in images)), "white")
    row.paste(images[0], (0, 0))
    if len(images) > 1:
        row.paste(images[1], (width - images[1].width, 0))
    return row


def _parts(
    groups: Sequence[Sequence[tuple[str, np.ndarray]]],
    boxes: Sequence[Box],
    full: int,
    width: int,
    cell: int,
) -> Image.Image:
    """Enlarged parts, a column per titled picture; pictures of a group stand close."""
    columns, close = sum(map(len, groups)), max(1, cell // 128)
    within = close * (columns - len(groups))
    between = len(groups) - 1
    side = (width - within - between * (cell // 16)) // columns
    side = min(side, round(0.8 * cell))
    gap = (width - within - side * columns) // between

    def column(title: str, picture: np.ndarray) -> Image.Image:
        head = sheet.words(title, max(9, cell // 17), width=side)
        return sheet.below([head, *enlarged(picture, boxes, full, side)], close)

    drawn = [sheet.beside([column(*one) for one in group], close) for group in groups]
    return sheet.beside(drawn, gap)


def _within(size: tuple[int, int], width: float) -> tuple[int, int]:
    """Scales (h, w) to the width, or to less if it would be 1.5 times as high."""
    ratio = min(width / size[1], 1.5 * width / size[0])
    return max(1, round(size[0] * ratio)), max(1, round(size[1] * ratio))


def _sides(picture: np.ndarray) -> str:
    return f"{picture.shape[1]} × {picture.shape[0]}"


def _mask_of_truth(case: Case) -> np.ndarray:
    return resize.nearest(case.mask, case.truth.shape[:2])
