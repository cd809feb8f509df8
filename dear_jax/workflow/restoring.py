"""One photo from file to file: read, find what is missing, restore, write."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Num

from dear_jax import files
from dear_jax.errors import InputError
from dear_jax.images.decode import with_bits
from dear_jax.images.io import (
    FORMATS,
    LOSSY,
    ImageFile,
    check_output,
    read_image,
    read_photo,
    write_image,
    write_photo,
)
from dear_jax.images.masks import find_mask, mask_remarks
from dear_jax.inference.damage import found_damage
from dear_jax.inference.denoise import AUTO, default_denoise, settled_level
from dear_jax.inference.grain import with_grain
from dear_jax.inference.inputs import target_size
from dear_jax.inference.known import consistency, keep_known
from dear_jax.inference.plan import Plan
from dear_jax.inference.progress import Progress, in_parts
from dear_jax.inference.query import QueryRestorer
from dear_jax.inference.restorer import Restorer
from dear_jax.workflow.jobs import Job
from dear_jax.workflow.options import RestoreOptions
from dear_jax.workflow.record import made_record

Report = Callable[[str], None]

# Share of the progress that keeping known pixels of a larger result takes.
_KEEPING = 0.2
_ASPECT = 0.01  # Shapes that differ by less are rounded sizes.
_DEGRADED = 0.2  # A level from which it shows in a photo that is enlarged.


class Done(NamedTuple):
    """What was done to a photo, in words.

    Attributes:
      sizes: e.g. "64 x 48 to 384 x 288".
      level: of degradation that it was restored at.
      denoise: the level of degradation, e.g. "denoise 0.23 (auto)"; empty for models
        without that input.
      damage: how much damage was found, e.g. "damage found in 1.3 % of it"; empty
        where none was looked for.
    """

    sizes: str
    level: float
    denoise: str
    damage: str


def restore_photo(
    job: Job,
    restorer: Restorer,
    options: RestoreOptions,
    progress: Progress,
    report: Report,
) -> Done:
    """Restores one photo; the result is written last, whole.

    Args:
      job: the files.
      restorer: the system.
      options: how; files are those of the job.
      progress: called with (done, total).
      report: called with remarks, a line each.

    Raises:
      InputError: if the photo cannot be read or restored so, or not written.
    """

    def warn(remark: str) -> None:
        report(f"warning: {job.name}: {remark}")

    file = read_image(job.photo, options.salvage)
    mask, damage = _mask(job, file, options, warn)
    image, source = file.image, file.size
    target = result_size(job, file, options, warn)
    if remark := restorer.remark(source, target):
        report(f"{job.name}: {remark}")
    if options.grain and source != target:
        raise InputError(
            f"--grain: {job.name} is enlarged, to {_sides(target)}; it is for holes of "
            "photos at their own size, where known pixels keep their grain"
        )
    level, denoise = _level(restorer, file, mask, target, options, warn)
    keep = options.keep_known
    if keep is None:
        keep = source == target and not level
        if source == target and level:
            report(f"{job.name}: --denoise changes known pixels; without it they stay")
    first, last = in_parts(progress, 1 - _KEEPING if keep else 1.0)
    with _memory_reported(job, target):
        if keep and source == target:
            plan = restorer.plan_holes(mask, options.max_memory)
        else:
            plan = restorer.plan(source, target, options.max_memory)
        tiled = plan.tiling is not None and plan.tiling.count > 1
        if tiled or plan.is_long or options.max_memory is not None:
            report(f"{job.name}: {' '.join(plan.lines())}")
        given = image, mask, plan, level
        result, importance = _restore(restorer, *given, first, options.importance)
        if keep:
            known = file.stored if source == target else image
            result = keep_known(result, known, mask, last)
            if options.grain:
                result = with_grain(result, known, mask)
            if source != target:
                report(f"{job.name}: {consistency(result, image, mask).line()}")
        if importance is not None:
            write_photo(job.importance, np.rint(importance * 255).astype(np.uint8))
        if options.preview:
            from dear_jax.evaluation.sheets import draw_preview  # Matplotlib as well.

            draw_preview(job.preview, image, mask, result, importance)
        # Where transparency says what is missing, nothing is transparent afterwards.
        whole = file.with_pixels(result, opaque=options.mask_alpha)
        for remark in write_image(job.out, whole):
            warn(remark)
        if keep and source == target:
            for remark in _losses(job.out, whole, mask):
                warn(remark)
        if options.record:
            record = made_record(job, restorer, options, file, mask, result, level)
            files.write_text(job.record, record)
    progress(1.0, 1.0)
    sizes = f"{_sides(source)} to {_sides(target)}"
    return Done(sizes, level, denoise, damage)


def _losses(
    out: Path, written: ImageFile, mask: Bool[np.ndarray, "H W"]
) -> Iterator[str]:
    """A sentence if the file's format changed known pixels."""
    if FORMATS[out.suffix.lower()] not in LOSSY:
        return
    held = read_photo(out).astype(int)
    off = np.abs(held - with_bits(written.pixels, 8)).max(-1)[~mask]
    if off.any():
        changed = f"{(off > 0).sum():,} of {off.size:,} known pixels"
        yield (
            f"{out.suffix[1:].upper()} changed {changed}, by up to {off.max()} levels "
            "of 255; PNG and TIFF keep them"
        )


def _mask(
    job: Job, file: ImageFile, options: RestoreOptions, warn: Report
) -> tuple[Bool[np.ndarray, "H W"], str]:
    """What is missing, and words on the damage found; remarks on photo and mask."""
    for remark in file.metadata.remarks:
        warn(remark)
    mask = np.zeros(file.size, bool)
    find = options.find_damage or job.find_damage
    marked = options.marked and not job.find_damage
    if marked or not (find or options.salvage):
        mask = find_mask(
            file,
            job.mask,
            box=options.box,
            colour=options.mask_color,
            alpha=options.mask_alpha,
            invert=options.invert_mask,
            dilate=options.dilate or 0,
            warn=warn,
        )
        for remark in mask_remarks(mask, file):
            warn(remark)
    if file.lacking is not None:
        mask = mask | file.lacking
    if not find:
        return mask, ""
    found = found_damage(file.image, options.sensitivity, options.dilate, warn)
    return mask | found, f"damage found in {found.mean():.1%} of it"


def result_size(
    job: Job, file: ImageFile, options: RestoreOptions, warn: Report
) -> tuple[int, int]:
    """The size (h, w) of the result, which its file can hold.

    Args:
      job: its files.
      file: the photo.
      options: how large.
      warn: called with a remark, such as that the shape is another.

    Raises:
      InputError: for a size that is less than the photo's, or more than the format has.
    """
    height, width = file.size
    size = _size(file.size, options)
    if size and (size[0] < height or size[1] < width):
        flag = "--fit" if options.fit else "--size"
        raise InputError(
            f"{job.photo}: is {_sides(file.size)}, and {flag} makes {_sides(size)} of "
            "it, which is less; photos are kept or enlarged only: give at least their "
            "size"
        )
    target = target_size(file.size, options.scale, size)
    check_output(job.out, file.transparent and not options.mask_alpha, target)
    stretch = (target[1] / width) / (target[0] / height)
    if options.size and abs(np.log(stretch)) > _ASPECT:
        warn(
            f"{_sides(target)} has another shape than its {_sides(file.size)}, which "
            f"is stretched; --size {target[1]}x keeps it, and --fit "
            f"{target[1]}x{target[0]}"
        )
    return target


def _size(source: tuple[int, int], options: RestoreOptions) -> tuple[int, int] | None:
    """What --size or --fit makes of a photo's size, both (h, w); None without them."""
    height, width = source
    if options.fit:
        scale = min(options.fit[0] / height, options.fit[1] / width)
        return round(scale * height), round(scale * width)
    if not options.size:
        return None
    high, wide = options.size
    if high is None:
        assert wide is not None
        high = round(height * wide / width)
    elif wide is None:
        wide = round(width * high / height)
    return max(high, 1), max(wide, 1)


def _level(
    restorer: Restorer,
    file: ImageFile,
    mask: Bool[np.ndarray, "H W"],
    target: tuple[int, int],
    options: RestoreOptions,
    warn: Report,
) -> tuple[float, str]:
    """The level that a photo is restored at, and words for it."""
    denoise, takes = options.denoise, restorer.takes_denoise
    if denoise is None:
        denoise = default_denoise(target != file.size, bool(options.keep_known))
    level = settled_level(denoise, file.image, mask, takes, file.quality)
    if takes and not level and target != file.size and not options.keep_known:
        looks = settled_level(AUTO, file.image, mask, takes, file.quality)
        if looks >= _DEGRADED:
            warn(
                f"looks degraded, by about {looks:.2f} of 1 (noise, blur or JPEG), and "
                "without --denoise that is enlarged too; --denoise auto removes it"
            )
    words = f"denoise {level:.2f}" + " (auto)" * (denoise == AUTO)
    return level, words if takes else ""


def _restore(
    restorer: Restorer,
    image: Num[np.ndarray, "H W 3"],
    mask: Bool[np.ndarray, "H W"],
    plan: Plan,
    level: float,
    progress: Progress,
    importance: bool,
) -> tuple[Num[np.ndarray, "h w 3"], Float[np.ndarray, "H W"] | None]:
    """The result, and the importance map if it is asked for."""
    size, given = plan.target, {"plan": plan, "denoise": level}
    if not importance:
        # What is kept of known pixels is put back after, and reported.
        given |= {"keep_known": False, "progress": progress}
        return restorer(image, mask, size=size, **given), None
    assert isinstance(restorer, QueryRestorer)
    first, last = in_parts(progress, 0.5)
    encoded = restorer.encode(image, mask, progress=first, **given)
    return restorer.render(encoded, size=size, progress=last), encoded.importance


@contextmanager
def _memory_reported(job: Job, target: tuple[int, int]) -> Iterator[None]:
    """Turns the end of memory into InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        spent = isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error)
        if not spent:
            raise
        raise InputError(
            f"{job.name}: memory was not enough for {_sides(target)}; give less of it "
            "with --max-memory, or choose a smaller size"
        ) from None


def _sides(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"
