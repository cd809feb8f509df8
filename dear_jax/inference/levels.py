"""Grey levels and floats on the device, so that photos travel as bytes.

Equal to the last bit to x / 255 and floor(255 x + 1/2) in NumPy.
"""

import jax
import jax.numpy as jnp
import numpy as np

# Compilers make a product of a division by 255, which rounds otherwise.
_AS_FLOATS = np.arange(256, dtype=np.float32) / np.float32(255)


def to_floats(images: jax.Array) -> jax.Array:
    """Photos, uint8 or floats in [0, 1], as float32 in [0, 1]."""
    if images.dtype == jnp.uint8:
        return jnp.asarray(_AS_FLOATS)[images]
    return images.astype(jnp.float32)


def to_kind(colours: jax.Array, dtype: np.dtype) -> jax.Array:
    """Colours, clipped to [0, 1], as uint8 or float32, the kind that `dtype` is."""
    colours = jnp.clip(colours, 0, 1)
    if dtype == jnp.uint8:
        return jnp.floor(colours * 255 + 0.5).astype(jnp.uint8)
    return colours
