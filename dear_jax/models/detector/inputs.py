"""What the detector is given of a photo: the colours, and what stands out of them.

All of it is relative to a pixel's neighbourhood, which is summed up at half the size.
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dear_jax.models.detector.levels import Level, doubled, halved
from dear_jax.typing import Array

# Sides of the squares that find what is narrow, and at the photo's own size, at 1/2 and
# at 1/4 of it, in pairs of pixels, of the neighbourhood that it is compared with; all
# are 2^k + 1.
HATS, AROUND = (5, 9), (17, 17, 9)
# Added to a neighbourhood's mean top-hat and standard deviation, for where it is plain:
# one and a half, and five, grey levels of 255.
_LEAST_HAT, _LEAST_SPREAD = 0.006, 0.02


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
