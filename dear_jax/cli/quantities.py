"""Numbers as people write them on the command line."""

import re

from dear_jax.errors import InputError

_SIZE = re.compile(r"(\d+)\s*[xX×]\s*(\d+)")
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt])(i?b?)", re.IGNORECASE)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}


def parse_scale(text: str) -> float:
    """Turns "2.5" into 2.5; InputError for what is no number of at least 1."""
    try:
        scale = float(text)
    except ValueError:
        scale = 0.0
    if not 1 <= scale < float("inf"):
        raise InputError(f"--scale {text}: give a number of at least 1, as in 2.5")
    return scale


def parse_size(text: str) -> tuple[int, int]:
    """Turns "1920x1080", width x height, into (height, width) = (1080, 1920).

    Raises:
      InputError: for what is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or not int(match[1]) * int(match[2]):
        raise InputError(f"--size {text}: give WIDTHxHEIGHT, as in 1920x1080")
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
    match = _MEMORY.fullmatch(text.strip())
    if match is None:
        raise InputError(f"--max-memory {text}: give an amount as in 4G or 500M")
    base = 1000 if match[3].lower() == "b" else 1024
    return int(float(match[1]) * base ** _POWERS[match[2].lower()])


def parse_texture(text: str) -> float:
    """Turns "0.5" into 0.5; InputError for what is no number from 0 to 1."""
    from dear_jax.inference.texture import check_texture

    try:
        return check_texture(text)
    except InputError:
        raise InputError(
            f"--texture {text}: give a number from 0 to 1, as in 0.5"
        ) from None
