"""LTE and LTE+ (Lee and Jin, 2022): LIIF whose pixels hold waves, not features.

Each low-resolution pixel has `hidden / 2` waves with a frequency (y, x) and the
amplitudes of its cosine and sine; an MLP turns their values at a query into a
colour, to which the bilinearly enlarged photo is added. Holes are black.
"""

import math
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float, Num

from dear_jax.errors import InputError
from dear_jax.models.dear.coordinates import gather_pixels, neighbours
from dear_jax.models.dear.residual import sample_bilinear
from dear_jax.models.edsr import EDSRTrunk
from dear_jax.models.layers import (
    TORCH_KERNEL,
    Conv,
    Dense,
    compute_dtype,
    product,
    torch_bias,
)
from dear_jax.models.liif import blacken
from dear_jax.models.query import QueryModel
from dear_jax.typing import Array, Size


class LTEFeatures(NamedTuple):
    """What `encode` knows of a photo, all at its size.

    Attributes:
      amplitudes: of all cosines, then of all sines.
      frequencies: all along y, then all along x, in turns a
        pixel.
      image: the photo in [-1, 1], black under the mask.
    """

    amplitudes: Float[Array, "B H W hidden"]
    frequencies: Float[Array, "B H W hidden"]
    image: Float[Array, "B H W 3"]


class LTE(QueryModel):
    """Local texture estimator on an EDSR trunk.

    The defaults are EDSR-baseline-LTE. LTE+ ("lte-fast") is the same function of
    photo and query, with its frequency channels in another order.

    Attributes:
      width, blocks, residual_scale: see `EDSRTrunk`.
      hidden: channels of the two wave maps, even, and units of each hidden layer.
      layers: hidden layers of the MLP.
      widths: units of each of them, where they differ from `hidden`; else ().
      layout: how the official `freq` convolution orders its channels, "interleaved"
        (y, x, y, x, ...; LTE) or "halves" (all y, then all x; LTE+).
      largest_scale: the largest scale seen in training, see `clip_cell`.
    """

    width: int = 64
    blocks: int = 16
    residual_scale: float = 1.0
    hidden: int = 256
    layers: int = 3
    widths: tuple[int, ...] = ()
    layout: str = "interleaved"
    largest_scale: float = 4.0

    def check(self) -> None:
        """Raises InputError for fields that do not go together."""
        if self.hidden % 2:
            raise InputError(
                f"model field hidden = {self.hidden}; must be even, a cosine and a "
                "sine of each wave"
            )
        if self.widths and len(self.widths) != self.layers:
            raise InputError(
                f"model field widths = {self.widths}; give one for each of the "
                f"{self.layers} hidden layers"
            )

    def setup(self) -> None:
        def options(fan_in: int) -> dict:
            return {"kernel_init": TORCH_KERNEL, "bias_init": torch_bias(fan_in)}

        maps = options(9 * self.width)
        self.encoder = EDSRTrunk(self.width, self.blocks, self.residual_scale)
        self.coef = Conv(self.hidden, (3, 3), **maps)
        self.freq = Conv(self.hidden, (3, 3), **maps)
        self.phase = Dense(
            self.hidden // 2, biased=False, dtype=jnp.float32, kernel_init=TORCH_KERNEL
        )
        widths = self.widths or (self.hidden,) * self.layers
        *inputs, last = self.hidden, *widths
        self.dense = [
            Dense(width, **options(fan_in))
            for fan_in, width in zip(inputs, widths, strict=True)
        ]
        self.output = Dense(3, **options(last), dot_general=product)

    def encode(
        self,
        image: Float[Array, "B H W 3"],
        mask: Float[Array, "B H W 1"],
        valid: Float[Array, "B H W 1"] | None = None,
        level: None = None,
    ) -> LTEFeatures:
        """See `QueryModel.encode`; there is no `level`.

        Choice: the trunk knows nothing of `valid`, so features within `2 blocks + 2`
        pixels of padding differ a little.
        """
        centred = blacken(image, mask, valid)
        x = self.encoder(centred.astype(compute_dtype(self)))
        if valid is not None:
            x = x * valid.astype(x.dtype)
        frequencies = self.freq(x)
        if self.layout == "interleaved":
            pairs = frequencies.reshape(*frequencies.shape[:3], self.hidden // 2, 2)
            frequencies = pairs.swapaxes(-1, -2).reshape(frequencies.shape)
        return LTEFeatures(self.coef(x), frequencies, centred)

    def decode(
        self,
        features: LTEFeatures,
        coordinates: Float[Array, "B Q 2"],
        cell: Float[Array, "B Q 2"],
        size: Size | None = None,
    ) -> Float[Array, "B Q 3"]:
        """See `QueryModel.decode`; in evaluation first `clip_cell` the cell."""
        size = jnp.asarray(features.image.shape[1:3] if size is None else size)
        phase = self.phase(cell * jnp.broadcast_to(size, cell.shape).astype(cell.dtype))
        found = neighbours(coordinates, size, "liif")
        index, weight, relative = (
            jnp.stack(part, axis=1) for part in zip(*found, strict=True)
        )
        frequencies = gather_pixels(features.frequencies, index).astype(jnp.float32)
        along_y, along_x = jnp.split(frequencies, 2, axis=-1)
        angle = along_y * relative[..., :1] + along_x * relative[..., 1:]
        waves = jnp.concatenate(cos_sin(angle + phase[:, None]), axis=-1)
        x = gather_pixels(features.amplitudes, index)
        x = x * waves.astype(x.dtype)
        for layer in self.dense:
            x = nn.relu(layer(x))
        answers = weight * self.output(x)
        total = sample_bilinear(features.image, coordinates, size)
        return sum((answers[:, i] for i in range(len(found))), total)

    @nn.nowrap
    def clip_cell(
        self, cell: Float[Array, "... 2"], size: Num[Array, "..."] | tuple
    ) -> Float[Array, "... 2"]:
        """The cell to evaluate with, for a photo of size (H, W).

        Beyond `largest_scale` the network sees that scale, not the true one, as in the
        official evaluation; training has no such clip.
        """
        size = jnp.broadcast_to(jnp.asarray(size), cell.shape).astype(cell.dtype)
        return jnp.maximum(cell, 2 / self.largest_scale / size)


def cos_sin(
    half_turns: Float[Array, " ..."],
) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
    """Cosine and sine of pi times an array, to 1e-7.

    Many times faster on CPUs than `jnp.cos` and `jnp.sin` of the product, and closer:
    the product loses as many digits as the array has before the point.
    """
    quarters = jnp.round(2 * half_turns)
    rest = half_turns - quarters / 2  # Exact, and at most a quarter.
    cos, sin = _series(rest * rest, 0, 6), rest * _series(rest * rest, 1, 5)
    quarters = quarters.astype(jnp.int32)
    swapped = (quarters & 1) == 1
    cos, sin = jnp.where(swapped, sin, cos), jnp.where(swapped, cos, sin)
    cos = jnp.where(((quarters + 1) & 2) == 2, -cos, cos)
    return cos, jnp.where((quarters & 2) == 2, -sin, sin)


def _series(
    square: Float[Array, " ..."], first: int, terms: int
) -> Float[Array, " ..."]:
    """Taylor: the sum over i of pi^n / n! (-square)^i with n = 2 i + first."""
    total = jnp.zeros_like(square)
    for n in range(first + 2 * (terms - 1), -1, -2):
        total = math.pi**n / math.factorial(n) - square * total
    return total
