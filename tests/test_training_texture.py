"""Texture: what is added to L1, that all of the model learns from it, and exactly."""

import functools

import jax
import numpy as np
import optax
import pytest
from test_training import Killed, equal, interrupt_at
from tiny import SMALLEST, draw_like, example, tiny_config, tiny_fields

import dear_jax
from configs import dear_lite_texture
from dear_jax.errors import InputError
from dear_jax.models.dear.coordinates import pixel_centres
from dear_jax.models.lpips import LPIPS
from dear_jax.models.registry import build, fields_of, init_shapes
from dear_jax.training.loop import train
from dear_jax.training.objectives import check_fit
from dear_jax.training.texture import TextureObjective

SIDE, TARGET = 8, 16
IMAGE, MASK = (x.astype(np.float32) for x in example((SIDE, SIDE), 0.2, batch=2)[:2])
PHOTO = np.random.default_rng(1).random((2, TARGET, TARGET, 3)).astype(np.float32)
BATCH = {"image": IMAGE, "mask": MASK, "target": PHOTO}
OBJECTIVE = TextureObjective(feature_matching=0.5, width=4, layers=2)


@pytest.fixture(scope="module", autouse=True)
def promotion():
    """As in test_training.py."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def vgg():
    """Random parameters of LPIPS by VGG16."""
    return draw_like(init_shapes(build(fields_of("lpips-vgg16"))))["params"]


@pytest.fixture(scope="module")
def theirs():
    """The discriminator's parameters and state."""
    init = jax.jit(lambda key: OBJECTIVE.init(key, (TARGET, TARGET)))
    return init(jax.random.key(0))


def config_of(steps: int = 4, **changes):
    """A texture run of seconds, without LPIPS, which needs a file."""
    config = tiny_config(steps)
    config.objective = dear_lite_texture.get_config().objective
    config.objective.update(width=4, layers=2, perceptual=0.0)
    config.discriminator = config.optimizer.copy_and_resolve_references()
    config.data.update(side=SIDE, queries=0, scale=(2.0, 2.0))
    config.train.batch_size = 4
    config.checkpoint.every = 2
    config.update_from_flattened_dict(changes)
    return config


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


def test_the_loss_is_the_weighted_sum_of_its_parts(vgg, theirs):
    params, state = theirs
    output = 1 - PHOTO
    find = jax.jit(OBJECTIVE.generator_loss)
    loss, (after, parts) = find(params, state, vgg, output, BATCH)
    assert parts.keys() == {"l1", "perceptual", "adversarial", "feature_matching"}
    total = sum(getattr(OBJECTIVE, name) * part for name, part in parts.items())
    np.testing.assert_allclose(loss, total, rtol=1e-6)
    np.testing.assert_allclose(parts["l1"], np.abs(output - PHOTO).mean(), rtol=1e-5)
    distance = jax.jit(LPIPS("vgg16").apply)({"params": vgg}, output, PHOTO)
    np.testing.assert_allclose(parts["perceptual"], distance.mean(), rtol=1e-5)
    assert not equal(after, state)


def test_the_discriminator_calls_all_of_the_picture_fake(theirs):
    params, state = theirs
    find = jax.jit(OBJECTIVE.discriminator_loss)
    loss, (_, parts) = find(params, state, 1 - PHOTO, BATCH)
    expected = parts["real"] + parts["fake"] + OBJECTIVE.r1 * parts["r1"]
    np.testing.assert_allclose(loss, expected, rtol=1e-6)
    whole = {**BATCH, "mask": np.ones_like(MASK)}
    assert find(params, state, 1 - PHOTO, whole)[0] == loss
    # What it learns is nothing that the generator could follow.
    slope = jax.grad(lambda o: find(params, state, o, BATCH)[0])(PHOTO)
    assert not slope.any()


@pytest.mark.parametrize("level_input", [False, True])
def test_every_parameter_has_a_gradient(vgg, theirs, level_input):
    model = build({**tiny_fields("dear-lite"), "level_input": level_input})
    variables = draw_like(init_shapes(model))
    batch = {**BATCH, "level": np.float32([0.3, 0.8])}
    params, state = theirs

    def loss_of(mine):
        output, _ = OBJECTIVE.generate(model, {"params": mine}, batch)
        return OBJECTIVE.generator_loss(params, state, vgg, output, batch)[0]

    gradient = jax.jit(jax.grad(loss_of))(variables["params"])
    without = [
        path
        for path, leaf in jax.tree_util.tree_leaves_with_path(gradient)
        if not np.any(np.isfinite(leaf) & (leaf != 0))
    ]
    assert not without
    assert np.isfinite(float(optax.tree.norm(gradient)))


def test_a_killed_run_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    whole = jax.device_get(train(config_of(), tmp_path / "whole"))

    def kill():
        raise Killed

    with monkeypatch.context() as patch:
        interrupt_at(patch, 3, kill)
        with pytest.raises(Killed):
            train(config_of(), tmp_path / "run")
    resumed = jax.device_get(train(config_of(), tmp_path / "run"))
    assert equal(resumed, whole)
    assert equal(dear_jax.load(tmp_path / "run").variables, whole.ema)


def test_the_configuration_fits():
    config = dear_lite_texture.get_config()
    check_fit(config, build(config.model.to_dict()))
    assert config.train.start_from == "dear-lite"


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"data.queries": 16}, "config.data.queries=16: texture is learned from whole"),
        ({"data.scale": (2.0, 3.0)}, "config.data.queries=0 takes whole crops"),
        ({"data.side": 4}, "photos of 8 x 8 pixels are too small"),
        ({"objective.perceptual": 1.0, "objective.vgg16": "x"}, "vgg16='x': no such"),
        ({"train.accumulate": 2}, "a run with a discriminator takes its batch at once"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(changes, message, tmp_path):
    with pytest.raises(InputError, match=message) as error:
        train(config_of(**changes), tmp_path / "run")
    assert "\n" not in str(error.value)


def test_a_discriminator_needs_an_optimizer(tmp_path):
    config = config_of()
    del config.discriminator
    with pytest.raises(InputError, match="needs config.discriminator"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
