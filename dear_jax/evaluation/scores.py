"""What one restoration of one damaged photo scored, and how numbers are written."""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

METRICS = ("psnr", "ssim", "l1", "lpips")
# Of pixels inside and outside of holes alone.
PARTS = ("psnr_inside", "l1_inside", "psnr_outside", "l1_outside")
# What `Score` calls a metric after the known pixels were pasted back.
PASTED = "_pasted"


class Metric(NamedTuple):
    """How a metric is shown: its name, unit included, and which way is better."""

    heading: str
    higher_is_better: bool
    digits: int


SHOWN = {
    "psnr": Metric("PSNR, dB", True, 2),
    "ssim": Metric("SSIM", True, 3),
    "l1": Metric("L1", False, 3),
    "lpips": Metric("LPIPS", False, 3),
    "psnr_inside": Metric("PSNR inside of holes, dB", True, 2),
    "l1_inside": Metric("L1 inside of holes", False, 3),
    "psnr_outside": Metric("PSNR outside of holes, dB", True, 2),
    "l1_outside": Metric("L1 outside of holes", False, 3),
}


# There may be millions of them.
@dataclass(frozen=True, slots=True)
class Score:
    """How well one system restored one sample.

    Attributes:
      system: name of the system.
      photo: name of the photo.
      mask: name of the mask within its bin.
      bin: name of the hole-ratio bin.
      scale: side of the truth / side of the input.
      psnr: in dB, higher is better; infinite for a perfect result.
      ssim: at most 1, higher is better.
      l1: mean absolute error in [0, 1], lower is better.
      lpips: perceptual distance (AlexNet, v0.1), lower is better; None if it was not
        asked for.
      psnr_pasted, ssim_pasted, l1_pasted, lpips_pasted: at scale 1, the same with
        the known pixels pasted back; else None.
    """

    system: str
    photo: str
    mask: str
    bin: str
    scale: float
    psnr: float
    ssim: float
    l1: float
    lpips: float | None = None
    psnr_pasted: float | None = None
    ssim_pasted: float | None = None
    l1_pasted: float | None = None
    lpips_pasted: float | None = None
    psnr_inside: float | None = None
    l1_inside: float | None = None
    psnr_outside: float | None = None
    l1_outside: float | None = None

    def to_row(self) -> dict[str, Any]:
        """As JSON can hold it: numbers that it has no word for become text."""
        return {k: spoken(v) for k, v in dataclasses.asdict(self).items()}

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "Score":
        """What `to_row` made a row of.

        Raises:
          TypeError, ValueError: if it is no such row.
        """
        texts = {"system", "photo", "mask", "bin"}
        values: dict[str, Any] = {
            k: v if k in texts or v is None else float(v) for k, v in row.items()
        }
        return cls(**values)


def mean(scores: Iterable[Score], metric: str) -> float:
    """Plain mean of a field of the scores; NaN of none, or where one lacks it."""
    values = [getattr(score, metric) for score in scores]
    if not values or None in values:
        return math.nan
    return math.fsum(values) / len(values)


def spoken(value: Any) -> Any:
    """The value, as text if it is a number that JSON has no word for."""
    finite = not isinstance(value, float) or math.isfinite(value)
    return value if finite else str(value)


def as_paper(value: float, metric: str) -> str:
    """A value with as many digits as the paper gives."""
    return f"{value:.{_digits(metric)}f}"


def precise(value: float, metric: str, sign: str = "") -> str:
    """A value with a digit more than the paper gives, except in dB; `sign` as "+"."""
    digits = _digits(metric)
    return f"{value:{sign}.{digits + (digits > 2)}f}"


def p_value(p: float) -> str:
    """Three digits, and "<0.001" for what has none."""
    return "<0.001" if p < 0.0005 else f"{p:.3f}"


def many(number: int, what: str) -> str:
    """A number of things: "1 photo", "2 photos"."""
    return f"{number} {what}" + "s" * (number != 1)


def _digits(metric: str) -> int:
    return SHOWN[metric.removesuffix(PASTED)].digits
