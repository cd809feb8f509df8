"""Rows of a table, many times the same ones, and the sums that are their gradient.

The gradient of reading rows adds up, for every row, what came to its copies. XLA's
scatter does that on GPUs in no particular order, or one copy after another where the
order is to be the same every time. There the copies are sorted by row instead, and
products with triangular 0/1 matrices add them up: always in one order. On CPUs the
scatter has one order anyway and is three times faster.
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Bool, Float, Float32, Int, Num

from dear_jax.typing import Array

# Copies added up by one matrix.
BLOCK = 64


@jax.custom_vjp
def gather_rows(
    table: Num[Array, "B N C"], rows: Int[Array, "B M"]
) -> Num[Array, "B M C"]:
    """Reads a table at rows in [0, N)."""
    dimensions = lax.GatherDimensionNumbers(
        offset_dims=(2,),
        collapsed_slice_dims=(1,),
        start_index_map=(1,),
        operand_batching_dims=(0,),
        start_indices_batching_dims=(0,),
    )
    return lax.gather(
        table,
        rows[..., None],
        dimensions,
        slice_sizes=(1, 1, table.shape[2]),
        mode=lax.GatherScatterMode.PROMISE_IN_BOUNDS,
    )


def sum_rows(
    values: Float[Array, "B M C"], rows: Int[Array, "B M"], count: int
) -> Float32[Array, "B count C"]:
    """Adds up the values of each of `count` rows.

    Summed in float32, in the same order every time, whatever the platform.
    """
    in_blocks = functools.partial(sum_sorted_rows, count=count)
    one_by_one = functools.partial(_scatter, count=count)
    return lax.platform_dependent(
        values, rows, cuda=in_blocks, rocm=in_blocks, default=one_by_one
    )


def _scatter(
    values: Float[Array, "B M C"], rows: Int[Array, "B M"], count: int
) -> Float32[Array, "B count C"]:
    zeros = jnp.zeros((count, values.shape[2]), jnp.float32)
    add = jax.vmap(lambda v, r: zeros.at[r].add(v, mode="promise_in_bounds"))
    return add(values.astype(jnp.float32), rows)


def sum_sorted_rows(
    values: Float[Array, "B M C"], rows: Int[Array, "B M"], count: int
) -> Float32[Array, "B count C"]:
    """`sum_rows` by sorting and matrix products."""
    batch, total = rows.shape
    places = jnp.broadcast_to(jnp.arange(total, dtype=rows.dtype), rows.shape)
    keys, places = lax.sort([jnp.asarray(rows), places], num_keys=1)
    # What fills the last block belongs to a row that is not there.
    pads = ((0, 0), (0, -total % BLOCK))
    keys = jnp.pad(keys, pads, constant_values=count).reshape(batch, -1, BLOCK)
    values = gather_rows(values, jnp.pad(places, pads))
    values = values.reshape(batch, -1, BLOCK, values.shape[-1])
    # Each place: the sum of its row's values so far in its block.
    sums = _multiply(_same(keys, keys, 0).astype(values.dtype), values)
    # Each block: what the blocks before it hold of its first row.
    first, last = keys[..., 0], keys[..., -1]
    before = _multiply(_same(first, last, -1).astype(jnp.float32), sums[:, :, -1])
    # Each row: the sum at its last place.
    found = jax.vmap(lambda r: jnp.zeros(count, rows.dtype).at[r].add(1))(rows)
    end = jnp.maximum(jnp.cumsum(found, axis=1) - 1, 0)
    whole = gather_rows(sums.reshape(batch, -1, sums.shape[-1]), end)
    block = end // BLOCK
    row = jnp.arange(count, dtype=rows.dtype)[None]
    continued = jnp.take_along_axis(first, block, axis=1) == row
    whole += jnp.where(continued[..., None], gather_rows(before, block), 0)
    return jnp.where(found[..., None] > 0, whole, 0)


def _same(
    a: Int[Array, "... N"], b: Int[Array, "... N"], diagonal: int
) -> Bool[Array, "... N N"]:
    """Whether keys a and b agree, below a diagonal of the matrix of them."""
    below = jnp.tri(a.shape[-1], k=diagonal, dtype=bool)
    agree = a[..., :, None] == b[..., None, :]
    return agree & jnp.broadcast_to(below, agree.shape)


def _multiply(
    choice: Float[Array, "... N M"], values: Float[Array, "... M C"]
) -> Float32[Array, "... N C"]:
    """0/1 matrices times values, exact but for the sums."""
    return jnp.matmul(
        choice, values, precision="highest", preferred_element_type=jnp.float32
    )


def _forward(table: Num[Array, "B N C"], rows: Int[Array, "B M"]):
    return gather_rows(table, rows), (rows, table.shape[1])


def _backward(residuals: tuple, gradient: Num[Array, "B M C"]):
    rows, count = residuals
    return sum_rows(gradient, rows, count).astype(gradient.dtype), None


gather_rows.defvjp(_forward, _backward)
