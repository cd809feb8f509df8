"""A model as one file that runs without this project: StableHLO, made by `jax.export`.

The file holds one function with the parameters inside, for CPUs, NVIDIA's GPUs and
TPUs, and all its sizes are left open:

    (image [H, W, 3], mask [H, W], rows [h], columns [w]) -> [h, w, 3]

all float32; models with a `level_input` have a fifth argument, denoise [], how degraded
the photo is, from 0 to 1, see `dear_jax.inference.degradation`. image and result
are in [0, 1], mask is 1 where the photo is missing; what image holds there has no
effect, be it NaN. rows and columns say where the centres of the target's pixels lie in
the photo, which reaches from -1 to 1: for the whole of it (2 * arange(h) + 1) / h - 1,
evenly spaced in any case. Part of the rows and columns gives that part of the picture,
but of each at least two, or else it is taken as the one row or column of a target that
has no more.

Memory: the picture is decoded `CHUNK` pixels at a time and attention has `OPEN_QUERIES`
pixels (or cells) as queries at a time, so it grows with photo and picture, not with
their product or square. A program is compiled for every combination of sizes.
"""

import functools
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import core, export
from jaxtyping import Float32

from dear_jax.errors import InputError
from dear_jax.files import replacing
from dear_jax.inference.devices import to_kind
from dear_jax.inference.query import QueryRestorer
from dear_jax.inference.restorer import Restorer
from dear_jax.models.dear.attention import in_pieces
from dear_jax.models.dear.dear import DEAR
from dear_jax.models.registry import build

PLATFORMS = ("cpu", "cuda", "tpu")
# Target pixels decoded at once, by a CPU and by others.
CHUNK = {"cpu": 2**11}
CHUNK_ELSEWHERE = 2**14


def export_to(
    path: str | Path, restorer: Restorer, dtype: str = "float32"
) -> export.Exported:
    """Writes a model as such a file; one of that name is replaced whole.

    Args:
      path: file to write, by custom *.stablehlo.
      restorer: DEAR, LIIF or LTE.
      dtype: see `export_model`.

    Returns:
      What is in the file.

    Raises:
      InputError: as `export_model`, without the package flatbuffers, or if the file
        cannot be written.
    """
    try:
        import flatbuffers  # noqa: F401
    except ImportError:
        raise InputError(
            "exporting needs the package flatbuffers, which is not installed; "
            "pip install 'dear_jax[export]'"
        ) from None
    if Path(path).is_dir():
        raise InputError(f"{path}: is a folder; name a file to write in it")
    # Whether anything can be written here shows before the work.
    with replacing(path) as partial:
        exported = export_model(restorer, dtype)
        partial.write_bytes(exported.serialize())
    return exported


def export_model(restorer: Restorer, dtype: str = "float32") -> export.Exported:
    """Exports a model as the function above.

    Args:
      restorer: DEAR, LIIF or LTE.
      dtype: in which the file holds the parameters. "bfloat16" makes it half as large
        and rounds them; those that it does not round are held so anyway. The model
        computes in float32.

    Raises:
      InputError: for any other system.
    """
    if not isinstance(restorer, QueryRestorer):
        raise InputError(
            f"{restorer.name}: cannot be exported; only one model that answers at any "
            "scale can, such as dear-lite, dear, liif or lte"
        )
    module = build(restorer.model)
    held = _held(jax.device_get(restorer.variables), dtype)

    def restore(image, mask, rows, columns, denoise=None):
        bound = module.bind(jax.tree.map(_as_float32, held))
        missing = (mask > 0).astype(jnp.float32)[None, :, :, None]
        level = None if denoise is None else denoise[None]
        maps = _encode(bound, image[None], missing, level)
        size = jnp.array(image.shape[:2], jnp.int32)
        return _decode(bound, maps, size, rows, columns)

    height, width, rows, columns = export.symbolic_shape("H, W, h, w")
    shapes = [(height, width, 3), (height, width), (rows,), (columns,)]
    if restorer.takes_denoise:
        shapes.append(())
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return export.export(jax.jit(restore), platforms=PLATFORMS)(*arguments)


def _held(variables: Any, dtype: str) -> Any:
    """Variables as the file is to hold them; where nothing is lost, in bfloat16."""

    def leaf(value: np.ndarray) -> np.ndarray:
        half = value.astype(jnp.bfloat16)
        lossless = np.array_equal(half.astype(np.float32), value)
        return half if lossless or dtype == "bfloat16" else value

    return jax.tree.map(leaf, variables)


def _as_float32(value: np.ndarray) -> jax.Array:
    # Behind the barrier compilers convert when the program runs, not constants now.
    return jax.lax.optimization_barrier(jnp.asarray(value)).astype(jnp.float32)


def _encode(
    module: nn.Module,
    image: Float32[jax.Array, "1 H W 3"],
    mask: Float32[jax.Array, "1 H W 1"],
    level: Float32[jax.Array, " 1"] | None,
) -> Any:
    """`encode` of one photo, in memory that grows as the photo does."""
    if not isinstance(module, DEAR):
        return module.encode(image, mask)
    sides = image.shape[1:3]
    # Multiples known to be such: of other sizes left open little can be said.
    stride, least = module.geometry.stride, module.geometry.least
    strides = [core.max_dim((n + stride - 1) // stride, least // stride) for n in sides]
    pads = [(0, stride * count - n) for count, n in zip(strides, sides, strict=True)]
    pads = ((0, 0), *pads, (0, 0))
    inside = jnp.pad(jnp.ones_like(mask), pads)
    image, mask = jnp.pad(image, pads), jnp.pad(mask, pads, constant_values=1)
    return module.encode(image, mask, inside, level)


def _decode(
    module: nn.Module,
    maps: Any,
    size: jax.Array,
    rows: Float32[jax.Array, " h"],
    columns: Float32[jax.Array, " w"],
) -> Float32[jax.Array, "h w 3"]:
    """Colours of the pixels at rows and columns."""
    height, width = rows.shape[0], columns.shape[0]
    cell = jnp.stack([_spacing(rows), _spacing(columns)])[None, None]
    if hasattr(module, "clip_cell"):
        cell = module.clip_cell(cell, size)

    def decode(index: jax.Array) -> jax.Array:
        places = jnp.stack([rows[index // width], columns[index % width]], axis=-1)
        each = jnp.broadcast_to(cell, (1, *places.shape))
        colours = module.decode(maps, places[None], each, size)[0]
        return to_kind((colours + 1) / 2, np.dtype(np.float32))

    pieces = functools.partial(in_pieces, decode)
    colours: Any = jax.lax.platform_dependent(
        jnp.arange(height * width, dtype=jnp.int32),
        cpu=functools.partial(pieces, length=CHUNK["cpu"]),
        default=functools.partial(pieces, length=CHUNK_ELSEWHERE),
    )
    return colours.reshape(height, width, 3)


def _spacing(centres: Float32[jax.Array, " n"]) -> Float32[jax.Array, ""]:
    """The size of a target's pixels, whose centres these are; 2 if n is 1."""
    count = jnp.array(centres.shape, jnp.int32)[0]
    gaps = jnp.maximum(count - 1, 1).astype(jnp.float32)
    return jnp.where(count == 1, 2.0, (centres[-1] - centres[0]) / gaps)
