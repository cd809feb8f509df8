"""Laws of LaMa: what it depends on, its sizes and where official tensors go."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rounding import assert_close
from tiny import draw_like, example

from dear_jax.convert import lama, rules
from dear_jax.errors import InputError
from dear_jax.models.lama import FourierConv, LaMa, SpectralTransform, Upward
from dear_jax.models.layers import reflect_pad
from dear_jax.models.registry import build, fields_of, init_shapes

TINY = {"architecture": "lama", "width": 4, "blocks": 1}


@functools.cache
def tiny(**changes):
    """(Variables none of which is zero, compiled apply) of the smallest LaMa."""
    model = build({**TINY, **changes})
    return drawn(init_shapes(model)), jax.jit(model.apply)


def drawn(shapes):
    """As `draw_like`, but batch norms keep the size of their input."""
    return jax.tree.map_with_path(
        lambda path, leaf: 1 + leaf if path[-1].key == "scale" else leaf,
        draw_like(shapes),
    )


def photo(size=(16, 24), batch=1, ratio=0.4):
    image, mask, _, _ = example(size, ratio, batch)
    return image, mask


def official_state(fields):
    """A state_dict of the shapes that the authors' code gives a model of our fields."""
    variables = init_shapes(build({"architecture": "lama", **fields}))
    state = {}
    for key, rule in lama.mapping(fields).items():
        if isinstance(rule, str):
            state[key] = np.zeros(())
            continue
        ((path, layout),) = rule
        leaf = functools.reduce(
            lambda tree, part: tree[part], path.split("/"), variables
        )
        array = np.zeros(leaf.shape, np.float32)
        if layout is rules.conv:
            array = array.transpose(3, 2, 0, 1)
        elif layout is rules.transposed_conv:
            array = array.transpose(2, 3, 0, 1)
        state[key] = array
    return state


@pytest.mark.parametrize(
    "variant, parameters, buffers, tensors",
    [("lama-fourier", 27_048_835, 42_064, 521), ("big-lama", 50_975_875, 81_304, 989)],
)
def test_released_models_have_the_parameters_and_tensors_that_they_should(
    variant, parameters, buffers, tensors
):
    fields = fields_of(variant)
    mapping = lama.mapping(fields)
    counters = sum(isinstance(rule, str) for rule in mapping.values())
    sizes = {
        kind: sum(leaf.size for leaf in jax.tree.leaves(tree))
        for kind, tree in init_shapes(build(fields)).items()
    }
    assert sizes == {"params": parameters, "batch_stats": buffers - counters}
    assert len(mapping) == tensors


def test_what_is_under_the_mask_cannot_change_a_bit():
    variables, apply = tiny()
    image, mask = photo()
    other = np.where(mask > 0, np.nan, image).astype(np.float32)
    found, expected = apply(variables, other, mask), apply(variables, image, mask)
    assert np.isfinite(expected).all() and np.std(expected) > 1e-3
    np.testing.assert_array_equal(found, expected)


def test_known_pixels_and_the_mask_matter():
    variables, apply = tiny()
    image, mask = photo()
    expected = apply(variables, image, mask)
    for change in ((image * 0.9, mask), (image * (1 - mask), np.zeros_like(mask))):
        assert np.abs(apply(variables, *change) - expected).max() > 1e-5


def test_photos_of_a_batch_do_not_see_each_other():
    variables, apply = tiny()
    image, mask = photo(batch=2)
    together = apply(variables, image, mask)
    for i in range(2):
        alone = apply(variables, image[i : i + 1], mask[i : i + 1])
        assert_close(together[i : i + 1], alone, layers=12)


@pytest.mark.parametrize("size", [(8, 8), (8, 16), (24, 8)])
def test_small_and_oblong_photos_stay_their_size(size):
    variables, apply = tiny()
    found = apply(variables, *photo(size))
    assert found.shape == (1, *size, 3)
    assert ((found > 0) & (found < 1)).all()


def test_training_moves_every_parameter_and_statistic():
    variables, _ = tiny()
    image, mask = photo((16, 16), batch=2)

    def loss(params):
        output, changed = build(TINY).apply(
            {**variables, "params": params}, image, mask, True, mutable=["batch_stats"]
        )
        return jnp.sum((output - image) ** 2), changed["batch_stats"]

    gradients, statistics = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    for path, gradient in jax.tree.leaves_with_path(gradients):
        # A batch norm takes away what a bias before it adds.
        if "up_" not in str(path) or "bias" not in str(path) or "norm" in str(path):
            assert np.abs(gradient).max() > 1e-6, path
    moved = jax.tree.map(
        lambda old, new: np.abs(new - old).max() > 1e-6,
        variables["batch_stats"],
        statistics,
    )
    assert all(jax.tree.leaves(moved))


def test_fourier_convolutions_are_the_sums_of_their_paths():
    rng = np.random.default_rng(0)
    x, y = (rng.normal(size=(2, 5, 6, c)).astype(np.float32) for c in (3, 4))
    module = FourierConv(5, 6)
    variables = draw_like(jax.eval_shape(module.init, jax.random.key(0), x, y))
    conv = functools.partial(
        jax.lax.conv_general_dilated,
        window_strides=(1, 1),
        padding="VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    kernel = {name: tree.get("kernel") for name, tree in variables["params"].items()}
    spectral = {kind: tree["spectral"] for kind, tree in variables.items()}
    near, far = (reflect_pad(jnp.asarray(part), 1) for part in (x, y))
    sums = {
        "local": conv(near, kernel["local_to_local"])
        + conv(far, kernel["global_to_local"]),
        "global": conv(near, kernel["local_to_global"])
        + SpectralTransform(6).apply(spectral, y),
    }
    found = module.apply(variables, x, y)
    for output, (part, total) in zip(found, sums.items(), strict=True):
        name = f"norm_{part}"
        scale, bias = (variables["params"][name][k] for k in ("scale", "bias"))
        mean, var = (variables["batch_stats"][name][k] for k in ("mean", "var"))
        expected = (np.asarray(total) - mean) / np.sqrt(var + 1e-5) * scale + bias
        np.testing.assert_allclose(output, np.maximum(expected, 0), atol=1e-5)


def test_upward_spreads_pixels_as_pytorchs_transposed_convolution_does():
    """Official kernels [I, O, 3, 3]: out[2 y - 1 + i] += kernel[i] x[y]."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1, 3, 4, 2)).astype(np.float32)
    official = rng.normal(size=(2, 5, 3, 3)).astype(np.float32)
    expected = np.zeros((1, 6, 8, 5))
    for y, column, i, j in np.ndindex(3, 4, 3, 3):
        row, place = 2 * y - 1 + i, 2 * column - 1 + j
        if 0 <= row < 6 and 0 <= place < 8:
            expected[:, row, place] += x[:, y, column] @ official[:, :, i, j]
    module = Upward(5)
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)
    variables = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)
    variables["params"]["conv"]["kernel"] = rules.transposed_conv(official)
    variables["params"]["norm"]["scale"] += 1
    variables["batch_stats"]["norm"]["var"] += 1 - 1e-5
    found = module.apply(variables, x)
    np.testing.assert_allclose(found, np.maximum(expected, 0), atol=1e-5)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"blocks": 3, "width": 6},
        {"downsamplings": 2, "global_ratio": 0.5},
        {"largest_width": 16},
        {"largest_width": 2048, "width": 256, "blocks": 1},
    ],
)
def test_tensors_tell_every_field(changes):
    fields = {**fields_of("lama-fourier"), **TINY, **changes}
    del fields["architecture"]
    state = official_state(fields)
    assert lama.fields_from(state) == fields
    model = build({"architecture": "lama", **fields})
    shapes = init_shapes(model)
    made = rules.convert(state, lama.mapping(fields), shapes)
    assert jax.tree.map(np.shape, made) == jax.tree.map(np.shape, shapes)


@pytest.mark.parametrize("layer", ["model.1.ffc.convl2l", "model.4.ffc.convl2g"])
def test_a_state_without_the_telling_tensors_is_refused(layer):
    fields = {**fields_of("lama-fourier"), **TINY}
    state = official_state({k: v for k, v in fields.items() if k != "architecture"})
    del state[f"{layer}.weight"]
    with pytest.raises(InputError, match="not a LaMa generator"):
        lama.fields_from(state)


@pytest.mark.parametrize("ratio", [0.0, 0.01, 1.0])
def test_a_share_that_leaves_a_part_empty_is_refused(ratio):
    with pytest.raises(InputError, match="global_ratio"):
        LaMa(width=4, global_ratio=ratio).check()


def test_sizes_are_multiples_of_what_the_downsamplings_halve():
    assert LaMa().multiple == 8
    assert LaMa(downsamplings=2).multiple == 4
