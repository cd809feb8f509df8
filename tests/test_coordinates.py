"""Laws of the frame of coordinates and of the four pixels around a query."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rounding import assert_close

from dear_jax.models.dear.coordinates import (
    gather_pixels,
    neighbours,
    pixel_centres,
    to_coordinates,
    to_position,
)

find = jax.jit(neighbours)
find_as_liif = jax.jit(functools.partial(neighbours, rule="liif"))
find_nearest = jax.jit(functools.partial(neighbours, rule="nearest"))
SIZES = [(1, 1), (1, 5), (4, 7), (64, 48)]


def indices(size):
    """Rows and columns [1, H W, 2] of all pixels, in the order of a flat photo."""
    return np.stack(np.indices(size), axis=-1).reshape(1, -1, 2)


def weights_by_pixel(coordinates, size, find=find):
    """The weight [Q, H, W] each query gives each pixel."""
    total = np.zeros((coordinates.shape[1], *size))
    for index, weight, _ in find(jnp.asarray(coordinates), jnp.asarray(size)):
        rows, columns = np.asarray(index)[0].T
        queries = np.arange(len(rows))
        np.add.at(total, (queries, rows, columns), np.asarray(weight)[0, :, 0])
    return total


@pytest.mark.parametrize("size", SIZES)
def test_the_centre_of_pixel_i_has_position_i(size):
    centres = pixel_centres(size).reshape(1, -1, 2)
    found = to_position(jnp.asarray(centres), jnp.asarray(size))
    np.testing.assert_allclose(found, indices(size), atol=1e-5)


def test_pixels_tile_the_frame_from_edge_to_edge():
    centres = pixel_centres((4, 5))
    np.testing.assert_allclose(centres[:, 0, 0], [-0.75, -0.25, 0.25, 0.75])
    np.testing.assert_allclose(centres[0, :, 1], [-0.8, -0.4, 0, 0.4, 0.8], atol=1e-7)
    edges = jnp.asarray([[[-1.0, 1.0]]])
    np.testing.assert_allclose(to_position(edges, jnp.asarray((4, 5))), [[[-0.5, 4.5]]])


@pytest.mark.parametrize("find", [find, find_as_liif, find_nearest])
@pytest.mark.parametrize("size", SIZES)
def test_the_weights_of_a_query_sum_to_one(size, find):
    rng = np.random.default_rng(0)
    coordinates = rng.uniform(-1, 1, (1, 200, 2)).astype(np.float32)
    coordinates[0, :2] = [[-1, -1], [1, 1]]
    weights = weights_by_pixel(coordinates, size, find)
    assert weights.min() >= 0
    np.testing.assert_allclose(weights.sum(axis=(1, 2)), 1, atol=1e-6)


@pytest.mark.parametrize("size", SIZES)
def test_on_a_pixel_centre_that_pixel_has_all_the_weight(size):
    weights = weights_by_pixel(pixel_centres(size).reshape(1, -1, 2), size)
    own = weights.reshape(len(weights), -1).diagonal()
    np.testing.assert_allclose(own, 1, atol=1e-4)


def test_a_weight_is_the_area_diagonally_opposite():
    size = (4, 6)
    # A quarter of a pixel below row 1, a tenth right of column 3.
    query = np.array([[[2 * 1.75 / 4 - 1, 2 * 3.6 / 6 - 1]]], np.float32)
    weights = weights_by_pixel(query, size)[0]
    expected = np.zeros(size)
    expected[1:3, 3:5] = np.outer([0.75, 0.25], [0.9, 0.1])
    np.testing.assert_allclose(weights, expected, atol=1e-5)


def test_relative_is_two_per_pixel_from_the_pixel_to_the_query():
    size = (4, 6)
    rng = np.random.default_rng(1)
    coordinates = rng.uniform(-1, 1, (1, 50, 2)).astype(np.float32)
    centres = pixel_centres(size)
    for index, _, relative in find(jnp.asarray(coordinates), jnp.asarray(size)):
        pixels = centres[index[..., 0], index[..., 1]]
        expected = (coordinates - pixels) * np.float32(size)
        np.testing.assert_allclose(relative, expected, atol=1e-5)


def test_neighbours_are_inside_the_photo_and_close():
    size = (3, 5)
    coordinates = pixel_centres((11, 13)).reshape(1, -1, 2)
    for index, _, relative in find(jnp.asarray(coordinates), jnp.asarray(size)):
        assert (index >= 0).all() and (index < jnp.asarray([[size]])).all()
        assert np.abs(relative).max() <= 2


def test_the_size_of_the_photo_may_be_traced():
    coordinates = pixel_centres((5, 4)).reshape(1, -1, 2)
    traced = find(coordinates, jnp.asarray((3, 7)))
    for found, expected in zip(
        jax.tree.leaves(traced),
        jax.tree.leaves(neighbours(jnp.asarray(coordinates), (3, 7))),
        strict=True,
    ):
        assert_close(found, expected)


def liif_by_loops(coordinates, size, steps, epsilon):
    """LIIF's local ensemble for one query: [(index, weight, relative)]."""
    one, size = np.float32(1), np.float32(size)
    picked = []
    for step in steps:
        moved = coordinates + (np.array(step) / size.astype(float) + epsilon).astype(
            "f"
        )
        moved = np.clip(moved, np.float32(-1 + 1e-6), np.float32(1 - 1e-6))
        index = np.rint(((moved + one) * size - one) / 2).astype(int)
        centre = to_coordinates(index, size.astype(int))
        picked.append((index, (coordinates - centre) * size))
    areas = [
        abs(relative[0] * relative[1]) + np.float32(1e-9) for _, relative in picked
    ]
    # Diagonally opposite is the other end of the list.
    weights = np.array(areas[::-1]) / sum(areas)
    return [(i, w, r) for (i, r), w in zip(picked, weights, strict=True)]


@pytest.mark.parametrize(
    "size, grid",
    # As large as the photo, odd scales (targets on pixel centres), others.
    [
        ((7, 11), (7, 11)),
        ((7, 11), (21, 33)),
        ((13, 6), (65, 30)),
        ((13, 6), (35, 16)),
        ((1, 5), (4, 20)),
        ((5, 4), None),
    ],
)
@pytest.mark.parametrize("find", [find_as_liif, find_nearest])
def test_liifs_rules_are_those_of_a_loop_over_queries(size, grid, find):
    if grid is None:
        rng = np.random.default_rng(3)
        queries = rng.uniform(-1, 1, (1, 200, 2)).astype(np.float32)
        queries[0, :4] = [[-1, -1], [-1, 1], [1, -1], [1, 1]]
    else:
        queries = pixel_centres(grid).reshape(1, -1, 2)
    steps = [(-1, -1), (-1, 1), (1, -1), (1, 1)] if find is find_as_liif else [(0, 0)]
    epsilon = 1e-6 if find is find_as_liif else 0
    found = jax.device_get(find(jnp.asarray(queries), jnp.asarray(size)))
    for q, query in enumerate(queries[0]):
        expected = liif_by_loops(query, size, steps, epsilon)
        for mine, (index, weight, relative) in zip(found, expected, strict=True):
            np.testing.assert_array_equal(mine[0][0, q], index)
            assert_close(mine[1][0, q, 0], weight, size=1)
            assert_close(mine[2][0, q], relative, size=2)


def test_centres_are_rounded_by_at_most_a_bit():
    for size in SIZES:
        exact = (2 * np.stack(np.indices(size), axis=-1) + 1) / size - 1
        np.testing.assert_allclose(pixel_centres(size), exact, atol=2e-7)


def test_inside_liifs_weights_are_the_bilinear_ones():
    size = (9, 12)
    coordinates = np.random.default_rng(4).uniform(-0.8, 0.8, (1, 100, 2)).astype("f")
    np.testing.assert_allclose(
        weights_by_pixel(coordinates, size, find_as_liif),
        weights_by_pixel(coordinates, size),
        atol=1e-5,
    )


def test_liifs_rule_lets_gradients_through():
    coordinates = jnp.asarray([[[0.3, -0.2]]])

    @jax.jit
    def weight(coordinates):
        return neighbours(coordinates, (4, 5), "liif")[0][1].sum()

    nudge = jnp.asarray([[[1e-2, 0.0]]])
    slope = weight(coordinates + nudge) - weight(coordinates - nudge)
    found = jax.grad(weight)(coordinates)[0, 0, 0] * 2e-2
    np.testing.assert_allclose(found, slope, rtol=1e-2)


def test_an_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="'ceiling'"):
        neighbours(jnp.zeros((1, 1, 2)), (4, 5), "ceiling")


def test_gathering_is_indexing():
    rng = np.random.default_rng(2)
    image = rng.random((2, 4, 5, 3)).astype(np.float32)
    index = rng.integers(0, 4, (2, 6, 2, 2))
    batch = np.arange(2)[:, None, None]
    expected = image[batch, index[..., 0], index[..., 1]]
    found = gather_pixels(jnp.asarray(image), jnp.asarray(index))
    np.testing.assert_array_equal(found, expected)
