"""LPIPS, a learned distance of photos (Zhang et al. 2018), version 0.1.

At five layers of a network, every pixel's feature vector is brought to length 1; the
squared difference of the two photos' vectors is weighed channel by channel by a head,
averaged over the pixels, and summed over the layers. The networks are AlexNet and
VGG16 as torchvision trained them on ImageNet; LPIPS by AlexNet is bundled.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from dear_jax.errors import InputError
from dear_jax.models.layers import conv
from dear_jax.typing import Array


class Convolution(NamedTuple):
    """A ReLU'd convolution of a network.

    Attributes:
      name: "conv1_2", say; its activation is called "relu1_2".
      features: channels that come out.
      size, stride: of the kernel.
      zeros: added along each side.
      pool: side of the maxima, of every second pixel, that it sees; 0 for none.
    """

    name: str
    features: int
    size: int = 3
    stride: int = 1
    zeros: int = 1
    pool: int = 0

    @property
    def activation(self) -> str:
        """Name of what it gives."""
        return self.name.replace("conv", "relu")


CONVOLUTIONS = {
    "alexnet": (
        Convolution("conv1", 64, size=11, stride=4, zeros=2),
        Convolution("conv2", 192, size=5, zeros=2, pool=3),
        Convolution("conv3", 384, pool=3),
        Convolution("conv4", 256),
        Convolution("conv5", 256),
    ),
    "vgg16": tuple(
        Convolution(f"conv{block}_{i}", width, pool=2 if i == 1 < block else 0)
        for block, (count, width) in enumerate(
            ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)), 1
        )
        for i in range(1, count + 1)
    ),
}
# The activations that LPIPS compares.
LAYERS = {
    "alexnet": ("relu1", "relu2", "relu3", "relu4", "relu5"),
    "vgg16": ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"),
}
# Shortest side that reaches the last convolution.
SMALLEST = {"alexnet": 31, "vgg16": 16}

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)
_EPSILON = 1e-10


class Features(nn.Module):
    """The convolutions of AlexNet or VGG16.

    Attributes:
      network: "alexnet" or "vgg16".
      precision: of products on accelerators, see `jax.lax.Precision`.
    """

    network: str
    precision: jax.lax.Precision | None = None

    @nn.compact
    def __call__(
        self, image: Float[Array, "B H W 3"], layers: Sequence[str] | None = None
    ) -> dict[str, Float[Array, "B _ _ _"]]:
        """Computes activations.

        Args:
          image: RGB, sides at least `SMALLEST`; see
            `imagenet_normalised`.
          layers: names such as "relu1_2", None for all; nothing behind the last is
            computed.

        Returns:
          Activation of every named layer, in the order of `layers`. Of
          VGG16, h is H / 2^(block - 1), rounded down; of AlexNet it is (H - 3) // 4
          for relu1, then (h - 1) // 2 twice.

        Raises:
          ValueError: for a layer that the network does not have.
        """
        known = [layer.activation for layer in CONVOLUTIONS[self.network]]
        layers = known if layers is None else layers
        if not set(layers) <= set(known):
            raise ValueError(f"layers {tuple(layers)}: choose among {known}")
        x, maps = image, {}
        for layer in CONVOLUTIONS[self.network]:
            if maps.keys() >= set(layers):
                break
            if layer.pool:
                x = nn.max_pool(x, (layer.pool, layer.pool), (2, 2))
            x = conv(
                x,
                layer.features,
                layer.size,
                name=layer.name,
                strides=(layer.stride, layer.stride),
                padding=((layer.zeros, layer.zeros),) * 2,
                precision=self.precision,
            )
            maps[layer.activation] = x = nn.relu(x)
        return {name: maps[name] for name in layers}


class LPIPS(nn.Module):
    """The distance; differentiable everywhere, so that it serves as a loss too.

        model = LPIPS("vgg16")
        params = read_lpips("vgg16", "weights/lpips-vgg16.safetensors")
        distance = model.apply({"params": params}, prediction, target)

    Attributes:
      network: whose features, "alexnet" or "vgg16".
    """

    ROLE = "features"

    network: str = "alexnet"

    @nn.compact
    def __call__(
        self, prediction: Float[Array, "B H W 3"], target: Float[Array, "B H W 3"]
    ) -> Float[Array, " B"]:
        """Computes the distances of two batches of photos.

        Args:
          prediction: RGB in [0, 1], sides at least `SMALLEST`.
          target: the same shape.

        Returns:
          Distances, 0 for identical photos, rarely above 1.

        Raises:
          InputError: if the photos are too small.
        """
        check_size(prediction.shape, self.network)
        # Full float32 digits on accelerators, which else round what they multiply.
        features = Features(self.network, jax.lax.Precision.HIGHEST, name="features")
        # The authors bring [0, 1] to [-1, 1] and that to ImageNet's mean 0 and
        # deviation 1; the two steps are this one.
        photos = imagenet_normalised(jnp.concatenate([prediction, target]))
        maps = features(photos, LAYERS[self.network])
        distances = []
        for i, values in enumerate(maps.values(), 1):
            mine, theirs = jnp.split(_unit(values), 2)
            channels = values.shape[-1]
            head = self.param(
                f"head_{i}", nn.initializers.constant(1 / channels), (channels,)
            )
            weighed = jnp.square(mine - theirs) * head.reshape(1, 1, 1, channels)
            distances.append(jnp.mean(jnp.sum(weighed, axis=-1), axis=(1, 2)))
        return functools.reduce(jnp.add, distances)


def imagenet_normalised(image: Float[Array, "B H W 3"]) -> Float[Array, "B H W 3"]:
    """Brings photos in [0, 1] to ImageNet's mean 0 and deviation 1."""
    mean, deviation = (jnp.array(v).reshape(1, 1, 1, 3) for v in (_MEAN, _DEVIATION))
    return (image - mean) / deviation


def check_size(shape: tuple[int, ...], network: str) -> None:
    """Raises InputError if photos of shape [B, H, W, 3] are too small for a network."""
    height, width = shape[1:3]
    least = SMALLEST[network]
    if min(height, width) < least:
        raise InputError(
            f"images of {width} x {height} pixels: LPIPS by {network} needs at least "
            f"{least} x {least}; give larger images"
        )


def _unit(values: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """Brings feature vectors to length 1; zero stays zero."""
    squares = jnp.sum(jnp.square(values), axis=-1, keepdims=True)
    # The root's slope is infinite at zero, and times zero that would not be a number.
    length = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)
    return values / (length + _EPSILON)
