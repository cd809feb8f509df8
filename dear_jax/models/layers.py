"""The paper model's convolutions (Sec. 4.5), shared by encoder, predictor and decoder.

The paper builds on MISF (CVPR 2022), and so do the details it leaves out:
reflect padding in the 7x7 stem and the residual blocks, zero padding in the
strided convolutions, dilation 2 then 1 in a residual block. Images are NHWC.
"""

import functools
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from dear_jax.models.linear import Conv, ConvTranspose

# Flax's own initialisation of kernels; MISF has another.
USUAL_KERNEL = nn.linear.default_kernel_init


def reflect_pad(x: jax.Array, pixels: int) -> jax.Array:
    """Mirrors x [B, H, W, C] by `pixels` on each side, the edge pixel not repeated."""
    return jnp.pad(x, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), "reflect")


def reflect_conv(
    conv: Callable[..., Conv], x: jax.Array, size: int, dilation: int = 1
) -> jax.Array:
    """Convolves x [B, H, W, C], mirrored beyond its edges.

    Args:
      conv: (padding=..., kernel_dilation=...) -> the layer; a stride must divide H, W.
      x: the image.
      size: side of the kernel, odd.
      dilation: step between its taps.
    """
    # One zero row more below, and its result dropped: without any padding XLA's
    # convolution on CPUs is three times slower on large images.
    layer = conv(padding=((0, 1), (0, 0)), kernel_dilation=dilation)
    y = layer(reflect_pad(x, dilation * (size // 2)))
    return y[:, : x.shape[1] // np.broadcast_to(layer.strides or 1, 2)[0]]


class Normalisation(nn.Module):
    """Instance normalisation without parameters, or nothing.

    Choice: "none", as super-resolution networks do; "instance" is MISF's.
    """

    kind: str = "none"

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.kind == "none":
            return x
        dtype, x = x.dtype, x.astype(jnp.float32)
        mean = jnp.mean(x, axis=(1, 2), keepdims=True)
        variance = jnp.var(x, axis=(1, 2), keepdims=True)
        return ((x - mean) * jax.lax.rsqrt(variance + 1e-5)).astype(dtype)


class ResidualBlock(nn.Module):
    """x + conv3(relu(conv3 dilated by 2 (x))), reflect-padded. [B, H, W, C] -> same."""

    norm: str = "none"
    kernel_init: nn.initializers.Initializer = USUAL_KERNEL

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        conv = functools.partial(
            Conv, x.shape[-1], (3, 3), kernel_init=self.kernel_init
        )
        y = reflect_conv(functools.partial(conv, name="dilated"), x, 3, dilation=2)
        y = nn.relu(Normalisation(self.norm)(y))
        y = reflect_conv(functools.partial(conv, name="plain"), y, 3)
        return x + Normalisation(self.norm)(y)


class Upsample(nn.Module):
    """Transposed 4x4 convolution of stride 2. [B, H, W, C] -> [B, 2H, 2W, features].

    Its "SAME" is PyTorch's padding 1.
    """

    features: int
    kernel_init: nn.initializers.Initializer = USUAL_KERNEL

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return ConvTranspose(
            self.features,
            (4, 4),
            strides=(2, 2),
            padding="SAME",
            kernel_init=self.kernel_init,
            name="conv",
        )(x)
