"""Keeps what is known of a damaged photo: the result, reduced again, agrees with it.

At the photo's own size known pixels are copied. Above it, the result is changed where
its reduction by Pillow's bicubic is more than a grey level off; see
`dear_jax.inference.back_projection`. Photos are uint8 [H, W, 3], or floats in [0, 1];
masks bool [H, W], True = missing; differences in grey levels, 1 / 255 of the range.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Num

from dear_jax.errors import InputError
from dear_jax.inference.back_projection import Reduction, agree, levels, reduced

Progress = Callable[[float, float], None]


class Consistency(NamedTuple):
    """How well a result agrees with what was known.

    Attributes:
      known: how many pixels of the photo were known.
      share: of them, those that the reduced result meets within one grey level in all
        channels; 1 if nothing was known.
      worst: the largest difference, in grey levels.
      mean: of the differences of all known pixels and channels, in grey levels.
    """

    known: int
    share: float
    worst: float
    mean: float

    def line(self) -> str:
        """What to tell a person."""
        if not self.known:
            return "no pixel of the photo was known"
        if self.share == 1:
            return "all known pixels are within one grey level of the photo"
        # Never rounded up to all of them.
        percent = np.floor(1e4 * self.share) / 100
        return (
            f"{percent:.2f} % of {self.known} known pixels are within one grey level "
            f"of the photo, the worst is off by {self.worst:.0f}; colours in range "
            "could not be brought nearer"
        )


def keep_known(
    restored: np.ndarray,
    image: np.ndarray,
    mask: np.ndarray,
    progress: Progress | None = None,
) -> Num[np.ndarray, "h w 3"]:
    """Makes a result agree with the known pixels of its photo.

    Parts of the result that no known pixel depends on stay as they are, and so does
    a result that agrees within a grey level already.

    Args:
      restored: [h, w, 3], the result; uint8, or float in [0, 1].
      image: [H, W, 3], the photo, of the same kind; H <= h and W <= w.
      mask: bool [H, W], True = missing.
      progress: is called as progress(done, total) from time to time, last with done ==
        total.

    Returns:
      The result that agrees, uint8 or float32; at h, w = H, W known pixels are those
      of the photo to the last bit. How well it agrees `consistency` measures.

    Raises:
      InputError: if the arrays do not belong together.
    """
    restored, image, mask = _checked(restored, image, mask)
    if restored.shape == image.shape:
        kept = np.where(mask[..., None], restored, image)
    else:
        kept = restored.copy()
        if not mask.all():
            clips = restored.dtype == np.uint8
            reduction = Reduction(restored.shape[:2], image.shape[:2], clips)
            for c in range(3):
                tell = _part(progress, c)
                agree(kept[..., c], image[..., c], ~mask, reduction, tell)
    if progress is not None:
        progress(1.0, 1.0)
    return kept


def consistency(
    restored: np.ndarray, image: np.ndarray, mask: np.ndarray
) -> Consistency:
    """Measures how well a result agrees with the known pixels; see `keep_known`."""
    restored, image, mask = _checked(restored, image, mask)
    known, size = ~mask, image.shape[:2]
    if mask.all():
        return Consistency(0, 1.0, 0.0, 0.0)
    off = [
        np.abs(reduced(restored[..., c], size) - levels(image[..., c]))[known]
        for c in range(3)
    ]
    worst = np.max(off, 0)
    # Floats that are a level apart but for their rounding count as within.
    share = float((worst <= 1 + 1e-4).mean())
    return Consistency(int(known.sum()), share, float(worst.max()), float(np.mean(off)))


def _part(progress: Progress | None, channel: int) -> Callable[[float], None]:
    """Progress of all channels from that of one, in [0, 1)."""
    if progress is None:
        return lambda done: None
    return lambda done: progress((channel + done) / 3, 1.0)


def _checked(
    restored: np.ndarray, image: np.ndarray, mask: np.ndarray
) -> tuple[Num[np.ndarray, "h w 3"], Num[np.ndarray, "H W 3"], Bool[np.ndarray, "H W"]]:
    """The arrays as uint8 or float32, and bool."""
    restored, image, mask = (np.asarray(a) for a in (restored, image, mask))
    shapes = f"result {restored.shape}, photo {image.shape}, mask {mask.shape}"
    fits = restored.ndim == image.ndim == 3 and mask.shape == image.shape[:2]
    if not fits or restored.shape[2] != 3 or image.shape[2] != 3:
        raise InputError(f"{shapes}; give [h, w, 3], [H, W, 3] and [H, W]")
    if restored.shape[0] < image.shape[0] or restored.shape[1] < image.shape[1]:
        raise InputError(f"{shapes}; a result is at least as large as its photo")
    kinds = {a.dtype == np.uint8 for a in (restored, image)}
    if len(kinds) > 1:
        raise InputError(
            f"result is {restored.dtype}, photo {image.dtype}; give both as uint8 or "
            "both as floats in [0, 1]"
        )
    if kinds == {False}:
        restored, image = (a.astype(np.float32, copy=False) for a in (restored, image))
    return restored, image, mask != 0
