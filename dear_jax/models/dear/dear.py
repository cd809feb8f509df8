"""DEAR: photo + mask -> embedding -> detail -> attention -> importance -> colours.

The assembly of Fig. 2. `encode` does all that depends on the photo alone;
`decode` then answers any number of queries at any scale.

Images go in as [0, 1]; inside and at the decoder's end colours are in [-1, 1].
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from dear_jax.errors import InputError
from dear_jax.models.dear.attention import unmask_attention
from dear_jax.models.dear.decoder import ImplicitDecoder
from dear_jax.models.dear.detail import DetailFilters
from dear_jax.models.dear.encoder import Encoder, Upsampler
from dear_jax.models.dear.geometry import Geometry, lite_geometry, paper_geometry
from dear_jax.models.dear.grid import Axis, grid_axis, grid_positions
from dear_jax.models.dear.importance import Importance, reconstruct
from dear_jax.models.dear.lite import (
    LiteEncoder,
    LiteKernels,
    LitePredictor,
    LiteUpsampler,
    validity_pyramid,
)
from dear_jax.models.dear.residual import fill_holes, sample_bicubic, sample_bilinear
from dear_jax.models.dear.window import window
from dear_jax.models.layers import compute_dtype
from dear_jax.models.query import QueryModel
from dear_jax.typing import Array, Size

# Z is so many times smaller than the photo.
QUARTER = 4


class Features(NamedTuple):
    """What `encode` knows of a photo, all at its size.

    Attributes:
      embedding: F (Eq. 5), in the dtype of the parameters.
      attended: E, likewise (Eq. 7), or None with attention off.
      importance: W in (0, 1) (Eq. 9), or None with importance off.
      reconstruction: I^ in [0, 1] units (Eq. 8), or None likewise.
      projection: the decoder's first layer, in that dtype too.
      base: what colours are added to, in [-1, 1], or None.
    """

    embedding: Float[Array, "B H W C"]
    attended: Float[Array, "B H W C"] | None
    importance: Float[Array, "B H W 1"] | None
    reconstruction: Float[Array, "B H W 3"] | None
    projection: Float[Array, "B H W width"]
    base: Float[Array, "B H W 3"] | None


class Tile(NamedTuple):
    """A photo, or a part of it, as the encoder takes it.

    Attributes:
      centred: in [-1, 1], 0 under the mask.
      mask: 1 = missing.
      inside: 1 inside the photo.
      base: what colours are added to, in [-1, 1], see `DEAR.prepare`.
      level: in [0, 1], with `level_input`; None: 0.
    """

    centred: Float[Array, "B H W 3"]
    mask: Float[Array, "B H W 1"]
    inside: Float[Array, "B H W 1"]
    base: Float[Array, "B H W 3"] | None
    level: Float[Array, " B"] | None = None


class DEAR(QueryModel):
    """Detail-enhanced attentional implicit representation.

    The defaults are the paper's widths (the variant `dear`); `dear_jax.models.registry`
    holds `dear-lite`. The parts can be switched off as in the paper's Table 5:
    what is off is left out of the decoder's input.

    Attributes:
      network: "paper" (two dilated towers) or "lite" (see `dear_jax.models.dear.lite`).
      width: channels after the stem; "lite": see `widths`.
      blocks: residual blocks of each tower.
      norm: "none" or "instance", in the towers ("paper" only).
      widths, depths, guide_width: see `LiteEncoder`, `LitePredictor`; the last two
        depths are those at full and at half size on the way up.
      level_input: whether the network sees how degraded the photo is ("lite" only).
      detail, attention, importance: the paper's three parts.
      detail_kernel, detail_groups, high_pass: see `DetailFilters`.
      attention_keys, attention_pool, attention_chunk: see `unmask_attention`.
      importance_kernel: K of Eq. 8.
      decoder_width, decoder_layers, decoder_blend, cell_decode, feature_unfold: see
        `ImplicitDecoder`.
      residual: base of the colours: "none", "bilinear" or "fill".
    """

    network: str = "paper"
    width: int = 64
    blocks: int = 8
    norm: str = "none"
    widths: tuple[int, ...] = (48, 80, 144, 144)
    depths: tuple[int, ...] = (1, 1, 2, 1, 1, 1)
    guide_width: int = 64
    level_input: bool = False
    detail: bool = True
    attention: bool = True
    importance: bool = True
    detail_kernel: int = 3
    detail_groups: int = 0
    high_pass: str = "impulse"
    attention_keys: str = "all"
    attention_pool: int = 1
    attention_chunk: int = 0
    importance_kernel: int = 3
    decoder_width: int = 256
    decoder_layers: int = 4
    decoder_blend: str = "colours"
    cell_decode: bool = False
    feature_unfold: bool = False
    residual: str = "none"

    def check(self) -> None:
        """Raises InputError for fields that do not go together."""
        levels = len(self.widths)
        if levels < 3 or len(self.depths) != 2 * (levels - 1):
            raise InputError(
                f"model field depths = {self.depths}; give {2 * (levels - 1)} for "
                f"the {levels} widths, of which there must be at least 3"
            )
        if self.network == "paper" and self.level_input:
            raise InputError("model field level_input = True; network 'lite' has it")
        channels = self.widths[2] if self.network == "lite" else 4 * self.width
        if self.detail_groups and channels % self.detail_groups:
            raise InputError(
                f"model field detail_groups = {self.detail_groups}; must divide the "
                f"{channels} channels of the embedding"
            )

    @property
    def geometry(self) -> Geometry:
        """How far the encoder sees, and what it costs."""
        reach = self.detail_kernel // 2 * self.detail
        if self.network == "paper":
            return paper_geometry(self.width, self.blocks, reach)
        return lite_geometry(self.widths, self.depths, reach, int(self.feature_unfold))

    @property
    def streams(self) -> bool:
        """Whether a picture needs F only where it is rendered: see `surface`."""
        return not (self.attention or self.importance)

    @property
    def block_halo(self) -> int:
        """Pixels around a block that its projection is computed from."""
        return self.geometry.surface.halo if self.streams else int(self.feature_unfold)

    @property
    def taps(self) -> int:
        """Channels of K_p."""
        return self.importance_kernel**2 * self.importance

    def setup(self) -> None:
        if self.network == "paper":
            # Those of the two networks are called differently.
            self.encoder: Any = Encoder(self.width, self.blocks, self.norm)
            self.upsampler: Any = Upsampler(2 * self.width, self.width)
        else:
            self.encoder = LiteEncoder(self.widths, self.depths[:-2])
            self.upsampler = LiteUpsampler(self.depths[-2:])
        if self.detail or self.importance:
            self.predictor: Any = (
                Encoder(self.width, self.blocks, self.norm)
                if self.network == "paper"
                else LitePredictor(self.guide_width)
            )
        if self.detail:
            self.detail_filters = DetailFilters(
                self.detail_kernel, self.detail_groups, self.high_pass
            )
        if self.importance:
            self.kernels: Any = (
                Upsampler(2 * self.width, self.taps)
                if self.network == "paper"
                else LiteKernels(self.taps)
            )
            self.importance_map = Importance()
        self.decoder = ImplicitDecoder(
            self.decoder_width,
            self.decoder_layers,
            self.cell_decode,
            self.feature_unfold,
            self.decoder_blend,
            zero_output=self.residual != "none",
        )

    def encode(
        self,
        image: Float[Array, "B H W 3"],
        mask: Float[Array, "B H W 1"],
        valid: Float[Array, "B H W 1"] | None = None,
        level: Float[Array, " B"] | None = None,
    ) -> Features:
        """See `QueryModel.encode`."""
        inside = jnp.ones_like(mask) if valid is None else valid
        centred, base = self.prepare(image, mask, inside)
        embedding, kernels = self.embed(Tile(centred, mask, inside, base, level))
        attended = None
        if self.attention:
            attended = unmask_attention(
                embedding,
                mask,
                valid,
                self.attention_keys,
                self.attention_pool,
                self.attention_chunk,
            )
        reconstruction = None
        if kernels is not None:
            reconstruction = reconstruct(image, mask, kernels)
        seen, importance = self.join(embedding, attended, kernels, inside)
        projected = self.decoder.project(seen)
        return Features(
            embedding, attended, importance, reconstruction, projected, base
        )

    def prepare(
        self,
        image: Float[Array, "B H W 3"],
        mask: Float[Array, "B H W 1"],
        inside: Float[Array, "B H W 1"],
    ) -> tuple[Float[Array, "B H W 3"], Float[Array, "B H W 3"] | None]:
        """The photo, given in [0, 1], and what colours are added to, in [-1, 1]."""
        centred = centre(image, mask)
        if self.residual == "fill":
            return centred, fill_holes(centred, mask, inside)
        return centred, None if self.residual == "none" else centred

    def join(
        self,
        embedding: Float[Array, "B H W C"],
        attended: Float[Array, "B H W C"] | None,
        kernels: Float[Array, "B H W K2"] | None,
        inside: Float[Array, "B H W 1"],
    ) -> tuple[Float[Array, "B H W D"], Float[Array, "B H W 1"] | None]:
        """All that the decoder sees of each pixel, and W (Eq. 9).

        Args:
          embedding: F.
          attended: E; None with attention off.
          kernels: K_p; None with importance off.
          inside: 1 inside the photo.
        """
        parts = [embedding] if attended is None else [embedding, attended]
        importance = None
        if self.importance:
            assert kernels is not None
            importance = self.importance_map(kernels * inside.astype(kernels.dtype))
            parts.append(importance.astype(kernels.dtype))
        # Outside the photo there is nothing a window could reach into.
        seen = jnp.concatenate(parts, axis=-1) * inside.astype(embedding.dtype)
        return seen, importance

    def decode(
        self,
        features: Features,
        coordinates: Float[Array, "B Q 2"],
        cell: Float[Array, "B Q 2"] | None = None,
        size: Size | None = None,
    ) -> Float[Array, "B Q 3"]:
        """See `QueryModel.decode`; the cell is needed with `cell_decode` only."""
        colours = self.decoder(features.projection, coordinates, cell, size)
        if features.base is None:
            return colours
        sample = sample_bicubic if self.residual == "fill" else sample_bilinear
        return colours + sample(features.base, coordinates, size)

    def project(self, seen: Float[Array, "B H W D"]) -> Float[Array, "B H W width"]:
        """The decoder's first layer, of what `join` returns."""
        return self.decoder.project(seen)

    def decode_grid(
        self,
        projection: Float[Array, "B m k width"],
        base: Float[Array, "B m k 3"] | None,
        rows: Axis,
        columns: Axis,
        cell: Float[Array, " 2"] | None = None,
    ) -> Float[Array, "B n l 3"]:
        """`decode` for the pixels of a picture, from a window of the photo.

        Args:
          projection: of the window, see `project`.
          base: likewise, see `prepare`; None without residual.
          rows: n of them, with weights for the residual; see
            `dear_jax.models.dear.grid`.
          columns: l of them, likewise.
          cell: see `ImplicitDecoder.on_grid`.

        Returns:
          Colours, nominally in [-1, 1], not clipped.
        """
        colours = self.decoder.on_grid(projection, rows, columns, cell)
        if base is not None:
            mixed = jnp.einsum("nm,bmkc->bnkc", rows.base, base, precision="highest")
            colours += jnp.einsum(
                "lk,bnkc->bnlc", columns.base, mixed, precision="highest"
            )
        return colours

    def picture(
        self,
        image: Float[Array, "B H W 3"],
        mask: Float[Array, "B H W 1"],
        size: tuple[int, int],
        level: Float[Array, " B"] | None = None,
    ) -> Float[Array, "B h w 3"]:
        """See `QueryModel.picture`; by `decode_grid`, which gathers no pixels."""
        features, source = self.encode(image, mask, level=level), image.shape[1:3]
        rows, columns = (
            grid_axis(grid_positions(0, old, new), old, residual=self.residual)
            for old, new in zip(source, size, strict=True)
        )
        cell = np.asarray(2 * np.array(source) / size, np.float32)
        return self.decode_grid(features.projection, features.base, rows, columns, cell)

    def embed(
        self, tile: Tile
    ) -> tuple[Float[Array, "B H W C"], Float[Array, "B H W K2"] | None]:
        """Runs encoder, predictor, detail filters and upsamplers.

        Local, without norm: see `geometry`.

        Returns:
          F and K_p (None without importance), in the dtype of the parameters.
        """
        x, size = self._input(tile, self.geometry.stride), tile.mask.shape[1:3]
        z, guide, skips = self._to_quarter(x)
        embedding = window(self._to_full(z, skips, x), (0, 0), size)
        if not self.importance:
            return embedding, None
        return embedding, window(self.kernels(guide), (0, 0), size)

    def deep(self, tile: Tile) -> Float[Array, "B h w C"]:
        """Z, the first stage of `embed`; the stride divides the sides of the tile."""
        return self._to_quarter(self._input(tile, self.geometry.stride))[0]

    def surface(
        self, z: Float[Array, "B h w C"], tile: Tile
    ) -> Float[Array, "B 4*h 4*w width"]:
        """The decoder's first layer, for models that stream.

        Args:
          z: of `deep`.
          tile: of the same place; its sides are multiples of 4.
        """
        x, skips = self._input(tile, QUARTER), None
        if self.network == "lite":
            _, skips = self.encoder(x, x[..., 4:5], skips_only=True)
        seen, _ = self.join(self._to_full(z, skips, x), None, None, tile.inside)
        return self.decoder.project(seen)

    def _input(self, tile: Tile, stride: int) -> Float[Array, "B H W D"]:
        """What the encoder sees, at sides that are multiples of the stride."""
        mask, dtype = tile.mask, compute_dtype(self)
        if self.network == "paper":
            x = jnp.concatenate([tile.centred, mask], axis=-1)
            hole = jnp.array([0, 0, 0, 1.0])
            return _padded(x, stride, self.geometry.least, hole).astype(dtype)
        shown = tile.centred if tile.base is None else tile.base
        parts = [shown, mask, jnp.ones_like(mask)]
        if self.level_input:
            level = jnp.zeros(len(mask)) if tile.level is None else tile.level
            level = level.astype(mask.dtype).reshape(-1, 1, 1, 1)
            parts.append(jnp.broadcast_to(level, mask.shape))
        x = jnp.concatenate(parts, axis=-1) * tile.inside
        return _padded(x, stride, stride, jnp.zeros(x.shape[-1])).astype(dtype)

    def _to_quarter(self, x: Float[Array, "B H W D"]) -> tuple[Array, Any, Any]:
        """Z, filtered; the predictor's guide, or None; and the skips of "lite"."""
        guide: Any = None
        if self.network == "paper":
            z = self.encoder(x)
            if self.detail or self.importance:
                guide = self.predictor(x)
            return self.detail_filters(z, guide) if self.detail else z, guide, None
        valid = x[..., 4:5]
        z, skips = self.encoder(x, valid)
        if self.detail or self.importance:
            guide = self.predictor(x, valid)
        if self.detail:
            quarter = validity_pyramid(valid, 3)[2]
            z = self.detail_filters(z, guide, quarter) * quarter
        return z, guide, skips

    def _to_full(
        self,
        z: Float[Array, "B h w C"],
        skips: tuple[Array, Array] | None,
        x: Float[Array, "B 4*h 4*w D"],
    ) -> Float[Array, "B 4*h 4*w C0"]:
        """F, at the size of the encoder's input x."""
        if self.network == "paper":
            return self.upsampler(z)
        return self.upsampler(z, skips, x[..., 4:5])


def centre(
    image: Float[Array, "B H W 3"], mask: Float[Array, "B H W 1"]
) -> Float[Array, "B H W 3"]:
    """A photo in [0, 1] as [-1, 1]; holes are mid-grey."""
    return jnp.where(mask > 0, 0.0, 2 * image - 1)


def _padded(
    x: Float[Array, "B H W C"], stride: int, least: int, value: Float[Array, " C"]
) -> Float[Array, "B h w C"]:
    """x at multiples of the stride, with channel values beyond it."""
    height, width = x.shape[1:3]
    value = value.reshape(1, 1, 1, -1)
    # In this order `max` can also tell of sizes left open, multiples that are enough.
    rows = max(height + -height % stride, least) - height
    columns = max(width + -width % stride, least) - width
    padded = jnp.pad(x - value, ((0, 0), (0, rows), (0, columns), (0, 0)))
    return padded + value
