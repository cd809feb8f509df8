"""Random weights of LPIPS that need no file: drawn alike beside JAX and PyTorch.

AlexNet's alone would be 10 MB. Arrays are in PyTorch's layouts.
"""

import zlib
from typing import NamedTuple

import numpy as np

# (channels, side of the kernel) of every convolution.
_ALEXNET = ((64, 11), (192, 5), (384, 3), (256, 3), (256, 3))
_VGG16 = tuple((64 * n, 3) for n in (1, 1, 2, 2, 4, 4, 4, 8, 8, 8, 8, 8, 8))
_CONVOLUTIONS = {"alexnet": _ALEXNET, "vgg16": _VGG16}
# Convolutions, from 0, whose ReLU counts.
COUNTED = {"alexnet": (0, 1, 2, 3, 4), "vgg16": (1, 3, 6, 9, 12)}


class Drawn(NamedTuple):
    """Kernels [O, I, H, W] and biases [O] in order, and heads [C]."""

    convolutions: list[tuple[np.ndarray, np.ndarray]]
    heads: list[np.ndarray]


def drawn(network: str) -> Drawn:
    """The weights of "alexnet" or "vgg16", float32; heads are not negative."""
    rng = np.random.default_rng(zlib.crc32(network.encode()))

    def uniform(low: float, high: float, *shape: int) -> np.ndarray:
        return rng.uniform(low, high, shape).astype(np.float32)

    convolutions, channels = [], 3
    for features, side in _CONVOLUTIONS[network]:
        limit = (6 / (channels * side**2)) ** 0.5
        kernel = uniform(-limit, limit, features, channels, side, side)
        convolutions.append((kernel, uniform(-0.3, 0.3, features)))
        channels = features
    counted = (convolutions[i][1].size for i in COUNTED[network])
    return Drawn(convolutions, [uniform(0, 2 / n, n) for n in counted])
