"""The terms of the losses, each against its formula."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rounding import assert_close

from dear_jax.training import losses

RNG = np.random.default_rng(0)


def uniform(*shape):
    return RNG.random(shape).astype(np.float32)


OUTPUT, TARGET = uniform(2, 32, 24, 3), uniform(2, 32, 24, 3)
MASK = (uniform(2, 32, 24, 1) < 0.3).astype(np.float32)


def test_l1_per_hole_is_l1_over_the_hole_ratio():
    expected = np.abs(OUTPUT - TARGET).mean() / MASK.mean()
    got = losses.l1_per_hole(OUTPUT, TARGET, MASK)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_l1_per_hole_of_a_batch_without_holes_is_finite():
    none = np.zeros_like(MASK)
    got = losses.l1_per_hole(OUTPUT, TARGET, none)
    expected = np.abs(OUTPUT - TARGET).mean() * none.size
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_weighted_l1_counts_known_pixels_only_where_holes_weigh_nothing():
    difference = np.abs(OUTPUT - TARGET) * (1 - MASK)
    got = losses.weighted_l1(OUTPUT, TARGET, MASK, 10.0, 0.0)
    np.testing.assert_allclose(got, 10 * difference.mean(), rtol=1e-5)
    other = np.where(MASK == 1, uniform(*OUTPUT.shape), OUTPUT)
    assert losses.weighted_l1(other, TARGET, MASK, 10.0, 0.0) == got


@pytest.mark.parametrize("label", [0, 1])
def test_cross_entropy_of_logits_equals_its_formula(label):
    logits = np.float32(RNG.normal(0, 3, (2, 4, 5, 1)))
    p = 1 / (1 + np.exp(-logits.astype(np.float64)))
    expected = -np.log(p if label else 1 - p).mean()
    got = losses.binary_cross_entropy(logits, label)
    np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_cross_entropy_and_its_gradient_stay_finite_for_a_sure_discriminator():
    logits = jnp.array([-1e4, 1e4]).reshape(1, 1, 2, 1)
    for label in (0, 1):
        value, gradient = jax.value_and_grad(losses.binary_cross_entropy)(logits, label)
        assert np.isfinite(value) and np.isfinite(gradient).all()


def test_known_patches_of_a_fake_count_as_real():
    logits = np.float32(RNG.normal(0, 2, (2, 5, 4, 1)))
    known, missing = np.zeros_like(MASK), np.ones_like(MASK)
    real = losses.binary_cross_entropy(logits, 1)
    fake = losses.binary_cross_entropy(logits, 0)
    assert_close(losses.masked_fake(logits, known), real)
    assert_close(losses.masked_fake(logits, missing), fake)
    half = np.concatenate([known[:1], missing[:1]])
    expected = (
        losses.binary_cross_entropy(logits[:1], 1)
        + losses.binary_cross_entropy(logits[1:], 0)
    ) / 2
    assert_close(losses.masked_fake(logits, half), expected)


@pytest.mark.parametrize(("old", "new"), [(256, 19), (16, 5), (7, 7), (3, 7), (32, 4)])
def test_nearest_mask_takes_the_pixel_at_the_scaled_index(old, new):
    line = np.arange(old, dtype=np.float32)
    expected = line[[i * old // new for i in range(new)]]
    tall = np.broadcast_to(line[None, :, None, None], (1, old, 3, 1))
    wide = np.broadcast_to(line[None, None, :, None], (1, 3, old, 1))
    got = losses.nearest_mask(tall, (new, 3))
    np.testing.assert_array_equal(got[0, :, 1, 0], expected)
    got = losses.nearest_mask(wide, (3, new))
    np.testing.assert_array_equal(got[0, 1, :, 0], expected)


def test_r1_of_a_linear_discriminator_is_its_squared_weight_norm():
    weight = uniform(32, 24, 3)

    def judge(weight, photos):
        logits = jnp.einsum("bhwc,hwc->b", photos, weight).reshape(-1, 1, 1, 1)
        return logits, "rest"

    penalty, (logits, rest) = losses.r1(lambda x: judge(weight, x), TARGET)
    np.testing.assert_allclose(penalty, (weight**2).sum(), rtol=1e-5)
    assert_close(logits, judge(weight, TARGET)[0])
    assert rest == "rest"
    gradient = jax.grad(lambda w: losses.r1(lambda x: judge(w, x), TARGET)[0])(weight)
    np.testing.assert_allclose(gradient, 2 * weight, rtol=1e-5)


def test_r1_is_a_mean_over_the_batch_not_over_pixels():
    def judge(photos):
        return jnp.sum(photos**2, (1, 2, 3)).reshape(-1, 1, 1, 1) / 2, None

    penalty, _ = losses.r1(judge, TARGET)
    np.testing.assert_allclose(penalty, (TARGET**2).sum((1, 2, 3)).mean(), rtol=1e-5)


def test_distances_of_feature_maps():
    some = [uniform(2, 5, 4, 3), uniform(2, 2, 2, 7)]
    others = [uniform(2, 5, 4, 3), uniform(2, 2, 2, 7)]
    squared = [((a - b) ** 2).mean() for a, b in zip(some, others, strict=True)]
    absolute = [np.abs(a - b).mean() for a, b in zip(some, others, strict=True)]
    for loss, expected in [
        (losses.feature_matching, np.mean(squared)),
        (losses.squared_distance, np.sum(squared)),
        (losses.absolute_distance, np.sum(absolute)),
    ]:
        np.testing.assert_allclose(loss(some, others), expected, rtol=1e-5)
        assert loss(some, some) == 0


def test_gram_equals_brute_force():
    maps = uniform(2, 4, 3, 5)
    expected = np.zeros((2, 5, 5))
    for b, y, x, c, d in np.ndindex(2, 4, 3, 5, 5):
        expected[b, c, d] += maps[b, y, x, c] * maps[b, y, x, d]
    np.testing.assert_allclose(losses.gram(maps), expected / (5 * 4 * 3), rtol=1e-5)


def test_style_ignores_where_features_lie():
    maps = uniform(1, 6, 6, 4)
    moved = maps.reshape(1, 36, 4)[:, RNG.permutation(36)].reshape(maps.shape)
    np.testing.assert_allclose(losses.style([maps], [moved]), 0, atol=1e-6)
    assert losses.style([maps], [2 * maps]) > 0.1
