"""What LIIF's and LTE's checkpoints say of their model beside its tensors.

Their training code writes the model's specification into the file: {"name": "liif",
"args": {"encoder_spec": ..., "imnet_spec": ..., switches}}.
"""

from collections.abc import Mapping
from typing import Any

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
    if builder not in _RESIDUAL_SCALE:
        raise InputError(
            f"its encoder is {builder!r}, not known here; "
            "give a checkpoint whose name begins with edsr-baseline"
        )
    return {
        "residual_scale": float(arguments.get("res_scale", _RESIDUAL_SCALE[builder]))
    }


def spec_fields(spec: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Reads a specification.

    Returns:
      The variant, "liif", "lte" or "lte-fast", and the fields that the tensors
      do not tell.

    Raises:
      InputError: for another model or encoder.
    """
    name, arguments = spec.get("name"), spec.get("args", {})
    if name not in ("liif", "lte", "lte-fast"):
        raise InputError(f"its model is {name!r}; known are liif, lte and lte-fast")
    encoder = arguments.get("encoder_spec", {})
    fields = edsr_fields(encoder.get("name"), encoder.get("args", {}))
    if name == "liif":
        switches = {
            ours: arguments[theirs]
            for theirs, ours in _LIIF_SWITCHES.items()
            if theirs in arguments
        }
        fields.update(switches)
    return name, fields
