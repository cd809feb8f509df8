"""Laws of dear-lite: small, complete, and indifferent to the array around the photo."""

import copy
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rounding import assert_close
from tiny import example

from dear_jax.models.dear.lite import fold, unfold, validity_pyramid
from dear_jax.models.dear.residual import sample_bicubic
from dear_jax.models.registry import build, fields_of

TINY = {
    "widths": (8, 8, 16, 16),
    "depths": (1, 0, 1, 1, 1, 1),
    "guide_width": 8,
    "detail_groups": 4,
    "decoder_width": 16,
}
# Two a block and one between levels, of encoder and upsampler; detail, attention and
# decoder.
LAYERS = 25


@pytest.fixture(scope="module")
def tiny(draw_params):
    """A function (**fields) -> (model, parameters, compiled apply), kept per fields."""

    @functools.cache
    def make(**fields):
        model = build({**fields_of("dear-lite"), **TINY, **fields})
        # Values near 1, so that errors of rounding stay small beside them.
        params = draw_params(model, *example((8, 8)), gain=1)
        return model, params, jax.jit(model.apply)

    return make


def encode_and_decode(model, params, image, mask, valid, queries, cell, size):
    features = model.apply(params, image, mask, valid, method="encode")
    colours = model.apply(params, features, queries, cell, size, method="decode")
    return colours, features


@pytest.mark.parametrize("factor", [2, 4])
def test_unfold_is_the_inverse_of_fold(factor):
    x = np.random.default_rng(0).random((2, 8, 12, 3))
    folded = fold(x, factor)
    assert folded.shape == (2, 8 // factor, 12 // factor, 3 * factor**2)
    np.testing.assert_array_equal(unfold(folded, factor), x)
    cell = x[1, factor : 2 * factor, :factor]
    np.testing.assert_array_equal(folded[1, 1, 0], cell.reshape(-1))


def test_a_cell_is_valid_where_any_of_its_pixels_is():
    valid = np.zeros((1, 8, 8, 1), np.float32)
    valid[:, :5, :2] = 1
    half, quarter = validity_pyramid(jnp.asarray(valid), 3)[1:]
    np.testing.assert_array_equal(
        np.argwhere(half[0, ..., 0]), [[0, 0], [1, 0], [2, 0]]
    )
    np.testing.assert_array_equal(np.argwhere(quarter[0, ..., 0]), [[0, 0], [1, 0]])


def test_dear_lite_has_at_most_two_and_a_half_million_parameters():
    model = build(fields_of("dear-lite"))
    shapes = jax.eval_shape(model.init, jax.random.key(0), *example((16, 16)))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) <= 2.5e6


@pytest.fixture(scope="module")
def in_a_larger_array(tiny):
    """A function (size) -> colours and features of that photo, computed in 24 x 16."""
    model, params, _ = tiny()
    compiled = jax.jit(functools.partial(encode_and_decode, model, params))

    def run(size):
        image, mask, queries, cell = example(size)
        pads = ((0, 0), (0, 24 - size[0]), (0, 16 - size[1]), (0, 0))
        colours, features = compiled(
            np.pad(image, pads, constant_values=7),
            np.pad(mask, pads, constant_values=1),
            np.pad(np.ones_like(mask), pads),
            queries,
            cell,
            jnp.asarray(size),
        )
        return colours, jax.tree.map(lambda x: x[:, : size[0], : size[1]], features)

    return run


@pytest.mark.parametrize("size", [(1, 1), (5, 15), (16, 8)])
def test_a_photo_in_a_larger_array_is_completed_alike(tiny, in_a_larger_array, size):
    _, params, apply = tiny()
    image, mask, queries, cell = example(size)
    alone = apply(params, image, mask, queries, cell)
    jax.tree.map(
        lambda found, expected: assert_close(
            found, expected, LAYERS, max(1, np.abs(expected).max())
        ),
        in_a_larger_array(size),
        alone,
    )


def test_gradients_reach_every_parameter(tiny):
    model, params, _ = tiny(feature_unfold=True, high_pass="ones", attention_chunk=2)
    image, mask, *queries = example((13, 11))

    def loss(params):
        colours, features = model.apply(params, image, mask, *queries)
        return jnp.abs(colours).mean() + jnp.abs(features.reconstruction).mean()

    for path, leaf in jax.tree.leaves_with_path(jax.jit(jax.grad(loss))(params)):
        assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)
        assert np.abs(leaf).max() > 0, jax.tree_util.keystr(path)


def test_colours_are_added_to_the_enlarged_fill(tiny):
    _, params, apply = tiny()
    silent = copy.deepcopy(params)
    silent["params"]["decoder"]["output"] = jax.tree.map(
        np.zeros_like, params["params"]["decoder"]["output"]
    )
    image, mask, *queries = example((8, 8))
    colours, features = apply(silent, image, mask, *queries)
    known = np.broadcast_to(mask == 0, image.shape)
    np.testing.assert_allclose(features.base[known], 2 * image[known] - 1, atol=1e-6)
    enlarged = sample_bicubic(features.base, queries[0])
    assert_close(colours, enlarged)


def test_parts_switched_off_leave_their_parameters_out(tiny):
    off = {"detail": False, "attention": False, "importance": False}
    _, params, apply = tiny(**off)
    assert set(params["params"]) == {"encoder", "upsampler", "decoder"}
    found = apply(params, *example((8, 8)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize("ratio", [0, 0.5, 1])
def test_what_is_under_the_mask_cannot_change_a_bit(tiny, ratio):
    _, params, apply = tiny()
    image, mask, *queries = example((8, 8), ratio)
    expected = apply(params, image, mask, *queries)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(expected))
    spoilt = np.where(mask > 0, np.nan, image).astype(np.float32)
    found = apply(params, spoilt, mask, *queries)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_an_odd_size_works_with_an_empty_and_with_a_full_mask(tiny):
    _, params, apply = tiny()
    for ratio in (0, 1):
        found = apply(params, *example((37, 53), ratio))
        assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
