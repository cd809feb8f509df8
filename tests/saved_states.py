"""Tiny training states, saved and restored, for tests of checkpoints."""

import functools
from pathlib import Path

import jax
import ml_dtypes
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from dear_jax.checkpointing.checkpoints import Checkpoints
from dear_jax.training.state import TrainState


def place(tree, devices: int = 1):
    """Replicates over the first of this process, or the first of all."""
    them = jax.local_devices() if devices == 1 else jax.devices()
    mesh = jax.sharding.Mesh(np.array(them[:devices]), ("data",))
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


@functools.cache
def numpy_state(step: int, width: int = 5) -> TrainState:
    """A state that has every kind of leaf there is, other for each step."""
    rng = np.random.default_rng(step)
    params = {"a": {"kernel": rng.normal(size=(3, width)).astype(np.float32)}}
    params["bias"] = rng.normal(size=7).astype(ml_dtypes.bfloat16)
    stats = {"batch_stats": {"seen": rng.random(9) < 0.5}}
    opt_state = jax.device_get(optax.adam(1e-3).init(params))
    ema = {"params": jax.tree.map(np.negative, params), **stats}
    return TrainState(np.int32(step), params, stats, opt_state, ema, None)


def make_state(step: int, width: int = 5, devices: int = 1, **changes) -> TrainState:
    return place(numpy_state(step, width).replace(**changes), devices)


def same(a, b) -> bool:
    """Equal bits, dtypes and structure."""
    a, b = jax.device_get((a, b))
    return jax.tree.structure(a) == jax.tree.structure(b) and all(
        x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def save(workdir: Path, *steps: int) -> None:
    with Checkpoints(workdir, say=pytest.fail) as checkpoints:
        for step in steps:
            checkpoints.save(make_state(step))


def restore(workdir: Path, say=pytest.fail, devices: int = 1):
    with Checkpoints(workdir, say=say) as checkpoints:
        return checkpoints.restore(make_state(0, devices=devices))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
