"""Learning rates by step, and the updates of Adam and Muon."""

import jax
import numpy as np
import optax
import pytest
from tiny import tiny_config

from dear_jax.errors import InputError
from dear_jax.training.optimizer import learning_rate, make_optimizer

pytestmark = pytest.mark.usefixtures("optax_promotion")


def test_halving_halves_at_each_of_its_steps():
    optimizer = tiny_config().optimizer
    optimizer.update(
        {"schedule": "halving", "halve_at": (10, 20), "warmup": 0, "learning_rate": 1.0}
    )
    rate = learning_rate(optimizer, 100)
    assert [float(rate(s)) for s in (0, 9, 10, 19, 20)] == [1, 1, 0.5, 0.5, 0.25]


def test_cosine_rises_to_the_peak_and_ends_at_a_hundredth():
    optimizer = tiny_config().optimizer
    optimizer.update({"warmup": 10, "learning_rate": 1.0})
    rate = learning_rate(optimizer, 100)
    np.testing.assert_allclose([rate(0), rate(10), rate(100)], [0, 1, 0.01], atol=1e-6)


def test_constant_stays_and_then_falls_along_a_line_to_zero():
    optimizer = tiny_config().optimizer
    optimizer.update(
        {"schedule": "constant", "warmup": 10, "decay": 20, "learning_rate": 1.0}
    )
    rate = learning_rate(optimizer, 100)
    found = [rate(step) for step in (5, 10, 50, 80, 90, 100)]
    np.testing.assert_allclose(found, [0.5, 1, 1, 1, 0.5, 0], atol=1e-6)


def test_muon_turns_kernels_and_leaves_the_rest_to_adam():
    optimizer = tiny_config().optimizer
    optimizer.update({"clip_norm": 0.0, "schedule": "constant", "warmup": 0})
    rng = np.random.default_rng(0)
    shapes = {"kernel": (3, 3, 16, 12), "colours": (64, 3), "bias": (12,)}
    # One direction is a hundred times as steep as the others.
    gradient = {k: rng.normal(size=v).astype(np.float32) for k, v in shapes.items()}
    gradient["kernel"][..., 0] *= 100
    params = jax.tree.map(np.zeros_like, gradient)
    updates = {}
    for name in ("adam", "muon"):
        optimizer.name = name
        tx = make_optimizer(optimizer, 10)
        updates[name] = tx.update(gradient, tx.init(params), params)[0]
    for name in ("colours", "bias"):
        found, expected = (updates[n][name] for n in ("muon", "adam"))
        # Adam's first step, looking one step ahead (Nesterov).
        np.testing.assert_allclose(found, 1.4737 * expected, rtol=1e-4)
    matrix = updates["muon"]["kernel"].reshape(-1, 12)
    singular = np.linalg.svd(matrix, compute_uv=False)
    assert singular.max() < 2 * singular.min()
    assert np.sum(matrix * gradient["kernel"].reshape(-1, 12)) < 0


def test_an_unknown_optimizer_is_refused():
    with pytest.raises(InputError, match="'sgd'"):
        make_optimizer(tiny_config(**{"optimizer.name": "sgd"}).optimizer, 10)


def test_without_clipping_the_optimizer_is_plain_adam():
    optimizer = tiny_config().optimizer
    optimizer.update({"clip_norm": 0.0, "schedule": "halving", "warmup": 0})
    optimizer.name = "adam"
    ours, plain = make_optimizer(optimizer, 10), optax.adam(1e-3)
    params = {"a": np.ones(3, np.float32)}
    gradient = {"a": np.array([100.0, -3.0, 0.5], np.float32)}
    results = [
        tx.update(gradient, tx.init(params), params)[0]["a"] for tx in (ours, plain)
    ]
    np.testing.assert_array_equal(*results)
