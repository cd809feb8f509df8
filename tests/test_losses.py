"""The terms of the inpainters' losses, and the two objectives made of them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rounding import assert_close

from dear_jax.errors import InputError
from dear_jax.models import lpips
from dear_jax.training import losses
from dear_jax.training.adversarial import LaMaObjective, MISFObjective

RNG = np.random.default_rng(0)


def uniform(*shape):
    return RNG.random(shape).astype(np.float32)


OUTPUT, TARGET = uniform(2, 32, 24, 3), uniform(2, 32, 24, 3)
MASK = (uniform(2, 32, 24, 1) < 0.3).astype(np.float32)
BATCH = {"image": TARGET, "mask": MASK}


# Terms


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


# Objectives


class Played:
    """An objective with its discriminator and random VGG16, compiled once."""

    def __init__(self, objective, vgg):
        self.objective, self.vgg = objective, vgg
        # This kind of key compiles in a tenth of the time.
        key = jax.random.key(0, impl="rbg")
        init = jax.jit(lambda key: objective.init(key, (32, 24)))
        self.params, self.state = init(key)
        self._generator = jax.jit(
            jax.value_and_grad(objective.generator_loss, 3, has_aux=True)
        )
        self._discriminator = jax.jit(
            jax.value_and_grad(objective.discriminator_loss, (0, 2), has_aux=True)
        )

    def generator(self, output, batch=BATCH):
        """(loss, parts, gradient by output)."""
        (loss, (_, parts)), gradient = self._generator(
            self.params, self.state, self.vgg, output, batch
        )
        return loss, parts, gradient

    def discriminator(self, params=None, state=None, output=OUTPUT, batch=BATCH):
        """(loss, parts, new state, gradients by params and output)."""
        params, state = params or self.params, state or self.state
        (loss, (state, parts)), gradients = self._discriminator(
            params, state, output, batch
        )
        return loss, parts, state, gradients


@pytest.fixture(scope="module")
def games(draw_params):
    """Both objectives with few channels, of VGG16 too."""
    convolutions = lpips.CONVOLUTIONS
    with pytest.MonkeyPatch.context() as patch:
        narrow = tuple(layer._replace(features=4) for layer in convolutions["vgg16"])
        patch.setitem(convolutions, "vgg16", narrow)
        vgg = draw_params(lpips.Features("vgg16"), TARGET)["params"]
        yield {
            "misf": Played(MISFObjective(width=4), vgg),
            "lama": Played(LaMaObjective(width=4), vgg),
        }


@pytest.fixture(params=["misf", "lama"])
def game(games, request):
    return games[request.param]


def test_gradients_are_finite_and_reach_every_parameter(game):
    _, _, by_output = game.generator(OUTPUT)
    assert np.isfinite(by_output).all() and np.abs(by_output).max() > 0
    _, _, after, (by_params, _) = game.discriminator()
    for leaf in jax.tree.leaves(by_params):
        assert np.isfinite(leaf).all() and np.abs(leaf).max() > 0
    assert jax.tree.structure(after) == jax.tree.structure(game.state)


def test_generator_losses_are_the_weighted_sums_of_their_parts(game):
    loss, parts, _ = game.generator(OUTPUT)
    expected = sum(getattr(game.objective, name) * parts[name] for name in parts)
    assert len(parts) == 4
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_discriminator_losses_are_the_weighted_sums_of_their_parts(games):
    loss, parts, _, _ = games["misf"].discriminator()
    np.testing.assert_allclose(loss, (parts["real"] + parts["fake"]) / 2, rtol=1e-5)
    loss, parts, _, _ = games["lama"].discriminator()
    expected = parts["real"] + parts["fake"] + 0.001 * parts["r1"]
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert parts["r1"] > 0


def test_a_term_without_weight_is_not_computed(games):
    objective, game = LaMaObjective(width=4, perceptual=0.0), games["lama"]
    assert game.objective.needs_vgg16 and not objective.needs_vgg16
    _, (_, parts) = jax.jit(objective.generator_loss)(
        game.params, game.state, {}, OUTPUT, BATCH
    )
    assert parts.keys() == {"l1", "adversarial", "feature_matching"}


def test_a_perfect_output_leaves_only_the_adversarial_term(game):
    _, parts, _ = game.generator(TARGET)
    assert parts.pop("adversarial") > 0
    for name, part in parts.items():
        assert_close(part, 0, size=1, about=name)


def test_the_discriminators_loss_gives_the_output_no_gradient(game):
    _, _, _, (_, by_output) = game.discriminator()
    assert not by_output.any()


def test_misfs_style_ignores_known_pixels_and_its_l1_does_not(games):
    repainted = np.where(MASK == 1, OUTPUT, uniform(*OUTPUT.shape))
    _, before, _ = games["misf"].generator(OUTPUT)
    _, after, _ = games["misf"].generator(repainted)
    assert before["style"] == after["style"] > 0
    assert before["l1"] != after["l1"]


def test_lamas_l1_ignores_holes_and_its_perceptual_loss_does_not(games):
    repainted = np.where(MASK == 1, uniform(*OUTPUT.shape), OUTPUT)
    _, before, _ = games["lama"].generator(OUTPUT)
    _, after, _ = games["lama"].generator(repainted)
    assert before["l1"] == after["l1"] > 0
    assert before["perceptual"] != after["perceptual"]


def test_the_leak_adds_the_generators_adversarial_term(games):
    game = games["misf"]
    leaking = MISFObjective(width=4, leak=True)
    loss, _, after, _ = game.discriminator()
    leaked, _ = jax.jit(leaking.discriminator_loss)(
        game.params, game.state, OUTPUT, BATCH
    )
    logits, _ = jax.jit(leaking.discriminator.apply)(
        {"params": game.params, **after}, OUTPUT
    )
    expected = 0.1 * losses.binary_cross_entropy(logits, 1)
    np.testing.assert_allclose(leaked - loss, expected, rtol=1e-4)


def test_the_gradient_is_the_slope_of_the_discriminators_loss(game):
    state = game.state
    for _ in range(50):  # Only at their limit can u and v be held fixed.
        _, _, state, _ = game.discriminator(state=state)
    _, _, _, (gradient, _) = game.discriminator(state=state)
    length = optax.tree.norm(gradient)
    step = jax.tree.map(lambda g: 2e-4 * g / length, gradient)
    above, below = (
        game.discriminator(jax.tree.map(move, game.params, step), state)[0]
        for move in (jnp.add, jnp.subtract)
    )
    np.testing.assert_allclose((above - below) / 4e-4, length, rtol=0.02)


def test_photos_too_small_for_the_discriminator_are_named():
    with pytest.raises(InputError, match=r"config\.data\.side.*at least 24"):
        MISFObjective().init(jax.random.key(0), (23, 32))
    with pytest.raises(InputError, match=r"config\.data\.side.*at least 16"):
        LaMaObjective().init(jax.random.key(0), (32, 15))
