"""How well results agree with the known pixels of their photos, and what keeping costs.

    python benchmarks/known.py [--photos FOLDER ...] [--count 20] [--out FILE.md]

Each photo has the next of the masks. "Reduced" is the protocol's task: the photo is
the truth, its bicubic reduction the input, so there is something that agrees. "As it
is" takes a square of the photo itself for the input: what agrees need not lie in range.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from measuring import busy_cores, peak, reset_peak, resident, say

import dear_jax
from dear_jax import bundled, metrics
from dear_jax.errors import InputError
from dear_jax.files import write_text
from dear_jax.images import resize
from dear_jax.images.photo import list_photos, read_mask, read_photo
from dear_jax.inference.known import consistency, keep_known

SIDE = 128  # Of squares taken as they are.
HEAD = """\
| photos | input | scale | within a level before | after | photos wholly | worst after \
| PSNR before | after | ms/megapixel |
|---|---|---|---|---|---|---|---|---|---|
"""


class Task(NamedTuple):
    """A damaged photo uint8 [H, W, 3], its holes, and the target's size or truth."""

    image: np.ndarray
    mask: np.ndarray
    size: tuple[int, int]
    truth: np.ndarray | None


def tasks(
    paths: Sequence[Path], masks: Sequence[np.ndarray], scale: float, reduced: bool
) -> Iterator[Task]:
    """The tasks that photos make at a scale."""
    for i, path in enumerate(paths):
        photo = read_photo(path)
        height, width = photo.shape[:2]
        if reduced:
            size = round(height / scale), round(width / scale)
            image, truth, target = resize.bicubic(photo, size), photo, (height, width)
        else:
            side = min(SIDE, height, width)
            top, left = (height - side) // 2, (width - side) // 2
            image, truth = photo[top : top + side, left : left + side], None
            target = (round(side * scale),) * 2
        mask = resize.nearest(masks[i % len(masks)], image.shape[:2])
        yield Task(np.where(mask[..., None], np.uint8(0), image), mask, target, truth)


def line(name: str, restorer, found: Sequence[Task], scale: float) -> str:
    """Measures tasks: one line of the table."""
    before, after, decibels, seconds, pixels = [], [], [], 0.0, 0
    for task in found:
        result = restorer(task.image, task.mask, size=task.size)
        before.append(consistency(result, task.image, task.mask))
        start = time.perf_counter()
        kept, agreement = keep_known(result, task.image, task.mask)
        seconds += time.perf_counter() - start
        pixels += task.size[0] * task.size[1]
        after.append(agreement)
        if task.truth is not None:
            decibels.append(quality_of((result, kept), task.truth))
    shares = [
        np.average([c.share for c in s], weights=[c.known for c in s])
        for s in (before, after)
    ]
    wholly = sum(c.share == 1 for c in after)
    quality = [f"{x:.2f}" for x in np.mean(decibels, 0)] if decibels else ["", ""]
    cells = [
        name,
        "reduced" if decibels else "as it is",
        f"{scale:g}",
        percent(shares[0]),
        percent(shares[1]),
        f"{wholly} of {len(after)}",
        f"{max(c.worst for c in after):.0f}",
        *quality,
        f"{1e9 * seconds / pixels:.0f}",
    ]
    say(" ".join(cells))
    return f"| {' | '.join(cells)} |\n"


def quality_of(results: Sequence[np.ndarray], truth: np.ndarray) -> np.ndarray:
    """PSNR of each result."""
    floats = np.stack([*results, truth]).astype(np.float32) / np.float32(255)
    made, true = floats[:-1], floats[-1:].repeat(len(results), 0)
    return np.asarray(metrics.psnr(made, true))


def percent(share: float) -> str:
    """A share in percent; one that is not all is never rounded up to it."""
    return "100 %" if share == 1 else f"{np.floor(1e5 * share) / 1e3:.3f} %"


def large(paths: Sequence[Path], mask: np.ndarray, side: int, scale: int) -> str:
    """Measures one large photo, put together of small ones and enlarged bilinearly."""
    count = -(-side // 256)
    rows = [
        np.concatenate(
            [tile(paths[(i * count + j) % len(paths)]) for j in range(count)], 1
        )
        for i in range(count)
    ]
    image = np.ascontiguousarray(np.concatenate(rows)[:side, :side])
    mask = resize.nearest(mask, (side, side))
    sentences = []
    for kind in ("8 bits", "floats"):
        if kind == "floats":
            image = image / np.float32(255)
        result = resize.bilinear(image, (side * scale, side * scale))
        before = consistency(result, image, mask).share
        can_reset = reset_peak()
        resident_before, start = resident(), time.perf_counter()
        _, found = keep_known(result, image, mask)
        seconds = time.perf_counter() - start
        memory = f", {peak() - resident_before:.0f} MiB more" if can_reset else ""
        sentences.append(
            f"{kind}: {percent(before)} within a level before, {percent(found.share)} "
            f"after, {seconds:.1f} s{memory}"
        )
        say(sentences[-1])
    return (
        f"{side} x {side} -> {side * scale} x {side * scale}, enlarged by Pillow's "
        f"bilinear filter: {'; '.join(sentences)}.\n"
    )


def tile(path: Path) -> np.ndarray:
    """A photo brought to 256 x 256."""
    return resize.bicubic(read_photo(path), (256, 256))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--photos", nargs="+", default=[bundled.PHOTOS], type=Path)
    parser.add_argument("--masks", default=bundled.MASKS, type=Path)
    parser.add_argument("--count", type=int, default=20, help="of each folder")
    parser.add_argument("--scales", type=float, nargs="+", default=[2, 2.5, 4, 6])
    parser.add_argument("--model", default="dear-lite")
    parser.add_argument("--large", type=int, default=1024, help="side; 0 for none")
    parser.add_argument("--out", type=Path, help="a Markdown file; default: print it")
    flags = parser.parse_args()
    busy = busy_cores()
    try:
        restorer = dear_jax.load(flags.model)
        masks = [read_mask(path) for path in list_photos(flags.masks)]
        text = (
            f"{flags.model}, at most {flags.count} photos of each folder, "
            f"{busy:.1f} cores busy with other work at the start.\n\n{HEAD}"
        )
        for folder in flags.photos:
            paths = list_photos(folder)[: flags.count]
            name = folder.parent.name if folder.name == "test" else folder.name
            for reduced in (True, False):
                for scale in flags.scales:
                    found = list(tasks(paths, masks, scale, reduced))
                    text += line(name, restorer, found, scale)
        if flags.large:
            paths = list_photos(flags.photos[0])
            text += f"\n{large(paths, masks[0], flags.large, 4)}"
        if flags.out:
            write_text(flags.out, text)
        else:
            print(text)
    except InputError as error:
        raise SystemExit(f"error: {error}") from None


if __name__ == "__main__":
    main()
