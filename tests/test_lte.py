"""Laws of LTE and LTE+: its formula by loops, parameter count."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rounding import assert_close
from tiny import draw_like, example, query_methods

from dear_jax.convert import convert_state, lte, rules
from dear_jax.errors import InputError
from dear_jax.models.dear.coordinates import neighbours
from dear_jax.models.dear.residual import sample_bilinear
from dear_jax.models.lte import LTE, cos_sin
from dear_jax.models.registry import build, fields_of, init_shapes

TINY = {"width": 4, "blocks": 1, "hidden": 8, "layers": 2}
SIZE = (5, 6)
# Head, block, end of the body, frequencies; waves, three dense ones, mean of pixels.
ENCODER, DECODER = 5, 5


def tiny(**changes):
    """Variables, encode(image, mask) and decode(features, queries, cell, size)."""
    return query_methods({**fields_of("lte"), **TINY, **changes})


@pytest.fixture(scope="module")
def plain():
    return tiny()


def lte_by_loops(params, features, queries, cell):
    """LTE's formula, query by query and wave by wave: [Q, 3]."""
    find = jax.jit(functools.partial(neighbours, size=SIZE, rule="liif"))
    found = jax.device_get(find(jnp.asarray(queries)))
    skip = jax.device_get(sample_bilinear(features.image, jnp.asarray(queries)))
    colours = []
    for q in range(queries.shape[1]):
        colour = skip[0, q].astype(np.float64)
        phase = (cell[0, q] * SIZE) @ params["phase"]["kernel"]
        for index, weight, relative in found:
            row, column = index[0, q]
            y, x = np.split(np.asarray(features.frequencies)[0, row, column], 2)
            angle = np.pi * (y * relative[0, q, 0] + x * relative[0, q, 1] + phase)
            z = np.asarray(features.amplitudes)[0, row, column]
            z = z * np.concatenate([np.cos(angle), np.sin(angle)])
            for i in range(TINY["layers"]):
                layer = params[f"dense_{i}"]
                z = np.maximum(z @ layer["kernel"] + layer["bias"], 0)
            answer = z @ params["output"]["kernel"] + params["output"]["bias"]
            colour += weight[0, q] * answer
        colours.append(colour)
    return np.array(colours)


def convert(state, fields):
    return convert_state(state, fields)[0]


def official_state(fields, seed=0):
    """A state_dict of random values, of the official shapes."""
    rng = np.random.default_rng(seed)
    shapes = init_shapes(build(fields))["params"]
    state = {}
    for key, rule in lte.mapping(fields).items():
        if isinstance(rule, str):
            continue
        ((path, layout),) = rule
        leaf = shapes
        for part in path.split("/")[1:]:
            leaf = leaf[part]
        ones = (1, 1) if layout is rules.pointwise else ()
        shape = leaf.shape[::-1] + ones
        state[key] = rng.normal(size=shape).astype(np.float32)
    return state


def test_decoding_is_ltes_formula(plain):
    variables, encode, decode = plain
    image, mask, queries, cell = example(SIZE)
    queries[0, :3] = [[-1, -1], [1, 1], [0, 0]]
    features = encode(image, mask)
    expected = lte_by_loops(variables["params"], features, queries, cell)
    found = decode(features, queries, cell)
    np.testing.assert_allclose(found[0], expected, atol=1e-4)


def test_cosine_and_sine_are_exact_and_so_are_their_slopes():
    rng = np.random.default_rng(0)
    near = np.arange(-9, 10) / 4
    x = np.concatenate([near, rng.normal(0, 3, 500), rng.normal(0, 1000, 500)])
    x = x.astype(np.float32)
    angle = np.pi * x.astype(np.float64)
    slopes = jax.jvp(cos_sin, (jnp.asarray(x),), (jnp.ones(x.shape),))[1]
    for found, expected in zip(
        (*cos_sin(jnp.asarray(x)), *slopes),
        (np.cos(angle), np.sin(angle), -np.pi * np.sin(angle), np.pi * np.cos(angle)),
        strict=True,
    ):
        assert_close(found, expected, layers=2)


def test_layouts_differ_in_the_order_of_frequencies_alone():
    variables, encode, decode = tiny()
    _, encode_halves, _ = tiny(layout="halves")
    order = np.concatenate([np.arange(0, 8, 2), np.arange(1, 8, 2)])
    model = build({**fields_of("lte-fast"), **TINY})
    freq = jax.tree.map(lambda x: x[..., order], variables["params"]["freq"])
    halves = {"params": {**variables["params"], "freq": freq}}
    image, mask, _, _ = example(SIZE)
    found = model.apply(halves, image, mask, method="encode")
    expected = encode(image, mask)
    assert_close(found.frequencies, expected.frequencies, ENCODER)
    other = encode_halves(image, mask).frequencies
    assert np.abs(other - expected.frequencies).max() > 0.1


def test_with_zero_output_lte_is_the_bilinearly_enlarged_photo():
    model = build({**fields_of("lte"), **TINY})
    variables = draw_like(init_shapes(model))
    variables["params"]["output"] = jax.tree.map(
        np.zeros_like, variables["params"]["output"]
    )
    image, mask, queries, cell = example(SIZE)
    found, _ = model.apply(variables, image, mask, queries, cell)
    shown = jnp.asarray(2 * image * (1 - mask) - 1)
    expected = sample_bilinear(shown, jnp.asarray(queries))
    assert_close(found, expected, layers=2)


def test_chunks_of_queries_are_the_whole(plain):
    _, encode, decode = plain
    image, mask, queries, cell = example(SIZE)
    features = encode(image, mask)
    chunks = [
        decode(features, queries[:, i : i + 10], cell[:, i : i + 10])
        for i in range(0, queries.shape[1], 10)
    ]
    whole = decode(features, queries, cell)
    assert_close(np.concatenate(chunks, axis=1), whole, DECODER)


def test_features_in_larger_arrays_answer_alike(plain):
    _, encode, decode = plain
    image, mask, queries, cell = example(SIZE)
    queries[0, 0] = 1
    features = encode(image, mask)
    pads = ((0, 0), (0, 3), (0, 2), (0, 0))
    larger = jax.tree.map(lambda x: jnp.pad(x, pads, constant_values=9.0), features)
    found = decode(larger, queries, cell, jnp.asarray(SIZE))
    assert_close(found, decode(features, queries, cell), DECODER)


def test_what_lies_under_the_mask_is_black(plain):
    _, encode, _ = plain
    image, mask, _, _ = example(SIZE)
    black = encode(image * (1 - mask), np.zeros_like(mask))
    hidden = encode(np.where(mask > 0, np.nan, image), mask)
    jax.tree.map(np.testing.assert_array_equal, hidden, black)


def test_beyond_the_largest_scale_the_cell_is_that_of_the_largest():
    size = jnp.asarray((8, 10))
    for scale in (1, 2.7, 4, 6, 12):
        cell = jnp.asarray([[2 / (8 * scale), 2 / (10 * scale)]])
        expected = cell * max(scale / 4, 1)
        np.testing.assert_allclose(LTE().clip_cell(cell, size), expected, rtol=1e-6)
    cell = jnp.asarray([[1e-9, 1e-9]])
    told = LTE(largest_scale=2.0).clip_cell(cell, size)
    np.testing.assert_allclose(told, [[1 / 8, 1 / 10]], rtol=1e-6)


@pytest.mark.parametrize("variant", ["lte", "lte-fast"])
def test_parameters_are_as_many_as_in_the_official_model(variant):
    shapes = init_shapes(build(fields_of(variant)))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 1_714_243


def test_an_odd_number_of_channels_is_refused():
    with pytest.raises(InputError, match="hidden = 7"):
        build({**fields_of("lte"), "hidden": 7})


def test_gradients_reach_every_parameter():
    model = build({**fields_of("lte"), **TINY})
    variables = draw_like(init_shapes(model))
    inputs = example(SIZE)
    loss = lambda v: jnp.square(model.apply(v, *inputs)[0]).mean()  # noqa: E731
    grads = jax.tree.leaves_with_path(jax.jit(jax.grad(loss))(variables))
    assert [path for path, grad in grads if not np.abs(grad).max() > 0] == []


@pytest.mark.parametrize("variant", ["lte", "lte-fast"])
def test_fields_and_weights_come_back_from_a_state_dict(variant):
    fields = {**fields_of(variant), **TINY}
    state = official_state(fields)
    told = lte.fields_from(state)
    assert told == {"widths": ()} | {k: fields[k] for k in (*TINY, "layout")}
    made = convert(state, fields)["params"]
    np.testing.assert_array_equal(made["phase"]["kernel"], state["phase.weight"].T)
    key = "layers.4.weight" if variant == "lte-fast" else "imnet.layers.4.weight"
    last = state[key].reshape(3, 8).T
    np.testing.assert_array_equal(made["output"]["kernel"], last)


@pytest.mark.parametrize("key", ["encoder.head.0", "coef", "imnet.layers.0"])
def test_a_state_dict_of_another_model_is_refused(key):
    state = official_state({**fields_of("lte"), **TINY})
    del state[f"{key}.weight"]
    with pytest.raises(InputError, match=f"{key}.weight is missing"):
        lte.fields_from(state)
