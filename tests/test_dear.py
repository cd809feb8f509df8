"""Laws of the assembled model: what it depends on, its sizes and its switches."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rounding import assert_close
from tiny import example as one_example

from dear_jax.errors import InputError
from dear_jax.models.registry import build, fields_of

TINY = {"width": 8, "blocks": 1, "decoder_width": 16}
SIZE = (13, 14)
# Tower and block, upsampler, detail, attention, decoder.
LAYERS = 16


def example(size=SIZE, ratio=0.4, batch=2):
    return one_example(size, ratio, batch)


@pytest.fixture(scope="module")
def tiny(draw_params):
    """A function (**fields) -> (model, parameters, compiled apply), kept per fields."""

    @functools.cache
    def make(**fields):
        model = build({**fields_of("dear"), **TINY, **fields})
        return model, draw_params(model, *example()), jax.jit(model.apply)

    return make


def all_finite(tree):
    return all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(tree))


def test_the_paper_model_has_22_million_parameters():
    model = build(fields_of("dear"))
    shapes = jax.eval_shape(model.init, jax.random.key(0), *example())
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert round(count / 1e6, 2) == 22.24


def test_the_paper_models_features_have_the_papers_shapes():
    model = build(fields_of("dear"))
    (colours, features), _ = jax.eval_shape(
        model.init_with_output, jax.random.key(0), *example((64, 48))
    )
    assert colours.shape == (2, 40, 3)
    assert features.embedding.shape == (2, 64, 48, 64)
    assert features.attended.shape == (2, 64, 48, 64)
    assert features.importance.shape == (2, 64, 48, 1)
    assert features.reconstruction.shape == (2, 64, 48, 3)
    assert features.projection.shape == (2, 64, 48, 256)
    assert features.base is None


@pytest.mark.parametrize("residual", ["none", "bilinear", "fill"])
def test_what_is_under_the_mask_cannot_change_a_bit(tiny, residual):
    _, params, apply = tiny(residual=residual)
    image, mask, *queries = example()
    expected = apply(params, image, mask, *queries)
    assert all_finite(expected)
    noise = np.random.default_rng(1).random(image.shape)
    for junk in (np.nan, np.inf, -np.inf, noise):
        spoilt = np.where(mask > 0, junk, image).astype(np.float32)
        jax.tree.map(
            np.testing.assert_array_equal,
            apply(params, spoilt, mask, *queries),
            expected,
        )


def test_what_is_known_changes_the_colours(tiny):
    _, params, apply = tiny()
    image, mask, *queries = example()
    changed = np.where(mask > 0, image, 1 - image)
    colours, other = (apply(params, x, mask, *queries)[0] for x in (image, changed))
    assert np.abs(colours - other).mean() > 1e-2


def test_a_photo_in_a_larger_array_gives_the_same_features(tiny):
    """The towers pad 13 x 14 to the same 16 x 16, so only the keys could differ."""
    model, params, apply = tiny(feature_unfold=True)
    image, mask, queries, _ = example()
    pads = ((0, 0), (0, 3), (0, 2), (0, 0))
    valid = np.pad(np.ones_like(mask), pads)
    padded_mask = np.pad(mask, pads, constant_values=1)

    @jax.jit
    def inside(padded):
        features = model.apply(params, padded, padded_mask, valid, method="encode")
        size = jnp.asarray(SIZE)
        colours = model.apply(params, features, queries, None, size, method="decode")
        return colours, jax.tree.map(lambda x: x[:, : SIZE[0], : SIZE[1]], features)

    found = inside(np.pad(image, pads, constant_values=7))
    jax.tree.map(
        lambda found, expected: assert_close(found, expected, LAYERS),
        found,
        apply(params, image, mask, queries),
    )


EVERYTHING = {
    "high_pass": "ones",
    "detail_groups": 4,
    "attention_keys": "known",
    "attention_pool": 2,
    "attention_chunk": 20,
    "residual": "fill",
    "cell_decode": True,
    "feature_unfold": True,
}


@pytest.mark.parametrize("fields", [{}, EVERYTHING], ids=["paper", "everything"])
def test_gradients_reach_every_parameter(tiny, fields):
    model, params, _ = tiny(**fields)
    image, mask, *queries = example()

    def loss(params):
        colours, features = model.apply(params, image, mask, *queries)
        return jnp.abs(colours).mean() + jnp.abs(features.reconstruction).mean()

    for path, leaf in jax.tree.leaves_with_path(jax.jit(jax.grad(loss))(params)):
        assert np.isfinite(leaf).all(), jax.tree_util.keystr(path)
        assert np.abs(leaf).max() > 0, jax.tree_util.keystr(path)


@pytest.mark.parametrize(
    ("part", "missing"),
    [
        ("detail", {"detail_filters"}),
        ("attention", set()),
        ("importance", {"kernels", "importance_map"}),
    ],
)
def test_a_part_switched_off_leaves_its_parameters_and_inputs_out(tiny, part, missing):
    _, whole, _ = tiny()
    _, params, apply = tiny(**{part: False})
    assert set(whole["params"]) - set(params["params"]) == missing
    channels = {"detail": 17, "attention": 9, "importance": 16}[part]
    layer = params["params"]["decoder"]["pixel_part"]["kernel"]
    assert layer.shape == (1, 1, channels, 16)
    colours, features = apply(params, *example())
    assert all_finite((colours, features))
    assert (features.attended is None) == (part == "attention")
    assert (features.importance is None) == (part == "importance")
    assert (features.reconstruction is None) == (part == "importance")


def test_without_detail_and_importance_there_is_no_predictor(tiny):
    _, params, _ = tiny(detail=False, importance=False, attention=False)
    assert set(params["params"]) == {"encoder", "upsampler", "decoder"}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("norm", "instance"),
        ("high_pass", "ones"),
        ("attention_keys", "known"),
        ("attention_pool", 2),
        ("residual", "bilinear"),
        ("residual", "fill"),
        ("cell_decode", True),
        ("feature_unfold", True),
    ],
)
def test_every_switch_gives_other_finite_colours(tiny, field, value):
    _, params, apply = tiny()
    before = apply(params, *example())[0]
    _, params, apply = tiny(**{field: value})
    found = apply(params, *example())
    assert all_finite(found)
    assert np.abs(found[0] - before).max() > 1e-3


def test_chunks_of_attention_change_nothing(tiny):
    _, params, apply = tiny()
    _, _, chunked = tiny(attention_chunk=50)
    for found, expected in zip(
        jax.tree.leaves(chunked(params, *example())),
        jax.tree.leaves(apply(params, *example())),
        strict=True,
    ):
        assert_close(found, expected, LAYERS)


@pytest.mark.parametrize("size", [(1, 1), (37, 53)])
def test_any_size_works_with_an_empty_and_with_a_full_mask(tiny, size):
    _, params, apply = tiny()
    for ratio in (0, 1):
        colours, features = apply(params, *example(size, ratio, batch=1))
        assert features.embedding.shape == (1, *size, 8)
        assert all_finite((colours, features))


def test_embeddings_see_112_pixels_far_and_no_further(draw_params):
    """Measured by the gradient, which is exactly zero where nothing can reach."""
    # Three pixels wide at a quarter size, the least that reflects.
    fields = {**TINY, "width": 2, "blocks": 8, "attention": False, "importance": False}
    model = build({**fields_of("dear"), **fields})
    image, mask, *queries = example((240, 12), ratio=0, batch=1)
    params = draw_params(model, image, mask, *queries)

    @jax.jit
    @jax.grad
    def row_by(image):
        return model.apply(params, image, mask, method="encode").embedding[:, 118].sum()

    reach = np.abs(row_by(image)).max(axis=(0, 2, 3))
    seen = np.flatnonzero(reach) - 118
    assert -112 <= seen.min() <= -100
    assert 100 <= seen.max() <= 112


def test_unknown_models_fields_and_choices_name_the_known_ones():
    with pytest.raises(InputError, match="'deer' is unknown; known: dear, .*dear-lite"):
        fields_of("deer")
    with pytest.raises(InputError, match="'widht' is unknown; dear has: .*width"):
        build({"architecture": "dear", "widht": 8})
    with pytest.raises(InputError, match="norm = 'batch'; choose from 'none', 'ins"):
        build({"architecture": "dear", "norm": "batch"})
