"""Laws of LIIF: its switches, parameter count."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rounding import assert_close
from tiny import draw_like, example, query_methods

from dear_jax.convert import convert_state, liif
from dear_jax.errors import InputError
from dear_jax.models.dear.coordinates import pixel_centres
from dear_jax.models.edsr import EDSR
from dear_jax.models.registry import build, fields_of, init_shapes

TINY = {"width": 4, "blocks": 1, "decoder_width": 8, "decoder_layers": 2}
SIZE = (5, 6)
# Head, block, end of the body, the decoder's first; two more and the mean of pixels.
ENCODER, DECODER = 5, 3


def tiny(**changes):
    """Variables, encode(image, mask) and decode(features, queries, cell, size)."""
    return query_methods({**fields_of("liif"), **TINY, **changes})


@pytest.fixture(scope="module")
def plain():
    return tiny()


def official_state(fields, seed=0):
    """A state_dict of random values, of the official shapes."""
    rng = np.random.default_rng(seed)
    shapes = init_shapes(build(fields))["params"]
    state = {}
    for key, targets in liif.mapping(fields).items():
        if isinstance(targets, str):
            continue
        leaf = shapes
        for part in targets[0].path.split("/")[1:]:
            leaf = leaf[part]
        shape = leaf.shape[::-1]
        if len(targets) == 2:
            shape = (shape[0], liif._inputs(fields))
        state[key] = rng.normal(size=shape).astype(np.float32)
    return state


def convert(state, fields):
    return convert_state(state, fields)[0]


def test_chunks_of_queries_are_the_whole(plain):
    _, encode, decode = plain
    image, mask, queries, cell = example(SIZE)
    features = encode(image, mask)
    whole = decode(features, queries, cell)
    chunks = [
        decode(features, queries[:, i : i + 10], cell[:, i : i + 10])
        for i in range(0, queries.shape[1], 10)
    ]
    assert_close(np.concatenate(chunks, axis=1), whole, DECODER)


@pytest.mark.parametrize("changes", [{}, {"pixel_scale": 3}])
def test_features_in_larger_arrays_answer_alike(changes):
    _, encode, decode = tiny(**changes)
    image, mask, queries, cell = example(SIZE)
    queries[0, :2] = [[1, 1], [0.99, 0.99]]
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


def test_padding_does_not_reach_pixels_far_from_it():
    _, encode, _ = tiny()
    image, mask, _, _ = example((16, 16))
    image[:, 12:] = mask[:, 12:] = 1
    valid = np.ones_like(mask)
    valid[:, 12:] = 0
    padded = encode(image, mask, valid).projection
    alone = encode(image[:, :12], mask[:, :12]).projection
    reach = 2 * TINY["blocks"] + 2
    assert_close(padded[:, : 12 - reach], alone[:, : 12 - reach], ENCODER)


def test_without_ensemble_the_colour_depends_on_one_pixel():
    _, encode, decode = tiny(local_ensemble=False, feature_unfold=False)
    image, mask, _, cell = example(SIZE)
    features = encode(image, mask)
    query = np.float32([[[0.31, 0.27]]])
    row, column = np.rint(((query[0, 0] + 1) * SIZE - 1) / 2).astype(int)
    others = np.full_like(features.projection, np.nan)
    others[0, row, column] = features.projection[0, row, column]
    alone = decode(features._replace(projection=others), query, cell[:, :1])
    whole = decode(features, query, cell[:, :1])
    np.testing.assert_array_equal(alone, whole)
    assert np.isfinite(whole).all()


def test_the_cell_matters_to_cell_decode_only(plain):
    for changes, matters in (({}, True), ({"cell_decode": False}, False)):
        _, encode, decode = tiny(**changes)
        image, mask, queries, cell = example(SIZE)
        features = encode(image, mask)
        one, other = (decode(features, queries, cell * k) for k in (1, 2))
        assert np.any(one != other) == matters


def test_pixel_scale_reads_edsrs_pixels_and_0_outside():
    variables, encode, decode = tiny(pixel_scale=2)
    image, _, _, _ = example(SIZE)
    features = encode(image, np.zeros_like(image[..., :1]))
    edsr = EDSR(4, 1, scale=2)
    expected = edsr.apply({"params": variables["params"]["encoder"]}, 2 * image - 1)
    target = (2 * SIZE[0], 2 * SIZE[1])
    found = decode(features, pixel_centres(target).reshape(1, -1, 2))
    np.testing.assert_allclose(found.reshape(1, *target, 3), expected, atol=1e-5)
    # Position n - 0.5 is rounded to even n, one beyond the last pixel.
    edge = decode(features, jnp.asarray([[[1.0, 1.0]]]))
    np.testing.assert_array_equal(edge, np.zeros((1, 1, 3)))


def test_parameters_are_as_many_as_in_the_official_model():
    shapes = init_shapes(build(fields_of("liif")))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 1_567_299


@pytest.mark.parametrize("changes", [{}, {"cell_decode": False}, {"pixel_scale": 2}])
def test_gradients_reach_every_parameter(changes):
    model = build({**fields_of("liif"), **TINY, **changes})
    variables = draw_like(init_shapes(model))
    inputs = example(SIZE)
    loss = lambda v: jnp.square(model.apply(v, *inputs)[0]).mean()  # noqa: E731
    grads = jax.tree.leaves_with_path(jax.jit(jax.grad(loss))(variables))
    assert [path for path, grad in grads if not np.abs(grad).max() > 0] == []


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"feature_unfold": False},
        {"cell_decode": False},
        {"feature_unfold": False, "cell_decode": False, "decoder_layers": 1},
        {"pixel_scale": 4},
    ],
)
def test_fields_and_weights_come_back_from_a_state_dict(changes):
    fields = {**fields_of("liif"), **TINY, **changes}
    state = official_state(fields)
    told = liif.fields_from(state)
    assert told.items() <= fields.items()
    made = convert(state, {**fields, **told})
    jax.tree.map(
        lambda x, y: np.testing.assert_equal(x.shape, y.shape),
        made,
        init_shapes(build(fields)),
    )


def test_the_first_layer_is_split_into_unfolded_features_and_the_rest():
    fields = {**fields_of("liif"), **TINY}
    state = official_state(fields)
    made = convert(state, fields)["params"]["decoder"]
    unfolded = np.random.default_rng(1).normal(size=(4, 3, 3))
    rest = np.random.default_rng(2).normal(size=4)
    x = np.concatenate([unfolded.reshape(-1), rest])  # Index c * 9 + ky * 3 + kx.
    found = np.einsum("cyx,yxco->o", unfolded, made["pixel_part"]["kernel"])
    found += rest @ made["relative_part"]["kernel"]
    np.testing.assert_allclose(found, state["imnet.layers.0.weight"] @ x, atol=1e-5)


def test_another_first_layer_is_refused():
    fields = {**fields_of("liif"), **TINY}
    state = official_state(fields)
    with pytest.raises(InputError, match="40 inputs, should have 38"):
        convert(state, {**fields, "cell_decode": False})
    state["imnet.layers.0.weight"] = np.zeros((8, 41))
    with pytest.raises(InputError, match="41 inputs; .* has 6, 8, 38, 40"):
        liif.fields_from(state)
    del state["imnet.layers.0.weight"]
    with pytest.raises(InputError, match="imnet.layers.0.weight is missing"):
        liif.fields_from(state)
