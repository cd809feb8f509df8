"""Pictures of any window of an encoded photo, at any size, tile by tile.

A tile of the picture needs a small window of the photo's maps, so what is at work stays
in the processor's cache and memory does not grow with the picture.
"""

import functools
import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Bool, Float, Num

from dear_jax.inference.devices import (
    Placed,
    compiled,
    mesh_for,
    per_device,
    share_of,
    to_kind,
)
from dear_jax.inference.encoding import Maps, cut, project
from dear_jax.inference.progress import Advance
from dear_jax.models.dear.dear import QUARTER
from dear_jax.models.dear.grid import Axis, grid_axis, grid_positions, reach
from dear_jax.models.registry import build
from dear_jax.weights import freeze

# Pixels decoded at once by a CPU (where more is slower: they leave the cache) and by an
# accelerator, and how many of each photo at least.
CHUNK = {"cpu": 2**11}
CHUNK_ELSEWHERE = 2**15
LEAST_CHUNK = 2**9
# Under way at once, so that none waits for another's end.
AT_ONCE = 4
# Windows of the photo are of few sizes: multiples of this.
STEP = 8
# And so are blocks.
_BLOCK_STEP = 16


class View(NamedTuple):
    """What is to be seen of a photo, and how large.

    Attributes:
      window: (top, left, bottom, right) in pixels from the photo's upper left edge.
      size: of the picture, (h, w).
      needed: pixels that will be looked at; None: all. Others may be anything.
    """

    window: tuple[float, float, float, float]
    size: tuple[int, int]
    needed: Bool[np.ndarray, "B h w"] | None = None


class Part(NamedTuple):
    """A run of the picture's rows, or columns.

    Attributes:
      start: its first.
      low: first pixel of the photo's window.
      axis: how they read it.
    """

    start: int
    low: int
    axis: Axis


class Block(NamedTuple):
    """Runs that read one block of the photo, along one axis.

    Attributes:
      low: first pixel of the block.
      span: its number of pixels.
      parts: the runs.
    """

    low: int
    span: int
    parts: list[Part]


def render(
    placed: Placed,
    maps: Maps,
    source: tuple[int, int],
    view: View,
    kind: np.dtype,
    advance: Advance,
) -> Num[np.ndarray, "B {view.size[0]} {view.size[1]} 3"]:
    """Renders photos of one size.

    Args:
      placed: the model.
      maps: of the photos, see `dear_jax.inference.encoding`.
      source: their size (H, W).
      view: what of them.
      kind: uint8 or float32.
      advance: is called with every share done of what is needed.

    Returns:
      uint8 or float32 in [0, 1].
    """
    photos, module = len(jax.tree.leaves(maps)[0]), build(placed.model)
    lengths, spans, blocks, cell = output_tile(share_of(photos), view.size), [], [], []
    for axis, (length, size) in enumerate(zip(lengths, source, strict=True)):
        start, stop = view.window[axis], view.window[axis + 2]
        positions = grid_positions(start, stop, view.size[axis])
        limit = maps.shape[axis]
        parts, span = _parts(positions, length, size, limit, module.residual)
        spans.append(span)
        blocks.append(_blocks(parts, span, limit, maps.block, module.block_halo))
        cell.append(2 * (stop - start) / view.size[axis])
    mesh = mesh_for(photos)
    window = _window(tuple(spans), mesh)
    decode = _decoder(freeze(placed.model), kind, mesh)
    decode = functools.partial(decode, placed.variables_for(photos))
    cell = np.array(cell, np.float32)

    def place_of(tile: tuple[Part, Part]) -> tuple[slice, slice, slice]:
        rows, columns = (
            slice(part.start, part.start + length)
            for part, length in zip(tile, lengths, strict=True)
        )
        return slice(None), rows, columns

    def is_needed(tile: tuple[Part, Part]) -> bool:
        return view.needed is None or bool(view.needed[place_of(tile)].any())

    work = [
        (block, tiles)
        for block in itertools.product(*blocks)
        if (tiles := [*filter(is_needed, itertools.product(*(b.parts for b in block)))])
    ]

    def answers() -> Iterator[tuple[tuple[slice, ...], jax.Array]]:
        for (rows, columns), tiles in work:
            low, read = (rows.low, columns.low), (maps.projection, maps.base)
            if maps.block:
                read = project(placed, maps, low, (rows.span, columns.span))
            for tile in tiles:
                start = np.array([part.low for part in tile], np.int32)
                start -= np.array(low, np.int32)
                row, column = (part.axis for part in tile)
                yield place_of(tile), decode(window(read, start), row, column, cell)

    result = np.zeros((photos, *view.size, 3), kind)
    count = sum(len(tiles) for _, tiles in work)
    for place, answer in few_at_once(answers()):
        part = result[place]
        part[:] = answer[:, : part.shape[1], : part.shape[2]]
        advance(1 / count)
    return result


def few_at_once(
    answers: Iterable[tuple[Any, jax.Array]],
) -> Iterator[tuple[Any, np.ndarray]]:
    """Brings answers to the host, each with its place; a few are always under way."""
    under_way: deque = deque()
    for started in answers:
        under_way.append(started)
        if len(under_way) == AT_ONCE:
            place, answer = under_way.popleft()
            yield place, np.asarray(answer)
    for place, answer in under_way:
        yield place, np.asarray(answer)


def chunk_of(photos: int, pixels: int) -> int:
    """How many pixels of each of the photos on a device are decoded at once."""
    most = CHUNK.get(jax.default_backend(), CHUNK_ELSEWHERE)
    most = max(LEAST_CHUNK, most // _power_above(photos))
    return min(most, _power_above(pixels))


def output_tile(photos: int, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of the tiles that pictures of a size (h, w) are made of.

    As square as powers of two can be, unless the picture is narrow.
    """
    most = chunk_of(photos, 2**62)
    columns = min(2 ** (most.bit_length() // 2), _power_above(size[1]))
    rows = min(most // columns, _power_above(size[0]))
    return rows, min(most // rows, _power_above(size[1]))


def _power_above(count: int) -> int:
    return 2 ** math.ceil(math.log2(count))


def _parts(
    positions: Float[np.ndarray, " n"],
    length: int,
    size: int,
    limit: int,
    residual: str,
) -> tuple[list[Part], int]:
    """An axis in runs of `length`, and how many pixels of the photo each reads."""
    # The last run goes over the end; what is too much repeats the last position.
    runs = -(-len(positions) // length)
    spare = runs * length - len(positions)
    runs = np.pad(positions, (0, spare), "edge").reshape(runs, length)
    reached = [reach(run, size) for run in runs]
    span = max(high - low for low, high in reached) + 1
    span = min(span + -span % STEP, limit)
    parts = []
    for i, (run, (low, _)) in enumerate(zip(runs, reached, strict=True)):
        low = min(low, limit - span)
        axis = jax.device_put(grid_axis(run, size, (low, span), residual))
        parts.append(Part(i * length, low, axis))
    return parts, span


def _blocks(
    parts: list[Part], span: int, limit: int, side: int, halo: int
) -> list[Block]:
    """Runs of an axis by blocks of about `side` pixels, or one of all if that is 0."""
    if not side:
        return [Block(0, limit, parts)]
    step = max((b.low - a.low for a, b in itertools.pairwise(parts)), default=1)
    count = 1 + max(0, (side - span - 2 * halo - QUARTER) // max(1, step))
    count = -(-len(parts) // -(-len(parts) // count))  # About equally many in each.
    groups = [parts[i : i + count] for i in range(0, len(parts), count)]
    lows = [max(0, group[0].low - halo) // QUARTER * QUARTER for group in groups]
    ends = [group[-1].low + span + halo for group in groups]
    longest = max(end - low for low, end in zip(lows, ends, strict=True))
    longest = min(longest + -longest % _BLOCK_STEP, limit)
    return [
        Block(min(low, limit - longest), longest, group)
        for low, group in zip(lows, groups, strict=True)
    ]


@functools.lru_cache(maxsize=64)
def _window(spans: tuple[int, int], mesh: Mesh | None):
    """What cuts a window out of maps.

    A program of its own: in one with the decoder, XLA (JAX 0.10, on a CPU) would cut
    again for each corner that a query reads, which makes DEAR's decoder twice as slow.
    """

    def window(maps, low):
        return jax.tree.map(lambda array: cut(array, low, spans), maps)

    return jax.jit(per_device(window, mesh, "b-"))


@functools.lru_cache(maxsize=64)
def _decoder(model: tuple, kind: np.dtype, mesh: Mesh | None):
    module = build(dict(model))

    def decode(variables, maps, rows, columns, cell):
        arguments = *maps, rows, columns, cell
        colours = module.apply(variables, *arguments, method="decode_grid")
        return to_kind((colours + 1) / 2, kind)

    return compiled(per_device(decode, mesh, "-b---"))
