"""A detector of damage: from a photo to how likely each pixel is damaged.

A network of group convolutions (Cohen and Welling 2016) over the eight flips and
transposes of the plane: what turns the photo turns the result, by construction, so that
a scratch need not be learned in each direction. Levels of 1/2, 1/4, ... of the photo's
size see what is faint in a pixel and plain along its line. A map has `fields` channels
for each of the eight; images are NHWC, of any size.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

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
# Sides of the squares that find what is narrow, and at the photo's own size, at 1/2 and
# at 1/4 of it, in pairs of pixels, of the neighbourhood that it is compared with; all
# are 2^k + 1.
HATS, AROUND = (5, 9), (17, 17, 9)
# Added to a neighbourhood's mean top-hat and standard deviation, for where it is plain:
# one and a half, and five, grey levels of 255.
_LEAST_HAT, _LEAST_SPREAD = 0.006, 0.02
_EPSILON = 1e-4
# Logit of the damage where nothing is known: a few pixels in a hundred.
_FEW = -3.0


class Level(NamedTuple):
    """A level of the network.

    Attributes:
      size: (H, W) of the photo at it.
      inside: 1 inside of the photo, 0 elsewhere.
    """

    size: Int[Array, " 2"]
    inside: Float[Array, "1 H W 1"]


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
        reach = 2
        for level, depth in enumerate(self.depths, 1):
            pixel = 2**level
            # Halving reads half a pixel more, doubling and what follows one each.
            reach += pixel // 2 + pixel * (depth + 2)
        # What is narrow, relative to the neighbourhood's mean of it.
        seen = [max(HATS) - 1 + a + 3 for a in AROUND[: len(self.depths)]]
        reach += max(2**level * pixels for level, pixels in enumerate(seen))
        return -(-reach // self.step) * self.step

    @nn.compact
    def __call__(
        self, image: Float[Array, "B H W 3"], size: Size | None = None
    ) -> Float[Array, "B H W 1"]:
        """Logits of the damage of each pixel: of all levels together.

        Args:
          image: in [0, 1].
          size: (H, W) of the photo in arrays that are larger at the bottom and right,
            whatever numbers are there; None: the array's.
        """
        height, width = image.shape[1:3]
        pads = ((0, -height % self.step), (0, -width % self.step))
        image = jnp.pad(image, ((0, 0), *pads, (0, 0)))
        size = (height, width) if size is None else size
        levels = levels_of(image, size, len(self.widths))
        maps = self._down(image, levels)
        x = maps.pop()
        logits = self._logits(x, len(maps))
        for level in reversed(range(len(maps))):
            x = self._up(x, maps[level], level, levels[level])
            logits = doubled(logits, levels[level].size) + self._logits(x, level)
            logits = logits * levels[level].inside
        few = self.param("bias", nn.initializers.constant(_FEW), (1, 1, 1, 1))
        return logits[:, :height, :width] + few

    @nn.nowrap
    def _down(
        self, image: Float[Array, "B H W 3"], levels: list[Level]
    ) -> list[Float[Array, "..."]]:
        """The maps of the levels, the photo's own size first."""
        maps, dtype = [], compute_dtype(self)
        for level, fields in enumerate(self.widths):
            here, inside = levels[level], levels[level].inside.astype(dtype)
            x = []
            if level:
                image = reduced(image, levels[level - 1], here)
                x.append(halved(maps[-1], levels[level - 1].size))
                x[-1] = TurnConv(fields, name=f"down_{level}_0")(x[-1])
            if level < min(len(levels) - 1, len(AROUND)):
                given = seen(image, here, levels[level + 1], AROUND[level])
                lift = TurnConv(fields, lifts=True, name=f"seen_{level}")
                x.append(lift(given.astype(dtype)))
            y = _active(functools.reduce(jnp.add, x)) * inside
            for i in range(1, self.depths[level - 1] if level else 0):
                y = Block(fields, name=f"down_{level}_{i}")(y) * inside
            maps.append(y)
        return maps

    @nn.nowrap
    def _up(
        self,
        x: Float[Array, "B h w C"],
        skip: Float[Array, "B H W D"],
        level: int,
        here: Level,
    ) -> Float[Array, "B H W D"]:
        """What the level below found, on what this one saw."""
        fields, inside = self.widths[level], here.inside.astype(x.dtype)
        x = TurnConv(fields, 1, gain=1.0, name=f"narrow_{level}")(x)
        x = skip + doubled(x, here.size) * inside
        if level:
            return Block(fields, name=f"up_{level}")(x) * inside
        return _active(TurnConv(fields, 1, name="up_0")(_active(x)))

    @nn.nowrap
    def _logits(
        self, x: Float[Array, "B h w C"], level: int
    ) -> Float[Array, "B h w 1"]:
        """Of what is the same in all eight, so that a turned photo has turned ones."""
        x = x.reshape(*x.shape[:3], -1, TURNS).mean(-1).astype(jnp.float32)
        initial = nn.initializers.normal(0.2)
        return nn.Dense(1, False, name=f"head_{level}", kernel_init=initial)(x)


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


def levels_of(x: Float[Array, "B H W 3"], size: Size, number: int) -> list[Level]:
    """The levels of a photo in an array, from its own size on."""
    shape, here, levels = x.shape[1:3], jnp.asarray(size, jnp.int32), []
    for _ in range(number):
        rows, columns = (jnp.arange(n) < here[i] for i, n in enumerate(shape))
        inside = (rows[:, None] & columns[None])[None, :, :, None]
        levels.append(Level(here, inside.astype(jnp.float32)))
        shape, here = [n // 2 for n in shape], (here + 1) // 2
    return levels


def reduced(
    image: Float[Array, "B H W 3"], whole: Level, half: Level
) -> Float[Array, "B h w 3"]:
    """The photo at half the size, its border as light as the rest."""
    share = jnp.maximum(halved(whole.inside, whole.size), 0.25)
    return halved(image * whole.inside, whole.size) / share * half.inside


def seen(
    image: Float[Array, "B H W 3"], whole: Level, half: Level, around: int
) -> Float[Array, "B H W 8"]:
    """What the network is given: the photo, and what stands out of it.

    Both are relative to the neighbourhood, where noise, texture and contrast of the
    photo are the same: the colours less their mean, to their standard deviation; the
    top-hats to their mean; and that mean's logarithm. All are of about one size.

    Args:
      image: in [0, 1].
      whole, half: levels of the photo's size here and of half of it, where
        neighbourhoods are summed up.
      around: side of the neighbourhood there.
    """

    def total(x: Float[Array, "B H W C"]) -> Float[Array, "B H/2 W/2 C"]:
        return _combined(halved(x * whole.inside, whole.size), around, jnp.add, 0.0)

    pixels = jnp.maximum(total(whole.inside), 1)

    def mean(x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
        return doubled(total(x) / pixels * half.inside, whole.size)

    usual = mean(image)
    squares = mean(jnp.mean(image**2, -1, keepdims=True))
    variance = jnp.maximum(squares - jnp.mean(usual**2, -1, keepdims=True), 0)
    apart = (image - usual) / jnp.sqrt(variance + _LEAST_SPREAD**2)
    hats = jnp.concatenate(top_hats(image, whole.inside), -1)
    narrow = mean(hats) + _LEAST_HAT
    level = jnp.log(jnp.sum(narrow, -1, keepdims=True)) + 2
    channels = jnp.concatenate([apart, 0.3 * hats / narrow, level], -1)
    return channels * whole.inside


def top_hats(
    image: Float[Array, "B H W 3"], inside: Float[Array, "1 H W 1"]
) -> list[Float[Array, "B H W 1"]]:
    """How much lighter, and darker, each pixel is than what is as narrow around it.

    What openings by squares remove from the mean of the colours, and closings add.

    Args:
      image: in [0, 1].
      inside: 1 inside of the photo, 0 elsewhere.

    Returns:
      For each side of `HATS` both, 0 or more.
    """
    grey, hats = jnp.mean(image, -1, keepdims=True), []
    for side in HATS:
        opened = -_largest(-grey, side, inside)
        closed = _largest(grey, side, inside)
        hats += [grey - _largest(opened, side, inside)]
        hats += [-_largest(-closed, side, inside) - grey]
    return [jnp.where(inside > 0, hat, 0) for hat in hats]


def _largest(
    x: Float[Array, "B H W 1"], side: int, inside: Float[Array, "1 H W 1"]
) -> Float[Array, "B H W 1"]:
    """The largest number in the square around each pixel, as far as it is inside."""
    return _combined(jnp.where(inside > 0, x, -jnp.inf), side, jnp.maximum, -jnp.inf)


def _combined(
    x: Float[Array, "B H W C"], side: int, combine: Callable, nothing: float
) -> Float[Array, "B H W C"]:
    """Sums or maxima of the square around each pixel, its side 2^k + 1.

    Of columns, then of rows; of twice as many pixels at each step, then of one more.
    """
    for axis in (1, 2):
        part = functools.partial(jax.lax.slice_in_dim, axis=axis)
        pads, length = [(0, 0)] * 4, x.shape[axis]
        pads[axis] = (side // 2, side // 2)
        x = jnp.pad(x, pads, constant_values=nothing)
        run, width = x, 1
        while width < side - 1:
            run = combine(part(run, 0, -width), part(run, width, None))
            width *= 2
        x = combine(part(run, 0, length), part(x, side - 1, None))
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
