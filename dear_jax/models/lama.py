"""LaMa (Suvorov et al., WACV 2022): inpainting with fast Fourier convolutions.

At an eighth of the size the features are in two parts: local ones, seen through 3x3
windows, and global ones, seen through their spectrum as well: without the local Fourier
unit that the released models leave out. Convolutions are reflect-padded.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Complex, Float

from dear_jax.errors import InputError
from dear_jax.models.layers import (
    TORCH_KERNEL,
    ColourHead,
    ConvTranspose,
    batch_norm,
    compute_dtype,
    conv,
    masked_photo,
    torch_bias,
)
from dear_jax.typing import Array


class LaMa(nn.Module):
    """Inpainter: photo and mask -> completed photo, H and W multiples of `multiple`.

    The defaults are lama-fourier; big-lama has 18 blocks.

    Attributes:
      width: channels at full size; they double with every downsampling.
      blocks: Fourier residual blocks.
      downsamplings: how often the size is halved.
      global_ratio: share of the blocks' channels that are global.
      largest_width: most channels at any size.
    """

    ROLE = "inpainter"

    width: int = 64
    blocks: int = 9
    downsamplings: int = 3
    global_ratio: float = 0.75
    largest_width: int = 1024

    @property
    def multiple(self) -> int:
        """What H and W must be multiples of: 8 with 3 downsamplings."""
        return 2**self.downsamplings

    @nn.compact
    def __call__(
        self,
        image: Float[Array, "B H W 3"],
        mask: Float[Array, "B H W 1"],
        train: bool = False,
    ) -> Float[Array, "B H W 3"]:
        """Completes an image in [0, 1], whose mask has 1 = missing.

        With `train` batch norm takes the batch's statistics and updates its own, in
        the collection "batch_stats".

        Returns:
          Colours in [0, 1]: the network's own colours, known pixels too.
        """
        *widths, widest = self.widths()
        global_width = int(widest * self.global_ratio)
        x = masked_photo(image, mask).astype(compute_dtype(self))
        x = Unit(widths[0], 7, name="stem")(x, train)
        for i, width in enumerate(widths[1:], start=1):
            x = Unit(width, 3, stride=2, name=f"down_{i}")(x, train)
        pair = functools.partial(FourierConv, widest - global_width, global_width)
        x, y = pair(stride=2, name=f"down_{len(widths)}")(x, None, train)
        for i in range(self.blocks):
            dx, dy = pair(name=f"block_{i}_0")(x, y, train)
            dx, dy = pair(name=f"block_{i}_1")(dx, dy, train)
            x, y = x + dx, y + dy
        x = jnp.concatenate([x, y], axis=-1)
        for i, width in reversed(list(enumerate(widths))):
            x = Upward(width, name=f"up_{i}")(x, train)
        head = ColourHead(TORCH_KERNEL, torch_bias(49 * x.shape[-1]), name="head")
        return nn.sigmoid(head(x))

    def widths(self) -> list[int]:
        """Channels at full size, half size and so on."""
        return [
            min(self.width * 2**i, self.largest_width)
            for i in range(self.downsamplings + 1)
        ]

    def check(self) -> None:
        """Raises InputError for a share of global channels that leaves a part empty."""
        widest = self.widths()[-1]
        if not 0 < int(widest * self.global_ratio) < widest:
            raise InputError(
                f"model field global_ratio = {self.global_ratio!r}; choose between 0 "
                f"and 1 so that some of {widest} channels are local and some global"
            )


class Unit(nn.Module):
    """Reflect-padded convolution, batch norm, ReLU, no bias."""

    features: int
    size: int
    stride: int = 1

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], train: bool = False
    ) -> Float[Array, "B h w features"]:
        x = conv(
            x,
            self.features,
            self.size,
            reflect=True,
            strides=self.stride,
            biased=False,
            name="conv",
        )
        return nn.relu(batch_norm(x, train, name="norm"))


class Upward(nn.Module):
    """Transposed 3x3 convolution of stride 2, batch norm, ReLU."""

    features: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], train: bool = False
    ) -> Float[Array, "B 2*H 2*W features"]:
        # PyTorch takes a transposed kernel's fan-in from its outputs.
        fan_in = 9 * self.features
        x = ConvTranspose(
            self.features,
            (3, 3),
            strides=(2, 2),
            padding=((1, 2), (1, 2)),
            kernel_init=nn.initializers.variance_scaling(
                1 / 3, "fan_in", "uniform", in_axis=-1, out_axis=-2
            ),
            bias_init=torch_bias(fan_in),
            name="conv",
        )(x)
        return nn.relu(batch_norm(x, train, name="norm"))


class FourierConv(nn.Module):
    """Fast Fourier convolution of local and global features, batch norms and ReLUs.

    The new local features come from 3x3 windows of both parts. The new global ones
    come from 3x3 windows of the local part and the spectrum of the global one.

    Attributes:
      local_width, global_width: channels that come out.
      stride: of the windows; 1 where there are global features to take in.
    """

    local_width: int
    global_width: int
    stride: int = 1

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B H W C"],
        y: Float[Array, "B H W D"] | None = None,
        train: bool = False,
    ) -> tuple[Float[Array, "B h w local_width"], Float[Array, "B h w global_width"]]:
        """Transforms local features x and global ones y, if there are any."""
        window = functools.partial(
            conv, reflect=True, strides=self.stride, biased=False
        )
        new_x = window(x, self.local_width, name="local_to_local")
        new_y = window(x, self.global_width, name="local_to_global")
        if y is not None:
            new_x += window(y, self.local_width, name="global_to_local")
            new_y += SpectralTransform(self.global_width, name="spectral")(y, train)
        return (
            nn.relu(batch_norm(new_x, train, name="norm_local")),
            nn.relu(batch_norm(new_y, train, name="norm_global")),
        )


class FourierUnit(nn.Module):
    """A 1x1 convolution, batch norm and ReLU of the spectrum of x."""

    features: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], train: bool = False
    ) -> Float[Array, "B H W features"]:
        spectrum = jnp.fft.rfftn(x.astype(jnp.float32), axes=(1, 2), norm="ortho")
        y = split_complex(spectrum).astype(x.dtype)
        y = conv(y, 2 * self.features, 1, biased=False, name="conv")
        y = nn.relu(batch_norm(y, train, name="norm"))
        y = join_complex(y.astype(jnp.float32))
        return inverse(y, x.shape[2]).astype(x.dtype)


class SpectralTransform(nn.Module):
    """1x1 convolution to half the features, a Fourier unit around it, and back.

    `features` is even.
    """

    features: int

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"], train: bool = False
    ) -> Float[Array, "B H W features"]:
        half = self.features // 2
        y = conv(x, half, 1, biased=False, name="narrow")
        y = nn.relu(batch_norm(y, train, name="norm"))
        y = y + FourierUnit(half, name="fourier")(y, train)
        return conv(y, self.features, 1, biased=False, name="widen")


def inverse(
    spectrum: Complex[Array, "B H _ C"], width: int
) -> Float[Array, "B H {width} C"]:
    """Inverts rfftn over H and W.

    One axis after the other, since a layer's output need not be the spectrum of
    anything real: what is then made of the imaginary parts of the first column, and of
    the last at even widths, depends on the order. Here, as in PyTorch on CPUs, they
    are ignored once the columns are inverted.
    """
    rows = jnp.fft.ifft(spectrum, axis=1, norm="ortho")
    return jnp.fft.irfft(rows, n=width, axis=2, norm="ortho")


def split_complex(x: Complex[Array, "B H W C"]) -> Float[Array, "B H W 2*C"]:
    """Real and imaginary parts in turn."""
    parts = jnp.stack([jnp.real(x), jnp.imag(x)], axis=-1)
    return parts.reshape(*x.shape[:-1], -1)


def join_complex(x: Float[Array, "B H W C"]) -> Complex[Array, "B H W C//2"]:
    """Inverts `split_complex`."""
    return jax.lax.complex(x[..., 0::2], x[..., 1::2])
