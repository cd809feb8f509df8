"""ELAN's official tensors; its shifts are stored as frozen 3x3 kernels of 0 and 1."""

import numpy as np

from dear_jax.convert.edsr import shift_constants, shuffle_factor
from dear_jax.convert.rules import (
    State,
    Target,
    batch_norm,
    conv,
    layer,
    pointwise,
)
from dear_jax.errors import InputError
from dear_jax.models.elan import OFFSETS


def mapping(fields: dict) -> dict[str, tuple[Target, ...]]:
    """Official key -> our tensors; fields are those of `ELAN`."""
    rules = layer("head.0", "head", conv)
    for i, j, local, attend in _members(fields):
        ours = f"group_{i}_local_{j}"
        for k, name in enumerate(("expand", "reduce")):
            rules |= layer(
                f"{local}.conv{k}.shift_conv.conv1x1", f"{ours}/{name}", pointwise
            )
        ours = f"group_{i}_attention_{j}"
        rules |= layer(f"{attend}.project_inp.0", f"{ours}/project_in", pointwise)
        rules |= batch_norm(f"{attend}.project_inp.1", f"{ours}/norm")
        rules |= layer(f"{attend}.project_out", f"{ours}/project_out", pointwise)
    return rules | layer("tail.0", "tail", conv)


def unused(fields: dict) -> dict[str, str]:
    """Official keys that the model does not need -> why."""
    return {
        f"{attend}.project_inp.1.num_batches_tracked": "counts training steps"
        for _, _, _, attend in _members(fields)
    }


def constants(fields: dict) -> dict[str, np.ndarray]:
    """Official keys whose values are built into the model: mean colour and shifts."""
    values = shift_constants()
    channels = fields["channels"]
    for _, _, local, _ in _members(fields):
        values[f"{local}.conv0.shift_conv.weight"] = shift_kernels(channels)
        values[f"{local}.conv1.shift_conv.weight"] = shift_kernels(
            channels * fields["expansion"]
        )
    return values


def fields_from(state: State) -> dict:
    """Reads channels, blocks, shared, expansion and scale off the shapes.

    The sides of the windows leave no trace in them.

    Raises:
      InputError: if a tensor that should tell is missing, or the last convolution
        fits no pixel shuffle.
    """
    expand = "body.0.modules_lfe.lfe_0.conv0.shift_conv.conv1x1.weight"
    for key in ("head.0.weight", expand, "tail.0.weight"):
        if key not in state:
            raise InputError(
                f"{key} is missing, so this is not ELAN; name the right model"
            )
    channels = state["head.0.weight"].shape[0]
    groups = _count(state, "body.{}.modules_gmsa.gmsa_0.project_out.weight")
    members = _count(state, "body.0.modules_gmsa.gmsa_{}.project_out.weight")
    return {
        "channels": channels,
        "blocks": groups * members,
        "shared": members - 1,
        "expansion": state[expand].shape[0] // channels,
        "scale": shuffle_factor(state, "tail.0.weight", 3),
    }


def shift_kernels(channels: int) -> np.ndarray:
    """Kernels [C, 1, 3, 3] of the depthwise convolution that equals the shift."""
    kernels = np.zeros((channels, 1, 3, 3), np.float32)
    fifth = channels // 5
    for k, (dy, dx) in enumerate(OFFSETS):
        end = channels if k == 4 else fifth * (k + 1)
        kernels[fifth * k : end, 0, 1 + dy, 1 + dx] = 1
    return kernels


def _members(fields: dict) -> list[tuple[int, int, str, str]]:
    """(group, member, key of its local features, key of its attention) of them all."""
    members = 1 + fields["shared"]
    return [
        (i, j, f"body.{i}.modules_lfe.lfe_{j}", f"body.{i}.modules_gmsa.gmsa_{j}")
        for i in range(fields["blocks"] // members)
        for j in range(members)
    ]


def _count(state: State, key: str) -> int:
    number = 0
    while key.format(number) in state:
        number += 1
    return number
