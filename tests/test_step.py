"""The step: the same on any number of devices, in any number of parts."""

import functools

import jax
import numpy as np
import pytest
from rounding import allowance
from tiny import system_config, tiny_config

from dear_jax.data.pipeline import training_batches
from dear_jax.errors import InputError
from dear_jax.models.registry import build
from dear_jax.training.flops import step_flops
from dear_jax.training.objectives import QueryObjective
from dear_jax.training.optimizer import make_optimizer
from dear_jax.training.state import create_state
from dear_jax.training.step import make_mesh, make_step, put_batch

pytestmark = pytest.mark.usefixtures("optax_promotion")


@functools.cache
def losses_of(devices: int, steps: int, system: str = "", **train) -> list[float]:
    """The losses of a run's first steps; `train` changes fields of config.train."""
    config = system_config(system) if system else tiny_config(steps)
    config.train.update(train)
    size = config.train.batch_size
    model, tx = build(config.model.to_dict()), make_optimizer(config.optimizer, steps)
    mesh = make_mesh(size, jax.devices()[:devices], config.train.accumulate)
    step = make_step(model, tx, config, mesh)
    state = create_state(model, tx, config)
    batches = training_batches(config.data, size, config.seed)
    losses = []
    for _ in range(steps):
        state, metrics = step(state, put_batch(next(batches), mesh))
        losses.append(float(metrics["loss"]))
    return losses


def test_losses_over_20_steps_agree_on_one_and_four_devices():
    one, four = (losses_of(devices, 20) for devices in (1, 4))
    np.testing.assert_allclose(one, four, rtol=1e-5)


@pytest.mark.parametrize("system", ["elan,scale=2", "lama,side=16"])
def test_batch_statistics_are_of_the_whole_batch_however_it_is_split(system):
    one, four = (losses_of(devices, 3, system) for devices in (1, 4))
    np.testing.assert_allclose(one, four, rtol=1e-4)


def test_first_gradients_agree_on_one_and_four_devices():
    config = tiny_config()
    model, tx = build(config.model.to_dict()), make_optimizer(config.optimizer, 8)
    params = create_state(model, tx, config).params
    # Not from the initialisation: its zero output layer would hide most gradients.
    params = jax.tree.map(lambda p: p + 0.05, params)
    batch = next(training_batches(config.data, 4, 0))
    objective = QueryObjective()
    gradient = jax.jit(
        jax.grad(lambda p, b: objective.loss(model, {"params": p}, b)[0])
    )
    results = []
    for n in (1, 4):
        mesh = make_mesh(4, jax.devices()[:n])
        results.append(jax.device_get(gradient(params, put_batch(batch, mesh))))
    one, four = (np.concatenate([*map(np.ravel, jax.tree.leaves(r))]) for r in results)
    assert np.linalg.norm(one - four) <= allowance(np.linalg.norm(one), layers=8)


def test_the_step_is_compiled_once_for_each_side(monkeypatch):
    config = tiny_config(6)
    with config.data.ignore_type():
        config.data.side = (16, 24)
    model, tx = build(config.model.to_dict()), make_optimizer(config.optimizer, 6)
    mesh, compiled = make_mesh(4, jax.devices()[:1]), []
    monkeypatch.setattr(
        "dear_jax.training.step.agreed", lambda make: compiled.append(make) or make()
    )
    step, state = make_step(model, tx, config, mesh), create_state(model, tx, config)
    shapes = set()
    for batch, _ in zip(training_batches(config.data, 4, 0), range(6), strict=False):
        shapes.add(batch["image"].shape)
        state, metrics = step(state, put_batch(batch, mesh))
        assert not metrics["skipped"]
    assert len(compiled) == 2 and shapes == {(4, 16, 16, 3), (1, 24, 24, 3)}
    assert int(state.step) == 6
    assert step_flops(model, config, mesh) > 0


def test_what_is_rebuilt_is_compared_with_the_clean_photo():
    config = tiny_config()
    model, tx = build(config.model.to_dict()), make_optimizer(config.optimizer, 8)
    variables = {"params": create_state(model, tx, config).params}
    batch = next(training_batches(config.data, 2, 0))
    loss = jax.jit(lambda b: QueryObjective().loss(model, variables, b)[1][0])
    near = loss(batch)["reconstruction_l1"]
    far = loss(batch | {"clean": batch["clean"] + 2})["reconstruction_l1"]
    assert far > near + 1


def test_a_batch_that_cannot_be_split_is_refused():
    with pytest.raises(InputError, match="give a multiple of 4"):
        make_mesh(6, jax.devices()[:4])


@pytest.mark.parametrize("devices", [1, 2])
def test_a_batch_in_parts_gives_the_losses_of_the_whole(devices):
    whole, parts = losses_of(devices, 8), losses_of(devices, 8, accumulate=2)
    np.testing.assert_allclose(parts, whole, rtol=1e-5)


def test_parts_that_the_batch_does_not_have_are_refused():
    with pytest.raises(
        InputError, match="4 devices, each .*accumulate=3 parts; give .* 12"
    ):
        make_mesh(16, jax.devices()[:4], accumulate=3)


def test_bfloat16_learns_what_float32_learns():
    full, half = losses_of(1, 8), losses_of(1, 8, dtype="bfloat16")
    np.testing.assert_allclose(half, full, rtol=0.02)
    assert half != full


def test_any_process_that_asks_is_heard():
    config = tiny_config(1)
    model, tx = build(config.model.to_dict()), make_optimizer(config.optimizer, 1)
    mesh = make_mesh(4)
    step = make_step(model, tx, config, mesh)
    batch = put_batch(next(training_batches(config.data, 4, 0)), mesh)
    for asked in (False, True):
        _, metrics = step(create_state(model, tx, config), batch, asked)
        assert float(metrics["stop"]) == asked
