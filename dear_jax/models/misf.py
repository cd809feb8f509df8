"""MISF (Li et al., CVPR 2022): filters for features and image, predicted per pixel.

An encoder, residual blocks and a decoder complete the photo. A second network sees
the photo too and predicts a 3x3 filter for every pixel and channel, once for the
encoder's features at a quarter of the size and once for the image at the end.
Written from a description of the released model, whose weights it takes.
"""

from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from dear_jax.models.dear.encoder import downward
from dear_jax.models.dear.filtering import filter_pixels
from dear_jax.models.layers import (
    ColourHead,
    Conv,
    Normalisation,
    ResidualBlock,
    Upsample,
    compute_dtype,
    masked_photo,
)
from dear_jax.typing import Array

KERNEL = nn.initializers.normal(0.02)
# Taps of the 3x3 filters.
TAPS = 9


class MISF(nn.Module):
    """Inpainter: photo and mask -> completed photo, H and W multiples of 4.

    Choice: on photos that are not square the authors' code scrambles the feature
    filters; here they stay where they are. On square ones it is the same.

    Attributes:
      width: channels at full size.
      blocks: residual blocks at a quarter of the size.
    """

    ROLE = "inpainter"

    width: int = 64
    blocks: int = 8

    multiple: ClassVar[int] = 4

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "B H W 3"],
        mask: Float[Array, "B H W 1"],
        train: bool = False,
    ) -> Float[Array, "B H W 3"]:
        """Completes an image in [0, 1], whose mask has 1 = missing.

        `train` changes nothing here. It is accepted because LaMa needs it.

        Returns:
          Colours in [0, 1]: the network's own colours, known pixels too.
        """
        del train
        x = masked_photo(image, mask).astype(compute_dtype(self))
        _, half, quarter = downward(x, self.width, "instance", KERNEL)
        feature_filters, image_filters = FilterPredictor(self.width, name="predictor")(
            x, half
        )
        z = filter_pixels(quarter, feature_filters).astype(x.dtype)
        for i in range(self.blocks):
            z = ResidualBlock("instance", KERNEL, name=f"block_{i}")(z)
        for i in (1, 0):
            z = Upsample(self.width * 2**i, KERNEL, name=f"up_{i}")(z)
            z = nn.relu(Normalisation("instance")(z))
        colours = filter_pixels(ColourHead(KERNEL, name="head")(z), image_filters)
        return (jnp.tanh(colours) + 1) / 2


class FilterPredictor(nn.Module):
    """The U-shaped network that predicts the filters.

    Attributes:
      width: channels at full size.
    """

    width: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W 4"], encoded: Float[Array, "B H//2 W//2 C"]
    ) -> tuple[Float[Array, "B H//4 W//4 9 D"], Float[Array, "B H W 9 3"]]:
        """Predicts filters from the masked photo and what the encoder made of it.

        Args:
          x: photo and mask.
          encoded: of twice as many channels as `width`.

        Returns:
          Filters of the features and of the image, as `filter_pixels` takes them.
        """
        width = self.width
        full = Convolutions(width, name="full")(x)
        half = Convolutions(2 * width, name="half")(halve(full))
        half = jnp.concatenate([half, encoded], axis=-1)
        quarter = Convolutions(4 * width, name="quarter")(halve(half))
        raw = _head(TAPS * width, name="feature_filters")(quarter)
        deep = Convolutions(8 * width, name="deep")(quarter)
        y = jnp.concatenate([quarter, deep], axis=-1)
        y = double(Convolutions(4 * width, name="quarter_up")(y))
        y = jnp.concatenate([half, y], axis=-1)
        y = double(Convolutions(2 * width, name="half_up")(y))
        y = Convolutions(width, name="full_up")(jnp.concatenate([full, y], axis=-1))
        return stretch(raw), _by_tap(_head(TAPS * 3, name="image_filters")(y))


class Convolutions(nn.Module):
    """Three 3x3 convolutions, each ReLU'd."""

    features: int

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W features"]:
        for i in range(3):
            conv = Conv(self.features, (3, 3), kernel_init=KERNEL, name=f"conv_{i}")
            x = nn.relu(conv(x))
        return x


def stretch(raw: Float[Array, " ..."]) -> Float[Array, " ..."]:
    """Makes the filters of 4 w channels from 9 w values: [..., 9 w] -> [..., 9, 4 w].

    Each value serves four taps in a row, counted through all the channels: tap t of
    channel c is value (9 c + t) // 4.
    """
    return _by_tap(jnp.repeat(raw, 4, axis=-1))


def halve(x: Float[Array, "B H W C"]) -> Float[Array, "B H//2 W//2 C"]:
    """Averages 2 x 2 pixels."""
    batch, height, width, channels = x.shape
    return x.reshape(batch, height // 2, 2, width // 2, 2, channels).mean((2, 4))


def double(x: Float[Array, "B H W C"]) -> Float[Array, "B 2*H 2*W C"]:
    """Enlarges bilinearly by 2, beyond the edge its repetition."""
    for axis in (1, 2):
        count = x.shape[axis]
        pads = [(0, 0)] * x.ndim
        pads[axis] = (1, 1)
        padded = jnp.pad(x, pads, "edge")
        before = jax.lax.slice_in_dim(padded, 0, count, axis=axis)
        after = jax.lax.slice_in_dim(padded, 2, count + 2, axis=axis)
        # Pixel 2i lies a quarter of a pixel before pixel i, pixel 2i + 1 behind it.
        pair = (0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after)
        shape = list(x.shape)
        shape[axis] = 2 * count
        x = jnp.stack(pair, axis=axis + 1).reshape(shape)
    return x


def _head(features: int, *, name: str) -> Conv:
    return Conv(features, (1, 1), kernel_init=KERNEL, name=name)


def _by_tap(filters: Float[Array, "B H W C"]) -> Float[Array, "B H W 9 C//9"]:
    """[..., C 9], the taps of a channel in a row -> [..., 9, C]."""
    return filters.reshape(*filters.shape[:-1], -1, TAPS).swapaxes(-1, -2)
