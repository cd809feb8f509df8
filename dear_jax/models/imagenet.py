"""Colours as networks trained on ImageNet take them."""

import jax
import jax.numpy as jnp

_MEAN = (0.485, 0.456, 0.406)
_DEVIATION = (0.229, 0.224, 0.225)


def imagenet_normalised(image: jax.Array) -> jax.Array:
    """Brings [B, H, W, 3] in [0, 1] to ImageNet's mean 0 and deviation 1."""
    mean, deviation = (jnp.array(v).reshape(1, 1, 1, 3) for v in (_MEAN, _DEVIATION))
    return (image - mean) / deviation
