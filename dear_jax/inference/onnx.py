"""A "lite" model as two ONNX functions, all their sizes left open.

    encode (image [H, W, 3], mask [H, W], level [])
        -> projection [H', W', K], base [H', W', 3]
    decode (projection [m, k, K], base [m, k, 3], rows, columns, cell [2]) -> [h, w, 3]

All float32 but indices, which are int32. image and result are in [0, 1], mask is 1
where the photo is missing, level in [0, 1] says how degraded it is (only models with
`level_input` have it). H' and W' are H and W rounded up to the network's step.
decode reads a window of encode's maps for one tile of the target; rows and columns are
the arrays of `dear_jax.models.dear.grid.Axis` (index, relative, weight, base), made
outside, cell is the size of a target pixel in pixels of the photo times 2 (only with
`cell_decode`). Models without a residual have no base.

jax2onnx, which this needs, wants other versions of packages than the project does, so
it has an environment of its own, which none of the project's other parts need:

    python -m venv onnx-environment
    onnx-environment/bin/pip install jax==0.10.2 flax==0.12.8 numpy \\
        onnx==1.23.2 onnx-ir==1.1.0 onnxsim==0.8.1 onnxruntime==1.32.0 pillow
    onnx-environment/bin/pip install --no-deps jax2onnx==0.17.1
    PYTHONPATH=. onnx-environment/bin/python benchmarks/onnx_export.py

It patches JAX while it traces and can be wrong without an error: each export is to be
compared with JAX at odd sizes, which that script does.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from dear_jax.errors import InputError
from dear_jax.models.dear.dear import DEAR
from dear_jax.models.dear.grid import Axis
from dear_jax.models.dear.window import framed, window
from dear_jax.models.registry import build
from dear_jax.typing import Array

AXIS = ("index", "relative", "weight", "base")


class Functions(NamedTuple):
    """The two functions, each an `onnx.ModelProto`."""

    encode: Any
    decode: Any


def export_functions(variables: Any, model: Mapping[str, Any]) -> Functions:
    """Exports a "lite" model.

    Args:
      variables: of the model.
      model: its fields, see `dear_jax.models.registry`.

    Raises:
      InputError: for another model, or without jax2onnx.
    """
    if model.get("network") != "lite":
        raise InputError("only models with the field network = 'lite' become ONNX")
    module = build(model)
    assert isinstance(module, DEAR)
    bound = module.bind(variables)
    image = {"image": ("H", "W", 3), "mask": ("H", "W")}
    level = {"level": ()} if bound.level_input else {}
    has_base = bound.residual != "none"
    base = {"base": ("M", "K", 3)} if has_base else {}
    cell = {"cell": (2,)} if bound.cell_decode else {}
    parts = AXIS[: 3 + has_base]

    def axis(name: str, count: str, size: str) -> dict[str, tuple]:
        shapes = ((2, count), (2, count), (2, count), (count, size))
        return {f"{name}_{k}": v for k, v in zip(parts, shapes, strict=False)}

    def axis_of(name: str, given: Mapping[str, jax.Array]) -> Axis:
        index, relative, weight = (given[f"{name}_{k}"] for k in AXIS[:3])
        return Axis(index, relative, weight, given.get(f"{name}_base"))

    def decode(projection: jax.Array, **given: jax.Array) -> jax.Array:
        rows, columns = axis_of("rows", given), axis_of("columns", given)
        base = given["base"][None] if has_base else None
        colours = bound.decode_grid(
            projection[None], base, rows, columns, given.get("cell")
        )
        return jnp.clip((colours[0] + 1) / 2, 0, 1)

    return Functions(
        _exported(
            lambda **given: _encode(bound, **given),
            image | level,
            ["projection", *base],
        ),
        _exported(
            decode,
            {"projection": ("M", "K", bound.decoder_width)}
            | base
            | axis("rows", "h", "M")
            | axis("columns", "w", "K")
            | cell,
            ["colours"],
        ),
    )


def _exported(
    function: Callable, inputs: Mapping[str, tuple], outputs: Sequence[str]
) -> Any:
    """The ONNX model of a function of named arrays; texts in shapes are open sizes."""
    try:
        # Of an environment of its own, see above.
        from jax2onnx import to_onnx  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            "jax2onnx is not installed; dear_jax/inference/onnx.py says how to do it"
        ) from None
    whole = ("rows_index", "columns_index")
    arguments = [
        jax.ShapeDtypeStruct(shape, jnp.int32 if name in whole else jnp.float32)
        for name, shape in inputs.items()
    ]
    return to_onnx(
        lambda *arrays: function(**dict(zip(inputs, arrays, strict=True))),
        arguments,
        input_names=list(inputs),
        output_names=list(outputs),
    )


def _encode(
    module: DEAR,
    image: jax.Array,
    mask: jax.Array,
    level: jax.Array | None = None,
) -> tuple[jax.Array, ...]:
    """What decode reads of one photo, at sizes that are multiples of the step."""
    step = module.geometry.stride
    # By a fixed amount, then cut: pads of open amounts do not export.
    size = tuple(step * ((n + step - 1) // step) for n in mask.shape)

    def padded(x: Array) -> Array:
        return window(framed(x, (0, 0), (step - 1, step - 1)), (0, 0), size)

    known = (mask <= 0).astype(jnp.float32)[None, :, :, None]
    inside, missing = padded(jnp.ones_like(known)), 1 - padded(known)
    level = None if level is None else level.reshape(1)
    maps = module.encode(padded(image[None]), missing, inside, level)
    return tuple(x[0] for x in (maps.projection, maps.base) if x is not None)
