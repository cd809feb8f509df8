"""The paper model's convolutional networks: encoder, predictor and their way back up.

Encoder phi_beta and predictor phi_beta^ are of one shape with parameters of
their own (Sec. 4.2, 4.5), and MISF shares their strided part. `Upsampler` is the
decoder of Eq. 5 and the two layers of the importance branch (Sec. 4.4).
"""

import functools

import flax.linen as nn
import jax

from dear_jax.models.layers import (
    USUAL_KERNEL,
    Conv,
    Normalisation,
    ResidualBlock,
    Upsample,
    reflect_conv,
)


def downward(
    x: jax.Array,
    width: int,
    norm: str = "none",
    kernel_init: nn.initializers.Initializer = USUAL_KERNEL,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Applies conv7 and two conv4 of stride 2, each normalised and ReLU'd.

    Call it inside a compact method: the parameters are "stem", "down_1", "down_2".

    Returns:
      [B, H, W, width], [B, H/2, W/2, 2 width] and [B, H/4, W/4, 4 width].
    """
    conv = functools.partial(Conv, kernel_init=kernel_init)
    x = reflect_conv(functools.partial(conv, width, (7, 7), name="stem"), x, 7)
    levels = [nn.relu(Normalisation(norm)(x))]
    for i in (1, 2):
        x = conv(width * 2**i, (4, 4), strides=2, padding=1, name=f"down_{i}")(
            levels[-1]
        )
        levels.append(nn.relu(Normalisation(norm)(x)))
    return tuple(levels)


class Encoder(nn.Module):
    """conv7 -> conv4 stride 2 -> conv4 stride 2 -> residual blocks.

    Choice: strides 1, 2, 2, since two x2 upsamplings must return to H x W;
    the paper says "the strides are set to 2".

    [B, H, W, 4] -> [B, H/4, W/4, 4 width]; H and W are multiples of 4.
    """

    width: int = 64
    blocks: int = 8
    norm: str = "none"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = downward(x, self.width, self.norm)[-1]
        for i in range(self.blocks):
            x = ResidualBlock(self.norm, name=f"block_{i}")(x)
        return x


class Upsampler(nn.Module):
    """Two transposed convolutions, ReLU between, linear at the end.

    [B, H/4, W/4, C] -> [B, H, W, features].
    """

    hidden: int = 128
    features: int = 64

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.relu(Upsample(self.hidden, name="up_1")(x))
        return Upsample(self.features, name="up_2")(x)
