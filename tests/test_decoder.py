"""Laws of the implicit decoder: the plain MLP of Eq. 1, 2, continuous everywhere."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rounding import assert_close

from dear_jax.models.dear.coordinates import pixel_centres
from dear_jax.models.dear.decoder import ImplicitDecoder

HEIGHT, WIDTH, CHANNELS = 5, 6, 9
GRID = (14, 18)
# The first, three hidden ones, the output and the mean of four pixels.
LAYERS = 6


@pytest.fixture(scope="module")
def features():
    """[F, E, W] of a photo, [1, H, W, 9]."""
    rng = np.random.default_rng(0)
    return rng.normal(size=(1, HEIGHT, WIDTH, CHANNELS)).astype(np.float32)


@pytest.fixture(scope="module")
def queries():
    """A grid of targets, x 2.8 and x 3, [1, h w, 2]."""
    return pixel_centres(GRID).reshape(1, -1, 2)


@pytest.fixture(scope="module")
def decoder(features, queries, draw_params):
    """A function (**fields) -> (parameters, decode(queries, cell, size) -> colours)."""

    def build(**fields):
        module = ImplicitDecoder(**{"width": 16, "hidden_layers": 3, **fields})

        def run(module, features, coordinates, cell=None, size=None):
            return module(module.project(features), coordinates, cell, size)

        params = draw_params(module, features, queries, queries, method=run)

        compiled = jax.jit(functools.partial(module.apply, method=run))

        def decode(coordinates, cell=None, size=None, features=features):
            return np.asarray(compiled(params, features, coordinates, cell, size))

        return params["params"], decode

    return build


@pytest.fixture(scope="module")
def plain(decoder):
    return decoder()


def first_layer(params, x):
    """The first layer and its ReLU on inputs [..., 9 + 2]."""
    first = [params["pixel_part"]["kernel"][0, 0], params["relative_part"]["kernel"]]
    return np.maximum(x @ np.concatenate(first) + params["pixel_part"]["bias"], 0)


def later_layers(params, x):
    for name in sorted(k for k in params if k.startswith("hidden")):
        x = np.maximum(x @ params[name]["kernel"] + params[name]["bias"], 0)
    return x @ params["output"]["kernel"] + params["output"]["bias"]


def mlp(params, x):
    """The network: one dense layer after the other."""
    return later_layers(params, first_layer(params, x))


def neighbours_of(features, query):
    """Area, and [F, E, W, q - p], of each of the four pixels around a query."""
    size = np.array([HEIGHT, WIDTH])
    position = ((query.astype(np.float64) + 1) * size - 1) / 2
    for step in np.ndindex(2, 2):
        pixel = np.floor(position) + step
        area = np.prod(1 - np.abs(position - pixel))
        row, column = np.clip(pixel, 0, size - 1).astype(int)
        relative = 2 * (position - (row, column))
        yield area, np.concatenate([features[0, row, column], relative])


def decode_by_loops(params, features, coordinates):
    """Eq. 1 and 2, query by query: areas, and an MLP on [F, E, W, q - p]."""
    colours = [
        sum(area * mlp(params, x) for area, x in neighbours_of(features, query))
        for query in coordinates[0]
    ]
    return np.array(colours)[None]


def test_decoding_is_the_plain_mlp_on_concatenated_features(features, queries, plain):
    params, decode = plain
    expected = decode_by_loops(params, features, queries)
    np.testing.assert_allclose(decode(queries), expected, atol=2e-5)


def test_at_a_pixel_centre_the_colour_is_that_pixels_own(features, plain):
    params, decode = plain
    centres = pixel_centres((HEIGHT, WIDTH)).reshape(1, -1, 2)
    x = features.reshape(1, -1, CHANNELS)
    expected = mlp(params, np.concatenate([x, np.zeros_like(centres)], axis=-1))
    np.testing.assert_allclose(decode(centres), expected, atol=2e-5)


@pytest.mark.parametrize("axis", [0, 1])
def test_decoding_is_continuous_across_cells_and_the_outer_half_pixel(plain, axis):
    _, decode = plain
    count = (HEIGHT, WIDTH)[axis]
    # Cells of Eq. 2 meet at pixel centres, LIIF's at the edges between pixels.
    places = np.concatenate([np.arange(1, 2 * count), [0.5, 2 * count - 0.5]])
    across = np.random.default_rng(1).uniform(-1, 1, 8)
    queries = np.zeros((len(places), len(across), 2))
    queries[..., axis] = (places / count - 1)[:, None]
    queries[..., 1 - axis] = across
    step = np.zeros(2)
    step[axis] = 1e-6
    before, after, further = (
        decode((queries + d).reshape(1, -1, 2).astype(np.float32))
        for d in (-step, step, 1e5 * step)
    )
    np.testing.assert_allclose(before, after, atol=1e-4)
    assert np.abs(further - before).mean() > 1e-2


def test_the_order_and_number_of_queries_are_irrelevant(queries, plain):
    _, decode = plain
    whole = decode(queries)
    order = np.random.default_rng(2).permutation(queries.shape[1])
    assert_close(decode(queries[:, order]), whole[:, order], LAYERS)
    pieces = [decode(queries[:, i : i + 100]) for i in range(0, queries.shape[1], 100)]
    assert_close(np.concatenate(pieces, axis=1), whole, LAYERS)


def test_a_crop_of_the_grid_is_the_crop_of_the_output(queries, plain):
    _, decode = plain
    whole = decode(queries).reshape(*GRID, 3)
    crop = queries.reshape(*GRID, 2)[4:11, 7:18].reshape(1, -1, 2)
    found = decode(crop).reshape(7, 11, 3)
    assert_close(found, whole[4:11, 7:18], LAYERS)


def test_blended_hidden_layers_are_the_mean_of_what_the_neighbours_first_give(
    features, queries, decoder
):
    params, decode = decoder(blend="hidden")
    answers = []
    for query in queries[0]:
        around = neighbours_of(features, query)
        hidden = sum(area * first_layer(params, x) for area, x in around)
        answers.append(later_layers(params, hidden))
    np.testing.assert_allclose(decode(queries)[0], answers, atol=2e-5)


@pytest.mark.parametrize("axis", [0, 1])
def test_blended_hidden_layers_are_continuous_too(decoder, axis):
    test_decoding_is_continuous_across_cells_and_the_outer_half_pixel(
        decoder(blend="hidden"), axis
    )


@pytest.mark.parametrize("rule", ["floor", "liif", "nearest"])
def test_a_photo_in_a_larger_array_is_decoded_alike(features, queries, decoder, rule):
    _, decode = decoder(rule=rule)
    pads = ((0, 0), (0, 3), (0, 2), (0, 0))
    larger = np.pad(features, pads, constant_values=9)
    size = jnp.asarray((HEIGHT, WIDTH))
    found = decode(queries, size=size, features=larger)
    assert_close(found, decode(queries), LAYERS)


def test_feature_unfold_is_a_dense_layer_on_3x3_features(features, draw_params):
    module = ImplicitDecoder(width=16, feature_unfold=True)
    params = draw_params(module, features, method="project")
    layer = params["params"]["pixel_part"]
    padded = np.pad(features, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = [
        padded[:, i : i + HEIGHT, j : j + WIDTH] for i in range(3) for j in range(3)
    ]
    kernel = layer["kernel"].reshape(9 * CHANNELS, 16)
    expected = np.concatenate(windows, axis=-1) @ kernel + layer["bias"]
    found = module.apply(params, features, method="project")
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_unfolding_in_a_larger_array_of_zeros_is_the_same(features, draw_params):
    module = ImplicitDecoder(width=16, feature_unfold=True)
    params = draw_params(module, features, method="project")
    larger = np.pad(features, ((0, 0), (0, 3), (0, 2), (0, 0)))
    found = module.apply(params, larger, method="project")[:, :HEIGHT, :WIDTH]
    expected = module.apply(params, features, method="project")
    assert_close(found, expected)


def test_the_nearest_rule_is_the_mlp_on_the_nearest_pixel(features, queries, decoder):
    params, decode = decoder(rule="nearest")
    size = np.array([HEIGHT, WIDTH])
    position = ((queries[0] + 1) * size - 1) / 2
    index = np.clip(np.rint(position), 0, size - 1).astype(int)
    x = np.concatenate([features[0][tuple(index.T)], 2 * (position - index)], axis=-1)
    np.testing.assert_allclose(decode(queries)[0], mlp(params, x), atol=2e-5)


def test_liifs_and_our_rule_agree_inside_the_photo(queries, decoder):
    _, ours = decoder()
    _, liifs = decoder(rule="liif")
    near = np.all(np.abs(queries) < 1 - 1 / HEIGHT, axis=-1)
    np.testing.assert_allclose(ours(queries)[near], liifs(queries)[near], atol=1e-4)


def test_torchs_initialisation_is_that_of_the_undivided_first_layer(queries):
    module = ImplicitDecoder(
        width=64, cell_decode=True, feature_unfold=True, torch_channels=CHANNELS
    )

    @jax.jit
    def init(key):
        features = jnp.zeros((1, HEIGHT, WIDTH, CHANNELS))
        return module.init(key, features, queries, queries, method=run)

    def run(module, features, coordinates, cell):
        return module(module.project(features), coordinates, cell)

    params = init(jax.random.key(0))["params"]
    limits = {
        "pixel_part": (9 * CHANNELS + 4) ** -0.5,
        "relative_part": (9 * CHANNELS + 4) ** -0.5,
        "hidden_0": 1 / 8,
        "output": 1 / 8,
    }
    for name, limit in limits.items():
        for leaf in jax.tree.leaves(params[name]):
            largest = np.abs(leaf).max() / limit
            # Of n draws the largest is short of the limit by 1 / n on average.
            assert 1 - 10 / leaf.size < largest <= 1


def test_three_hidden_layers_have_one_layer_less_than_four(decoder):
    three, four = (
        sum(leaf.size for leaf in jax.tree.leaves(decoder(hidden_layers=n)[0]))
        for n in (3, 4)
    )
    assert four - three == 16 * 16 + 16


def test_cell_decode_sees_the_size_of_the_target_pixel_in_pixels(queries, decoder):
    params, decode = decoder(cell_decode=True)
    assert params["relative_part"]["kernel"].shape == (4, 16)
    small, large = (np.full_like(queries, cell) for cell in (0.05, 0.2))
    assert np.abs(decode(queries, large) - decode(queries, small)).mean() > 1e-2
    _, without = decoder()
    np.testing.assert_array_equal(without(queries, large), without(queries, small))


def test_zero_output_starts_at_zero(features, queries):
    module = ImplicitDecoder(width=4, hidden_layers=1, zero_output=True)
    projection = np.ones((1, HEIGHT, WIDTH, 4), np.float32)
    params = module.init(jax.random.key(0), projection, queries)
    assert not np.any(module.apply(params, projection, queries))
