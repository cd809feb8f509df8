"""What ONNX files compute: functions of plain arrays, all their sizes left open.

A model that completes photos is three functions. All arrays are float32.

    fill    image [H, W, 3], mask [H, W]                     -> base [H, W, 3]
    encode  base [m, k, 3], mask [m, k], level []            -> projection [m, k, C]
    decode  projection [m, k, C], base [m, k, 3], rows [h], columns [w],
            edges [4], cell [2]                              -> colours [h, w, 3]

fill is for the whole photo. encode and decode are for windows of it, so that memory
does not grow with the photo: what encode gives of a window is what it gives of the
whole, but for the `halo` pixels at borders that are not the photo's; windows begin at
multiples of `step`. decode needs the pixels that its targets lie between and two more
on each side, as far as the photo has them. One that finds damage is one function,

    find    image [m, k, 3]                                  -> probability [m, k]

for windows that begin at multiples of its step and whose sides differ from the photo's
by multiples of it. What the arrays hold, assets/onnx/README.md says.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from dear_jax.errors import InputError
from dear_jax.models.dear.dear import DEAR, Tile, centre
from dear_jax.models.dear.grid import Axis, axis_between
from dear_jax.models.dear.residual import fill_holes
from dear_jax.models.dear.window import framed, window
from dear_jax.models.detector.detector import Detector
from dear_jax.typing import Array


class Function(NamedTuple):
    """A function of an ONNX file.

    Attributes:
      inputs: shapes of what it takes, by name; sizes that are texts are open.
      output: name of what it returns.
      apply: (module, **inputs) -> output; the module is bound to its parameters.
    """

    inputs: Mapping[str, tuple[int | str, ...]]
    output: str
    apply: Callable[..., Array]


def functions_of(module: nn.Module) -> dict[str, Function]:
    """The functions of a model, by name.

    Raises:
      InputError: for models that have none.
    """
    if isinstance(module, Detector):
        return {"find": Function({"image": ("H", "W", 3)}, "probability", _find)}
    local = isinstance(module, DEAR) and module.network == "lite" and module.streams
    if not local or module.residual != "fill":
        raise InputError(
            "only models with network = 'lite', residual = 'fill', attention = False "
            "and importance = False become ONNX, and detectors of damage"
        )
    assert isinstance(module, DEAR)
    level = {"level": ()} if module.level_input else {}
    base, mask = {"base": ("M", "K", 3)}, {"mask": ("M", "K")}
    projection = {"projection": ("M", "K", module.decoder_width)}
    places = {"rows": ("h",), "columns": ("w",), "edges": (4,)}
    cell = {"cell": (2,)} if module.cell_decode else {}
    return {
        "fill": Function({"image": ("H", "W", 3), "mask": ("H", "W")}, "base", _fill),
        "encode": Function(base | mask | level, "projection", _encode),
        "decode": Function(projection | base | places | cell, "colours", _decode),
    }


def _fill(
    module: DEAR, image: Float[jax.Array, "H W 3"], mask: Float[jax.Array, "H W"]
) -> Float[jax.Array, "H W 3"]:
    missing = mask[None, :, :, None]
    return fill_holes(centre(image[None], missing), missing)[0]


def _encode(
    module: DEAR,
    base: Float[jax.Array, "M K 3"],
    mask: Float[jax.Array, "M K"],
    level: Float[jax.Array, ""] | None = None,
) -> Float[jax.Array, "M K C"]:
    size, step = mask.shape, module.geometry.stride
    shown: Any = base[None]
    known = 1 - mask[None, :, :, None]
    inside: Any = _whole(jnp.ones_like(known), step)
    missing, shown = 1 - _whole(known, step), _whole(shown, step)
    level = None if level is None else level.reshape(1)
    # With a base the photo itself is not looked at.
    embedding, _ = module.embed(Tile(shown, missing, inside, shown, level))
    seen, _ = module.join(embedding, None, None, inside)
    return window(module.project(seen), (0, 0), size)[0]


def _decode(
    module: DEAR,
    projection: Float[jax.Array, "M K C"],
    base: Float[jax.Array, "M K 3"],
    rows: Float[jax.Array, " h"],
    columns: Float[jax.Array, " w"],
    edges: Float[jax.Array, " 4"],
    cell: Float[jax.Array, " 2"] | None = None,
) -> Float[Array, "h w 3"]:
    def axis(places: jax.Array, first: int, length: int) -> Axis:
        edge = edges[first], edges[first + 1]
        return axis_between(places, edge, 0, length, module.residual, jnp)

    axes = axis(rows, 0, base.shape[0]), axis(columns, 2, base.shape[1])
    colours = module.decode_grid(projection[None], base[None], *axes, cell)
    return jnp.clip((colours[0] + 1) / 2, 0, 1)


def _find(
    module: Detector, image: Float[jax.Array, "H W 3"]
) -> Float[jax.Array, "H W"]:
    size = image.shape[:2]
    logits: Any = module(_whole(image[None], module.step), jnp.array(size, jnp.int32))
    return jax.nn.sigmoid(window(logits, (0, 0), size)[0, :, :, 0])


def _whole(x: Float[Array, "B H W C"], step: int) -> Float[Array, "B h w C"]:
    """x with zeros after it, at sides that are multiples of the step."""
    # By a fixed amount, then cut: pads of open amounts do not export, nor does -n // 8.
    sides: Any = tuple(step * ((n + step - 1) // step) for n in x.shape[1:3])
    return window(framed(x, (0, 0), (step - 1, step - 1)), (0, 0), sides)
