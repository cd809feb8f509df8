"""The networks of `dear-lite`: small, quick on a CPU, indifferent to padding.

Beyond the paper: a U-shaped encoder with skip connections, which sees far at
little cost, in place of the two dilated towers. Every layer is zero-padded and
its output multiplied by the validity mask of its level, so a photo inside a
larger array gives the same result as alone and one compilation serves many
sizes. Pixels are normalised each for itself, so that no level can fall silent:
without that, long training left the deepest one below zero everywhere. Sizes
here are multiples of the coarsest level's step.
"""

import flax.linen as nn
import jax
from jaxtyping import Float, Num

from dear_jax.models.layers import Conv, Dense
from dear_jax.typing import Array


def fold(
    x: Num[Array, "B H W C"], factor: int = 2
) -> Num[Array, "B H//{factor} W//{factor} C*{factor}**2"]:
    """Moves factor x factor pixels into channels."""
    batch, height, width, channels = x.shape
    rows, columns = height // factor, width // factor
    x = x.reshape(batch, rows, factor, columns, factor, channels)
    return x.swapaxes(2, 3).reshape(batch, rows, columns, factor**2 * channels)


def unfold(
    x: Float[Array, "B H W C"], factor: int = 2
) -> Float[Array, "B H*{factor} W*{factor} C//{factor}**2"]:
    """The inverse of `fold`."""
    batch, rows, columns, channels = x.shape
    x = x.reshape(batch, rows, columns, factor, factor, channels // factor**2)
    return x.swapaxes(2, 3).reshape(batch, rows * factor, columns * factor, -1)


def validity_pyramid(
    valid: Float[Array, "B H W 1"], levels: int
) -> list[Float[Array, "B _ _ 1"]]:
    """Validity at full, half ... size: 1 where any pixel is valid."""
    pyramid = [valid]
    for _ in range(levels - 1):
        pyramid.append(fold(pyramid[-1]).max(axis=-1, keepdims=True))
    return pyramid


def normalise(x: Float[Array, "B H W C"], name: str) -> Float[Array, "B H W C"]:
    """x with a root mean square of 1 over each pixel's channels, scaled.

    Call it inside a compact method: the scale of each channel is its parameter.
    """
    # Flax's own way from bfloat16 to float32 statistics and back is implicit.
    with jax.numpy_dtype_promotion("standard"):
        return nn.RMSNorm(dtype=x.dtype, name=name)(x)


class Block(nn.Module):
    """x + conv3(relu(conv3(normalised x))), nothing outside the photo."""

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], valid: Float[Array, "B H W 1"]
    ) -> Float[Array, "B H W C"]:
        width = x.shape[-1]
        quiet = nn.initializers.variance_scaling(0.1, "fan_in", "truncated_normal")
        y = normalise(x, "norm")
        y = nn.relu(Conv(width, (3, 3), name="first")(y)) * valid
        return x + Conv(width, (3, 3), kernel_init=quiet, name="second")(y) * valid


class LiteEncoder(nn.Module):
    """Photo -> embedding at a quarter of its size, by way of coarser levels.

    Attributes:
      widths: channels at full, half, quarter ... size; the last level is the coarsest.
      depths: residual blocks on the way down, at half size and coarser, then on the
        way up to a quarter size, the coarsest of these first.
    """

    widths: tuple[int, ...]
    depths: tuple[int, ...]

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B H W D"],
        valid: Float[Array, "B H W 1"],
        skips_only: bool = False,
    ) -> tuple[
        Float[Array, "B H//4 W//4 C"] | None,
        tuple[Float[Array, "B H W C0"], Float[Array, "B H//2 W//2 C1"]],
    ]:
        """Z and the skips at full and half size.

        With `skips_only` Z is None, and what only it needs is not computed.
        """
        deepest = len(self.widths) - 1
        down, up = self.depths[:deepest], self.depths[deepest:]
        down = down[:1] if skips_only else down
        pyramid = validity_pyramid(valid, len(down) + 1)
        x = nn.relu(Conv(self.widths[0], (3, 3), name="stem")(x)) * pyramid[0]
        levels: list[Array] = [x]
        for i, depth in enumerate(down, start=1):
            x = normalise(fold(x), f"norm_{i}")
            x = Dense(self.widths[i], name=f"down_{i}")(x) * pyramid[i]
            for j in range(depth):
                x = Block(name=f"down_{i}_block_{j}")(x, pyramid[i])
            levels.append(x)
        skips = levels[0], levels[1]
        if skips_only:
            return None, skips
        for i, depth in zip(range(deepest - 1, 1, -1), up, strict=True):
            name = "up" if i == 2 else f"up_{i}"
            x = normalise(x, f"norm_{name}")
            x = unfold(Dense(4 * self.widths[i], name=name)(x))
            x = (x + levels[i]) * pyramid[i]
            for j in range(depth):
                x = Block(name=f"{name}_block_{j}")(x, pyramid[i])
        return x, skips


class LiteUpsampler(nn.Module):
    """Embedding and skips -> features of every pixel, F (Eq. 5)."""

    depths: tuple[int, ...] = (1, 1)

    @nn.compact
    def __call__(
        self,
        z: Float[Array, "B h w C"],
        skips: tuple[Float[Array, "B H W C0"], Float[Array, "B H2 W2 C1"]],
        valid: Float[Array, "B H W 1"],
    ) -> Float[Array, "B H W C0"]:
        pyramid = validity_pyramid(valid, 2)
        x = z
        for level in (1, 0):
            skip = skips[level]
            x = normalise(x, f"norm_{level}")
            up = Dense(4 * skip.shape[-1], name=f"up_{level}")(x)
            x = (unfold(up) + skip) * pyramid[level]
            for j in range(self.depths[level]):
                x = Block(name=f"up_{level}_block_{j}")(x, pyramid[level])
        return x


class LitePredictor(nn.Module):
    """Photo -> guide of the filters, G: the small second tower."""

    width: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W D"], valid: Float[Array, "B H W 1"]
    ) -> Float[Array, "B H//4 W//4 width"]:
        quarter = validity_pyramid(valid, 3)[2]
        x = nn.relu(Dense(self.width, name="stem")(fold(x, 4))) * quarter
        return nn.relu(Block(name="block")(x, quarter))


class LiteKernels(nn.Module):
    """Guide -> reconstruction kernels K_p."""

    taps: int

    @nn.compact
    def __call__(
        self, guide: Float[Array, "B h w C"]
    ) -> Float[Array, "B 4*h 4*w taps"]:
        return unfold(Dense(16 * self.taps, name="head")(guide), 4)
