"""The terms of the losses, each a pure function to a scalar.

Images are in [0, 1]; in masks, 1 = missing; logits are those of a discriminator.
Feature maps come as lists. Every mean is over all elements, batch included.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from dear_jax.typing import Array

Maps = Sequence[Float[Array, "B _ _ _"]]
Scalar = Float[jax.Array, ""]


def l1(output: Float[Array, "*shape"], target: Float[Array, "*shape"]) -> Scalar:
    """Mean |output - target|."""
    return jnp.mean(jnp.abs(output - target))


def l1_per_hole(
    output: Float[Array, "B H W 3"],
    target: Float[Array, "B H W 3"],
    mask: Float[Array, "B H W 1"],
) -> Scalar:
    """L1 over all pixels divided by the batch's hole ratio (MISF).

    Choice: a batch without a hole counts as one with a single missing pixel.
    """
    return l1(output, target) / jnp.maximum(jnp.mean(mask), 1 / mask.size)


def weighted_l1(
    output: Float[Array, "B H W 3"],
    target: Float[Array, "B H W 3"],
    mask: Float[Array, "B H W 1"],
    known: float,
    missing: float,
) -> Scalar:
    """Mean of |output - target|, known and missing pixels weighted (LaMa)."""
    weight = known * (1 - mask) + missing * mask
    return jnp.mean(weight * jnp.abs(output - target))


def binary_cross_entropy(logits: Float[Array, "B h w 1"], label: int) -> Scalar:
    """Mean BCE of sigmoid(logits) against one label, 0 or 1, for all patches.

    With label 1 it is the non-saturating loss of a generator too: mean
    softplus(-logits).
    """
    return jnp.mean(jax.nn.softplus(-logits if label else logits))


def masked_fake(
    logits: Float[Array, "B h w 1"], mask: Float[Array, "B H W 1"]
) -> Scalar:
    """BCE of a completed photo's patches: fake where missing, real where known (LaMa).

    Args:
      logits: of the photo as the generator gives it.
      mask: each patch takes its nearest pixel.
    """
    _, height, width, _ = logits.shape
    missing = nearest_mask(mask, (height, width))
    fake, real = jax.nn.softplus(logits), jax.nn.softplus(-logits)
    return jnp.mean(missing * fake + (1 - missing) * real)


def nearest_mask(
    mask: Float[Array, "B H W 1"], size: tuple[int, int]
) -> Float[Array, "B {size[0]} {size[1]} 1"]:
    """Resizes to `size` = (h, w): pixel y is floor(y H / h), as PyTorch's."""
    rows, columns = (
        # In float32 as there: 256 / 19 has no other rounding to get right.
        np.floor(np.arange(new, dtype=np.float32) * np.float32(old / new)).astype(int)
        for old, new in zip(mask.shape[1:3], size, strict=True)
    )
    return mask[:, np.minimum(rows, mask.shape[1] - 1)][
        :, :, np.minimum(columns, mask.shape[2] - 1)
    ]


def r1(
    logits_of: Callable[[Array], tuple[jax.Array, Any]], real: Float[Array, "B H W 3"]
) -> tuple[Scalar, tuple[jax.Array, Any]]:
    """Gradient penalty: mean over the batch of |d sum(logits) / d photo|^2.

    Its gradient reaches what `logits_of` depends on. There is no factor of 1/2.

    Args:
      logits_of: photos -> (logits, anything), e.g. the discriminator's new state.
      real: photos.

    Returns:
      (penalty, (logits, anything)), both of the same pass.
    """

    def total(photos: Float[Array, "B H W 3"]) -> tuple[Scalar, tuple[jax.Array, Any]]:
        logits, rest = logits_of(photos)
        return jnp.sum(logits), (logits, rest)

    gradient, found = jax.grad(total, has_aux=True)(real)
    return jnp.mean(jnp.sum(gradient**2, axis=(1, 2, 3))), found


def feature_matching(fake: Maps, real: Maps) -> Scalar:
    """Mean over feature maps of their mean squared difference."""
    return squared_distance(fake, real) / len(fake)


def absolute_distance(some: Maps, others: Maps) -> Scalar:
    """Sum over feature maps of mean |a - b|: MISF's perceptual loss."""
    total: Any = sum(l1(a, b) for a, b in zip(some, others, strict=True))
    return total


def squared_distance(some: Maps, others: Maps) -> Scalar:
    """Sum over feature maps of mean (a - b)^2: LaMa's perceptual loss."""
    squares = (jnp.mean((a - b) ** 2) for a, b in zip(some, others, strict=True))
    total: Any = sum(squares)
    return total


def style(some: Maps, others: Maps) -> Scalar:
    """Sum over feature maps of mean |gram(a) - gram(b)|."""
    pairs = zip(some, others, strict=True)
    total: Any = sum(l1(gram(a), gram(b)) for a, b in pairs)
    return total


def gram(features: Float[Array, "B H W C"]) -> Float[Array, "B C C"]:
    """Products of channels, divided by C H W."""
    products = jnp.einsum("bhwc,bhwd->bcd", features, features)
    return products / (features.size // features.shape[0])
