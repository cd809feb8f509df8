"""Flax's linear layers, with a bias whose gradient is summed in float32.

The gradient of a bias is a sum over all pixels or queries of a batch. In bfloat16
some accelerators also sum in bfloat16, which a hundred thousand terms do not bear.
In float32 nothing differs from Flax's.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp


def add_bias(y: jax.Array, bias: jax.Array) -> jax.Array:
    """y [..., C] + bias [C], in the dtype of y."""
    bias = bias.astype(jnp.float32).reshape((1,) * (y.ndim - 1) + (-1,))
    # The gradient takes these steps backwards: to float32, then the sum.
    return y + jnp.broadcast_to(bias, y.shape).astype(y.dtype)


class Dense(nn.Dense):
    """`nn.Dense`; `biased` says whether there is a bias, `use_bias` stays as it is."""

    use_bias: bool = False
    biased: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """x [..., C] -> [..., features]."""
        return _biased(self, super().__call__(x))


class Conv(nn.Conv):
    """`nn.Conv`; `biased` says whether there is a bias, `use_bias` stays as it is."""

    use_bias: bool = False
    biased: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """x [B, H, W, C] -> [B, H', W', features]."""
        return _biased(self, super().__call__(x))


class ConvTranspose(nn.ConvTranspose):
    """`nn.ConvTranspose`; `biased` as above."""

    use_bias: bool = False
    biased: bool = True

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """x [B, H, W, C] -> [B, H', W', features]."""
        return _biased(self, super().__call__(x))


def _biased(layer: nn.Module, y: jax.Array) -> jax.Array:
    if not layer.biased:
        return y
    return add_bias(
        y, layer.param("bias", layer.bias_init, (layer.features,), layer.param_dtype)
    )
