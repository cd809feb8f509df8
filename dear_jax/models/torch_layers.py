"""What the baselines have in common: PyTorch's initialisation and pixel shuffle."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from dear_jax.models.layers import reflect_conv
from dear_jax.models.linear import Conv

# Kernels U(+-1 / sqrt(fan_in)), PyTorch's default for convolutions and dense layers.
TORCH_KERNEL = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


def torch_bias(fan_in: int) -> nn.initializers.Initializer:
    """PyTorch's default bias, U(+-1 / sqrt(fan_in))."""

    def init(key: jax.Array, shape: tuple[int, ...], dtype=jnp.float32) -> jax.Array:
        limit = fan_in**-0.5
        return jax.random.uniform(key, shape, dtype, -limit, limit)

    return init


def conv(
    x: jax.Array,
    features: int,
    size: int = 3,
    *,
    name: str,
    reflect: bool = False,
    **options,
) -> jax.Array:
    """Applies a size x size convolution, initialised as PyTorch does, to [B, H, W, C].

    Call it inside a compact method. `options` are those of `Conv`; beyond the edges
    x is zero, or mirrored with `reflect`.
    """
    layer = functools.partial(
        Conv,
        features,
        (size, size),
        kernel_init=TORCH_KERNEL,
        bias_init=torch_bias(x.shape[-1] * size * size),
        name=name,
        **options,
    )
    return reflect_conv(layer, x, size) if reflect else layer()(x)


class BatchNorm(nn.BatchNorm):
    """`nn.BatchNorm` of float32 x, with parameters of any floating-point dtype."""

    @nn.nowrap
    def param(self, *arguments, **options) -> jax.Array:
        """The parameter in float32."""
        return super().param(*arguments, **options).astype(jnp.float32)


def batch_norm(x: jax.Array, train: bool, *, name: str) -> jax.Array:
    """Applies batch normalisation as PyTorch's defaults have it.

    Choice: in training the running variance takes the biased batch variance, as Flax
    has it; PyTorch's takes the unbiased one.
    """
    norm = BatchNorm(not train, momentum=0.9, epsilon=1e-5, name=name)
    return norm(x.astype(jnp.float32)).astype(x.dtype)


def pixel_shuffle(x: jax.Array, scale: int) -> jax.Array:
    """Spreads channels over pixels: [B, H, W, C s s] -> [B, sH, sW, C].

    Input channel (c s + dy) s + dx becomes pixel (s y + dy, s x + dx) of channel c.
    """
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height, width, channels // scale**2, scale, scale)
    x = x.transpose(0, 1, 4, 2, 5, 3)
    return x.reshape(batch, height * scale, width * scale, channels // scale**2)
