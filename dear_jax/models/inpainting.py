"""What MISF and LaMa have in common: what they see, and the convolution to colours."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from dear_jax.models.layers import reflect_pad


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

    It is computed as a 1x7 convolution to 7 x 3 channels, a triple for each row of the
    kernel, and the shifted triples are added up: with three channels alone a CPU's
    matrix products are so narrow that it takes four times as long. They are float32.

    Attributes:
      kernel_init, bias_init: initialisers.
    """

    kernel_init: nn.initializers.Initializer
    bias_init: nn.initializers.Initializer = nn.initializers.zeros

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        height, channels = x.shape[1], x.shape[3]
        kernel = self.param("kernel", self.kernel_init, (7, 7, channels, 3))
        bias = self.param("bias", self.bias_init, (3,))
        by_row = kernel.transpose(1, 2, 0, 3).reshape(1, 7, channels, 21)
        triples = jax.lax.conv_general_dilated(
            reflect_pad(x, 3),
            by_row,
            window_strides=(1, 1),
            padding=((0, 1), (0, 0)),  # As in `reflect_conv`.
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        triples = triples.astype(jnp.float32)
        shifted = (triples[:, i : i + height, :, 3 * i : 3 * i + 3] for i in range(7))
        return sum(shifted) + bias.astype(jnp.float32).reshape(1, 1, 1, 3)
