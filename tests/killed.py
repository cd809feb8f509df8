"""Runs that are interrupted, for tests of training."""

from pathlib import Path

import jax
import pytest

from dear_jax.checkpoint import Checkpoints
from dear_jax.models.registry import build
from dear_jax.training.logging import Log
from dear_jax.training.optimizer import make_optimizer
from dear_jax.training.state import TrainState, create_state
from dear_jax.training.train import train
from tests.tiny_run import get_config


class Killed(BaseException):
    """Stands for a kill: nothing in the loop may catch it."""


def interrupt_at(monkeypatch, step: int, action) -> None:
    """Calls `action` when a run has made `step` steps."""
    advance, made = Log.advance, []

    def advance_and_act(self, *waited):
        advance(self, *waited)
        made.append(1)
        if len(made) == step:
            action()

    monkeypatch.setattr(Log, "advance", advance_and_act)


def train_and_kill_at(monkeypatch, step: int, config, workdir: Path) -> None:
    """Trains until `step` steps are made, then dies."""

    def kill():
        raise Killed

    with monkeypatch.context() as patch:
        interrupt_at(patch, step, kill)
        with pytest.raises(Killed):
            train(config, workdir)


def equal(a, b) -> bool:
    """Whether two trees have the same values."""
    return all(jax.tree.leaves(jax.tree.map(lambda x, y: bool((x == y).all()), a, b)))


def last_state(workdir: Path) -> TrainState:
    """The newest state that a run of tests/tiny_run.py saved, as NumPy arrays."""
    config = get_config()
    model = build(config.model.to_dict())
    tx = make_optimizer(config.optimizer, config.train.steps)
    with jax.numpy_dtype_promotion("standard"), Checkpoints(workdir) as checkpoints:
        return jax.device_get(checkpoints.restore(create_state(model, tx, config)))
