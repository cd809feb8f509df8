"""Pixel-wise importance: how far the known pixels can explain each pixel (Eq. 8, 9).

Kernels K_p rebuild the low-resolution photo from its known pixels (Eq. 8, the
auxiliary loss L2); from the same kernels a convolution reads how much a pixel
should be trusted (Eq. 9).
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float, Float32

from dear_jax.models.dear.filtering import filter_pixels
from dear_jax.models.layers import Conv
from dear_jax.typing import Array


def reconstruct(
    image: Float[Array, "B H W 3"],
    mask: Float[Array, "B H W 1"],
    kernels: Float[Array, "B H W K2"],
) -> Float32[Array, "B H W 3"]:
    """Rebuilds each pixel from the known ones of its window (Eq. 8).

    Args:
      image: pixels under the mask are never used.
      mask: 1 = missing.
      kernels: of K2 = K^2 taps.

    Returns:
      The photo rebuilt, in the units of `image`.
    """
    known = jnp.where(mask > 0, 0, image)
    return filter_pixels(known, kernels[..., None], padding="zero")


class Importance(nn.Module):
    """sigmoid(conv3(K)) in (0, 1) (Eq. 9).

    Choice: a sigmoid, for the paper's "towards one".
    """

    @nn.compact
    def __call__(self, kernels: Float[Array, "B H W K2"]) -> Float32[Array, "B H W 1"]:
        logits = Conv(1, (3, 3), padding="SAME", name="conv")(kernels)
        return nn.sigmoid(logits.astype(jnp.float32))
