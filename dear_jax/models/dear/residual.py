"""The residual: what the decoder's colours are added to, the photo with filled holes.

Beyond the paper. The fill has no parameters and is smooth, from the rim inwards.
Colours of the known pixels are averaged down a pyramid until no cell is empty;
on the way back up every hole takes the enlarged coarser answer, then relaxes
towards the mean of its neighbours. The result is close to the harmonic
(membrane) fill and costs a few passes over the photo. Nothing depends on what
lies outside the photo, so a photo inside a larger array is filled alike.
Where sizes are left open (`jax.export`) the pyramid has a fixed number of levels:
those beyond a single cell change nothing.
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Float

from dear_jax.images.resize import keys_cubic
from dear_jax.models.dear.coordinates import gather_pixels, neighbours, to_position
from dear_jax.models.dear.window import framed, window
from dear_jax.typing import Array, Size

# Levels of the pyramid where sizes are left open: enough for 16,384 pixels a side.
OPEN_LEVELS = 14


def fill_holes(
    image: Float[Array, "B H W C"],
    mask: Float[Array, "B H W 1"],
    valid: Float[Array, "B H W 1"] | None = None,
    sweeps: int = 8,
    levels: int | None = None,
) -> Float[Array, "B H W C"]:
    """Fills the holes of a photo.

    Args:
      image: pixels under the mask are never used.
      mask: 1 = missing.
      valid: 1 inside the photo; None: everywhere.
      sweeps: relaxation steps at each level of the pyramid.
      levels: of the pyramid; more than log2 of the longer side do what that many do.
        None: as many as it takes to come down to one cell, or `OPEN_LEVELS` where
        sizes are left open.

    Returns:
      The photo, its known pixels as given. Where nothing at all is known, 0.
    """
    valid = jnp.ones_like(mask) if valid is None else valid
    known = (mask <= 0).astype(image.dtype) * valid
    sides = image.shape[1:3]
    if levels is None:
        fixed = all(isinstance(side, int) for side in sides)
        levels = (max(sides) - 1).bit_length() if fixed else OPEN_LEVELS
    return _fill(jnp.where(known > 0, image, 0), known, valid, sweeps, levels)


def _fill(
    image: Float[Array, "B H W C"],
    known: Float[Array, "B H W 1"],
    valid: Float[Array, "B H W 1"],
    sweeps: int,
    levels: int,
) -> Float[Array, "B H W C"]:
    """`fill_holes` of a photo whose holes are 0, with so many coarser levels."""
    if not levels:
        return image
    sums = _halve(jnp.concatenate([image * known, known, valid], axis=-1))
    coarse, weight, coarse_valid = sums[..., :-2], sums[..., -2:-1], sums[..., -1:]
    coarse = coarse / jnp.maximum(weight, 1e-6)
    coarse_known = (weight > 0).astype(image.dtype)
    coarse_valid = (coarse_valid > 0).astype(image.dtype)
    coarse = _fill(
        coarse * coarse_known, coarse_known, coarse_valid, sweeps, levels - 1
    )
    both = _double(jnp.concatenate([coarse, coarse_valid], axis=-1))
    both = window(both, (0, 0), image.shape[1:3])
    start = both[..., :-1] / jnp.maximum(both[..., -1:], 1e-6)
    filled = jnp.where(known > 0, image, start) * valid
    counts = jnp.maximum(_cross(valid), 1)

    def relax(filled: jax.Array, _) -> tuple[jax.Array, None]:
        return jnp.where(known > 0, image, _cross(filled) / counts) * valid, None

    # A loop, not `sweeps` copies: compiling them took longer than the network.
    return jax.lax.scan(relax, filled, None, length=sweeps)[0]


def _halve(x: Float[Array, "B H W C"]) -> Float[Array, "B h w C"]:
    """Sums 2 x 2 cells; an odd last row or column has its own."""
    height, width = x.shape[1:3]
    x = framed(x, (0, 0), (1, 0))
    upper, lower = (window(x, (i, 0), (height, width), (2, 1)) for i in (0, 1))
    x = framed(upper + lower, (0, 0), (0, 1))
    left, right = (window(x, (0, i), (x.shape[1], width), (1, 2)) for i in (0, 1))
    return left + right


def _double(x: Float[Array, "B H W C"]) -> Float[Array, "B 2*H 2*W C"]:
    """Enlarges by 2, bilinearly, with zeros beyond the border."""
    for axis in (1, 2):
        before, after = _beside(x, axis)
        pair = jnp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
        shape = list(x.shape)
        shape[axis] *= 2
        x = pair.reshape(shape)
    return x


def _cross(x: Float[Array, "B H W C"]) -> Float[Array, "B H W C"]:
    """Sums the four neighbours, zeros beyond the border."""
    (above, below), (left, right) = _beside(x, 1), _beside(x, 2)
    return above + below + left + right


def _beside(
    x: Float[Array, "B H W C"], axis: int
) -> tuple[Float[Array, "B H W C"], Float[Array, "B H W C"]]:
    """The neighbours of all pixels before and after them along axis 1 or 2."""
    one = (1, 0) if axis == 1 else (0, 1)
    padded = framed(x, one, one)
    size = x.shape[1:3]
    return window(padded, (0, 0), size), window(padded, (2 * one[0], 2 * one[1]), size)


def sample_bilinear(
    image: Float[Array, "B H W C"],
    coordinates: Float[Array, "B Q 2"],
    size: Size | None = None,
) -> Float[Array, "B Q C"]:
    """Reads an image between its pixels at coordinates in [-1, 1]."""
    size = jnp.asarray(image.shape[1:3] if size is None else size)
    parts = (
        weight * gather_pixels(image, index)
        for index, weight, _ in neighbours(coordinates, size)
    )
    return functools.reduce(jnp.add, parts)


def sample_bicubic(
    image: Float[Array, "B H W C"],
    coordinates: Float[Array, "B Q 2"],
    size: Size | None = None,
) -> Float[Array, "B Q C"]:
    """Reads an image at coordinates in [-1, 1] with Keys' cubic, a = -0.5.

    Taps beyond the photo are left out and the others normalised, as Pillow does
    when it enlarges.
    """
    size = jnp.asarray(image.shape[1:3] if size is None else size)
    position = to_position(coordinates, size)[..., None]
    first = jnp.floor(position).astype(jnp.int32) - 1
    taps = jnp.concatenate([first + i for i in range(4)], axis=-1)  # [B, Q, 2, 4]
    size = size.reshape(1, 1, 2, 1)
    weights = keys_cubic(position - taps.astype(position.dtype), jnp)
    weights = jnp.where((taps >= 0) & (taps < size), weights, 0)
    weights /= weights.sum(axis=-1, keepdims=True)
    taps = jnp.clip(taps, 0, size - 1)
    index = jnp.stack(
        jnp.broadcast_arrays(taps[..., 0, :, None], taps[..., 1, None, :]), axis=-1
    )  # [B, Q, 4, 4, 2]
    pixels = gather_pixels(image, index)
    return jnp.einsum(
        "bqi,bqj,bqijc->bqc", weights[..., 0, :], weights[..., 1, :], pixels
    )
