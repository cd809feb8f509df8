"""What the models that answer at any place have in common: encode once, then decode.

DEAR, LIIF and LTE. Images go in as [0, 1], colours come out in [-1, 1].
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float

from dear_jax.models.dear.coordinates import pixel_centres
from dear_jax.typing import Array, Size


class QueryModel(nn.Module):
    """A photo turned into features, and colours read from them at any scale."""

    ROLE = "query"

    def __call__(
        self,
        image: Float[Array, "B H W 3"],
        mask: Float[Array, "B H W 1"],
        coordinates: Float[Array, "B Q 2"],
        cell: Float[Array, "B Q 2"] | None = None,
        level: Float[Array, " B"] | None = None,
    ) -> tuple[Float[Array, "B Q 3"], Any]:
        """Encodes and decodes: colours in [-1, 1], and the features."""
        features = self.encode(image, mask, level=level)
        return self.decode(features, coordinates, cell), features

    def encode(
        self,
        image: Float[Array, "B H W 3"],
        mask: Float[Array, "B H W 1"],
        valid: Float[Array, "B H W 1"] | None = None,
        level: Float[Array, " B"] | None = None,
    ) -> Any:
        """Computes everything that depends on the photo alone.

        Args:
          image: in [0, 1]; what lies under the mask has no effect, be it NaN.
          mask: 1 = missing.
          valid: 1 inside the photo, when the arrays are padded at the bottom and
            right; the padding must be masked. None: all inside.
          level: in [0, 1], how degraded each photo is, see
            `dear_jax.inference.degradation`; None: 0, clean. Only models with a
            `level_input` have it.

        Returns:
          A structure of maps [B, H, W, C].
        """
        raise NotImplementedError

    def decode(
        self,
        features: Any,
        coordinates: Float[Array, "B Q 2"],
        cell: Float[Array, "B Q 2"] | None = None,
        size: Size | None = None,
    ) -> Float[Array, "B Q 3"]:
        """Answers queries.

        Args:
          features: from `encode`, perhaps padded at the bottom and right.
          coordinates: (y, x) in [-1, 1].
          cell: size of a target pixel, for models that look at it.
          size: of the photo when the features are larger than it.

        Returns:
          Colours, nominally in [-1, 1], not clipped.
        """
        raise NotImplementedError

    def picture(
        self,
        image: Float[Array, "B H W 3"],
        mask: Float[Array, "B H W 1"],
        size: tuple[int, int],
        level: Float[Array, " B"] | None = None,
    ) -> Float[Array, "B h w 3"]:
        """Encodes photos and answers for every pixel of a picture of them.

        Args:
          image, mask, level: see `encode`.
          size: of the picture, (h, w).

        Returns:
          Colours, nominally in [-1, 1], not clipped.
        """
        features, photos = self.encode(image, mask, level=level), len(image)
        queries = jnp.asarray(pixel_centres(size).reshape(-1, 2))
        queries = jnp.broadcast_to(queries, (photos, *queries.shape))
        cell = jnp.broadcast_to(2 / jnp.asarray(size, jnp.float32), queries.shape)
        colours = self.decode(features, queries, cell)
        return colours.reshape(photos, *size, 3)
