"""Where a query lies between the pixels of the low-resolution photo.

Coordinates are (y, x) on the last axis and run over [-1, 1] from edge to edge
of the photo; the centre of pixel i of n is -1 + (2 i + 1) / n. A position is
the same place measured in pixels: the centre of pixel i has position i.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32, Int, Int32, Num

from dear_jax.models.dear.gathering import gather_rows
from dear_jax.typing import Array


def to_coordinates(
    index: Int[np.ndarray, "..."], size: Sequence[int] | np.ndarray | int
) -> Float32[np.ndarray, "..."]:
    """The centres of pixels `index` of a photo of `size`, or along one side of it.

    Rounded as LIIF's code rounds them: where the centres of target and source pixels
    coincide at the border, the last bit decides LIIF's weights.
    """
    sides = np.array(size)
    first, step = np.float32(-1 + 1 / sides), np.float32(2 / sides)
    return first + step * index.astype(np.float32)


def pixel_centres(size: tuple[int, int]) -> Float32[np.ndarray, "h w 2"]:
    """The centres of a grid of h x w pixels."""
    return to_coordinates(np.moveaxis(np.indices(size), 0, -1), size)


def to_position(
    coordinates: Float[Array, "... 2"], size: Num[Array, "..."] | tuple
) -> Float[Array, "... 2"]:
    """Turns coordinates in [-1, 1] into positions in pixels of `size`."""
    size = jnp.broadcast_to(jnp.asarray(size), coordinates.shape)
    size = size.astype(coordinates.dtype)
    return ((coordinates + 1) * size - 1) / 2


def neighbours(
    coordinates: Float[Array, "B Q 2"],
    size: Num[Array, "..."] | tuple,
    rule: str = "floor",
) -> list[tuple[Int32[Array, "B Q 2"], Float[Array, "B Q 1"], Float[Array, "B Q 2"]]]:
    """Finds the pixels around each query that answer it, and their weights.

    Args:
      coordinates: query places in [-1, 1].
      size: (H, W) of the photo, may be traced.
      rule: "floor" is DEAR's (N_q of Eq. 2). Choice: the 2 x 2 neighbours are
        floor(position) and the next pixel, clamped to the photo, weighted
        bilinearly from the unclamped position; so a pixel's weight is the area
        diagonally opposite to it, the weights sum to one, and the result is
        continuous everywhere.
        "liif" is the local ensemble of LIIF and LTE: the 2 x 2 pixels are the
        nearest to the query moved by half a pixel, each weighted by the area
        between the query and the pixel picked diagonally opposite.
        "nearest" is LIIF without local ensemble: the nearest pixel alone.

    Returns:
      Four triples, with "nearest" one: (index, rows and columns; weight; relative =
      (q - p) * (H, W), where 2 is one pixel).
    """
    size = jnp.broadcast_to(jnp.asarray(size), coordinates.shape)
    if rule == "floor":
        return _floor_rule(to_position(coordinates, size), size)
    if rule == "liif":
        # LIIF's epsilon has one sign for all four: half a pixel either way from a
        # pixel's centre is a tie, and must pick two different pixels.
        steps, epsilon = ((-1, -1), (-1, 1), (1, -1), (1, 1)), 1e-6
    elif rule == "nearest":
        steps, epsilon = ((0, 0),), 0.0
    else:
        raise ValueError(f"rule {rule!r}")
    half_pixel = 1 / size.astype(coordinates.dtype)
    indices = [
        _nearest(coordinates + half_pixel * _like(step, coordinates) + epsilon, size)
        for step in steps
    ]
    relatives = [
        (coordinates - _liif_centre(index, size)) * size.astype(coordinates.dtype)
        for index in indices
    ]
    areas = [
        jnp.abs(jnp.prod(relative, axis=-1, keepdims=True)) + 1e-9
        for relative in relatives
    ]
    total = functools.reduce(jnp.add, areas)
    weights = [area / total for area in reversed(areas)]
    return list(zip(indices, weights, relatives, strict=True))


def _floor_rule(position: Float[Array, "B Q 2"], size: Num[Array, "B Q 2"]) -> list:
    first = jnp.floor(position)
    fraction = position - first
    found = []
    for step in ((0, 0), (0, 1), (1, 0), (1, 1)):
        step = _like(step, size)
        index = jnp.clip(first.astype(jnp.int32) + step, 0, size - 1)
        weight = jnp.prod(
            jnp.where(step == 1, fraction, 1 - fraction), axis=-1, keepdims=True
        )
        relative = 2 * (position - index.astype(position.dtype))
        found.append((index, weight, relative))
    return found


def _nearest(
    coordinates: Float[Array, "B Q 2"], size: Num[Array, "B Q 2"]
) -> Int32[Array, "B Q 2"]:
    """The nearest pixel inside the photo; of two, that of even index."""
    inside = jnp.clip(coordinates, -1 + 1e-6, 1 - 1e-6)
    return jnp.round(to_position(inside, size)).astype(jnp.int32)


def _liif_centre(
    index: Int[Array, "B Q 2"], size: Num[Array, "B Q 2"]
) -> Float32[Array, "B Q 2"]:
    """`to_coordinates` of traced arrays, for indices below 4096.

    Compilers may fuse a product with the addition after it, which leaves out its
    rounding, so this one is a sum of two exact ones. And they may turn a division into
    a product where something else is divided by the same size; the barrier hides it.
    """
    size = jax.lax.optimization_barrier(size.astype(jnp.float32))
    index, step = index.astype(jnp.float32), 2 / size
    high = jax.lax.reduce_precision(step, exponent_bits=8, mantissa_bits=11)
    return (1 - size) / size + (index * high + index * (step - high))


def _like(pair: tuple[int, int], array: Num[Array, " ..."]) -> Num[Array, " ..."]:
    return jnp.broadcast_to(jnp.asarray(pair, array.dtype), array.shape)


def gather_pixels(
    image: Float[Array, "B H W C"], index: Int[Array, "B ... 2"]
) -> Float[Array, "B ... C"]:
    """Reads an image at rows and columns, which must lie in it."""
    batch, height, width, channels = image.shape
    flat = image.reshape(batch, height * width, channels)
    rows = index[..., 0] * width + index[..., 1]
    picked = gather_rows(flat, rows.reshape(batch, -1))
    return picked.reshape(*rows.shape, channels)
