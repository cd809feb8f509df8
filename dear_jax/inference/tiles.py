"""Dividing a photo into tiles that overlap, so that together they equal the whole.

A pixel of an embedding depends on the photo within the network's reach, the halo. A
tile is read with at least that much around what is kept of it, and begins at a multiple
of the network's coarsest step. All tiles of a photo have one size, so that one program
serves them; the last ones therefore reach back further than they need.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple


def bucket(side: int) -> int:
    """Rounds a side up, by a quarter or to 8: 8, 16, 24, ... 64, 80, ... 128, 160.

    Arrays of few sizes need few programs.
    """
    step = max(8, 2 ** (math.floor(math.log2(side)) - 2))
    return side + -side % step


class Side(NamedTuple):
    """How a photo is divided along one axis.

    Attributes:
      size: of the photo, pixels.
      parts: number of tiles.
      core: pixels kept of each tile.
      read: pixels that each is computed from.
      halo: pixels needed around what is kept, where the photo goes on.
      step: where a tile begins is a multiple of it.
    """

    size: int
    parts: int
    core: int
    read: int
    halo: int
    step: int

    def places(self) -> Iterator[tuple[int, int]]:
        """For each tile its first pixel that is read, and its first that is kept."""
        for i in range(self.parts):
            # The last one keeps pixels that the one before it kept, equal ones.
            keep = min(i * self.core, self.size - self.core)
            low = min(max(0, keep - self.halo) // self.step * self.step, self._last)
            yield low, keep

    @property
    def _last(self) -> int:
        return self.size - self.read


class Tiling(NamedTuple):
    """Rows and columns of tiles."""

    rows: Side
    columns: Side

    @property
    def count(self) -> int:
        """How many tiles there are."""
        return self.rows.parts * self.columns.parts

    @property
    def read(self) -> int:
        """Pixels of a tile."""
        return self.rows.read * self.columns.read

    @property
    def cost(self) -> float:
        """Pixels computed for each pixel of the photo; 1 where nothing overlaps."""
        return self.count * self.read / (self.rows.size * self.columns.size)

    def places(self) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        """For each tile (row, column) of what is read and of what is kept."""
        for low_row, keep_row in self.rows.places():
            for low_column, keep_column in self.columns.places():
                yield (low_row, low_column), (keep_row, keep_column)


def window(low: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
    """The part of an array that begins at `low` and has that shape."""
    return tuple(slice(a, a + n) for a, n in zip(low, shape, strict=True))


def side_in(size: int, parts: int, halo: int, step: int) -> Side:
    """Divides an axis in so many parts, or fewer if they would be smaller than a step.

    Args:
      size: of the photo.
      parts: number of tiles.
      halo: reach of the network; a multiple of `step`.
      step: coarsest step of the network.
    """
    core = min(size, -(-size // parts // step) * step)
    parts = -(-size // core)
    # Tiles end where the photo ends, so its remainder is theirs.
    read = core + 2 * halo + step
    read = size if parts == 1 or read >= size else read + (size - read) % step
    return Side(size, parts, core, min(read, size), halo, step)


def tilings(size: tuple[int, int], halo: int, step: int) -> Iterator[Tiling]:
    """The ways to divide a photo (H, W), the cheapest first.

    The smallest tiles keep at least half a halo a side.
    """
    least = max(step, halo // 2)
    sides = [
        {side_in(n, parts, halo, step) for parts in range(1, max(1, n // least) + 1)}
        for n in size
    ]
    # Of many divisions few differ much: doubling ones do.
    ways = [Tiling(r, c) for r in _thinned(sides[0]) for c in _thinned(sides[1])]
    yield from sorted(ways, key=lambda way: (way.count * way.read, way.count))


def _thinned(sides: set[Side]) -> list[Side]:
    chosen: list[Side] = []
    for side in sorted(sides, key=lambda side: side.parts):
        if not chosen or side.parts >= math.ceil(1.2 * chosen[-1].parts):
            chosen.append(side)
    return chosen
