"""What the decoder's colours are added to: nothing, or an enlarged simple answer.

Choice: the paper has no residual. "bilinear" adds the enlarged masked photo as
LTE does; "fill" fills the holes smoothly first and enlarges bicubically, so
that `dear-lite` starts where classical methods end.
"""

import jax
import jax.numpy as jnp

from dear_jax.models.dear.coordinates import gather_pixels, neighbours, to_position


def sample_bilinear(
    image: jax.Array, coordinates: jax.Array, size: jax.Array | None = None
) -> jax.Array:
    """Reads image [B, H, W, C] between its pixels at coordinates [B, Q, 2]."""
    size = jnp.asarray(image.shape[1:3] if size is None else size)
    return sum(
        weight * gather_pixels(image, index)
        for index, weight, _ in neighbours(coordinates, size)
    )


def sample_bicubic(
    image: jax.Array, coordinates: jax.Array, size: jax.Array | None = None
) -> jax.Array:
    """Reads image [B, H, W, C] at coordinates [B, Q, 2] with Keys' cubic, a = -0.5.

    Taps beyond the photo are left out and the others normalised, as Pillow does
    when it enlarges.
    """
    size = jnp.asarray(image.shape[1:3] if size is None else size)
    position = to_position(coordinates, size)[..., None]
    first = jnp.floor(position).astype(jnp.int32) - 1
    taps = jnp.concatenate([first + i for i in range(4)], axis=-1)  # [B, Q, 2, 4]
    size = size.reshape(1, 1, 2, 1)
    weights = _keys_cubic(position - taps.astype(position.dtype))
    weights = jnp.where((taps >= 0) & (taps < size), weights, 0)
    weights /= weights.sum(axis=-1, keepdims=True)
    taps = jnp.clip(taps, 0, size - 1)
    index = jnp.stack(
        jnp.broadcast_arrays(taps[..., 0, :, None], taps[..., 1, None, :]), axis=-1
    )  # [B, Q, 4, 4, 2]
    pixels = gather_pixels(image, index)
    return jnp.einsum(
        "bqi,bqj,bqijc->bqc", weights[..., 0, :], weights[..., 1, :], pixels
    )


def _keys_cubic(distance: jax.Array) -> jax.Array:
    d = jnp.abs(distance)
    near = (1.5 * d - 2.5) * d * d + 1
    far = ((-0.5 * d + 2.5) * d - 4) * d + 2
    return jnp.where(d < 1, near, jnp.where(d < 2, far, 0))
