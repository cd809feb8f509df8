"""One photo from file to file, as the command wishes it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from dear_jax.cli.jobs import Job
from dear_jax.cli.wishes import Wishes
from dear_jax.errors import InputError
from dear_jax.images.io import (
    ImageFile,
    check_output,
    read_image,
    write_image,
    write_photo,
)
from dear_jax.images.masks import find_mask, mask_remarks
from dear_jax.inference.denoise import AUTO, default_denoise, settled_level
from dear_jax.inference.restorer import Restorer, target_size

Progress = Callable[[float, float], None]
Tell = Callable[[str], None]

# Of the work, roughly, where known pixels are kept above the photo's size.
_KEEPING = 0.2
_ASPECT = 0.01  # Shapes that differ by less are rounded sizes.


class Restored(NamedTuple):
    """What was done with a photo.

    Attributes:
      sizes: e.g. "64 x 48 to 384 x 288".
      denoise: e.g. "denoise 0.23 (auto)"; empty for models without that input.
    """

    sizes: str
    denoise: str = ""

    def __str__(self) -> str:
        return ", ".join(filter(None, (f"{self.sizes} pixels", self.denoise)))


def check_wishes(restorer: Restorer, wishes: Wishes) -> None:
    """Raises InputError if the system cannot do what is wished of any photo."""
    if wishes.importance and not _has_importance(restorer):
        raise InputError(
            f"--importance: {restorer.name} has no importance map; dear-lite and dear "
            "have"
        )
    if wishes.denoise not in (None, AUTO):
        restorer.levels(wishes.denoise, 1)


def restore_photo(
    job: Job, restorer: Restorer, wishes: Wishes, progress: Progress, tell: Tell
) -> Restored:
    """Restores one photo; the result is written last, whole.

    Args:
      job: the files.
      restorer: the system.
      wishes: how.
      progress: called with (done, total).
      tell: called with what the user should know.

    Raises:
      InputError: if the photo cannot be read or restored so, or not written.
    """

    def warn(remark: str) -> None:
        tell(f"warning: {job.name}: {remark}")

    picture, mask = _read(job, wishes, warn)
    image, source = picture.image, picture.size
    target = _target(job, picture, wishes, warn)
    if restorer.remark(source, target):
        tell(f"{job.name}: {restorer.remark(source, target)}")
    level, denoise = _level(restorer, picture, mask, target, wishes)
    keep = _keeps_known(job, source == target, level, wishes, tell)
    first, last = _parts(progress, 1 - _KEEPING if keep else 1.0)
    with _memory_told(job, target):
        plan = _plan(job, restorer, wishes, (source, target), tell)
        photo = image, mask, level
        result, importance = _restore(restorer, photo, wishes, plan, first)
        if keep:
            result, agreement = _keep(result, image, mask, last)
            if source != target:
                tell(f"{job.name}: {agreement.line()}")
        _write_beside(job, wishes, image, mask, result, importance)
        whole = picture.with_pixels(result, opaque=_fills_alpha(wishes))
        for remark in write_image(job.out, whole):
            warn(remark)
    progress(1.0, 1.0)
    sizes = f"{source[1]} x {source[0]} to {target[1]} x {target[0]}"
    return Restored(sizes, denoise)


def _level(
    restorer: Restorer,
    picture: ImageFile,
    mask: np.ndarray,
    target: tuple[int, int],
    wishes: Wishes,
) -> tuple[float, str]:
    """The level that a photo is restored at, and words for it."""
    denoise, enlarged = wishes.denoise, target != picture.size
    if denoise is None:
        denoise = default_denoise(enlarged, bool(wishes.keep_known))
    photo, takes = (picture.image, mask), restorer.takes_denoise
    level = settled_level(denoise, *photo, enlarged, takes, picture.quality)
    words = f"denoise {level:.2f}" + " (auto)" * (denoise == AUTO)
    return level, words if takes else ""


def _keeps_known(
    job: Job, same_size: bool, level: float, wishes: Wishes, tell: Tell
) -> bool:
    """Whether known pixels are put back into the result."""
    if wishes.keep_known is not None:
        return wishes.keep_known
    if same_size and level:
        tell(f"{job.name}: --denoise changes known pixels; without it they stay")
    return same_size and not level


def _read(job: Job, wishes: Wishes, warn: Tell) -> tuple[ImageFile, np.ndarray]:
    """The photo and its mask."""
    picture = read_image(job.photo)
    mask = find_mask(picture, job.mask, warn=warn, **wishes.holes)
    for remark in (*picture.metadata.remarks, *mask_remarks(mask, picture)):
        warn(remark)
    return picture, mask


def _target(
    job: Job, picture: ImageFile, wishes: Wishes, warn: Tell
) -> tuple[int, int]:
    """The size (h, w) of the result, which its file can hold."""
    height, width = picture.size
    if wishes.size and (wishes.size[0] < height or wishes.size[1] < width):
        raise InputError(
            f"{job.photo}: is {width} x {height}, and --size "
            f"{wishes.size[1]}x{wishes.size[0]} is less; photos are kept or enlarged "
            "only: give at least their size"
        )
    target = target_size(picture.size, wishes.scale, wishes.size)
    transparent = picture.alpha is not None and not _fills_alpha(wishes)
    check_output(job.out, transparent, target)
    stretch = (target[1] / picture.size[1]) / (target[0] / picture.size[0])
    if wishes.size and abs(np.log(stretch)) > _ASPECT:
        warn(
            f"{target[1]} x {target[0]} has another shape than its {width} x {height}, "
            f"which is stretched; {target[1]}x{round(height * target[1] / width)} "
            "would keep it"
        )
    return target


def _fills_alpha(wishes: Wishes) -> bool:
    """Whether transparency says where to fill; then nothing is transparent after."""
    return bool(wishes.holes.get("alpha"))


def _plan(job: Job, restorer, wishes: Wishes, sizes: tuple, tell: Tell):
    plan = restorer.plan(*sizes, wishes.max_memory)
    # Of ordinary photos there is nothing to tell.
    tiled = plan.tiling is not None and plan.tiling.count > 1
    if tiled or wishes.max_memory is not None or plan.is_long:
        tell(f"{job.name}: {' '.join(plan.lines())}")
    return plan


def _restore(restorer, photo: tuple, wishes: Wishes, plan, progress: Progress) -> tuple:
    """The result, and the importance map or None, of (image, mask, level)."""
    image, mask, level = photo
    target, options = plan.target, {"plan": plan, "denoise": level}
    if not wishes.importance:
        return restorer(image, mask, size=target, progress=progress, **options), None
    first, last = _parts(progress, 0.5)
    encoded = restorer.encode(image, mask, progress=first, **options)
    return restorer.render(encoded, size=target, progress=last), encoded.importance


def _keep(result, image, mask, progress: Progress) -> tuple:
    from dear_jax.inference.known import keep_known  # SciPy's matrices take their time.

    return keep_known(result, image, mask, progress)


def _write_beside(job: Job, wishes: Wishes, image, mask, result, importance) -> None:
    if importance is not None:
        write_photo(job.importance, np.rint(importance * 255).astype(np.uint8))
    if wishes.preview:
        from dear_jax.evaluation.sheets import draw_preview

        draw_preview(job.preview, image, mask, result, importance)


def _has_importance(restorer: Restorer) -> bool:
    model = getattr(restorer, "model", {})
    return hasattr(restorer, "encode") and bool(model.get("importance"))


def _parts(progress: Progress, border: float) -> tuple[Progress, Progress]:
    """The progress of two parts of the work, the first up to `border` of the whole."""

    def part(begin: float, end: float) -> Progress:
        return lambda done, total: progress(begin + (end - begin) * done / total, 1.0)

    return part(0.0, border), part(border, 1.0)


@contextmanager
def _memory_told(job: Job, target: tuple[int, int]) -> Iterator[None]:
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
            f"{job.name}: memory was not enough for {target[1]} x {target[0]}; give "
            "less of it with --max-memory, or choose a smaller size"
        ) from None
