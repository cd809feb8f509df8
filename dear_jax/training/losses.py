"""The terms of the losses, each a pure function to a scalar.

Images are [B, H, W, 3] in [0, 1], masks [B, H, W, 1] with 1 = missing, logits
[B, h, w, 1] of a discriminator. Feature maps come as lists of [B, h, w, C].
Every mean is over all elements, batch included.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Maps = Sequence[jax.Array]


def l1(output: jax.Array, target: jax.Array) -> jax.Array:
    """Mean |output - target| of arrays of one shape."""
    return jnp.mean(jnp.abs(output - target))


def l1_per_hole(output: jax.Array, target: jax.Array, mask: jax.Array) -> jax.Array:
    """L1 over all pixels divided by the batch's hole ratio (MISF).

    Choice: a batch without a hole counts as one with a single missing pixel.
    """
    return l1(output, target) / jnp.maximum(jnp.mean(mask), 1 / mask.size)


def weighted_l1(
    output: jax.Array,
    target: jax.Array,
    mask: jax.Array,
    known: float,
    missing: float,
) -> jax.Array:
    """Mean of |output - target|, known and missing pixels weighted (LaMa)."""
    weight = known * (1 - mask) + missing * mask
    return jnp.mean(weight * jnp.abs(output - target))


def binary_cross_entropy(logits: jax.Array, label: int) -> jax.Array:
    """Mean BCE of sigmoid(logits) against one label, 0 or 1, for all patches.

    With label 1 it is the non-saturating loss of a generator too: mean
    softplus(-logits).
    """
    return jnp.mean(jax.nn.softplus(-logits if label else logits))


def masked_fake(logits: jax.Array, mask: jax.Array) -> jax.Array:
    """BCE of a completed photo's patches: fake where missing, real where known (LaMa).

    Args:
      logits: [B, h, w, 1] of the photo as the generator gives it.
      mask: [B, H, W, 1]; each patch takes the mask's nearest pixel.
    """
    missing = nearest_mask(mask, logits.shape[1:3])
    fake, real = jax.nn.softplus(logits), jax.nn.softplus(-logits)
    return jnp.mean(missing * fake + (1 - missing) * real)


def nearest_mask(mask: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Resizes [B, H, W, 1] to [B, h, w, 1]: pixel y is floor(y H / h), as PyTorch's."""
    rows, columns = (
        # In float32 as there: 256 / 19 has no other rounding to get right.
        np.floor(np.arange(new, dtype=np.float32) * np.float32(old / new)).astype(int)
        for old, new in zip(mask.shape[1:3], size, strict=True)
    )
    return mask[:, np.minimum(rows, mask.shape[1] - 1)][
        :, :, np.minimum(columns, mask.shape[2] - 1)
    ]


def r1(
    logits_of: Callable[[jax.Array], tuple[jax.Array, Any]], real: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, Any]]:
    """Gradient penalty: mean over the batch of |d sum(logits) / d photo|^2.

    Its gradient reaches what `logits_of` depends on. There is no factor of 1/2.

    Args:
      logits_of: photos -> (logits, anything), e.g. the discriminator's new state.
      real: [B, H, W, 3].

    Returns:
      (penalty, (logits, anything)), both of the same pass.
    """

    def total(photos: jax.Array):
        logits, rest = logits_of(photos)
        return jnp.sum(logits), (logits, rest)

    gradient, found = jax.grad(total, has_aux=True)(real)
    return jnp.mean(jnp.sum(gradient**2, axis=(1, 2, 3))), found


def feature_matching(fake: Maps, real: Maps) -> jax.Array:
    """Mean over feature maps of their mean squared difference."""
    return squared_distance(fake, real) / len(fake)


def absolute_distance(some: Maps, others: Maps) -> jax.Array:
    """Sum over feature maps of mean |a - b|: MISF's perceptual loss."""
    return sum(l1(a, b) for a, b in zip(some, others, strict=True))


def squared_distance(some: Maps, others: Maps) -> jax.Array:
    """Sum over feature maps of mean (a - b)^2: LaMa's perceptual loss."""
    return sum(jnp.mean((a - b) ** 2) for a, b in zip(some, others, strict=True))


def style(some: Maps, others: Maps) -> jax.Array:
    """Sum over feature maps of mean |gram(a) - gram(b)|."""
    return absolute_distance([gram(a) for a in some], [gram(b) for b in others])


def gram(features: jax.Array) -> jax.Array:
    """Products of channels, [B, H, W, C] -> [B, C, C], divided by C H W."""
    products = jnp.einsum("bhwc,bhwd->bcd", features, features)
    return products / (features.size // features.shape[0])
