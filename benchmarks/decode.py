"""How fast photos are encoded and decoded, beside what the machine could do.

    python benchmarks/decode.py [--out FILE.md] [options]

Decoding is measured as restoring does it: pixels of the target in chunks, a few chunks
under way, their coordinates made on the host and colours brought back to it. The chunk
that the project itself takes is marked with a star; others are measured at the first
target only. Weights are random.
"""

import argparse
import functools
import math
from collections import deque
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from measuring import MIB, busy_cores, say
from roofline import (
    DTYPES,
    Limits,
    beside_limits,
    brief,
    conditions,
    costs,
    measure_limits,
    seconds_of,
    table,
)

from dear_jax.model.coordinates import to_coordinates
from dear_jax.model.precision import cast
from dear_jax.monitoring.flops import count_flops
from dear_jax.registry import build, fields_of, init_variables
from dear_jax.systems.query import CHUNKS_AT_ONCE, chunk_of, padded_size

COLUMNS = (
    "model",
    "dtype",
    "photos",
    "what",
    "ms",
    "megapixels/s",
    "TFLOP/s",
    "of measured",
    "of data sheet",
    "roofline, ms",
    "attained",
    "temporary, MiB",
)
NOTES = """\
Megapixels are the target's. FLOPs are the model's; the roofline is the larger of them
/ the measured product's FLOP/s and XLA's bytes / the measured bandwidth, for all chunks
together. XLA's bytes leave out what happens in calls of cuDNN and cuBLAS and count
what stays in a cache, so that side of the roof is a guide. Encoding is of photos on the
device; decoding ends with colours on the host."""


class Record(NamedTuple):
    """What was measured of one encoding or decoding.

    Attributes:
      cells: the first of its line.
      dtype: in which the model computes.
      seconds: for all photos.
      pixels: of all targets, 0 for encoding.
      flops, moved: of all together, model's and XLA's.
      temporary: bytes, of one chunk.
    """

    cells: list[str]
    dtype: str
    seconds: float
    pixels: int
    flops: float
    moved: float
    temporary: int


class Coder:
    """A model with random weights and photos to restore.

    Args:
      name: a variant of a query model in `dear_jax.registry`.
      dtype: in which it computes.
      photos: how many at once.
      side: of the photos, which have no padding.
    """

    def __init__(self, name: str, dtype: str, photos: int, side: int):
        fields = fields_of(name)
        self._model, self._photos, self._side = build(fields), photos, side
        self._variables = cast(init_variables(self._model, 0), dtype)
        rng = np.random.default_rng(0)
        image = rng.random((photos, *padded_size((side, side), fields), 3), np.float32)
        mask = (image[..., :1] < 0.2).astype(np.float32)
        self._images = jax.device_put((image, mask))
        self._encode = self._compiled(self._encoded, self._images)
        self._maps = self._encode(self._variables, self._images)

    def encoding(self) -> tuple[Any, tuple]:
        """Compiled encoding and its arguments."""
        return self._encode, (self._variables, self._images)

    def encoding_flops(self) -> float:
        """FLOPs of encoding all photos."""
        return count_flops(self._encoded, self._variables, self._images)

    def decoding(self, chunk: int) -> tuple[Any, float]:
        """Compiled decoding of a chunk of each photo, and its FLOPs."""
        queries = jax.ShapeDtypeStruct((chunk, 2), np.float32)
        flops = count_flops(self._decoded, self._variables, self._maps, queries)
        return self._compiled(self._decoded, self._maps, queries), flops

    def decode(self, compiled: Any, chunk: int, target: int) -> np.ndarray:
        """Colours uint8 [B, target^2, 3] of all photos, chunk by chunk."""
        total, size = target**2, (target, target)
        colours = np.empty((self._photos, total, 3), np.uint8)
        under_way: deque[tuple[int, jax.Array]] = deque()
        for start in [*range(0, total, chunk), *[None] * CHUNKS_AT_ONCE]:
            if len(under_way) == CHUNKS_AT_ONCE or (start is None and under_way):
                at, answer = under_way.popleft()
                stop = min(at + chunk, total)
                colours[:, at:stop] = np.asarray(answer)[:, : stop - at]
            if start is not None:
                flat = np.minimum(np.arange(start, start + chunk), total - 1)
                index = np.stack(np.divmod(flat, target), axis=-1)
                queries = to_coordinates(index, size)
                under_way.append(
                    (start, compiled(self._variables, self._maps, queries))
                )
        return colours

    def _compiled(self, function: Any, *arguments: Any) -> Any:
        return jax.jit(function).lower(self._variables, *arguments).compile()

    def _encoded(self, variables: Any, images: Any) -> Any:
        return self._model.apply(variables, *images, method="encode").for_decoding()

    def _decoded(self, variables: Any, maps: Any, queries: jax.Array) -> jax.Array:
        queries = jnp.broadcast_to(queries, (self._photos, *queries.shape))
        cell = jnp.full_like(queries, 2 / 256)
        colours = self._model.apply(variables, maps, queries, cell, method="decode")
        grey = jnp.round(jnp.clip((colours + 1) / 2, 0, 1) * 255)
        return grey.astype(jnp.uint8)


def main() -> None:
    flags = parse()
    busy, limits = [busy_cores()], measure_limits()
    say(limits.line())
    records: list[Record | list[str]] = []
    for name in flags.model:
        for dtype in flags.dtype:
            say(f"{name}, {dtype}: compiling ...")
            try:
                for record in measure(name, dtype, flags):
                    records.append(record)
                    say(f"| {' | '.join(row(record, limits))} |")
            except Exception as error:  # Out of memory, say; the others go on.
                line = [name, dtype, str(flags.photos), brief(error)]
                records.append(line + ["-"] * (len(COLUMNS) - len(line)))
                say(f"| {' | '.join(records[-1])} |")
            busy.append(busy_cores())
            limits = limits.or_better(measure_limits())
    rows = [r if isinstance(r, list) else row(r, limits) for r in records]
    facts = f"{conditions(max(busy))} {limits.line()}."
    text = "\n\n".join(["# Encoding and decoding", facts, table(COLUMNS, rows), NOTES])
    print(text)
    if flags.out:
        flags.out.write_text(text + "\n")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    option = parser.add_argument
    option("--model", nargs="+", default=["dear", "dear-lite"])
    option("--dtype", nargs="+", choices=DTYPES, default=DTYPES)
    option("--photos", type=int, default=1, help="at once; default: %(default)s")
    option("--side", type=int, default=64, help="of the photos; default: %(default)s")
    option("--target", nargs="+", type=int, default=[256, 512])
    option("--chunk", nargs="+", type=int, default=[2**11, 2**15])
    option("--seconds", type=float, default=1.0, help="of each timing")
    option("--out", type=Path, metavar="FILE.md")
    return parser.parse_args()


def measure(name: str, dtype: str, flags: argparse.Namespace):
    """Yields a record for encoding and for decoding to each target by each chunk."""
    photos, side = flags.photos, flags.side
    coder = Coder(name, dtype, photos, side)
    head = [name, dtype, str(photos)]
    encode, arguments = coder.encoding()
    seconds = seconds_of(functools.partial(encode, *arguments), flags.seconds)
    spent, flops = costs(encode), coder.encoding_flops()
    cells = [*head, f"encode {side}"]
    yield Record(cells, dtype, seconds, 0, flops, spent.bytes, spent.temporary)
    for chunk in flags.chunk:
        compiled, flops = coder.decoding(chunk)
        spent = costs(compiled)
        for i, target in enumerate(flags.target):
            own = chunk == chunk_of(photos, (target, target))
            if i and not own:
                continue  # Other chunks are for comparison; once is enough.
            seconds = seconds_of(
                lambda c=chunk, t=target, f=compiled: coder.decode(f, c, t),
                flags.seconds,
                least=2,
            )
            count = math.ceil(target**2 / chunk)
            cells = [*head, f"decode {side} -> {target} by {chunk}{'*' * own}"]
            everything = photos * target**2, count * flops, count * spent.bytes
            yield Record(cells, dtype, seconds, *everything, spent.temporary)


def row(record: Record, limits: Limits) -> list[str]:
    """A line of the table."""
    speed = record.pixels / 1e6 / record.seconds
    work = record.flops, record.moved, record.seconds
    return [
        *record.cells,
        f"{1e3 * record.seconds:.4g}",
        f"{speed:.3g}" if record.pixels else "-",
        *beside_limits(*work, record.dtype, limits),
        f"{record.temporary / MIB:.0f}",
    ]


if __name__ == "__main__":
    main()
