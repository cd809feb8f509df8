"""How much arithmetic a function is: the work of its matrix products and convolutions.

A multiply-add counts as two, all else as nothing, which is what people mean by model
FLOP/s. It is counted in the traced program, not in the compiled one, so nothing is
computed or compiled, and neither the device nor fused kernels make a difference.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from jax.extend import core

# What cuDNN does at once: products of the size of Q K^T that each of them stands for.
FUSED_ATTENTION = {
    "dot_product_attention_fwd_wrapper": 2,
    "dot_product_attention_bwd_wrapper": 4,
}


def count_flops(function: Callable, *arguments: Any) -> float:
    """Counts the floating-point operations of `function(*arguments)`.

    In a convolution only products of a weight with a pixel that there is count: none
    with padding, none with the zeros between pixels of a transposed one. So the two
    gradients of a product or convolution are as much work each as itself. What a
    gradient computes again (`jax.checkpoint`) counts again; leave that out for model
    FLOP/s. Of the branches of a `cond` the one with the most work counts; of a
    `platform_dependent` one the default, which is the function as it is meant.

    Args:
      function: of arrays, or trees of them; may be compiled.
      arguments: arrays or jax.ShapeDtypeStruct, or trees of them.

    Returns:
      The operations, over all devices together.

    Raises:
      ValueError: for products in a loop whose number of turns is not known before it
        runs (`while_loop`).
    """
    return float(_work(jax.make_jaxpr(function)(*arguments).jaxpr))


def _work(jaxpr: core.Jaxpr) -> int:
    return sum(_work_of(equation) for equation in jaxpr.eqns)


def _work_of(equation: core.JaxprEqn) -> int:
    name, params = equation.primitive.name, equation.params
    inner = [_work(jaxpr) for jaxpr in _jaxprs(params.values())]
    if name == "dot_general":
        return _product(equation)
    if name == "conv_general_dilated":
        return _convolution(equation)
    if name in FUSED_ATTENTION:
        return _fused_attention(equation)
    if name == "cond":
        platforms = params.get("branches_platforms") or ()
        return inner[platforms.index(None)] if None in platforms else max(inner)
    if name == "scan":
        return params["length"] * sum(inner)
    if name == "while" and sum(inner):
        raise ValueError(
            "products in a while_loop cannot be counted: its number of turns is not "
            "known; use scan, or fori_loop with constant bounds"
        )
    if name == "shard_map":
        # Its program is one device's.
        axes, mesh = params["newly_manual_axes"], params["mesh"]
        return math.prod(mesh.shape[axis] for axis in axes) * sum(inner)
    if name == "pallas_call":
        return math.prod(params["grid_mapping"].grid) * sum(inner)
    return sum(inner)


def _jaxprs(values: Iterable[Any]) -> list[core.Jaxpr]:
    """The programs among the parameters of an equation."""
    found = []
    for value in values:
        if isinstance(value, core.ClosedJaxpr):
            found.append(value.jaxpr)
        elif isinstance(value, core.Jaxpr):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += _jaxprs(value)
    return found


def _product(equation: core.JaxprEqn) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left, out = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    return 2 * math.prod(out) * math.prod(left[axis] for axis in contracted)


def _convolution(equation: core.JaxprEqn) -> int:
    params = equation.params
    image, kernel = (variable.aval.shape for variable in equation.invars)
    out = equation.outvars[0].aval.shape
    numbers = params["dimension_numbers"]
    # Batch and features; out of each of these, features of one group only.
    outer = math.prod(out[axis] for axis in numbers.out_spec[:2])
    inner = kernel[numbers.rhs_spec[1]]
    pairs = math.prod(
        _pairs(
            pixels=image[numbers.lhs_spec[2 + i]],
            weights=kernel[numbers.rhs_spec[2 + i]],
            places=out[numbers.out_spec[2 + i]],
            stride=params["window_strides"][i],
            before=params["padding"][i][0],
            image_dilation=params["lhs_dilation"][i],
            kernel_dilation=params["rhs_dilation"][i],
        )
        for i in range(len(params["window_strides"]))
    )
    return 2 * outer * inner * pairs


def _pairs(
    pixels: int,
    weights: int,
    places: int,
    stride: int,
    before: int,
    image_dilation: int,
    kernel_dilation: int,
) -> int:
    """Pairs of a place and a weight that meet at a pixel, along one axis."""
    starts = stride * np.arange(places)[:, None] - before
    met = starts + kernel_dilation * np.arange(weights)
    inside = (met >= 0) & (met <= (pixels - 1) * image_dilation)
    return int(np.count_nonzero(inside & (met % image_dilation == 0)))


def _fused_attention(equation: core.JaxprEqn) -> int:
    """Of Q [B, T, N, C] and K [B, S, N, C], or with N before T and S."""
    query, key = (variable.aval.shape for variable in equation.invars[:2])
    keys = key[1 if equation.params["layout"] == 0 else 2]
    products = FUSED_ATTENTION[equation.primitive.name]
    return products * 2 * math.prod(query) * keys
