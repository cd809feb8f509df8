"""Floating-point operations of a model, a multiply-add as two, all else as nothing.

Matrix products and convolutions are counted in the traced program, so neither the
device nor fused kernels make a difference.
"""

import math
from collections.abc import Callable, Iterable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from dear_jax.data.settings import side_weights
from dear_jax.data.sides import batch_sizes
from dear_jax.training.optimizer import make_optimizer
from dear_jax.training.state import create_state
from dear_jax.training.step import frozen_variables, plain_step
from dear_jax.typing import Config

# What cuDNN does at once: products of the size of Q K^T that each of them stands for.
FUSED_ATTENTION = {
    "dot_product_attention_fwd_wrapper": 2,
    "dot_product_attention_bwd_wrapper": 4,
}


def step_flops(model: nn.Module, config: Config, mesh: jax.sharding.Mesh) -> float:
    """Floating-point operations of a step over all devices, see `count_flops`.

    What is computed again, to save memory, does not count. Of several sides it is the
    mean.
    """
    config = config.copy_and_resolve_references()
    config.train.update(dtype="float32", accumulate=1)
    tx = make_optimizer(config.optimizer, config.train.steps)
    state = jax.eval_shape(lambda: create_state(model, tx, config))
    stop = jax.ShapeDtypeStruct((mesh.size,), jnp.float32)
    step, frozen = plain_step(model, tx, config, mesh), frozen_variables(config)
    whole, total = config.train.batch_size, 0.0
    sizes, weights = batch_sizes(config.data, whole), side_weights(config.data)
    for (side, size), weight in zip(sizes.items(), weights, strict=True):
        # One photo: of many, attention would be computed in parts, and those again.
        batch = {
            name: jax.ShapeDtypeStruct((1, *shape), jnp.float32)
            for name, shape in _example_shapes(
                config.data, side, config.data.queries * whole // size
            ).items()
        }
        total += weight * size * count_flops(step, state, frozen, batch, stop)
    return total


def _example_shapes(
    data: Config, side: int, queries: int
) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays of an example, see `dear_jax.data.examples.MakeExample`."""
    photo = (side, side, 3)
    shapes = {"image": photo, "clean": photo, "level": ()}
    shapes |= dict.fromkeys(("mask", "damage"), (side, side, 1))
    if not queries:
        target = round(side * data.scale[1])
        return shapes | {"target": (target, target, 3)}
    sizes = {"coordinates": 2, "cell": 2, "colours": 3}
    return shapes | {name: (queries, size) for name, size in sizes.items()}


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


def _shape(variable: Any) -> tuple[int, ...]:
    """The shape of an array in a program."""
    return variable.aval.shape


def _product(equation: core.JaxprEqn) -> int:
    (contracted, _), _ = equation.params["dimension_numbers"]
    left, out = _shape(equation.invars[0]), _shape(equation.outvars[0])
    return 2 * math.prod(out) * math.prod(left[axis] for axis in contracted)


def _convolution(equation: core.JaxprEqn) -> int:
    params = equation.params
    image, kernel = map(_shape, equation.invars)
    out, numbers = _shape(equation.outvars[0]), params["dimension_numbers"]
    # Batch and features; out of each of these, features of one group only.
    products = math.prod(out[axis] for axis in numbers.out_spec[:2])
    products *= kernel[numbers.rhs_spec[1]]
    for i, stride in enumerate(params["window_strides"]):
        pixels, weights, places = (
            shape[axes[2 + i]]
            for shape, axes in zip((image, kernel, out), numbers, strict=True)
        )
        # Pairs of a place and a weight that meet at a pixel, along this axis.
        starts = stride * np.arange(places)[:, None] - params["padding"][i][0]
        met = starts + params["rhs_dilation"][i] * np.arange(weights)
        dilation = params["lhs_dilation"][i]
        inside = (met >= 0) & (met <= (pixels - 1) * dilation)
        products *= int(np.count_nonzero(inside & (met % dilation == 0)))
    return 2 * products


def _fused_attention(equation: core.JaxprEqn) -> int:
    """Of Q [B, T, N, C] and K [B, S, N, C], or with N before T and S."""
    query, key = map(_shape, equation.invars[:2])
    keys = key[1 if equation.params["layout"] == 0 else 2]
    products = FUSED_ATTENTION[equation.primitive.name]
    return products * 2 * math.prod(query) * keys
