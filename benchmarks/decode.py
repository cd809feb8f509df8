"""How fast photos are encoded and rendered, beside what the machine could do.

    python benchmarks/decode.py [--out FILE.md] [options]

As users do it, from an array to an array: `restorer.encode` of a photo, of which some
pixels are missing, and `restorer.render` of pictures of it, tile by tile. The number of
pixels that the project itself decodes at once is marked with a star; others are
measured at the first target only. Weights are random.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from measuring import busy_cores, say
from query_flops import attention_flops, decoding_flops, encoding_flops
from roofline import (
    DTYPES,
    Limits,
    beside_product,
    brief,
    conditions,
    measure_limits,
    seconds_of,
    table,
)

from dear_jax.data.drawn_masks import draw_strokes
from dear_jax.inference import rendering
from dear_jax.inference.loading import from_weights
from dear_jax.inference.query import QueryRestorer
from dear_jax.models.layers import cast
from dear_jax.models.registry import build, fields_of, init_variables
from dear_jax.weights import Weights

MISSING = 0.25
COLUMNS = (
    "model",
    "dtype",
    "what",
    "ms",
    "megapixels/s",
    "TFLOP/s",
    "of measured",
    "of data sheet",
    "products alone, ms",
)
NOTES = """\
Photos are uint8, and so are pictures. Megapixels are the picture's. FLOPs are the
model's, of attention those of the known pixels; "products alone" is what they would
take at the measured rate of a dense matrix product. {missing:.0%} of the photo are
missing."""


class Record(NamedTuple):
    """What was measured of one encoding or rendering.

    Attributes:
      cells: the first of its line.
      dtype: in which the model computes.
      seconds: of a call.
      pixels: of the picture, 0 for encoding.
      flops: the model's.
    """

    cells: list[str]
    dtype: str
    seconds: float
    pixels: int
    flops: float


def main() -> None:
    flags = parse()
    busy, limits = [busy_cores()], measure_limits()
    say(limits.line())
    records: list[Record | list[str]] = []
    for name in flags.model:
        for dtype in flags.dtype:
            say(f"{name}, {dtype} ...")
            try:
                for record in measure(name, dtype, flags):
                    records.append(record)
                    say(f"| {' | '.join(row(record, limits))} |")
            except Exception as error:  # Out of memory, say; the others go on.
                line = [name, dtype, brief(error)]
                records.append(line + ["-"] * (len(COLUMNS) - len(line)))
                say(f"| {' | '.join(records[-1])} |")
            busy.append(busy_cores())
            limits = limits.or_better(measure_limits())
    rows = [r if isinstance(r, list) else row(r, limits) for r in records]
    facts = f"{conditions(max(busy))} {limits.line()}."
    notes = NOTES.format(missing=MISSING)
    text = "\n\n".join(["# Encoding and rendering", facts, table(COLUMNS, rows), notes])
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
    option("--side", type=int, default=64, help="of the photo; default: %(default)s")
    option("--target", nargs="+", type=int, default=[256, 512])
    option("--chunk", nargs="+", type=int, default=[2**11, 2**15])
    option("--seconds", type=float, default=1.0, help="of each timing")
    option("--out", type=Path, metavar="FILE.md")
    return parser.parse_args()


def measure(name: str, dtype: str, flags: argparse.Namespace):
    """Yields a record for encoding and for rendering at each target by each chunk."""
    fields, side = fields_of(name), flags.side
    restorer = random_restorer(name, dtype)
    rng, size = np.random.default_rng(0), (side, side)
    photo = rng.integers(0, 256, (*size, 3), np.uint8)
    mask = draw_strokes(rng, size, (MISSING, MISSING))

    def encode():
        encoded = restorer.encode(photo, mask)
        jax.block_until_ready(encoded.maps)
        return encoded

    seconds = seconds_of(lambda: encode().maps, flags.seconds)
    flops = encoding_flops(fields, side) + attention_flops(fields, side, 1 - MISSING)
    yield Record([name, dtype, f"encode {side}"], dtype, seconds, 0, flops)
    encoded, usual = encode(), rendering.chunk_of(1, max(flags.target) ** 2)
    for chunk in flags.chunk:
        for target in flags.target if chunk == usual else flags.target[:1]:
            seconds = seconds_by(restorer, encoded, chunk, target, flags.seconds)
            what = f"render {side} -> {target} by {chunk}{'*' * (chunk == usual)}"
            flops = decoding_flops(fields, side, target)
            yield Record([name, dtype, what], dtype, seconds, target**2, flops)


def random_restorer(name: str, dtype: str) -> QueryRestorer:
    """A query model with random weights that computes in float32 or bfloat16."""
    fields = fields_of(name)
    variables = cast(init_variables(build(fields), seed=0), dtype)
    return from_weights(Weights(variables, fields, {}), name, trained=False)


def seconds_by(
    restorer: QueryRestorer, encoded, chunk: int, target: int, budget: float
) -> float:
    """Seconds of rendering [target, target] with so many pixels decoded at once."""
    backend, before = jax.default_backend(), dict(rendering.CHUNK)
    rendering.CHUNK[backend] = chunk
    try:
        return seconds_of(
            lambda: restorer.render(encoded, size=(target, target)), budget, least=2
        )
    finally:
        rendering.CHUNK.clear()
        rendering.CHUNK.update(before)


def row(record: Record, limits: Limits) -> list[str]:
    """A line of the table."""
    speed = record.pixels / 1e6 / record.seconds
    return [
        *record.cells,
        f"{1e3 * record.seconds:.4g}",
        f"{speed:.3g}" if record.pixels else "-",
        *beside_product(record.flops, record.seconds, record.dtype, limits),
    ]


if __name__ == "__main__":
    main()
