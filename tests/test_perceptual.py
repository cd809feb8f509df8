"""AlexNet's and VGG16's features, with random weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rounding import assert_close

from dear_jax.errors import InputError
from dear_jax.models.lpips import (
    CONVOLUTIONS,
    SMALLEST,
    Features,
    imagenet_normalised,
)
from dear_jax.models.registry import fields_of
from dear_jax.weights import Weights, read_vgg16, write_weights

VGG16, ALEXNET = Features("vgg16"), Features("alexnet")
IMAGE = jnp.asarray(np.random.default_rng(0).random((1, 19, 33, 3)), jnp.float32)
LARGER = jnp.asarray(np.random.default_rng(0).random((1, 38, 47, 3)), jnp.float32)


def activations(network):
    return tuple(layer.activation for layer in CONVOLUTIONS[network])


@pytest.fixture(scope="module")
def variables(draw_params):
    return draw_params(VGG16, IMAGE)


@pytest.fixture(scope="module")
def maps(variables):
    return VGG16.apply(variables, IMAGE)


@pytest.fixture(scope="module")
def alexnets(draw_params):
    """Parameters of AlexNet, and its activations."""
    variables = draw_params(ALEXNET, LARGER)
    return variables, ALEXNET.apply(variables, LARGER)


def test_parameters_are_those_of_vgg16_without_its_dense_layers(variables):
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 14_714_688
    names = {layer.name for layer in CONVOLUTIONS["vgg16"]}
    assert variables["params"].keys() == names and len(names) == 13


def test_parameters_are_those_of_alexnet_without_its_dense_layers(alexnets):
    variables, _ = alexnets
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 2_469_696
    assert variables["params"].keys() == {f"conv{i}" for i in range(1, 6)}


def test_activations_halve_with_every_block_and_are_finite(maps):
    assert tuple(maps) == activations("vgg16")
    for name, channels, size in [
        ("relu1_2", 64, (19, 33)), ("relu2_2", 128, (9, 16)), ("relu3_3", 256, (4, 8)),
        ("relu4_3", 512, (2, 4)), ("relu5_3", 512, (1, 2)),
    ]:  # fmt: skip
        assert maps[name].shape == (1, *size, channels)
        assert np.isfinite(maps[name]).all() and maps[name].max() > 0
        assert maps[name].min() == 0


def test_alexnets_activations_have_the_sizes_it_says(alexnets):
    _, maps = alexnets
    assert tuple(maps) == activations("alexnet")
    for name, channels, size in [
        ("relu1", 64, (8, 11)), ("relu2", 192, (3, 5)), ("relu3", 384, (1, 2)),
        ("relu4", 256, (1, 2)), ("relu5", 256, (1, 2)),
    ]:  # fmt: skip
        assert maps[name].shape == (1, *size, channels)
        assert np.isfinite(maps[name]).all() and maps[name].max() > 0
        assert maps[name].min() == 0


@pytest.mark.parametrize("network", ["alexnet", "vgg16"])
def test_the_smallest_side_reaches_the_last_layer_and_one_less_does_not(network):
    module = Features(network)

    def last(side):
        shape = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
        maps = jax.eval_shape(
            lambda x: module.init_with_output(jax.random.key(0), x)[0], shape
        )
        return maps[activations(network)[-1]].shape[1:3]

    assert last(SMALLEST[network]) == (1, 1)
    assert last(SMALLEST[network] - 1) == (0, 0)


def test_named_layers_come_in_the_order_asked_for_and_unchanged(variables, maps):
    some = VGG16.apply(variables, IMAGE, ("relu3_1", "relu1_2"))
    assert tuple(some) == ("relu3_1", "relu1_2")
    for name, value in some.items():
        np.testing.assert_array_equal(value, maps[name])


def test_a_layer_that_does_not_exist_is_refused(variables, alexnets):
    with pytest.raises(ValueError, match="relu3_4"):
        VGG16.apply(variables, IMAGE, ("relu1_1", "relu3_4"))
    with pytest.raises(ValueError, match="relu6"):
        ALEXNET.apply(alexnets[0], LARGER, ("relu6",))


def test_an_activation_is_the_maximum_pooled_and_convolved_one_before(variables, maps):
    before = np.asarray(maps["relu1_2"])[:, :18, :32]
    pooled = before.reshape(1, 9, 2, 16, 2, 64).max((2, 4))
    layer = variables["params"]["conv2_1"]
    window = pooled[0, 3:6, 6:9]
    expected = np.einsum("yxc,yxcd->d", window, layer["kernel"]) + layer["bias"]
    got = np.asarray(maps["relu2_1"])[0, 4, 7]
    np.testing.assert_allclose(got, np.maximum(expected, 0), atol=1e-4)


def test_alexnet_begins_with_windows_of_11_at_every_fourth_pixel(alexnets):
    variables, maps = alexnets
    layer = variables["params"]["conv1"]
    # The window around output (2, 3) begins two pixels before input (8, 12).
    window = np.asarray(LARGER)[0, 6:17, 10:21]
    expected = np.einsum("yxc,yxcd->d", window, layer["kernel"]) + layer["bias"]
    got = np.asarray(maps["relu1"])[0, 2, 3]
    np.testing.assert_allclose(got, np.maximum(expected, 0), atol=1e-4)


def test_imagenets_mean_is_normalised_to_zero():
    mean = np.broadcast_to(np.float32([0.485, 0.456, 0.406]), (2, 3, 5, 3))
    # The mean, in units of the deviation, is about 2.
    assert_close(imagenet_normalised(mean), 0, size=2)
    above = imagenet_normalised(mean + np.float32([0.229, 0.224, 0.225]))
    assert_close(above, 1, size=3)


def test_training_reads_the_vgg16_of_a_file_of_lpips(tmp_path, variables):
    path = tmp_path / "lpips-vgg16.safetensors"
    heads = {f"head_{i}": np.ones(n) for i, n in enumerate((64, 128, 256, 512, 512), 1)}
    params = {"features": variables["params"], **heads}
    write_weights(path, Weights({"params": params}, fields_of("lpips-vgg16"), {}))
    found = read_vgg16(str(path))
    jax.tree.map(np.testing.assert_array_equal, found, variables["params"])


def test_missing_weights_are_named_with_the_remedy(tmp_path):
    with pytest.raises(
        InputError, match=r"config\.objective\.vgg16=.*none.*convert lpips-vgg16"
    ):
        read_vgg16(str(tmp_path / "none.safetensors"))
