"""What values the fields of a model can have, whoever wrote them.

Fields come from weights files, configurations and commands.
"""

import math
from typing import Any

from dear_jax.errors import InputError

# Architecture and field -> the texts it can be.
_CHOICES = {
    ("dear", "network"): ("paper", "lite"),
    ("dear", "norm"): ("none", "instance"),
    ("dear", "high_pass"): ("impulse", "ones"),
    ("dear", "attention_keys"): ("all", "known"),
    ("dear", "decoder_blend"): ("colours", "hidden"),
    ("dear", "residual"): ("none", "bilinear", "fill"),
    ("lte", "layout"): ("interleaved", "halves"),
    ("lpips", "network"): ("alexnet", "vgg16"),
}
_MAY_BE_ZERO = (
    "blocks",
    "depths",
    "detail_groups",
    "attention_chunk",
    "attention_most_keys",
    "pixel_scale",
    "shared",
)


def check_field(architecture: str, field: str, value: Any, example: Any) -> None:
    """Checks the value of one field.

    Args:
      architecture: the model's, see `dear_jax.models.registry`.
      field: its name.
      value: its value; a list will do for a tuple, a whole number for a float.
      example: the field's default, of the type that it should have.

    Raises:
      InputError: if the field cannot have this value, saying what to give.
    """
    complaint = _unlike(value, example) or _unfit(architecture, field, value, example)
    if complaint:
        raise InputError(f"model field {field} = {value!r}; {complaint}")


def _unfit(architecture: str, field: str, value: Any, example: Any) -> str:
    """What is wrong with a value of the right type; "" if nothing is."""
    choices = _CHOICES.get((architecture, field), (value,))
    numbers = value if isinstance(example, tuple) else (value,)
    least = 0 if field in _MAY_BE_ZERO else 1
    if value not in choices:
        return f"choose from {', '.join(map(repr, choices))}"
    if type(example) in (int, tuple) and min(numbers) < least:
        return "too small"
    if field in ("detail_kernel", "importance_kernel") and value % 2 == 0:
        return "must be odd"
    return ""


def _unlike(value: Any, example: Any) -> str:
    """What to give instead of a value of another type than `example`; "" if alike."""
    if isinstance(example, tuple):
        several = isinstance(value, tuple | list) and len(value) > 0
        fine = several and all(_is_whole(number) for number in value)
        return "" if fine else "give several whole numbers"
    if isinstance(example, bool):
        return "" if isinstance(value, bool) else "give true or false"
    if isinstance(example, int):
        return "" if _is_whole(value) else "give a whole number"
    if isinstance(example, float):
        number = isinstance(value, float) or _is_whole(value)
        return "" if number and abs(value) < math.inf else "give a finite number"
    return "" if isinstance(value, str) else "give a text"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
