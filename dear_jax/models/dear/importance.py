"""Pixel-wise importance: how far the known pixels can explain each pixel (Eq. 8, 9).

Kernels K_p rebuild the low-resolution photo from its known pixels (Eq. 8, the
auxiliary loss L2); from the same kernels a convolution reads how much a pixel
should be trusted (Eq. 9).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from dear_jax.models.dear.filtering import filter_pixels
from dear_jax.models.layers import Conv


def reconstruct(image: jax.Array, mask: jax.Array, kernels: jax.Array) -> jax.Array:
    """Rebuilds each pixel from the known ones of its window (Eq. 8).

    Args:
      image: [B, H, W, 3]; pixels under the mask are never used.
      mask: [B, H, W, 1], 1 = missing.
      kernels: [B, H, W, K^2].

    Returns:
      [B, H, W, 3], in the units of `image`.
    """
    known = jnp.where(mask > 0, 0, image)
    return filter_pixels(known, kernels[..., None], padding="zero")


class Importance(nn.Module):
    """sigmoid(conv3(K)) (Eq. 9): kernels [B, H, W, K^2] -> [B, H, W, 1] in (0, 1).

    Choice: a sigmoid, for the paper's "towards one".
    """

    @nn.compact
    def __call__(self, kernels: jax.Array) -> jax.Array:
        logits = Conv(1, (3, 3), padding="SAME", name="conv")(kernels)
        return nn.sigmoid(logits.astype(jnp.float32))
