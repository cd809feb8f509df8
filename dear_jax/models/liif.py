"""LIIF (Chen et al., 2021): EDSR features decoded by an MLP at any place.

DEAR's decoder descends from it, so it is DEAR's decoder with LIIF's rule for the
four pixels around a query, its 3 x 3 unfolding and its cell. Holes are black.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Float

from dear_jax.errors import InputError
from dear_jax.models.dear.coordinates import gather_pixels, to_position
from dear_jax.models.dear.decoder import ImplicitDecoder
from dear_jax.models.edsr import EDSR, EDSRTrunk
from dear_jax.models.layers import compute_dtype
from dear_jax.models.query import QueryModel
from dear_jax.typing import Array, Size


class LIIFFeatures(NamedTuple):
    """What `encode` knows of a photo; one of the two is None.

    Attributes:
      projection: the decoder's first layer.
      enlarged: with `pixel_scale`, EDSR's answer in [-1, 1], so many times as large.
    """

    projection: Float[Array, "B H W width"] | None
    enlarged: Float[Array, "B h w 3"] | None


class LIIF(QueryModel):
    """Local implicit image function on an EDSR trunk.

    The defaults are EDSR-baseline-LIIF.

    Attributes:
      width, blocks, residual_scale: see `EDSRTrunk`.
      decoder_width, decoder_layers, decoder_later_widths: of the MLP, see
        `ImplicitDecoder`.
      local_ensemble: blend the answers of four pixels, else take the nearest one's.
      feature_unfold: the MLP sees the 3 x 3 features around the pixel.
      cell_decode: the MLP sees the size of the target pixel.
      pixel_scale: above 0 there is no MLP: EDSR enlarges by this whole number and
        a query reads its nearest pixel (how LIIF's authors train plain EDSR).
    """

    width: int = 64
    blocks: int = 16
    residual_scale: float = 1.0
    decoder_width: int = 256
    decoder_layers: int = 4
    decoder_later_widths: tuple[int, ...] = ()
    local_ensemble: bool = True
    feature_unfold: bool = True
    cell_decode: bool = True
    pixel_scale: int = 0

    def check(self) -> None:
        """Raises InputError for fields that do not go together."""
        later = self.decoder_later_widths
        if later and len(later) != self.decoder_layers - 1:
            raise InputError(
                f"model field decoder_later_widths = {later}; give one for each of the "
                f"{self.decoder_layers - 1} hidden layers after the first"
            )

    def setup(self) -> None:
        fields = (self.width, self.blocks, self.residual_scale)
        if self.pixel_scale:
            self.encoder = EDSR(*fields, scale=self.pixel_scale)
            return
        self.encoder = EDSRTrunk(*fields)
        self.decoder = ImplicitDecoder(
            self.decoder_width,
            self.decoder_layers,
            self.cell_decode,
            self.feature_unfold,
            rule="liif" if self.local_ensemble else "nearest",
            torch_channels=self.width,
            later_widths=self.decoder_later_widths,
        )

    def encode(
        self,
        image: Float[Array, "B H W 3"],
        mask: Float[Array, "B H W 1"],
        valid: Float[Array, "B H W 1"] | None = None,
        level: None = None,
    ) -> LIIFFeatures:
        """See `QueryModel.encode`; there is no `level`.

        Choice: the trunk knows nothing of `valid`, so features within `2 blocks + 2`
        pixels of padding differ a little.
        """
        centred = blacken(image, mask, valid).astype(compute_dtype(self))
        features = self.encoder(centred)
        if self.pixel_scale:
            return LIIFFeatures(None, features)
        if valid is not None:
            features = features * valid.astype(features.dtype)
        return LIIFFeatures(self.decoder.project(features), None)

    def decode(
        self,
        features: LIIFFeatures,
        coordinates: Float[Array, "B Q 2"],
        cell: Float[Array, "B Q 2"] | None = None,
        size: Size | None = None,
    ) -> Float[Array, "B Q 3"]:
        """See `QueryModel.decode`; the cell is needed with `cell_decode` only."""
        if features.projection is not None:
            return self.decoder(features.projection, coordinates, cell, size)
        assert features.enlarged is not None
        enlarged = features.enlarged.shape[1:3]
        if size is not None:
            enlarged = jnp.asarray(size) * self.pixel_scale
        return _sample_nearest(features.enlarged, coordinates, enlarged)


def blacken(
    image: Float[Array, "B H W 3"],
    mask: Float[Array, "B H W 1"],
    valid: Float[Array, "B H W 1"] | None = None,
) -> Float[Array, "B H W 3"]:
    """Turns a photo in [0, 1] into [-1, 1], black under the mask, 0 where not valid."""
    centred = 2 * jnp.where(mask > 0, 0.0, image) - 1
    return centred if valid is None else centred * valid


def _sample_nearest(
    image: Float[Array, "B H W C"],
    coordinates: Float[Array, "B Q 2"],
    size: Size,
) -> Float[Array, "B Q C"]:
    """Reads the nearest pixel (of two, that of even index), 0 outside the image."""
    size = jnp.broadcast_to(jnp.asarray(size), coordinates.shape)
    index = jnp.round(to_position(coordinates, size)).astype(jnp.int32)
    inside = jnp.all((index >= 0) & (index < size), axis=-1, keepdims=True)
    return jnp.where(inside, gather_pixels(image, jnp.clip(index, 0, size - 1)), 0.0)
