"""Objectives with a discriminator: their terms, and who learns from what."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rounding import assert_close
from tiny import SMALLEST, draw_like, example, tiny_fields

from dear_jax.errors import InputError
from dear_jax.models import lpips
from dear_jax.models.dear.coordinates import pixel_centres
from dear_jax.models.registry import build, fields_of, init_shapes
from dear_jax.training import losses
from dear_jax.training.adversarial import (
    LaMaObjective,
    MISFObjective,
    TextureObjective,
)
from tests.killed import equal

RNG = np.random.default_rng(0)


def uniform(*shape):
    return RNG.random(shape).astype(np.float32)


OUTPUT, TARGET = uniform(2, 32, 24, 3), uniform(2, 32, 24, 3)
MASK = (uniform(2, 32, 24, 1) < 0.3).astype(np.float32)
BATCH = {"image": TARGET, "mask": MASK}

# MISF and LaMa.


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
def lpips_params(draw_params):
    """Random parameters of LPIPS by a VGG16 of few channels."""
    convolutions = lpips.CONVOLUTIONS
    with pytest.MonkeyPatch.context() as patch:
        narrow = tuple(layer._replace(features=4) for layer in convolutions["vgg16"])
        patch.setitem(convolutions, "vgg16", narrow)
        yield draw_params(lpips.LPIPS("vgg16"), TARGET, TARGET)["params"]


@pytest.fixture(scope="module")
def games(lpips_params):
    """Both objectives with few channels."""
    vgg = lpips_params["features"]
    return {
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


# Texture.

IMAGE, HOLES = (x.astype(np.float32) for x in example((8, 8), 0.2, batch=2)[:2])
PICTURE = np.random.default_rng(1).random((2, 16, 16, 3)).astype(np.float32)
PAIRS = {"image": IMAGE, "mask": HOLES, "target": PICTURE}
TEXTURE = TextureObjective(feature_matching=0.5, width=4, layers=2)


@pytest.fixture(scope="module")
def theirs():
    """The discriminator's parameters and state."""
    init = jax.jit(lambda key: TEXTURE.init(key, (16, 16)))
    return init(jax.random.key(0))


@pytest.mark.parametrize("name", ["dear-lite", "dear", "liif"])
def test_a_picture_is_the_answer_for_each_of_its_pixels(name):
    tiny = SMALLEST[name] if name in SMALLEST else None
    fields = {**fields_of(name), **tiny} if tiny else tiny_fields(name)
    model = build(fields)
    variables, size = draw_like(init_shapes(model)), (13, 18)
    image, mask = example((12, 14))[:2]
    picture = functools.partial(model.apply, size=size, method="picture")
    made = jax.jit(picture)(variables, image, mask)
    queries = pixel_centres(size).reshape(1, -1, 2)
    cell = np.broadcast_to(2 / np.float32(size), queries.shape)
    expected, _ = jax.jit(model.apply)(variables, image, mask, queries, cell)
    expected = np.asarray(expected).reshape(1, *size, 3)
    np.testing.assert_allclose(made, expected, atol=1e-4)


def test_the_loss_of_texture_is_the_weighted_sum_of_its_parts(lpips_params, theirs):
    params, state = theirs
    output = 1 - PICTURE
    find = jax.jit(TEXTURE.generator_loss)
    loss, (after, parts) = find(params, state, lpips_params, output, PAIRS)
    assert parts.keys() == {"l1", "perceptual", "adversarial", "feature_matching"}
    total = sum(getattr(TEXTURE, name) * part for name, part in parts.items())
    np.testing.assert_allclose(loss, total, rtol=1e-6)
    np.testing.assert_allclose(parts["l1"], np.abs(output - PICTURE).mean(), rtol=1e-5)
    distance = jax.jit(lpips.LPIPS("vgg16").apply)(
        {"params": lpips_params}, output, PICTURE
    )
    np.testing.assert_allclose(parts["perceptual"], distance.mean(), rtol=1e-5)
    assert not equal(after, state)


def test_the_discriminator_calls_all_of_the_picture_fake(theirs):
    params, state = theirs
    find = jax.jit(TEXTURE.discriminator_loss)
    loss, (_, parts) = find(params, state, 1 - PICTURE, PAIRS)
    expected = parts["real"] + parts["fake"] + TEXTURE.r1 * parts["r1"]
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    whole = {**PAIRS, "mask": np.ones_like(HOLES)}
    assert find(params, state, 1 - PICTURE, whole)[0] == loss
    # What it learns is nothing that the generator could follow.
    slope = jax.grad(lambda o: find(params, state, o, PAIRS)[0])(PICTURE)
    assert not slope.any()


def test_texture_gives_every_parameter_a_gradient(lpips_params, theirs):
    model = build({**tiny_fields("dear-lite"), "level_input": True})
    variables = draw_like(init_shapes(model))
    batch = {**PAIRS, "level": np.float32([0.3, 0.8])}
    params, state = theirs

    def loss_of(mine):
        output, _ = TEXTURE.generate(model, {"params": mine}, batch)
        return TEXTURE.generator_loss(params, state, lpips_params, output, batch)[0]

    gradient = jax.jit(jax.grad(loss_of))(variables["params"])
    without = [
        path
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradient)
        if not np.any(np.isfinite(leaf) & (leaf != 0))
    ]
    assert not without
    assert np.isfinite(float(optax.tree.norm(gradient)))
