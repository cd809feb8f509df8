"""The implicit decoder: a colour for any place in the photo (Eq. 1, 2).

    c_q(p) = MLP(F_p, E_p, W_p, (q - p))      for the four pixels p around q
    c_q    = sum_p w_p c_q(p)

The first layer is linear, so its part that depends on the pixel alone is
computed once per low-resolution pixel (`project`), not once per query and
neighbour. LIIF is this decoder with other fields.
"""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Float, Float32, Int

from dear_jax.models.dear.coordinates import gather_pixels, neighbours
from dear_jax.models.dear.grid import Axis
from dear_jax.models.layers import TORCH_KERNEL, Conv, Dense, product, torch_bias
from dear_jax.typing import Array, Size


class ImplicitDecoder(nn.Module):
    """An MLP over pixel features and the way from pixel to query.

    Choice: "four-layer MLP" is read as four hidden layers and an output layer,
    as in LIIF; `hidden_layers` = 3 is the other reading.

    Attributes:
      width: units of each hidden layer.
      hidden_layers: how many, at least 1.
      cell_decode: whether the MLP sees the size of the target pixel too (LIIF).
      feature_unfold: let the first layer see the 3 x 3 features around a pixel
        (LIIF), as a 3x3 convolution, which is the same.
      blend: where the four neighbours are blended: their "colours" (Eq. 2), or what
        the first layer makes of them ("hidden"), so that the later layers run once a
        query. Both are continuous, since a neighbour that changes has no weight.
      zero_output: start from zero output, for a decoder that adds to a base.
      rule: which pixels answer a query, see `neighbours`.
      torch_channels: channels of the features, given where the initialisation is to
        be PyTorch's (LIIF); 0 for Flax's.
      later_widths: units of the hidden layers after the first, where they differ from
        `width`; () where they do not.
    """

    width: int = 256
    hidden_layers: int = 4
    cell_decode: bool = False
    feature_unfold: bool = False
    blend: str = "colours"
    zero_output: bool = False
    rule: str = "floor"
    torch_channels: int = 0
    later_widths: tuple[int, ...] = ()

    def setup(self) -> None:
        window = 3 if self.feature_unfold else 1
        first: dict[str, Any] = {}
        if self.torch_channels:
            # To PyTorch the first layer's two parts are one layer.
            fan_in = self.torch_channels * window**2 + (4 if self.cell_decode else 2)
            first = {"kernel_init": torch_bias(fan_in), "bias_init": torch_bias(fan_in)}
        self.pixel_part = Conv(self.width, (window, window), padding="SAME", **first)
        # Two or four numbers a query, which need their digits.
        self.relative_part = Dense(
            self.width,
            biased=False,
            dtype=jnp.float32,
            precision="highest",
            **first,
        )
        later = self.later_widths or (self.width,) * (self.hidden_layers - 1)
        self.hidden = [
            Dense(width, **self._initial(fan_in))
            for fan_in, width in zip((self.width, *later), later, strict=False)
        ]
        last: Any = self._initial((self.width, *later)[-1])
        if self.zero_output:
            last = {"kernel_init": nn.initializers.zeros_init()}
        self.output = Dense(3, **last, dot_general=product)

    def _initial(self, fan_in: int) -> Any:
        """How a layer after the first begins."""
        if not self.torch_channels:
            return {}
        return {"kernel_init": TORCH_KERNEL, "bias_init": torch_bias(fan_in)}

    def project(self, features: Float[Array, "B H W C"]) -> Float[Array, "B H W width"]:
        """First layer, pixel part."""
        return self.pixel_part(features)

    def __call__(
        self,
        projection: Float[Array, "B H W width"],
        coordinates: Float[Array, "B Q 2"],
        cell: Float[Array, "B Q 2"] | None = None,
        size: Size | None = None,
    ) -> Float32[Array, "B Q 3"]:
        """Answers queries.

        Args:
          projection: from `project`; the MLP is of its dtype.
          coordinates: in [-1, 1] of the photo.
          cell: size of the target pixel in the same units; needed with `cell_decode`
            only.
          size: of the photo when the arrays are larger than it.

        Returns:
          Colours.
        """
        size = jnp.asarray(projection.shape[1:3] if size is None else size)
        # All neighbours at once: one gather, whose gradient is one sum.
        found = neighbours(coordinates, size, self.rule)
        index, weight, relative = (
            jnp.stack(part, axis=1) for part in zip(*found, strict=True)
        )
        if self.cell_decode:
            assert cell is not None
            cell = cell * jnp.broadcast_to(size, cell.shape).astype(cell.dtype)
            cell = jnp.broadcast_to(cell[:, None], relative.shape)
            relative = jnp.concatenate([relative, cell], axis=-1)
        x = gather_pixels(projection, index).astype(jnp.float32)
        x = (x + self.relative_part(relative)).astype(projection.dtype)
        if self.blend == "hidden":
            x = (weight * nn.relu(x).astype(jnp.float32)).sum(axis=1)
            return self.output(self._later(x.astype(projection.dtype)))
        answers = weight * self.output(self._later(nn.relu(x)))
        return functools.reduce(jnp.add, (answers[:, i] for i in range(len(found))))

    def _later(self, x: Float[Array, "... width"]) -> Float[Array, "... last"]:
        """The hidden layers after the first, of what its ReLU lets through."""
        for layer in self.hidden:
            x = nn.relu(layer(x))
        return x

    def on_grid(
        self,
        projection: Float[Array, "B m k width"],
        rows: Axis,
        columns: Axis,
        cell: Float[Array, " 2"] | None = None,
    ) -> Float32[Array, "B n l 3"]:
        """Answers the queries of a regular grid by DEAR's rule, "floor".

        What `__call__` does, without an index or a distance of each query: rows and
        columns are read and moved one axis after the other. And as the output layer is
        linear and weights add up to 1, the neighbours are mixed before it.

        Args:
          projection: from `project`, of a window of the photo.
          rows: n of them, see `dear_jax.models.dear.grid`.
          columns: l of them.
          cell: size of a target pixel in pixels of the photo times 2; needed with
            `cell_decode` only.

        Returns:
          Colours.
        """
        apart = []
        for axis, relative in enumerate((rows.relative, columns.relative)):
            nothing = jnp.zeros_like(relative)
            seen = [relative, nothing] if axis == 0 else [nothing, relative]
            if self.cell_decode:
                assert cell is not None
                # Once, with the rows.
                seen += [jnp.full_like(relative, c) * (1 - axis) for c in cell]
            apart.append(self.relative_part(jnp.stack(seen, axis=-1)))
        row_part, column_part = apart  # [2, n, width], [2, l, width]
        weight = rows.weight[:, None, :, None] * columns.weight[None, :, None, :]
        weight = weight.reshape(4, 1, *weight.shape[2:], 1)
        corners = []
        for i in (0, 1):
            x = _read(projection, rows.index[i], 1).astype(jnp.float32)
            x = x + row_part[i][None, :, None]
            corners += [
                _read(x, columns.index[j], 2) + column_part[j][None, None]
                for j in (0, 1)
            ]
        dtype = projection.dtype
        if self.blend == "hidden":
            # One corner after another: four at once would leave the cache.
            mixed = (w * nn.relu(x) for w, x in zip(weight, corners, strict=True))
            mixed = functools.reduce(jnp.add, mixed).astype(dtype)
            x = self._later(mixed.reshape(-1, mixed.shape[-1]))
            return self.output(x).reshape(*mixed.shape[:-1], 3)
        x = jnp.stack(corners).astype(dtype)
        shape = x.shape
        x = self._later(nn.relu(x).reshape(-1, shape[-1])).reshape(*shape[:-1], -1)
        mixed = (x.astype(jnp.float32) * weight).sum(axis=0)
        return self.output(mixed.astype(dtype))


def _read(
    x: Float[Array, "B ..."], index: Int[Array, " n"], axis: int
) -> Float[Array, "B ..."]:
    return jnp.take(x, index, axis=axis, mode="clip")
