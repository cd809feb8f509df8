"""ELAN (Zhang et al., 2022): shift convolutions and window attention, shared or not.

The body alternates local feature extraction (two 1x1 convolutions, each after a
fixed shift of channel groups by one pixel) with attention inside windows of several
sizes, one for each group of channels. Attention is softmax(q q^T) v: no keys, no
scale, no bias, no positions, one head. In every second block the windows are shifted
cyclically, unmasked, so that the values of border pixels depend on the image's size.
"""

import math

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from dear_jax.errors import InputError
from dear_jax.models.edsr import mean_colour
from dear_jax.models.layers import (
    TORCH_KERNEL,
    Dense,
    batch_norm,
    compute_dtype,
    conv,
    pixel_shuffle,
    product,
    torch_bias,
)
from dear_jax.typing import Array

# Where each fifth of the channels reads, (dy, dx); the rest stays with the last.
OFFSETS = ((0, 1), (0, -1), (1, 0), (-1, 0), (0, 0))


class ELAN(nn.Module):
    """ELAN upscaler: photos -> photos `scale` times as large, both in [0, 255].

    The defaults are ELAN-light x4; the full model has 180 channels, 36 blocks and
    none of them shared.

    Attributes:
      channels: width of the body; a multiple of the number of windows.
      blocks: pairs of local features and attention.
      shared: how many blocks after each that computes attention use it again.
      expansion: width inside local feature extraction, in multiples of channels.
      windows: even sides of the attention windows in pixels.
      scale: whole upscaling factor >= 1.
    """

    ROLE = "upscaler"

    channels: int = 60
    blocks: int = 24
    shared: int = 1
    expansion: int = 2
    windows: tuple[int, ...] = (4, 8, 16)
    scale: int = 4

    @property
    def value_range(self) -> tuple[float, float]:
        """Lowest and highest value of the input and, nominally, of the output."""
        return (0.0, 255.0)

    @nn.compact
    def __call__(
        self, image: Float[Array, "B H W 3"], train: bool = False
    ) -> Float[Array, "B h w 3"]:
        """Upscales photos of any size.

        `train` chooses batch statistics over running ones. The output is not clipped.

        Raises:
          InputError: if channels or windows do not fit the rules above.
        """
        self.check()
        height, width = image.shape[1:3]
        mean = jnp.asarray(mean_colour())
        x = reflect_to_multiple(image, math.lcm(*self.windows)) - mean
        x = x.astype(compute_dtype(self))
        head = conv(x, self.channels, name="head")
        x = head
        for i in range(self.blocks // (1 + self.shared)):
            x = self._group(x, i, train)
        x = conv(x + head, 3 * self.scale**2, name="tail")
        x = pixel_shuffle(x, self.scale).astype(jnp.float32) + mean
        return x[:, : height * self.scale, : width * self.scale]

    def check(self) -> None:
        """Raises InputError if channels or windows do not fit the rules above."""
        if any(window < 2 or window % 2 for window in self.windows):
            raise InputError(f"windows {self.windows} of ELAN: give even numbers >= 2")
        if self.channels % len(self.windows):
            raise InputError(
                f"channels {self.channels} of ELAN: give a multiple of "
                f"{len(self.windows)}, the number of windows"
            )

    def _group(
        self, x: Float[Array, "B H W C"], i: int, train: bool
    ) -> Float[Array, "B H W C"]:
        """The blocks that share one attention; every second group shifts windows."""
        attention = None
        for j in range(1 + self.shared):
            x = x + LocalFeatures(self.expansion, name=f"group_{i}_local_{j}")(x)
            attend = WindowAttention(
                self.windows, bool(i % 2), name=f"group_{i}_attention_{j}"
            )
            change, attention = attend(x, attention, train)
            x = x + change
        return x


class LocalFeatures(nn.Module):
    """Shift, 1x1 convolution, ReLU, shift, 1x1 convolution."""

    expansion: int = 2

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        channels = x.shape[-1]
        hidden = _pointwise(shift(x), channels * self.expansion, name="expand")
        return _pointwise(shift(nn.relu(hidden)), channels, name="reduce")


class WindowAttention(nn.Module):
    """Attention inside windows, one size for each group of channels.

    Attributes:
      windows: sides in pixels.
      shifted: whether windows are displaced by half their side, cyclically.
    """

    windows: tuple[int, ...] = (4, 8, 16)
    shifted: bool = False

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "B H W C"],
        attention: list[Float[Array, "B _ _ _"]] | None,
        train: bool,
    ) -> tuple[Float[Array, "B H W C"], list[Float[Array, "B _ _ _"]]]:
        """Mixes x, whose sides are multiples of those of every window.

        Args:
          attention: matrices to use again, for each kind of window those of the H W /
            w^2 windows, rows summing to 1; None to compute them.

        Returns:
          Result and the matrices used.
        """
        channels = x.shape[-1]
        size = x.shape[1:3]
        width = channels if attention else 2 * channels
        x = batch_norm(_pointwise(x, width, name="project_in"), train, name="norm")
        used, mixed = [], []
        for k, part in enumerate(jnp.split(x, len(self.windows), axis=-1)):
            window = self.windows[k]
            half = window // 2 if self.shifted else 0
            values = to_windows(jnp.roll(part, (-half, -half), (1, 2)), window)
            if attention:
                matrix = attention[k]
            else:
                queries, values = jnp.split(values, 2, axis=-1)
                matrix = attention_matrix(queries)
            part = from_windows(matrix @ values, window, size)
            mixed.append(jnp.roll(part, (half, half), (1, 2)))
            used.append(matrix)
        mixed = jnp.concatenate(mixed, axis=-1)
        return _pointwise(mixed, channels, name="project_out"), used


def attention_matrix(queries: Float[Array, "... w2 C"]) -> Float[Array, "... w2 w2"]:
    """softmax(q q^T) in each window of w2 = w^2 pixels.

    The logits have no bound, so they and their softmax are full float32 everywhere.
    """
    batch = tuple(range(queries.ndim - 2))
    contracted = (queries.ndim - 1,)
    dimensions = ((contracted, contracted), (batch, batch))
    logits = product(queries, queries, dimensions, precision="highest")
    return nn.softmax(logits, axis=-1).astype(queries.dtype)


def shift(x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """Moves the first four fifths of the channels by a pixel each.

    Group k of C // 5 channels reads at (y, x) + OFFSETS[k], zero outside the image;
    the channels left over by the division stay where they are, as the last group.
    """
    height, width, channels = x.shape[1:]
    fifth = channels // 5
    x = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    groups = jnp.split(x, [fifth * k for k in range(1, 5)], axis=-1)
    moved = [
        group[:, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
        for group, (dy, dx) in zip(groups, OFFSETS, strict=True)
    ]
    return jnp.concatenate(moved, axis=-1)


def reflect_to_multiple(
    x: Float[Array, "B H W C"], multiple: int
) -> Float[Array, "B h w C"]:
    """Mirrors x at its bottom and right up to multiples of `multiple`.

    The border pixel is not repeated. Choice: an image narrower than what is missing,
    which PyTorch refuses, is mirrored again and again; one pixel is repeated.
    """
    for axis in (1, 2):
        missing = -x.shape[axis] % multiple
        index = np.pad(np.arange(x.shape[axis]), (0, missing), mode="reflect")
        x = jnp.take(x, index, axis=axis)
    return x


def to_windows(x: Float[Array, "B H W C"], window: int) -> Float[Array, "B N w2 C"]:
    """Cuts x into N windows of w2 = w^2 pixels, both row by row."""
    batch, height, width, channels = x.shape
    x = x.reshape(batch, height // window, window, width // window, window, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, -1, window**2, channels)


def from_windows(
    x: Float[Array, "B N w2 C"], window: int, size: tuple[int, ...]
) -> Float[Array, "B H W C"]:
    """Puts windows together to what has the given size, the inverse of `to_windows`."""
    batch, channels = x.shape[0], x.shape[-1]
    height, width = size
    x = x.reshape(batch, height // window, width // window, window, window, channels)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height, width, channels)


def _pointwise(
    x: Float[Array, "B H W C"], features: int, *, name: str
) -> Float[Array, "B H W {features}"]:
    """A 1x1 convolution, as the matrix product it is."""
    return Dense(
        features,
        kernel_init=TORCH_KERNEL,
        bias_init=torch_bias(x.shape[-1]),
        name=name,
    )(x)
