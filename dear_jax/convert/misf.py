"""The authors' MISF generator -> `dear_jax.models.misf.MISF`.

The state_dict is what their file holds under "generator".
"""

from collections.abc import Mapping
from typing import Any

from dear_jax.convert import rules
from dear_jax.errors import InputError

# Name there -> name here, of the predictor's stacks of three convolutions.
_STACKS = {
    "conv1": "full",
    "conv2": "half",
    "conv3": "quarter",
    "conv4": "deep",
    "conv7": "quarter_up",
    "conv8": "half_up",
    "conv9": "full_up",
}


def mapping(fields: Mapping[str, Any]) -> dict[str, tuple[rules.Target, ...]]:
    """Official key -> where it goes; see `rules.convert`."""
    found = {
        **rules.layer("encoder0.1", "stem", rules.conv),
        **rules.layer("encoder1.0", "down_1", rules.conv),
        **rules.layer("encoder2.0", "down_2", rules.conv),
        **rules.layer("decoder.0", "up_1/conv", rules.transposed_conv),
        **rules.layer("decoder.3", "up_0/conv", rules.transposed_conv),
        **rules.layer("decoder.7", "head", rules.conv),
        **rules.layer("kpn_model.kernels", "predictor/feature_filters", rules.conv),
        **rules.layer("kpn_model.core_img", "predictor/image_filters", rules.conv),
    }
    for i in range(fields["blocks"]):
        key, path = f"middle.{i}.conv_block", f"block_{i}"
        found |= rules.layer(f"{key}.1", f"{path}/dilated", rules.conv)
        found |= rules.layer(f"{key}.5", f"{path}/plain", rules.conv)
    for key, path in _STACKS.items():
        for i in range(3):
            found |= rules.layer(
                f"kpn_model.{key}.conv1.{2 * i}",
                f"predictor/{path}/conv_{i}",
                rules.conv,
            )
    return found


def unused(fields: Mapping[str, Any]) -> dict[str, str]:
    """Official keys that the model does not need, and why."""
    reason = "never used by the authors' forward pass"
    return {f"kpn_model.conv_final.{part}": reason for part in ("weight", "bias")}


def constants(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Official keys that hold what is built into the model: none."""
    return {}


def fields_from(state: rules.State) -> dict[str, Any]:
    """The fields that the shapes tell: width, blocks.

    Raises:
      InputError: if the layer that tells the width is missing.
    """
    stem = "encoder0.1.weight"
    if stem not in state:
        raise InputError(f"this is not a MISF generator: {stem} is missing")
    blocks = sum(f"middle.{i}.conv_block.1.weight" in state for i in range(len(state)))
    return {"width": state[stem].shape[0], "blocks": blocks}
