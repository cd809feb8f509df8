"""The authors' MISF generator -> `dear_jax.models.misf.MISF`.

The state_dict is what their file holds under "generator".
"""

from dear_jax.convert.rules import (
    Mapping,
    State,
    conv,
    count,
    layer,
    require,
    transposed_conv,
)

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


def mapping(fields: dict) -> Mapping:
    """See `rules.Mapping`; fields are those of `MISF`."""
    reason = "never used by the authors' forward pass"
    found = {
        **layer("encoder0.1", "stem", conv),
        **layer("encoder1.0", "down_1", conv),
        **layer("encoder2.0", "down_2", conv),
        **layer("decoder.0", "up_1/conv", transposed_conv),
        **layer("decoder.3", "up_0/conv", transposed_conv),
        **layer("decoder.7", "head", conv),
        **layer("kpn_model.kernels", "predictor/feature_filters", conv),
        **layer("kpn_model.core_img", "predictor/image_filters", conv),
        "kpn_model.conv_final.weight": reason,
        "kpn_model.conv_final.bias": reason,
    }
    for i in range(fields["blocks"]):
        key, path = f"middle.{i}.conv_block", f"block_{i}"
        found |= layer(f"{key}.1", f"{path}/dilated", conv)
        found |= layer(f"{key}.5", f"{path}/plain", conv)
    for key, path in _STACKS.items():
        for i in range(3):
            theirs = f"kpn_model.{key}.conv1.{2 * i}"
            found |= layer(theirs, f"predictor/{path}/conv_{i}", conv)
    return found


def fields_from(state: State) -> dict[str, int]:
    """The fields that the shapes reveal: width, blocks.

    Raises:
      InputError: if the layer that tells the width is missing.
    """
    stem = "encoder0.1.weight"
    require(state, "a MISF generator", stem)
    blocks = count(state, "middle.{}.conv_block.1.weight")
    return {"width": state[stem].shape[0], "blocks": blocks}
