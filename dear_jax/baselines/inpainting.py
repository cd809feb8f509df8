"""What MISF and LaMa have in common: what they see, and the convolution to colours."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from dear_jax.model.layers import reflect_pad


def masked_photo(image: jax.Array, mask: jax.Array) -> jax.Array:
    """Blackens the holes and appends the mask.

    Args:
      image: [B, H, W, 3] in [0, 1]; under the mask it may be anything, NaN too.
      mask: [B, H, W, 1], 1 = missing.

    Returns:
      [B, H, W, 4].
    """
    return jnp.concatenate([jnp.where(mask > 0, 0.0, image), mask], axis=-1)


class ColourHead(nn.Module):
    """Reflect-padded 7x7 convolution to 3 channels. [B, H, W, C] -> [B, H, W, 3].

    It is computed as a 7x1 convolution to 7 x 3 channels, one triple for each column
    of the kernel, whose shifted triples are then added up: three channels alone keep a
    CPU's matrix products so narrow that they take four times as long.

    Attributes:
      kernel_init, bias_init: initialisers.
    """

    kernel_init: nn.initializers.Initializer
    bias_init: nn.initializers.Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        width, channels = x.shape[2:]
        kernel = self.param("kernel", self.kernel_init, (7, 7, channels, 3))
        bias = self.param("bias", self.bias_init, (3,))
        by_column = kernel.transpose(0, 2, 1, 3).reshape(7, 1, channels, 21)
        triples = jax.lax.conv_general_dilated(
            reflect_pad(x, 3),
            by_column,
            window_strides=(1, 1),
            padding="VALID",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        shifted = (triples[:, :, i : i + width, 3 * i : 3 * i + 3] for i in range(7))
        return sum(shifted) + bias.reshape(1, 1, 1, 3)
