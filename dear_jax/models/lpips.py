"""LPIPS, a learned distance of photos (Zhang et al. 2018), version 0.1.

At five layers of a network, every pixel's feature vector is brought to length 1; the
squared difference of the two photos' vectors is weighed channel by channel by a head,
averaged over the pixels, and summed over the layers.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from dear_jax.errors import InputError
from dear_jax.models import alexnet, vgg16
from dear_jax.models.imagenet import imagenet_normalised

# Of each network: its module, the layers that count, the shortest side it takes.
NETWORKS = {"alexnet": alexnet.AlexNet, "vgg16": vgg16.VGG16}
LAYERS = {
    "alexnet": alexnet.LAYERS,
    "vgg16": ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3"),
}
SMALLEST = {"alexnet": alexnet.SMALLEST, "vgg16": vgg16.SMALLEST}

_EPSILON = 1e-10


class LPIPS(nn.Module):
    """The distance; differentiable everywhere, so that it serves as a loss too.

        model = LPIPS("vgg16")
        params = read_lpips("vgg16", "weights/lpips-vgg16.safetensors")
        distance = model.apply({"params": params}, prediction, target)

    Attributes:
      network: whose features, "alexnet" or "vgg16".
    """

    network: str = "alexnet"

    @nn.compact
    def __call__(self, prediction: jax.Array, target: jax.Array) -> jax.Array:
        """Computes the distances of two batches of photos.

        Args:
          prediction: [B, H, W, 3] RGB in [0, 1], sides at least `SMALLEST`.
          target: the same shape.

        Returns:
          [B], 0 for identical photos, rarely above 1.

        Raises:
          InputError: if the photos are too small.
        """
        check_size(prediction.shape, self.network)
        # Full float32 digits on accelerators, which else round what they multiply.
        features = NETWORKS[self.network](jax.lax.Precision.HIGHEST, name="features")
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
        return sum(distances)


def check_size(shape: tuple[int, ...], network: str) -> None:
    """Raises InputError if photos of shape [B, H, W, 3] are too small for a network."""
    height, width = shape[1:3]
    least = SMALLEST[network]
    if min(height, width) < least:
        raise InputError(
            f"images of {width} x {height} pixels: LPIPS by {network} needs at least "
            f"{least} x {least}; give larger images"
        )


def _unit(values: jax.Array) -> jax.Array:
    """Brings feature vectors [B, H, W, C] to length 1; zero stays zero."""
    squares = jnp.sum(jnp.square(values), axis=-1, keepdims=True)
    # The root's slope is infinite at zero, and times zero that would not be a number.
    length = jnp.where(squares > 0, jnp.sqrt(jnp.where(squares > 0, squares, 1.0)), 0.0)
    return values / (length + _EPSILON)
