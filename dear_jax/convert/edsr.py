"""EDSR's official tensors, and those of its trunk wherever it is the encoder.

Checkpoints of EDSR-PyTorch and of LIIF's and LTE's training have the same keys; what
their frozen mean shift holds tells them apart.
"""

import numpy as np

from dear_jax.convert.rules import Mapping, State, conv, count, layer, require
from dear_jax.errors import InputError
from dear_jax.models.edsr import MEAN, mean_colour, upscaling_steps


def mapping(fields: dict) -> Mapping:
    """See `rules.Mapping`; fields are those of `EDSR`."""
    rules = trunk_mapping(fields, "", "trunk")
    for i in range(len(upscaling_steps(fields["scale"]))):
        # The shuffles have the odd indices.
        rules |= layer(f"tail.0.{2 * i}", f"up_{i}", conv)
    rules |= layer("tail.1", "tail", conv)
    return rules | shift_constants() if fields["mean_shift"] else rules


def fields_from(state: State) -> dict:
    """Reads width, blocks, scale and mean_shift off the tensors.

    residual_scale leaves no trace in them.

    Raises:
      InputError: if the head or the tail is missing, or an upscaling convolution
        fits no pixel shuffle.
    """
    fields = trunk_fields_from(state, "")
    if "tail.1.weight" not in state:
        raise InputError(
            "tail.1.weight is missing, so this is a trunk and not all of EDSR; "
            "convert the LIIF or LTE checkpoint that it is part of"
        )
    fields["scale"], i = 1, 0
    while (key := f"tail.0.{2 * i}.weight") in state:
        fields["scale"] *= shuffle_factor(state, key, fields["width"])
        i += 1
    bias = state.get("sub_mean.bias", np.zeros(3))
    fields["mean_shift"] = bool(np.allclose(bias, -255 * np.asarray(MEAN), rtol=1e-3))
    return fields


def trunk_mapping(fields: dict, key_prefix: str, path_prefix: str) -> Mapping:
    """Rules for the trunk alone, of which a LIIF or LTE checkpoint has one.

    Args:
      fields: of them only "blocks" is read.
      key_prefix: what stands before the official keys, such as "encoder.".
      path_prefix: our path of the trunk, such as "encoder".
    """
    body = f"{key_prefix}body."
    rules = layer(f"{key_prefix}head.0", f"{path_prefix}/head", conv)
    for i in range(fields["blocks"]):
        for j in range(2):
            # Index 1 is the ReLU.
            path = f"{path_prefix}/block_{i}_conv_{j}"
            rules |= layer(f"{body}{i}.body.{2 * j}", path, conv)
    rules |= layer(f"{body}{fields['blocks']}", f"{path_prefix}/body_end", conv)
    reason = "frozen mean shift, never applied"
    return rules | {f"{key_prefix}{key}": reason for key in shift_constants()}


def trunk_fields_from(state: State, key_prefix: str) -> dict:
    """Reads width and blocks off the tensors of a trunk.

    Raises:
      InputError: if its first convolution is missing.
    """
    head = f"{key_prefix}head.0.weight"
    require(state, "EDSR", head)
    blocks = count(state, f"{key_prefix}body.{{}}.body.0.weight")
    return {"width": state[head].shape[0], "blocks": blocks}


def shift_constants() -> Mapping:
    """What the frozen mean shift of networks on [0, 255] holds."""
    identity = np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1)
    mean = mean_colour().reshape(3)
    return {
        "sub_mean.weight": identity,
        "sub_mean.bias": -mean,
        "add_mean.weight": identity,
        "add_mean.bias": mean,
    }


def shuffle_factor(state: State, key: str, channels: int) -> int:
    """Factor of the pixel shuffle that leaves `channels` of the kernel's outputs.

    Raises:
      InputError: if there is none.
    """
    outputs = state[key].shape[0]
    factor = round((outputs / channels) ** 0.5)
    if factor < 1 or factor**2 * channels != outputs:
        raise InputError(
            f"{key} has {outputs} outputs, which is no square number times {channels}; "
            "this is another architecture"
        )
    return factor
