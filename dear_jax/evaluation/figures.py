"""Damaged photos and what systems made of them: the paper's Figures 1 and 3 to 6.

Pictures are RGB; holes of inputs are shown in sheets.HOLE_COLOUR. Parts of them are
enlarged, see `dear_jax.evaluation.zoom`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase

import numpy as np
from jaxtyping import Bool, UInt8
from PIL import Image

from dear_jax.evaluation import sheets
from dear_jax.evaluation.protocol import Sample
from dear_jax.evaluation.scores import Score
from dear_jax.evaluation.sheets import Picture, sides, within
from dear_jax.evaluation.zoom import Box, enlarged, with_boxes, zoom_boxes
from dear_jax.files import printable
from dear_jax.images import resize

# Pictures in a line of a sheet, examples below each other.
WIDEST = 8
TALLEST = 8
HOLES = "Missing pixels are magenta here; what the systems get is black there."


@dataclass(frozen=True, eq=False)
class Example:
    """A damaged photo and what systems made of it.

    Attributes:
      sample: the photo.
      outputs: label of a system -> its result.
      psnr: label -> PSNR of its result in dB, to be written above it; may be empty.
    """

    sample: Sample
    outputs: Mapping[str, UInt8[np.ndarray, "h w 3"]]
    psnr: Mapping[str, float] | None = None


@dataclass(frozen=True, eq=False)
class Stages:
    """A way to the result, in one or two stages.

    Attributes:
      label: of the system, such as "MISF→ELAN".
      intermediate: what the first stage made; None if there is one stage only.
      result: what the last one made.
    """

    label: str
    intermediate: UInt8[np.ndarray, "H W 3"] | None
    result: UInt8[np.ndarray, "h w 3"]


def examples(
    shown: Sequence[Sample],
    pictures: Mapping[str, Sequence[Picture]],
    scores: Mapping[str, Sequence[Score]],
) -> list[Example]:
    """What each system made of some samples, with what that scored.

    Args:
      shown: the samples.
      pictures: label of a system -> its results, in their order.
      scores: label -> its scores of these samples and others.
    """
    psnr = {
        (label, score.photo, score.bin): score.psnr
        for label, found in scores.items()
        for score in found
    }
    return [
        Example(
            sample,
            {label: made[i] for label, made in pictures.items()},
            {label: psnr[label, sample.photo, sample.bin] for label in pictures},
        )
        for i, sample in enumerate(shown)
    ]


def comparison_sheet(
    shown: Sequence[Example], cell: int = 256, widest: int = WIDEST
) -> Picture:
    """Shows what systems made of a few photos: input, results, truth, parts enlarged.

    Args:
      shown: one block of the sheet each, below each other; many fill columns of
        equal length, the first one first.
      cell: width of a picture, in pixels.
      widest: pictures in a line; what is more goes on the next.

    Raises:
      ValueError: if there is no example.
    """
    if not shown:
        raise ValueError("no examples to show")
    gap = cell // 8
    blocks = [_block(example, cell, widest) for example in shown]
    columns = [sheets.below(part, gap) for part in _parts(blocks, TALLEST)]
    body = sheets.beside(columns, gap)
    if any(example.sample.mask.any() for example in shown):
        body = sheets.below([body, holes_note(cell)], gap)
    return np.asarray(sheets.with_margin(body, cell // 16))


def stages_sheet(sample: Sample, chains: Sequence[Stages], cell: int = 256) -> Picture:
    """Shows ways to restore one photo stage by stage, with parts enlarged.

    Args:
      sample: the photo; (a) is the task itself, from input to truth.
      chains: (b), (c), ...: each from the input to its result.
      cell: width of a full-size picture, in pixels; low-resolution ones are drawn
        half as wide.
    """
    boxes, gap = zoom_boxes(sample.truth, mask_of_truth(sample)), cell // 32
    damaged = sheets.show_mask(sample.image, sample.mask)
    task = Stages("the task", None, sample.truth)
    ways, groups = [], [[("input", damaged)]]
    for letter, chain in zip(ascii_lowercase, [task, *chains], strict=False):
        title, steps = f"({letter}) {chain.label}", _steps(chain, sample)
        ways.append(_way(title, damaged, steps, sample.truth.shape[:2], boxes, cell))
        groups.append([(f"({letter}) {step}", made) for step, made in steps])
    groups.append([("truth", groups.pop(1)[0][1])])
    pairs = [ways[i : i + 2] for i in range(0, len(ways), 2)]
    width = max(sum(way.width for way in pair) for pair in pairs) + 6 * gap
    # Flush on both sides.
    gaps = [width - sum(way.width for way in pair) for pair in pairs]
    rows = [sheets.beside(*each) for each in zip(pairs, gaps, strict=True)]
    top = sheets.below(rows, 3 * gap)
    bottom = _enlarged_parts(groups, boxes, sample.truth.shape[1], width, cell)
    bottom = sheets.below([bottom, holes_note(cell)], gap)
    drawn = sheets.below([top, bottom], 3 * gap)
    return np.asarray(sheets.with_margin(drawn, 2 * gap))


def holes_note(cell: int) -> Image.Image:
    """Says below pictures `cell` pixels wide what magenta means."""
    return sheets.words(HOLES, max(8, cell // 20), sheets.FAINT)


def mask_of_truth(sample: Sample) -> Bool[np.ndarray, "h w"]:
    """What is missing of a sample, in its truth's pixels."""
    return resize.nearest(sample.mask, sample.truth.shape[:2])


def _parts(images: Sequence[Image.Image], most: int) -> list[Sequence[Image.Image]]:
    """The images in order, in as few parts of equal length as `most` of them allow."""
    count = -(-len(images) // most)
    length = -(-len(images) // count)
    return [images[i : i + length] for i in range(0, len(images), length)]


def _block(example: Example, cell: int, widest: int) -> Image.Image:
    """A heading, then input, results and truth in lines of equal length."""
    sample, psnr = example.sample, example.psnr or {}
    boxes = zoom_boxes(sample.truth, mask_of_truth(sample))
    shown = [
        ("input", sides(sample.image), sheets.show_mask(sample.image, sample.mask))
    ]
    for label, output in example.outputs.items():
        note = f"{psnr[label]:.2f} dB" if label in psnr else ""
        shown.append((label, note, output))
    shown.append(("truth", sides(sample.truth), sample.truth))
    tiles = [_tile(*each, sample.truth.shape[:2], boxes, cell) for each in shown]
    gap = max(2, cell // 32)
    rows = [sheets.beside(part, gap) for part in _parts(tiles, widest)]
    body = sheets.below(rows, 2 * gap)
    return sheets.below([_heading(sample, cell, body.width), body], gap)


def _heading(sample: Sample, cell: int, width: int) -> Image.Image:
    """The end of the photo's name, which differs most, and facts; `width` at most."""
    size = max(9, cell // 15)
    share = f"{sample.mask.mean():.0%}" if sample.mask.any() else "nothing"
    facts = sheets.words(f"×{sample.scale:g}, {share} missing", size, sheets.FAINT)
    font, room = sheets.typeface(size, bold=True), width - facts.width - size - 1
    name = sheets.shortened(printable(sample.photo), font, room, keep_end=True)
    return sheets.beside([sheets.words(name, size, bold=True), facts], size)


def _tile(
    title: str,
    note: str,
    picture: Picture,
    full: tuple[int, int],
    boxes: Sequence[Box],
    cell: int,
) -> Image.Image:
    """Title, note, the picture and its enlarged parts below each other."""
    text, gap = max(9, cell // 15), max(1, cell // 64)
    head = [
        sheets.words(title, text, width=cell),
        sheets.words(note, max(8, round(0.8 * text)), sheets.FAINT, width=cell),
    ]
    picture_size = within(full, cell)
    parts = enlarged(picture, boxes, full[1], (cell - gap) // 2)
    whole = with_boxes(picture, picture_size, boxes, full[1])
    body = sheets.below([whole, sheets.beside(parts, gap)], gap, align=0.5)
    return sheets.below([sheets.below(head, 0), body], gap, align=0.5)


def _steps(chain: Stages, sample: Sample) -> list[tuple[str, Picture]]:
    """What each stage does, and what it made."""
    if chain.intermediate is None:
        return [("fill + enlarge", chain.result)]
    names = ["fill", "then enlarge"]
    if chain.intermediate.shape != sample.image.shape:
        names = ["enlarge", "then fill"]
    return list(zip(names, (chain.intermediate, chain.result), strict=True))


def _way(
    title: str,
    damaged: Picture,
    steps: Sequence[tuple[str, Picture]],
    full: tuple[int, int],
    boxes: Sequence[Box],
    cell: int,
) -> Image.Image:
    """A title, then the input and what each stage made of it, with arrows between."""
    text, (height, width) = max(9, cell // 16), within(full, cell)

    def drawn(picture: Picture) -> Image.Image:
        part = 2 if picture.shape[0] < full[0] else 1
        size = height // part, width // part
        image = with_boxes(picture, size, boxes, full[1])
        note = sheets.words(sides(picture), round(0.8 * text), sheets.FAINT)
        return sheets.below([image, note], cell // 64, align=0.5)

    row = [drawn(damaged)]
    for step, made in steps:
        row += [sheets.arrow(step.removeprefix("then "), text), drawn(made)]
    chain = sheets.beside(row, cell // 32, align=0.5)
    title = sheets.shortened(title, sheets.typeface(text, bold=True), chain.width)
    return sheets.below([sheets.words(title, text, bold=True), chain], cell // 32)


def _enlarged_parts(
    groups: Sequence[Sequence[tuple[str, Picture]]],
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

    def column(title: str, picture: Picture) -> Image.Image:
        head = sheets.words(title, max(9, cell // 17), width=side)
        return sheets.below([head, *enlarged(picture, boxes, full, side)], close)

    drawn = [sheets.beside([column(*one) for one in group], close) for group in groups]
    return sheets.beside(drawn, gap)
