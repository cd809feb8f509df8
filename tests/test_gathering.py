"""Laws of reading rows and adding up what came to their copies."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dear_jax.models.dear.gathering import BLOCK, gather_rows, sum_rows, sum_sorted_rows

sums = jax.jit(sum_sorted_rows, static_argnums=2)


def add_one_by_one(values, rows, count):
    total = np.zeros((len(values), count, values.shape[-1]))
    for b, row in np.ndindex(rows.shape):
        total[b, rows[b, row]] += values[b, row]
    return total


# Few copies, blocks just full, rows over several blocks, one row alone, and none.
@pytest.mark.parametrize(
    ("copies", "count"),
    [(5, 9), (BLOCK, 7), (3 * BLOCK + 1, 300), (4 * BLOCK, 2), (2 * BLOCK, 1), (1, 4)],
)
def test_sorted_sums_are_the_sums(copies, count):
    rng = np.random.default_rng(copies)
    rows = rng.integers(0, count, (2, copies)).astype(np.int32)
    values = rng.normal(size=(2, copies, 3)).astype(np.float32)
    found = sums(values, rows, count)
    np.testing.assert_allclose(found, add_one_by_one(values, rows, count), atol=2e-5)


def test_a_row_may_begin_in_one_block_and_end_in_another():
    # Rows of 1, then one of more than two blocks, then one of the rest.
    rows = np.repeat([0, 1, 2, 5], [1, 1, 2 * BLOCK + 7, 40])
    rows = np.random.default_rng(0).permutation(rows).astype(np.int32)[None]
    ones = np.ones((1, rows.size, 2), np.float32)
    found = sums(ones, rows, 6)
    np.testing.assert_array_equal(found[0, :, 0], [1, 1, 2 * BLOCK + 7, 0, 0, 40])


@pytest.mark.parametrize("add", [sums, jax.jit(sum_rows, static_argnums=2)])
def test_many_halves_are_added_up_in_float32(add):
    values = jnp.ones((1, 1000, 1), jnp.bfloat16)
    found = add(values, jnp.zeros((1, 1000), jnp.int32), 2)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(found[0, :, 0], [1000, 0])


def test_the_gradient_of_reading_rows_is_the_sum_of_their_copies():
    rng = np.random.default_rng(1)
    table = jnp.asarray(rng.normal(size=(2, 6, 3)), jnp.float32)
    rows = jnp.asarray(rng.integers(0, 6, (2, 20)), jnp.int32)
    weight = rng.normal(size=(2, 20, 3)).astype(np.float32)
    np.testing.assert_array_equal(
        gather_rows(table, rows), np.take_along_axis(table, rows[..., None], axis=1)
    )
    found = jax.grad(lambda table: (gather_rows(table, rows) * weight).sum())(table)
    np.testing.assert_allclose(found, add_one_by_one(weight, rows, 6), atol=1e-5)


def test_on_gpus_no_floats_are_scattered():
    def gradient(table, rows):
        return jax.grad(lambda table: gather_rows(table, rows).sum())(table)

    shapes = jax.ShapeDtypeStruct((2, 9, 4), jnp.float32), jnp.zeros((2, 5), jnp.int32)
    traced = jax.jit(gradient).trace(*shapes)
    for platform, element in (("cuda", "i32"), ("rocm", "i32"), ("cpu", "f32")):
        text = traced.lower(lowering_platforms=(platform,)).as_text()
        # What a scatter returns stands behind its body.
        scattered = text.split('"stablehlo.scatter"')[1:]
        types = [part.split("}) :")[1].splitlines()[0] for part in scattered]
        assert types and all(found.endswith(f"x{element}>") for found in types)
