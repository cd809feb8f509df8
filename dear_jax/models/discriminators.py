"""The two patch discriminators that train the inpainters.

Both map images in [0, 1] to logits, one for each overlapping patch, and the activations
on the way. They are trained with logits; the sigmoid is in the loss.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from dear_jax.models.layers import batch_norm, conv
from dear_jax.typing import Array

Judgement = tuple[Float[Array, "B h w 1"], list[Float[Array, "B _ _ _"]]]

_SLOPE = 0.2
_EPSILON = 1e-12


class SpectralPatchGAN(nn.Module):
    """MISF's discriminator of 70 x 70 patches, every kernel of spectral norm 1.

    The vectors of the power iteration are in the collection "spectral".

    Attributes:
      width: channels after the first layer.
    """

    width: int = 64

    least_side = 24  # Below it no patch is left.

    @nn.compact
    def __call__(
        self, image: Float[Array, "B H W 3"], train: bool = False
    ) -> Judgement:
        """Judges images.

        Args:
          image: in [0, 1], sides at least `least_side`.
          train: make one power iteration; "spectral" must then be mutable.

        Returns:
          Logits, 30 x 30 for 256 x 256, and the four activations before them.
        """
        x, maps = image, []
        for i, (factor, stride) in enumerate([(1, 2), (2, 2), (4, 2), (8, 1)], 1):
            x = _SpectralConv(factor * self.width, stride, name=f"conv{i}")(x, train)
            x = nn.leaky_relu(x, _SLOPE)
            maps.append(x)
        return _SpectralConv(1, 1, name="conv5")(x, train), maps


class _SpectralConv(nn.Module):
    """4 x 4 convolution, zero padding 1, no bias, its kernel divided by sigma.

    sigma = u^T W v estimates the largest singular value of the kernel written as a
    matrix W (out, in * 16); u and v take no gradient.
    """

    features: int
    stride: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], train: bool
    ) -> Float[Array, "B h w features"]:
        kernel = self.param(
            "kernel",
            nn.initializers.normal(0.02),
            (4, 4, x.shape[-1], self.features),
        )
        matrix = kernel.transpose(3, 2, 0, 1).reshape(self.features, -1)
        u = self.variable("spectral", "u", self._random_unit, matrix.shape[0])
        v = self.variable("spectral", "v", self._random_unit, matrix.shape[1])
        if train and not self.is_initializing():
            fixed = jax.lax.stop_gradient(matrix)
            v.value = _unit(_times(fixed.T, u.value))
            u.value = _unit(_times(fixed, v.value))
        sigma = jnp.sum(u.value * _times(matrix, v.value))
        return jax.lax.conv_general_dilated(
            jnp.asarray(x),
            kernel / sigma,
            (self.stride, self.stride),
            ((1, 1), (1, 1)),
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    def _random_unit(self, length: int) -> Float[Array, " {length}"]:
        return _unit(jax.random.normal(self.make_rng("params"), (length,)))


def _times(
    matrix: Float[Array, "m n"], vector: Float[Array, " n"]
) -> Float[Array, " m"]:
    # A norm of accelerator precision would leave the kernels off by per mille.
    return jnp.matmul(matrix, vector, precision="highest")


def _unit(vector: Float[Array, " n"]) -> Float[Array, " n"]:
    return vector / jnp.maximum(jnp.linalg.norm(vector), _EPSILON)


class PatchGAN(nn.Module):
    """LaMa's discriminator (pix2pixHD's), with batch normalisation.

    Attributes:
      width: channels after the first layer; they double, up to 512.
      layers: layers of stride 2.
    """

    width: int = 64
    layers: int = 4

    least_side = 1

    @nn.compact
    def __call__(
        self, image: Float[Array, "B H W 3"], train: bool = False
    ) -> Judgement:
        """Judges images.

        Args:
          image: in [0, 1].
          train: normalise by the batch; "batch_stats" must then be mutable.

        Returns:
          Logits, 19 x 19 for 256 x 256, and the `layers` + 1 activations before them,
          which feature matching compares.
        """
        x, maps = image, []
        for i in range(self.layers + 1):
            features = min(2**i * self.width, 512)
            stride = 2 if i < self.layers else 1
            x = conv(x, features, 4, name=f"conv{i}", strides=stride, padding=2)
            if i:
                x = batch_norm(x, train, name=f"norm{i}")
            x = nn.leaky_relu(x, _SLOPE)
            maps.append(x)
        name = f"conv{self.layers + 1}"
        return conv(x, 1, 4, name=name, padding=2), maps
