"""What LIIF's and LTE's checkpoints say of their model beside its tensors.

Their training code writes the model's specification into the file: {"name": "liif",
"args": {"encoder_spec": ..., "imnet_spec": ..., switches}}.
"""

import math
from collections.abc import Mapping
from typing import Any

from dear_jax.convert.unpickle import short
from dear_jax.errors import InputError

_LIIF_SWITCHES = {
    "local_ensemble": "local_ensemble",
    "feat_unfold": "feature_unfold",
    "cell_decode": "cell_decode",
}
# What the two builders of EDSR multiply a residual block with unless told otherwise.
_RESIDUAL_SCALE = {"edsr-baseline": 1.0, "edsr": 0.1}


def edsr_fields(builder: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What a specification of EDSR says that its tensors do not: `residual_scale`.

    Args:
      builder: "edsr-baseline" or "edsr".
      arguments: of the builder.

    Raises:
      InputError: for another encoder.
    """
    if not isinstance(builder, str) or builder not in _RESIDUAL_SCALE:
        raise InputError(
            f"its encoder is {short(builder)}, not known here; "
            "give a checkpoint whose name begins with edsr-baseline"
        )
    scale = arguments.get("res_scale", _RESIDUAL_SCALE[builder])
    if not isinstance(scale, int | float) or not 0 <= scale < math.inf:
        raise InputError(
            f"its res_scale is {short(scale)}, which is no positive number"
        )
    try:
        return {"residual_scale": float(scale)}
    except OverflowError:
        raise InputError(f"its res_scale is {short(scale)}, too large") from None


def part(specification: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """What a specification holds under `key`; nothing if that is null or absent.

    Raises:
      InputError: if it is no dict.
    """
    found = specification.get(key)
    if found is not None and not isinstance(found, dict):
        raise InputError(f"its {key} is {short(found)}, should be a dict")
    return found or {}


def spec_fields(spec: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Reads a specification.

    Returns:
      The variant, "liif", "lte" or "lte-fast", and the fields that the tensors
      do not tell.

    Raises:
      InputError: for another model or encoder.
    """
    name, arguments = spec.get("name"), part(spec, "args")
    if name not in ("liif", "lte", "lte-fast"):
        raise InputError(
            f"its model is {short(name)}; known are liif, lte and lte-fast"
        )
    encoder = part(arguments, "encoder_spec")
    fields = edsr_fields(encoder.get("name"), part(encoder, "args"))
    if name == "liif":
        switches = {
            ours: arguments[theirs]
            for theirs, ours in _LIIF_SWITCHES.items()
            if theirs in arguments
        }
        for key, value in switches.items():
            if not isinstance(value, bool):
                raise InputError(
                    f"its {key} is {short(value)}, should be true or false"
                )
        fields.update(switches)
    return name, fields
