"""What the texts of the command's flags mean, as numbers."""

import re

from dear_jax.errors import InputError


def parse_sensitivity(text: str) -> float:
    """Turns "0.7" into 0.7; InputError for what is no number from 0 to 1."""
    sensitivity = _number(text)
    if not 0 <= sensitivity <= 1:
        raise InputError(f"--sensitivity {text}: give a number from 0 to 1, as in 0.7")
    return sensitivity


def parse_scale(text: str) -> float:
    """Turns "2.5" into 2.5; InputError for what is no number of at least 1."""
    scale = _number(text)
    if not 1 <= scale < float("inf"):
        raise InputError(f"--scale {text}: give a number of at least 1, as in 2.5")
    return scale


def parse_texture(text: str) -> float:
    """Turns "0.5" into 0.5; InputError for what is no number from 0 to 1."""
    texture = _number(text)
    if not 0 <= texture <= 1:
        raise InputError(f"--texture {text}: give a number from 0 to 1, as in 0.5")
    return texture


def parse_size(text: str) -> tuple[int | None, int | None]:
    """Turns "1920x1080", width x height, into (1080, 1920); else InputError.

    "1920" and "1920x" name the width alone, "x1080" the height: (None, 1920) and
    (1080, None).
    """
    match = re.fullmatch(r"(\d*)\s*[xX×]\s*(\d*)|(\d+)", text.strip())
    sides = [match[2], match[1] or match[3]] if match else []
    height, width = [int(side) if side else None for side in sides] or (None, None)
    if 0 in (height, width) or height is width is None:
        raise InputError(
            f"--size {text}: give WIDTHxHEIGHT, as in 1920x1080, or one of them, as in "
            "1920x or x1080; the other follows from the photo's shape"
        )
    return height, width


def parse_fit(text: str) -> tuple[int, int]:
    """Turns "1920x1080", width x height, into (1080, 1920); else InputError."""
    match = re.fullmatch(r"(\d+)\s*[xX×]\s*(\d+)", text.strip())
    if match is None or not int(match[1]) * int(match[2]):
        raise InputError(f"--fit {text}: give WIDTHxHEIGHT, as in 1920x1080")
    return int(match[2]), int(match[1])


def parse_part(text: str) -> tuple[int, int]:
    """Turns "3/8" into (3, 8); InputError for what is no part, from 1/N to N/N."""
    match = re.fullmatch(r"(\d+)/(\d+)", text.strip())
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise InputError(f"--part {text}: give I/N from 1/N to N/N, as in 1/8")
    return int(match[1]), int(match[2])


def parse_memory(text: str) -> int:
    """Turns "4G", "500M", "4GiB" (powers of 1024) or "4GB" (of 1000) into bytes.

    Raises:
      InputError: for what is no amount, or has no unit.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt])(i?b?)", text.strip().lower())
    if match is None:
        raise InputError(f"--max-memory {text}: give an amount as in 4G or 500M")
    base = 1000 if match[3] == "b" else 1024
    return int(float(match[1]) * base ** (1 + "kmgt".index(match[2])))


def _number(text: str) -> float:
    """NaN, which is in no range, if it is no number."""
    try:
        return float(text)
    except ValueError:
        return float("nan")
