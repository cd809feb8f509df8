"""EDSR (Lim et al., 2017), residual blocks at low resolution and a sub-pixel tail.

`EDSRTrunk` turns an image into features and is also the encoder of LIIF and LTE;
`EDSR` adds the tail that upscales by a whole number. Sizes are free: any H, W >= 1.
"""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from dear_jax.models.layers import compute_dtype, conv, pixel_shuffle
from dear_jax.typing import Array

# Mean colour of the training photos, for values in [0, 1].
MEAN = (0.4488, 0.4371, 0.4040)


class EDSRTrunk(nn.Module):
    """Head, residual blocks and the skip around them.

    Attributes:
      width: channels.
      blocks: number of residual blocks.
      residual_scale: factor of what a block adds (0.1 steadies training at width 256).
    """

    width: int = 64
    blocks: int = 16
    residual_scale: float = 1.0

    @nn.compact
    def __call__(self, image: Float[Array, "B H W 3"]) -> Float[Array, "B H W width"]:
        """Features of an image."""
        head = conv(image, self.width, name="head")
        x = head
        for i in range(self.blocks):
            branch = nn.relu(conv(x, self.width, name=f"block_{i}_conv_0"))
            branch = conv(branch, self.width, name=f"block_{i}_conv_1")
            x = x + branch * self.residual_scale
        return head + conv(x, self.width, name="body_end")


class EDSR(nn.Module):
    """EDSR upscaler: photos -> photos `scale` times as large, in `value_range`.

    The defaults are EDSR-baseline x4; the full model is width 256, 32 blocks and a
    residual_scale of 0.1.

    Attributes:
      width, blocks, residual_scale: see `EDSRTrunk`.
      scale: whole upscaling factor >= 1.
      mean_shift: True for the original release, which sees values in [0, 255] less
        their mean; False for training as in LIIF and LTE, on [-1, 1].
    """

    ROLE = "upscaler"

    width: int = 64
    blocks: int = 16
    residual_scale: float = 1.0
    scale: int = 4
    mean_shift: bool = False

    @property
    def value_range(self) -> tuple[float, float]:
        """Lowest and highest value of the input and, nominally, of the output."""
        return (0.0, 255.0) if self.mean_shift else (-1.0, 1.0)

    @nn.compact
    def __call__(
        self, image: Float[Array, "B H W 3"], train: bool = False
    ) -> Float[Array, "B h w 3"]:
        """Upscales photos; colours are not clipped.

        `train` changes nothing here. It is accepted because other upscalers need it.
        """
        del train
        trunk = EDSRTrunk(self.width, self.blocks, self.residual_scale, name="trunk")
        mean = jnp.asarray(mean_colour())
        x = image - mean if self.mean_shift else image
        x = trunk(x.astype(compute_dtype(self)))
        for i, factor in enumerate(upscaling_steps(self.scale)):
            x = conv(x, factor**2 * self.width, name=f"up_{i}")
            x = pixel_shuffle(x, factor)
        x = conv(x, 3, name="tail").astype(jnp.float32)
        return x + mean if self.mean_shift else x


def mean_colour() -> Float[np.ndarray, "1 1 1 3"]:
    """Mean colour of the training photos, for values in [0, 255]."""
    return np.asarray(MEAN, np.float32).reshape(1, 1, 1, 3) * 255


def upscaling_steps(scale: int) -> tuple[int, ...]:
    """Factors of the pixel shuffles: the prime factors of `scale`, ascending.

    The official code has powers of two and 3 only; for them it is the same. Choice:
    the other scales continue the pattern, and 1 has no step.
    """
    steps, factor = [], 2
    while scale > 1:
        while scale % factor == 0:
            steps.append(factor)
            scale //= factor
        factor += 1
    return tuple(steps)
