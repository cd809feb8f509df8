"""A parameter-free fill of the holes: smooth, from the rim inwards.

Colours of the known pixels are averaged down a pyramid until no cell is empty;
on the way back up every hole takes the enlarged coarser answer, then relaxes
towards the mean of its neighbours. The result is close to the harmonic
(membrane) fill and costs a few passes over the photo. Nothing depends on what
lies outside the photo, so a photo inside a larger array is filled alike.
Where sizes are left open (`jax.export`) the pyramid has a fixed number of levels:
those beyond a single cell change nothing.
"""

import jax
import jax.numpy as jnp

# Levels of the pyramid where sizes are left open: enough for 16,384 pixels a side.
OPEN_LEVELS = 14


def fill_holes(
    image: jax.Array,
    mask: jax.Array,
    valid: jax.Array | None = None,
    sweeps: int = 8,
    levels: int | None = None,
) -> jax.Array:
    """Fills the holes of a photo.

    Args:
      image: [B, H, W, C]; pixels under the mask are never used.
      mask: [B, H, W, 1], 1 = missing.
      valid: [B, H, W, 1], 1 inside the photo.
      sweeps: relaxation steps at each level of the pyramid.
      levels: of the pyramid; more than log2 of the longer side do what that many do.
        None: as many as it takes to come down to one cell, or `OPEN_LEVELS` where
        sizes are left open.

    Returns:
      [B, H, W, C], the known pixels as given. Where nothing at all is known, 0.
    """
    valid = jnp.ones_like(mask) if valid is None else valid
    known = jnp.where(mask > 0, 0.0, 1.0) * valid
    sides = image.shape[1:3]
    if levels is None:
        fixed = all(isinstance(side, int) for side in sides)
        levels = (max(sides) - 1).bit_length() if fixed else OPEN_LEVELS
    # Each from the photo's own: sizes left open, halved and halved again, are terms
    # that grow until nothing can be said of them.
    sizes = [
        tuple((side + 2**level - 1) // 2**level for side in sides)
        for level in range(levels + 1)
    ]
    return _fill(jnp.where(known > 0, image, 0), known, valid, sweeps, sizes)


def _fill(
    image: jax.Array, known: jax.Array, valid: jax.Array, sweeps: int, sizes: list
) -> jax.Array:
    """`fill_holes` of the photo at sizes[0], which is halved to sizes[1] and so on."""
    if len(sizes) == 1:
        return image
    weight = _halve(known, sizes[1])
    coarse = _halve(image * known, sizes[1]) / jnp.maximum(weight, 1e-6)
    coarse_known = (weight > 0).astype(image.dtype)
    coarse_valid = (_halve(valid, sizes[1]) > 0).astype(image.dtype)
    coarse = _fill(coarse * coarse_known, coarse_known, coarse_valid, sweeps, sizes[1:])
    share = _resized(_double(coarse_valid), sizes[0])
    start = _resized(_double(coarse), sizes[0]) / jnp.maximum(share, 1e-6)
    filled = jnp.where(known > 0, image, start) * valid
    counts = jnp.maximum(_cross(valid), 1)

    def relax(_, filled: jax.Array) -> jax.Array:
        return jnp.where(known > 0, image, _cross(filled) / counts) * valid

    # A loop, not `sweeps` copies: compiling them took longer than the network.
    return jax.lax.fori_loop(0, sweeps, relax, filled)


def _halve(x: jax.Array, half: tuple) -> jax.Array:
    """Sums 2 x 2 cells to size `half`; an odd last row or column has its own cells."""
    rows, columns = half
    x = _resized(x, (2 * rows, 2 * columns))
    return x.reshape(x.shape[0], rows, 2, columns, 2, x.shape[3]).sum((2, 4))


def _resized(x: jax.Array, size: tuple) -> jax.Array:
    """x [B, H, W, C] cut, or continued with zeros, at the bottom and right."""
    pads = [(0, new - old, 0) for new, old in zip(size, x.shape[1:3], strict=True)]
    return jax.lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), *pads, (0, 0, 0)))


def _double(x: jax.Array) -> jax.Array:
    """Enlarges by 2, bilinearly, with zeros beyond the border."""
    for axis in (1, 2):
        before, after = (jnp.roll(_pad(x, axis), s, axis) for s in (1, -1))
        before, after = (
            jax.lax.slice_in_dim(v, 1, v.shape[axis] - 1, axis=axis)
            for v in (before, after)
        )
        pair = jnp.stack([0.75 * x + 0.25 * before, 0.75 * x + 0.25 * after], axis + 1)
        shape = list(x.shape)
        shape[axis] *= 2
        x = pair.reshape(shape)
    return x


def _cross(x: jax.Array) -> jax.Array:
    """Sums the four neighbours, zeros beyond the border."""
    height, width = x.shape[1:3]
    p = _pad(_pad(x, 1), 2)
    vertical = p[:, :height, 1:-1] + p[:, 2:, 1:-1]
    return vertical + p[:, 1:-1, :width] + p[:, 1:-1, 2:]


def _pad(x: jax.Array, axis: int) -> jax.Array:
    pads = [(0, 0)] * x.ndim
    pads[axis] = (1, 1)
    return jnp.pad(x, pads)
