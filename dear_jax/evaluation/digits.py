"""How numbers are written for people."""

from dear_jax.evaluation.scores import PASTED, SHOWN


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
