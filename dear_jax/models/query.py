"""What the models that answer at any place have in common: encode once, then decode.

DEAR, LIIF and LTE. Images go in as [0, 1], colours come out in [-1, 1].
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from dear_jax.models.dear.coordinates import pixel_centres


class QueryModel(nn.Module):
    """A photo turned into features, and colours read from them at any scale."""

    ROLE = "query"

    def __call__(
        self,
        image: jax.Array,
        mask: jax.Array,
        coordinates: jax.Array,
        cell: jax.Array | None = None,
        level: jax.Array | None = None,
    ) -> tuple[jax.Array, Any]:
        """Encodes and decodes: colours [B, Q, 3] in [-1, 1], and the features."""
        features = self.encode(image, mask, level=level)
        return self.decode(features, coordinates, cell), features

    def encode(
        self,
        image: jax.Array,
        mask: jax.Array,
        valid: jax.Array | None = None,
        level: jax.Array | None = None,
    ) -> Any:
        """Computes everything that depends on the photo alone.

        Args:
          image: [B, H, W, 3] in [0, 1]; what lies under the mask has no effect,
            be it NaN.
          mask: [B, H, W, 1], 1 = missing.
          valid: [B, H, W, 1], 1 inside the photo, when the arrays are padded at
            the bottom and right; the padding must be masked. None: all inside.
          level: [B] in [0, 1], how degraded each photo is, see
            `dear_jax.inference.degradation`; None: 0, clean. Only models with a
            `level_input` have it.

        Returns:
          A structure of maps [B, H, W, C].
        """
        raise NotImplementedError

    def decode(
        self,
        features: Any,
        coordinates: jax.Array,
        cell: jax.Array | None = None,
        size: jax.Array | None = None,
    ) -> jax.Array:
        """Answers queries.

        Args:
          features: from `encode`, perhaps padded at the bottom and right.
          coordinates: [B, Q, 2] (y, x) in [-1, 1].
          cell: [B, Q, 2] size of a target pixel, for models that look at it.
          size: (H, W) of the photo when the features are larger than it.

        Returns:
          Colours [B, Q, 3], nominally in [-1, 1], not clipped.
        """
        raise NotImplementedError

    def picture(
        self,
        image: jax.Array,
        mask: jax.Array,
        size: tuple[int, int],
        level: jax.Array | None = None,
    ) -> jax.Array:
        """Encodes photos and answers for every pixel of a picture of them.

        Args:
          image, mask, level: see `encode`.
          size: of the picture, (h, w).

        Returns:
          Colours [B, h, w, 3], nominally in [-1, 1], not clipped.
        """
        features, photos = self.encode(image, mask, level=level), len(image)
        queries = jnp.asarray(pixel_centres(size).reshape(-1, 2))
        queries = jnp.broadcast_to(queries, (photos, *queries.shape))
        cell = jnp.broadcast_to(2 / jnp.asarray(size, jnp.float32), queries.shape)
        colours = self.decode(features, queries, cell)
        return colours.reshape(photos, *size, 3)
