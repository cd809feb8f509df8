"""A model computes in the dtype of its parameters.

With float32 parameters everything is float32. With bfloat16 ones (see `cast`) the
networks are bfloat16: their layers, and what flows between them. Float32 stay images,
masks, coordinates and weights of pixels, softmaxes, the statistics of normalisations,
spectra, sums over many values, and what comes out.
"""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax


def cast(variables: Any, dtype: Any) -> Any:
    """The same tree with its floating-point leaves in `dtype`.

    The collection "batch_stats" stays as it is: running averages need their digits.

    Args:
      variables: parameters, or a model's collections of variables.
      dtype: e.g. "bfloat16".
    """

    def leaf(path: tuple, value: jax.Array) -> jax.Array:
        kept = bool(path) and getattr(path[0], "key", None) == "batch_stats"
        if kept or not jnp.issubdtype(value.dtype, jnp.floating):
            return value
        return value.astype(dtype)

    return jax.tree.map_with_path(leaf, variables)


def compute_dtype(module: nn.Module) -> jnp.dtype:
    """The dtype of a bound module's parameters; float32 while it has none.

    It has none while it is initialised, and initialisation is in float32.

    Raises:
      TypeError: for parameters of several floating-point dtypes.
    """
    leaves = jax.tree.leaves(module.variables.get("params", {}))
    dtypes = {leaf.dtype for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)}
    if len(dtypes) > 1:
        names = ", ".join(sorted(map(str, dtypes)))
        raise TypeError(f"parameters in {names}; a model computes in one dtype")
    return dtypes.pop() if dtypes else jnp.dtype(jnp.float32)


def product(a: jax.Array, b: jax.Array, dimensions: Any, **options: Any) -> jax.Array:
    """`jax.lax.dot_general`, summed and returned in float32 whatever goes in.

    Its gradient multiplies in the dtype of a and b again, not in a mixture.
    """
    if a.dtype == jnp.float32:
        return lax.dot_general(a, b, dimensions, **options)
    return _half_product(a, b, dimensions)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _half_product(a: jax.Array, b: jax.Array, dimensions: Any) -> jax.Array:
    return lax.dot_general(a, b, dimensions, preferred_element_type=jnp.float32)


def _forward(a: jax.Array, b: jax.Array, dimensions: Any):
    return _half_product(a, b, dimensions), (a, b)


def _backward(dimensions: Any, operands: tuple, gradient: jax.Array):
    _, transpose = jax.vjp(lambda a, b: lax.dot_general(a, b, dimensions), *operands)
    return transpose(gradient.astype(operands[0].dtype))


_half_product.defvjp(_forward, _backward)
