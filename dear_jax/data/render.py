"""Examples made on the devices, of photos in their memory.

The host draws what chance decides and sends only that. Crops, flips, the reduction,
colours and coordinates are made on the devices, with the values that `MakeExample`
gives, to the last bit. B is the number of examples on a device, L the largest side
that a crop can have; S, T and Q as in `dear_jax.data.examples`.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Bool, Int, Int32, Integer, UInt8

from dear_jax.data.examples import LEFT_RIGHT, TRANSPOSED, UPSIDE_DOWN, Chooser
from dear_jax.images import resize
from dear_jax.inference.devices import to_floats
from dear_jax.models.dear.coordinates import to_coordinates
from dear_jax.typing import Array

Batch = dict[str, Array]

_HALF_WEIGHT = 1 << (resize.WEIGHT_BITS // 2)
_HALF_LEVEL = 1 << (resize.WEIGHT_BITS - 1)


class Render:
    """Turns batches of `NumberExample` into examples.

    Args:
      chooser: that draws the batches.
      mesh: has the axis "data", over which batches are split.
      photos: on all devices.
    """

    def __init__(self, chooser: Chooser, mesh: Mesh, photos: UInt8[Array, "N H W 3"]):
        self._photos = photos
        everywhere, split = PartitionSpec(), PartitionSpec("data")
        self._render = jax.jit(
            jax.shard_map(
                functools.partial(_render, _Tables(chooser)),
                mesh=mesh,
                in_specs=(everywhere, split),
                out_specs=split,
            )
        )

    def __call__(self, batch: Batch) -> Batch:
        """Makes the examples of a batch; see `MakeExample.random_map`."""
        return self._render(self._photos, batch)


class _Tables:
    """What depends on T alone, for the n sides that it can have."""

    def __init__(self, chooser: Chooser):
        sides = chooser.sides
        self.first, self.most = sides[0], sides[-1]
        self.whole = not chooser.queries
        self.turns = chooser.augment == "dihedral"
        starts, taps = zip(
            *(resize.bicubic_taps(side, chooser.side) for side in sides), strict=True
        )
        widest = taps[-1].shape[1]
        # [n, S] and [n, S, K], see `bicubic_taps`.
        self.starts = np.stack(starts)
        self.taps = np.stack(
            [np.pad(t, ((0, 0), (0, widest - t.shape[1]))) for t in taps]
        )
        # Coordinates of rows, [n, L], and sides of pixels, [n].
        rows = np.repeat(np.arange(self.most)[:, None], 2, 1)
        self.centres = np.stack([to_coordinates(rows, (s, s))[:, 0] for s in sides])
        self.cells = (2 / np.array(sides)).astype(np.float32)


def _render(tables: _Tables, photos: UInt8[Array, "N H W 3"], batch: Batch) -> Batch:
    """Makes the examples of one device's part of a batch."""
    window, place = _crops(tables, photos, batch)
    image = to_floats(_reduced(tables, window, place).astype(jnp.uint8))
    made = {
        "image": image,
        "clean": image,
        "level": jnp.zeros(len(image), jnp.float32),
        "mask": batch["mask"][..., None].astype(jnp.float32),
    }
    if tables.whole:
        return made | {"target": to_floats(_mirrored(window, place))}
    side = place.side[:, None]
    rows, columns = jnp.divmod(batch["pixels"], side)
    number = jnp.arange(len(window))[:, None]
    colours = window[number, place.there(rows, 0), place.there(columns, 1)]
    kind = side - tables.first
    centres, cells = jnp.asarray(tables.centres), jnp.asarray(tables.cells)
    coordinates = jnp.stack([centres[kind, rows], centres[kind, columns]], -1)
    return made | {
        "coordinates": coordinates,
        "cell": jnp.broadcast_to(cells[kind][..., None], coordinates.shape),
        "colours": to_floats(colours),
    }


class _Place(NamedTuple):
    """Where the finished crops lie in their windows.

    Rows and columns of a crop begin at `offset` and are `side` long; `mirrored` says
    which of them run backwards.
    """

    offset: Int32[Array, "B 2"]
    side: Int32[Array, " B"]
    mirrored: Bool[jax.Array, "B 2"]

    def there(self, index: Int[jax.Array, "#B n"], axis: int) -> Int[jax.Array, "B n"]:
        """Where in the windows rows, or columns, of the crops are."""
        return self._turned(index, axis) + self.offset[:, axis, None]

    def back(self, index: Int[jax.Array, "#B n"], axis: int) -> Int[jax.Array, "B n"]:
        """Which rows, or columns, of the crops those of the windows are."""
        return self._turned(index - self.offset[:, axis, None], axis)

    def _turned(
        self, index: Int[jax.Array, "#B n"], axis: int
    ) -> Int[jax.Array, "B n"]:
        last = self.side[:, None] - 1
        return jnp.where(self.mirrored[:, axis, None], last - index, index)


def _crops(
    tables: _Tables, photos: UInt8[Array, "N H W 3"], batch: Batch
) -> tuple[UInt8[jax.Array, "B L L 3"], _Place]:
    """Windows that hold the crops, transposed if need be."""
    window, offset = _cut(photos, batch["photo"], batch["corner"], tables.most)
    flips = batch["flips"]
    mirrored = jnp.stack([flips & UPSIDE_DOWN, flips & LEFT_RIGHT], 1) > 0
    if tables.turns:
        turned = (flips & TRANSPOSED > 0)[:, None]
        # The flips came first: they are now those of the other axis.
        offset = jnp.where(turned, offset[:, ::-1], offset)
        mirrored = jnp.where(turned, mirrored[:, ::-1], mirrored)
        window = jnp.where(turned[..., None, None], window.swapaxes(1, 2), window)
    return window, _Place(offset, batch["side"], mirrored)


def _cut(
    photos: UInt8[Array, "N H W 3"],
    number: Int32[Array, " B"],
    corner: Int32[Array, "B 2"],
    side: int,
) -> tuple[UInt8[jax.Array, "B {side} {side} 3"], Int32[Array, "B 2"]]:
    """Cuts squares out of photos, moved to lie inside, and by how much they are."""
    most = jnp.array(photos.shape[1:3], jnp.int32)[None] - side
    inside = jnp.minimum(corner, most)

    def one(
        number: Int32[Array, ""], corner: Int32[Array, " 2"]
    ) -> UInt8[jax.Array, "L L 3"]:
        place = (number, corner[0], corner[1], jnp.int32(0))
        return jax.lax.dynamic_slice(photos, place, (1, side, side, 3))[0]

    return jax.vmap(one)(number, inside), corner - inside


def _reduced(
    tables: _Tables, window: UInt8[jax.Array, "B L L 3"], place: _Place
) -> Int32[jax.Array, "B S S 3"]:
    """The crops reduced by Pillow's bicubic, in [0, 255]."""
    kind = place.side - tables.first
    starts, taps = jnp.asarray(tables.starts)[kind], jnp.asarray(tables.taps)[kind]

    def weights(axis: int) -> Int32[jax.Array, "B S L"]:
        """Of the windows' pixels for the reduced ones."""
        index = jnp.arange(tables.most)[None]
        which = place.back(index, axis)[:, None, :] - starts[:, :, None]
        known = jnp.arange(taps.shape[2])[None, None, None]
        return jnp.where(which[..., None] == known, taps[:, :, None], 0).sum(-1)

    return resampled(window, weights(0), weights(1))


def _mirrored(
    window: UInt8[jax.Array, "B L L 3"], place: _Place
) -> UInt8[jax.Array, "B L L 3"]:
    """The crops, where they fill their windows."""
    for axis in (0, 1):
        backwards = place.mirrored[:, axis, None, None, None]
        window = jnp.where(backwards, jnp.flip(window, axis + 1), window)
    return window


@jax.jit
def resampled(
    photos: Integer[Array, "B H W C"],
    rows: Int32[Array, "#B h H"],
    columns: Int32[Array, "#B w W"],
) -> Int32[jax.Array, "B h w C"]:
    """Makes new pixels of old ones, as Pillow does: width first, both times rounded.

    Args:
      photos: in [0, 255].
      rows: weights of old rows in units of 2^-22.
      columns: those of old columns.

    Returns:
      New pixels in [0, 255].
    """
    return _weighted(
        _weighted(photos, columns, "bhwc,bnw->bhnc"), rows, "bhwc,bnh->bnwc"
    )


def _weighted(
    photos: Integer[Array, "B H W C"], weights: Int32[Array, "#B new old"], rule: str
) -> Int32[jax.Array, "B h w C"]:
    """One pass of `resampled`."""
    weights = jnp.broadcast_to(weights, (len(photos), *weights.shape[1:]))
    axis = rule.partition("->")[2].index("n")
    # Floats hold whole numbers below 2^24. With weights in halves, sums stay below
    # when reducing up to 15 times, and beyond hardly reach a level's last bits.
    high = (weights + (_HALF_WEIGHT >> 1)) // _HALF_WEIGHT
    halves = jnp.concatenate([high, weights - high * _HALF_WEIGHT], 1)
    sums = jnp.einsum(
        rule,
        photos.astype(jnp.float32),
        halves.astype(jnp.float32),
        precision=jax.lax.Precision.HIGHEST,
    )
    high, low = jnp.split(sums.astype(jnp.int32), 2, axis)
    levels = (high * _HALF_WEIGHT + low + _HALF_LEVEL) >> resize.WEIGHT_BITS
    return jnp.clip(levels, 0, 255)
