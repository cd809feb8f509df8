"""ELAN's official tensors; its shifts are stored as frozen 3x3 kernels of 0 and 1."""

import numpy as np
from jaxtyping import Float32

from dear_jax.convert.edsr import shift_constants, shuffle_factor
from dear_jax.convert.rules import (
    Mapping,
    State,
    batch_norm,
    conv,
    count,
    layer,
    pointwise,
    require,
)
from dear_jax.models.elan import OFFSETS


def mapping(fields: dict) -> Mapping:
    """See `rules.Mapping`; fields are those of `ELAN`."""
    rules = layer("head.0", "head", conv) | layer("tail.0", "tail", conv)
    rules |= shift_constants()
    channels, members = fields["channels"], 1 + fields["shared"]
    widths = (channels, channels * fields["expansion"])
    for i in range(fields["blocks"] // members):
        for j in range(members):
            path = f"group_{i}_local_{j}"
            for k, name in enumerate(("expand", "reduce")):
                key = f"body.{i}.modules_lfe.lfe_{j}.conv{k}.shift_conv"
                rules |= layer(f"{key}.conv1x1", f"{path}/{name}", pointwise)
                rules[f"{key}.weight"] = shift_kernels(widths[k])
            key = f"body.{i}.modules_gmsa.gmsa_{j}"
            path = f"group_{i}_attention_{j}"
            rules |= layer(f"{key}.project_inp.0", f"{path}/project_in", pointwise)
            rules |= batch_norm(f"{key}.project_inp.1", f"{path}/norm")
            rules |= layer(f"{key}.project_out", f"{path}/project_out", pointwise)
    return rules


def fields_from(state: State) -> dict:
    """Reads channels, blocks, shared, expansion and scale off the shapes.

    The sides of the windows leave no trace in them.

    Raises:
      InputError: if a tensor that should tell is missing, or the last convolution
        fits no pixel shuffle.
    """
    expand = "body.0.modules_lfe.lfe_0.conv0.shift_conv.conv1x1.weight"
    require(state, "ELAN", "head.0.weight", expand, "tail.0.weight")
    channels = state["head.0.weight"].shape[0]
    groups = count(state, "body.{}.modules_gmsa.gmsa_0.project_out.weight")
    members = count(state, "body.0.modules_gmsa.gmsa_{}.project_out.weight")
    return {
        "channels": channels,
        "blocks": groups * members,
        "shared": members - 1,
        "expansion": state[expand].shape[0] // channels,
        "scale": shuffle_factor(state, "tail.0.weight", 3),
    }


def shift_kernels(channels: int) -> Float32[np.ndarray, "{channels} 1 3 3"]:
    """Kernels of the depthwise convolution that equals the shift."""
    kernels = np.zeros((channels, 1, 3, 3), np.float32)
    fifth = channels // 5
    for k, (dy, dx) in enumerate(OFFSETS):
        end = channels if k == 4 else fifth * (k + 1)
        kernels[fifth * k : end, 0, 1 + dy, 1 + dx] = 1
    return kernels
