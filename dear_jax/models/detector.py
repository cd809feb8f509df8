"""A detector of damage: from a photo to how likely each pixel is damaged.

A network of group convolutions (Cohen and Welling 2016) over the eight flips and
transposes of the plane: what turns the photo turns the result, by construction, so that
a scratch need not be learned in each direction. Levels of 1/2, 1/4, ... of the photo's
size see what is faint in a pixel and plain along its line. A map has `fields` channels
for each of the eight; images are NHWC, of any size.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from dear_jax.errors import InputError
from dear_jax.models.layers import add_bias, compute_dtype
from dear_jax.typing import Array, Size

_EIGHT = [
    (a, b, c) for a in (False, True) for b in (False, True) for c in (False, True)
]
TURNS = len(_EIGHT)
# Sides of the squares that find what is narrow.
HATS = (5, 9)
_EPSILON = 1e-4
# Logit of the damage where nothing is known: a few pixels in a hundred.
_FEW = -3.0


class Detector(nn.Module):
    """A U-net that is equivariant to flips and transposes.

    Attributes:
      widths: fields at the photo's own size, at 1/2, 1/4, ... of it.
      depths: convolutions of each level but the first, on the way down.
    """

    ROLE = "detector"

    widths: tuple[int, ...] = (2, 3, 6, 12)
    depths: tuple[int, ...] = (1, 2, 4)

    def check(self) -> None:
        """Raises InputError for widths and depths that do not go together."""
        if len(self.widths) != len(self.depths) + 1:
            raise InputError(
                f"model field depths = {self.depths}; give one for each of the "
                f"{len(self.widths) - 1} levels below the photo's size"
            )

    @property
    def step(self) -> int:
        """Pixels of the photo to one of the smallest level."""
        return 2 ** (len(self.widths) - 1)

    @property
    def halo(self) -> int:
        """Pixels around one that it depends on, at most; a multiple of `step`."""
        reach = max(HATS) - 1 + 2
        for level, depth in enumerate(self.depths, 1):
            pixel = 2**level
            # Halving reads half a pixel more, doubling and what follows one each.
            reach += pixel // 2 + pixel * (depth + 2)
        return -(-reach // self.step) * self.step

    @nn.compact
    def __call__(
        self, image: Float[Array, "B H W 3"], size: Size | None = None
    ) -> Float[Array, "B H W 1"]:
        """Logits of the damage of each pixel.

        Args:
          image: in [0, 1].
          size: (H, W) of the photo in arrays that are larger at the bottom and right,
            whatever numbers are there; None: the array's.
        """
        height, width = image.shape[1:3]
        sizes = [jnp.asarray((height, width) if size is None else size, jnp.int32)]
        pads = ((0, -height % self.step), (0, -width % self.step))
        x = jnp.pad(image, ((0, 0), *pads, (0, 0)))
        inside = [_inside(x, sizes[0])]
        # Scaled so that all channels are of about one size.
        seen = [4 * (x - 0.5), *(10 * hat for hat in top_hats(x, inside[0]))]
        x = (jnp.concatenate(seen, -1) * inside[0]).astype(compute_dtype(self))
        inside[0] = inside[0].astype(x.dtype)
        x = _active(TurnConv(self.widths[0], lifts=True, name="stem")(x)) * inside[0]
        skips = []
        for level, (fields, depth) in enumerate(
            zip(self.widths[1:], self.depths, strict=True), 1
        ):
            skips.append(x)
            x = halved(x, sizes[-1])
            sizes.append((sizes[-1] + 1) // 2)
            inside.append(_inside(x, sizes[-1]))
            x = _active(TurnConv(fields, name=f"down_{level}_0")(x)) * inside[-1]
            for i in range(1, depth):
                x = Block(fields, name=f"down_{level}_{i}")(x) * inside[-1]
        for level in range(len(skips) - 1, -1, -1):
            fields = self.widths[level]
            x = TurnConv(fields, 1, gain=1.0, name=f"narrow_{level}")(x)
            x = skips[level] + doubled(x, sizes[level]) * inside[level]
            if level:
                x = Block(fields, name=f"up_{level}")(x) * inside[level]
        x = TurnConv(self.widths[0], name="up_0")(_active(x))
        # What is the same in all eight, so that a turned photo has turned logits.
        x = x.reshape(*x.shape[:3], -1, TURNS).mean(-1).astype(jnp.float32)
        logits = nn.Dense(
            1,
            name="head",
            kernel_init=nn.initializers.normal(0.5),
            bias_init=nn.initializers.constant(_FEW),
        )(x)
        return logits[:, :height, :width]


class Block(nn.Module):
    """x + a convolution of x at unit size, its channels' root mean square.

    Attributes:
      fields: of input and output.
    """

    fields: int

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        """Applies the block."""
        gain = self.param("gain", nn.initializers.ones_init(), (self.fields,))
        square = jnp.mean(jnp.square(x.astype(jnp.float32)), -1, keepdims=True)
        unit = x * jax.lax.rsqrt(square + _EPSILON).astype(x.dtype)
        unit = unit * jnp.repeat(gain, TURNS).reshape(1, 1, 1, -1)
        return x + _active(TurnConv(self.fields, name="conv")(unit))


class TurnConv(nn.Module):
    """A convolution with every kernel in all its flips and transposes; zero padding.

    Attributes:
      fields: of the output.
      side: of the kernel, odd.
      lifts: whether the input is a picture, the same in all eight.
      gain: of the initial kernel: variance of the output to that of the input.
    """

    fields: int
    side: int = 3
    lifts: bool = False
    gain: float = 2.0

    @nn.compact
    def __call__(self, x: Float[Array, "B H W C"]) -> Float[Array, "B H W D"]:
        """Applies the layer."""
        turns = 1 if self.lifts else TURNS
        taps, inputs = self.side**2 * turns, x.shape[-1] // turns
        kernel = self.param(
            "kernel",
            nn.initializers.variance_scaling(
                self.gain, "fan_in", "normal", in_axis=(0, 1)
            ),
            (taps, inputs, self.fields),
        )
        bias = self.param("bias", nn.initializers.zeros_init(), (self.fields,))
        # [side^2, turns, 8, inputs, fields] -> [side, side, inputs turns, fields 8].
        kernels = kernel[turned_taps(self.side, turns)].transpose(0, 3, 1, 4, 2)
        shape = (self.side, self.side, inputs * turns, self.fields * TURNS)
        y = jax.lax.conv_general_dilated(
            jnp.asarray(x),
            kernels.reshape(shape),
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        return add_bias(y, jnp.repeat(bias, TURNS))


@functools.lru_cache
def turned_taps(side: int, turns: int) -> Int[np.ndarray, "taps {turns} 8"]:
    """Which tap of a kernel stands where in each of its turned copies.

    Args:
      side: of the kernel.
      turns: 1 for inputs that are pictures; 8 for those that are turned themselves:
        there a tap is a place in the kernel, and the turn from the output's to the
        input's.
    """
    places = np.arange(side * side).reshape(side, side)
    nine = np.arange(9).reshape(3, 3)  # Tells all eight apart.
    number = {turned(nine, turn).tobytes(): k for k, turn in enumerate(_EIGHT)}
    taps = np.zeros((side * side, turns, TURNS), np.int32)
    for g, turn in enumerate(_EIGHT):
        moved = turned(places, turn).reshape(-1)
        for h, other in enumerate(_EIGHT[:turns]):
            k = number[turned(turned(nine, other), turn).tobytes()] if turns > 1 else 0
            taps[:, k, g] = moved * turns + h
    return taps


def turned(square: np.ndarray, turn: tuple[bool, bool, bool]) -> np.ndarray:
    """A square transposed, upside down, and left to right, as the three say."""
    transposed, upside_down, left_right = turn
    square = square.T if transposed else square
    square = square[::-1] if upside_down else square
    return square[:, ::-1] if left_right else square


def top_hats(
    image: Float[Array, "B H W 3"], inside: Float[Array, "1 H W 1"]
) -> list[Float[Array, "B H W 1"]]:
    """How much lighter, and darker, each pixel is than what is as narrow around it.

    What openings by squares remove from the mean of the colours, and closings add.
    A network that is given them begins by looking at what stands out.

    Args:
      image: in [0, 1].
      inside: 1 inside of the photo, 0 elsewhere.

    Returns:
      For each side of `HATS` both, 0 or more.
    """
    grey, hats = jnp.mean(image, -1, keepdims=True), []
    for side in HATS:
        opened = _largest(-_largest(-grey, side, inside), side, inside)
        closed = -_largest(-_largest(grey, side, inside), side, inside)
        hats += [grey - opened, closed - grey]
    return [jnp.where(inside > 0, hat, 0) for hat in hats]


def _largest(
    x: Float[Array, "B H W 1"], side: int, inside: Float[Array, "1 H W 1"]
) -> Float[Array, "B H W 1"]:
    """The largest number in the square around each pixel, as far as it is inside."""
    x = jnp.where(inside > 0, x, -jnp.inf)
    # Rows, then columns: a square's maximum is that of its rows' maxima.
    for window in ((1, side, 1, 1), (1, 1, side, 1)):
        x = jax.lax.reduce_window(
            x, -jnp.inf, jax.lax.max, window, (1, 1, 1, 1), "SAME"
        )
    return x


def halved(
    x: Float[Array, "B H W C"], size: Int[Array, " 2"]
) -> Float[Array, "B H/2 W/2 C"]:
    """Half the size, ceil(size / 2), with no side preferred.

    Pairs of pixels are averaged where a side is even; where it is odd, (1 2 1) / 4
    around every other pixel, from the first to the last.

    Args:
      x: sides even; 0 outside of the photo.
      size: of the photo.
    """
    for axis in (1, 2):
        odd = (size[axis - 1] % 2).astype(x.dtype)
        first, second = (jax.lax.slice_in_dim(x, i, None, 2, axis) for i in (0, 1))
        before = _shifted(second, axis, 1)
        x = first / 2 + (before * odd + second * (2 - odd)) / 4
    return x


def doubled(
    x: Float[Array, "B h w C"], size: Int[Array, " 2"]
) -> Float[Array, "B 2*h 2*w C"]:
    """Twice the size, as `halved` halves: each pixel twice, or (1 2 1) / 2 around it.

    Args:
      x: 0 outside of the photo.
      size: of the photo at twice the size.
    """
    for axis in (1, 2):
        odd = (size[axis - 1] % 2).astype(x.dtype)
        after = _shifted(x, axis, -1)
        pair = jnp.stack([x, x + (after - x) * (odd / 2)], axis + 1)
        x = pair.reshape(*x.shape[:axis], -1, *x.shape[axis + 1 :])
    return x


def _active(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Leaky ReLU: of the few channels at the photo's size none may fall silent."""
    return nn.leaky_relu(x, 0.1)


def _shifted(x: Float[Array, "B H W C"], axis: int, by: int) -> Float[Array, "B H W C"]:
    """Moved by one pixel along an axis, 0 coming in."""
    pads = [(0, 0, 0)] * x.ndim
    pads[axis] = (by, -by, 0)
    return jax.lax.pad(x, jnp.zeros((), x.dtype), pads)


def _inside(
    x: Float[Array, "B H W C"], size: Int[Array, " 2"]
) -> Float[Array, "1 H W 1"]:
    """1 inside of the photo, 0 elsewhere."""
    rows, columns = (jnp.arange(n) < size[i] for i, n in enumerate(x.shape[1:3]))
    return (rows[:, None] & columns[None])[None, :, :, None].astype(x.dtype)
