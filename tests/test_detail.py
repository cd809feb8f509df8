"""Laws of the detail filters: what they do to a constant, and their low-pass taps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dear_jax.models.dear.detail import DetailFilters, high_pass_kernels

HEIGHT, WIDTH, CHANNELS = 4, 5, 4


@pytest.fixture(scope="module")
def guide():
    """G [1, H, W, 3], strong enough for clearly uneven taps."""
    rng = np.random.default_rng(0)
    return rng.normal(0, 2, (1, HEIGHT, WIDTH, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def valid():
    """A photo of 3 x 4 in an array of 4 x 5."""
    valid = np.zeros((1, HEIGHT, WIDTH, 1), np.float32)
    valid[:, :3, :4] = 1
    return valid


@pytest.fixture(scope="module")
def sharpen(guide, draw_params):
    """A function (z, valid, **fields of DetailFilters) -> sharpened z."""

    def apply(z, valid=None, **fields):
        module = DetailFilters(**fields)
        params = draw_params(module, z, guide)
        return jax.jit(module.apply)(params, z, guide, valid)

    return apply


def low_pass_matrix(sharpen, valid=None, **fields):
    """L [H, W, C, H, W, C] of z + (1 - L) z, read off the layer's derivative."""
    z = jnp.ones((1, HEIGHT, WIDTH, CHANNELS))
    derivative = jax.jacobian(lambda z: sharpen(z, valid, **fields))(z)
    size = HEIGHT * WIDTH * CHANNELS
    matrix = 2 * np.eye(size) - np.asarray(derivative).reshape(size, size)
    return matrix.reshape(HEIGHT, WIDTH, CHANNELS, HEIGHT, WIDTH, CHANNELS)


def constant():
    """A constant embedding, channels 1, 2, 3 ..., and Z of that."""
    channels = np.arange(1, CHANNELS + 1, dtype=np.float32)
    return np.broadcast_to(channels, (1, HEIGHT, WIDTH, CHANNELS))


@pytest.mark.parametrize("groups", [0, 2, 1])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_impulse_high_pass_answers_a_constant_with_zero(sharpen, kernel_size, groups):
    z = constant()
    response = sharpen(z, kernel_size=kernel_size, groups=groups) - z
    np.testing.assert_allclose(response, 0, atol=1e-5)


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_ones_high_pass_answers_a_constant_with_all_taps_but_one(sharpen, kernel_size):
    z = constant()
    response = sharpen(z, kernel_size=kernel_size, high_pass="ones") - z
    np.testing.assert_allclose(response, (kernel_size**2 - 1) * z, rtol=1e-5)


def test_high_pass_changes_an_embedding_that_varies(sharpen):
    z = np.random.default_rng(1).normal(size=(1, HEIGHT, WIDTH, CHANNELS))
    z = z.astype(np.float32)
    assert np.abs(sharpen(z) - z).mean() > 0.1


@pytest.mark.parametrize("groups", [0, 2])
def test_low_pass_taps_are_a_weighted_mean_of_the_window(sharpen, groups):
    taps = low_pass_matrix(sharpen, groups=groups)
    assert taps.min() > -1e-6
    np.testing.assert_allclose(taps.sum(axis=(3, 4, 5)), 1, atol=1e-5)
    # Of the own channel and the own window only.
    for y, x, c in np.ndindex(HEIGHT, WIDTH, CHANNELS):
        window = taps[y, x, c, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2, c]
        np.testing.assert_allclose(window.sum(), 1, atol=1e-5)


def test_each_group_of_channels_shares_its_taps(sharpen):
    taps = low_pass_matrix(sharpen, groups=2)
    own = np.stack([taps[:, :, c, :, :, c] for c in range(CHANNELS)])
    np.testing.assert_allclose(own[0], own[1], atol=1e-6)
    np.testing.assert_allclose(own[2], own[3], atol=1e-6)
    assert np.abs(own[1] - own[2]).max() > 0.1


def test_taps_outside_the_photo_have_no_weight(sharpen, valid):
    taps = low_pass_matrix(sharpen, valid)[:3, :4]
    assert taps[:, :, :, 3:].max() == 0
    assert taps[:, :, :, :, 4:].max() == 0
    np.testing.assert_allclose(taps.sum(axis=(3, 4, 5)), 1, atol=1e-5)


def test_what_is_outside_the_photo_cannot_change_it(sharpen, valid):
    z = np.random.default_rng(1).normal(size=(1, HEIGHT, WIDTH, CHANNELS))
    z = z.astype(np.float32)
    junk = np.where(valid > 0, z, 100).astype(np.float32)
    inside, changed = sharpen(z, valid), sharpen(junk, valid)
    np.testing.assert_array_equal(inside[:, :3, :4], changed[:, :3, :4])


def test_the_border_of_a_photo_answers_a_constant_with_zero(sharpen, valid):
    z = constant() * valid
    response = sharpen(z, valid) - z
    np.testing.assert_allclose(response[:, :3, :4], 0, atol=1e-5)


def test_high_pass_and_low_pass_add_up_to_the_whole():
    low = np.random.default_rng(2).random((2, 9, 3)).astype(np.float32)
    impulse = np.zeros((2, 9, 3))
    impulse[:, 4] = 1
    for kind, whole in (("impulse", impulse), ("ones", np.ones((2, 9, 3)))):
        found = high_pass_kernels(jnp.asarray(low), kind) + low
        np.testing.assert_allclose(found, whole, atol=1e-6)
