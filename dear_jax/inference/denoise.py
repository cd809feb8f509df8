"""What the argument `denoise` means: a number, "auto", or nothing, the default.

One rule for Python and command: a photo that is enlarged is restored at the level
that is estimated from it, since its noise and blocks would be enlarged along with it.
At the photo's own size, and where known pixels are to be kept, the level is 0: known
pixels are then taken as true, and kept to the last bit.
"""

import math
import numbers
from typing import Any

import numpy as np
from jaxtyping import Bool, Num

from dear_jax.errors import InputError
from dear_jax.inference.degradation import estimate_level

AUTO = "auto"
Denoise = float | str | None


def default_denoise(enlarged: bool, keep_known: bool = False) -> float | str:
    """What `denoise` is where it is not given: "auto", or 0.0.

    Args:
      enlarged: whether the result has more pixels than the photo.
      keep_known: whether the result must agree with the photo's known pixels.
    """
    return AUTO if enlarged and not keep_known else 0.0


def parse_denoise(text: str) -> float | str:
    """Turns "0.3" into 0.3, "auto" into itself.

    Raises:
      InputError: for anything but "auto" and numbers in [0, 1].
    """
    if text == AUTO:
        return AUTO
    try:
        level = float(text)
    except ValueError:
        level = math.nan
    if not 0 <= level <= 1:
        raise InputError(f"--denoise {text}: give a number from 0 to 1, or auto")
    return level


def settled_level(
    denoise: Any,
    image: Num[np.ndarray, "H W 3"],
    mask: Bool[np.ndarray, "H W"],
    takes_denoise: bool,
    quality: float | None = None,
) -> float:
    """The level that a photo is restored at.

    Args:
      denoise: a number, which is taken as it is, or "auto".
      image: uint8 or float in [0, 1].
      mask: True = missing.
      takes_denoise: whether the model has the input; without it "auto" is 0.
      quality: JPEG quality of the photo's file, None if it is not known.

    Raises:
      InputError: for anything else.
    """
    if isinstance(denoise, numbers.Real):
        return float(denoise)
    if isinstance(denoise, str) and denoise == AUTO:
        return estimate_level(image, mask, quality) if takes_denoise else 0.0
    raise InputError(f"denoise={denoise!r}: give a number from 0 to 1, or 'auto'")
