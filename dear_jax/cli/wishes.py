"""What is wanted of every photo of a run of `dear restore`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class Wishes(NamedTuple):
    """What is wanted of every photo; sizes are (height, width).

    Attributes:
      scale, size: of the result; at most one of them, none for the photo's size.
      holes: arguments of `find_mask` but for the mask's file.
      keep_known: whether results agree with known pixels; None: at the photo's size.
      preview, importance: whether to write them beside the result.
      max_memory: bytes, None for what the machine has.
      texture: between the fidelity weights, 0, and the texture weights, 1.
      denoise: level of degradation in [0, 1], "auto", or None for the default, see
        `dear_jax.inference.degradation`.
    """

    scale: float | None = None
    size: tuple[int, int] | None = None
    holes: Mapping[str, Any] = MappingProxyType({})
    keep_known: bool | None = None
    preview: bool = False
    importance: bool = False
    max_memory: int | None = None
    texture: float = 0.0
    denoise: float | str | None = None
