"""Ways to restore one photo, stage by stage: the paper's Figure 1.

All pictures are uint8 [H, W, 3] RGB; holes of inputs are shown in sheet.HOLE_COLOUR.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from string import ascii_lowercase

import numpy as np
from PIL import Image

from dear_jax.evaluation import sheet
from dear_jax.evaluation.protocol import Case
from dear_jax.evaluation.shown import holes_note, mask_of_truth, sides, within
from dear_jax.evaluation.zoom import Box, enlarged, with_boxes, zoom_boxes


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
    boxes, gap = zoom_boxes(case.truth, mask_of_truth(case)), cell // 32
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
    bottom = sheet.below([bottom, holes_note(cell)], gap)
    drawn = sheet.below([top, bottom], 3 * gap)
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
    text, large = max(9, cell // 16), within(full, cell)

    def drawn(picture: np.ndarray) -> Image.Image:
        small = picture.shape[0] < full[0]
        size = tuple(x // 2 for x in large) if small else large
        image = with_boxes(picture, size, boxes, full[1])
        note = sheet.words(sides(picture), round(0.8 * text), sheet.FAINT)
        return sheet.below([image, note], cell // 64, align=0.5)

    row = [drawn(damaged)]
    for step, made in steps:
        row += [sheet.arrow(step.removeprefix("then "), text), drawn(made)]
    chain = sheet.beside(row, cell // 32, align=0.5)
    title = sheet.shortened(title, sheet.typeface(text, bold=True), chain.width)
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
