"""The paper model's convolutional networks: encoder, predictor and their way back up.

Encoder phi_beta and predictor phi_beta^ are of one shape with parameters of
their own (Sec. 4.2, 4.5), and MISF shares their strided part. `Upsampler` is the
decoder of Eq. 5 and the two layers of the importance branch (Sec. 4.4).
"""

import functools

import flax.linen as nn
from jaxtyping import Float

from dear_jax.models.layers import (
    USUAL_KERNEL,
    Conv,
    Normalisation,
    ResidualBlock,
    Upsample,
    reflect_conv,
)
from dear_jax.typing import Array


def downward(
    x: Float[Array, "B H W C"],
    width: int,
    norm: str = "none",
    kernel_init: nn.initializers.Initializer = USUAL_KERNEL,
) -> tuple[
    Float[Array, "B H W _"],
    Float[Array, "B H//2 W//2 _"],
    Float[Array, "B H//4 W//4 _"],
]:
    """Applies conv7 and two conv4 of stride 2, each normalised and ReLU'd.

    Call it inside a compact method: the parameters are "stem", "down_1", "down_2".

    Returns:
      `width` channels, twice and four times as many.
    """
    conv = functools.partial(Conv, kernel_init=kernel_init)
    x = reflect_conv(functools.partial(conv, width, (7, 7), name="stem"), x, 7)
    full = nn.relu(Normalisation(norm)(x))
    conv = functools.partial(conv, kernel_size=(4, 4), strides=2, padding=1)
    half = nn.relu(Normalisation(norm)(conv(2 * width, name="down_1")(full)))
    quarter = nn.relu(Normalisation(norm)(conv(4 * width, name="down_2")(half)))
    return full, half, quarter


class Encoder(nn.Module):
    """conv7 -> conv4 stride 2 -> conv4 stride 2 -> residual blocks.

    Choice: strides 1, 2, 2, since two x2 upsamplings must return to H x W;
    the paper says "the strides are set to 2".

    H and W are multiples of 4.
    """

    width: int = 64
    blocks: int = 8
    norm: str = "none"

    @nn.compact
    def __call__(self, x: Float[Array, "B H W 4"]) -> Float[Array, "B H//4 W//4 C"]:
        x = downward(x, self.width, self.norm)[-1]
        for i in range(self.blocks):
            x = ResidualBlock(self.norm, name=f"block_{i}")(x)
        return x


class Upsampler(nn.Module):
    """Two transposed convolutions, ReLU between, linear at the end."""

    hidden: int = 128
    features: int = 64

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"]
    ) -> Float[Array, "B 4*H 4*W features"]:
        x = nn.relu(Upsample(self.hidden, name="up_1")(x))
        return Upsample(self.features, name="up_2")(x)
