"""VGG16's features, with random weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dear_jax.errors import InputError
from dear_jax.training.perceptual import (
    LAYERS,
    VGG16,
    imagenet_normalised,
    read_vgg16,
)

IMAGE = jnp.asarray(np.random.default_rng(0).random((1, 19, 33, 3)), jnp.float32)


@pytest.fixture(scope="module")
def variables(draw_params):
    return draw_params(VGG16(), IMAGE)


@pytest.fixture(scope="module")
def maps(variables):
    return VGG16().apply(variables, IMAGE)


def test_parameters_are_those_of_vgg16_without_its_dense_layers(variables):
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 14_714_688
    names = {name.replace("relu", "conv") for name in LAYERS}
    assert variables["params"].keys() == names and len(names) == 13


def test_activations_halve_with_every_block_and_are_finite(maps):
    assert tuple(maps) == LAYERS
    for name, channels, size in [
        ("relu1_2", 64, (19, 33)), ("relu2_2", 128, (9, 16)), ("relu3_3", 256, (4, 8)),
        ("relu4_3", 512, (2, 4)), ("relu5_3", 512, (1, 2)),
    ]:  # fmt: skip
        assert maps[name].shape == (1, *size, channels)
        assert np.isfinite(maps[name]).all() and maps[name].max() > 0
        assert maps[name].min() == 0


def test_named_layers_come_in_the_order_asked_for_and_unchanged(variables, maps):
    some = VGG16().apply(variables, IMAGE, ("relu3_1", "relu1_2"))
    assert tuple(some) == ("relu3_1", "relu1_2")
    for name, value in some.items():
        np.testing.assert_array_equal(value, maps[name])


def test_a_layer_that_does_not_exist_is_refused(variables):
    with pytest.raises(ValueError, match="relu3_4"):
        VGG16().apply(variables, IMAGE, ("relu1_1", "relu3_4"))


def test_an_activation_is_the_maximum_pooled_and_convolved_one_before(variables, maps):
    before = np.asarray(maps["relu1_2"])[:, :18, :32]
    pooled = before.reshape(1, 9, 2, 16, 2, 64).max((2, 4))
    layer = variables["params"]["conv2_1"]
    window = pooled[0, 3:6, 6:9]
    expected = np.einsum("yxc,yxcd->d", window, layer["kernel"]) + layer["bias"]
    got = np.asarray(maps["relu2_1"])[0, 4, 7]
    np.testing.assert_allclose(got, np.maximum(expected, 0), atol=1e-4)


def test_imagenets_mean_is_normalised_to_zero():
    mean = np.broadcast_to(np.float32([0.485, 0.456, 0.406]), (2, 3, 5, 3))
    np.testing.assert_allclose(imagenet_normalised(mean), 0, atol=1e-7)
    above = imagenet_normalised(mean + np.float32([0.229, 0.224, 0.225]))
    np.testing.assert_allclose(above, 1, atol=1e-6)


def test_missing_weights_are_named_with_the_remedy(tmp_path):
    with pytest.raises(InputError, match=r"config\.objective\.vgg16=.*none.*convert"):
        read_vgg16(str(tmp_path / "none.safetensors"))
