"""Levels of a photo, 1/2, 1/4, ... of its size, with no side preferred.

Halving and doubling commute with flips and transposes at any size, even or odd, and do
not depend on how far an array goes on beyond the photo.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Float, Int

from dear_jax.typing import Array, Size


class Level(NamedTuple):
    """A level of the network.

    Attributes:
      size: (H, W) of the photo at it.
      inside: 1 inside of the photo, 0 elsewhere.
    """

    size: Int[Array, " 2"]
    inside: Float[Array, "1 H W 1"]


def levels_of(x: Float[Array, "B H W 3"], size: Size, number: int) -> list[Level]:
    """The levels of a photo in an array, from its own size on."""
    shape, here, levels = x.shape[1:3], jnp.asarray(size, jnp.int32), []
    for _ in range(number):
        # Not `arange`, which does not know sizes that are left open.
        rows, columns = (
            jax.lax.iota(jnp.int32, n) < h for n, h in zip(shape, here, strict=True)
        )
        inside = rows.reshape(1, -1, 1, 1) & columns.reshape(1, 1, -1, 1)
        levels.append(Level(here, inside.astype(jnp.float32)))
        shape, here = [n // 2 for n in shape], (here + 1) // 2
    return levels


def reduced(
    image: Float[Array, "B H W 3"], whole: Level, half: Level
) -> Float[Array, "B h w 3"]:
    """The photo at half the size, its border as light as the rest."""
    share = jnp.maximum(halved(whole.inside, whole.size), 0.25)
    return halved(image * whole.inside, whole.size) / share * half.inside


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


def _shifted(x: Float[Array, "B H W C"], axis: int, by: int) -> Float[Array, "B H W C"]:
    """Moved by one pixel along an axis, 0 coming in."""
    pads, size = [(0, 0)] * x.ndim, x.shape[axis]
    pads[axis] = (max(by, 0), max(-by, 0))
    start = max(-by, 0)
    return jax.lax.slice_in_dim(jnp.pad(x, pads), start, start + size, axis=axis)
