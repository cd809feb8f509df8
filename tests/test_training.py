"""A run is a function of its configuration: not of interruptions, not of devices."""

import json
import os
import shutil
import signal
from pathlib import Path

import jax
import numpy as np
import optax
import pytest
from tiny import draw_like, tiny_config

import dear_jax
from dear_jax.checkpoint import saved_steps
from dear_jax.data.pipeline import training_batches
from dear_jax.errors import InputError
from dear_jax.evaluation import sheets
from dear_jax.inference.runs import read_run
from dear_jax.models.registry import build, init_shapes
from dear_jax.training import logging as log_module
from dear_jax.training import loop, validation
from dear_jax.training.loop import train
from dear_jax.training.optimizer import learning_rate, make_optimizer
from dear_jax.training.validation import Validation


def equal(a, b) -> bool:
    return all(jax.tree.leaves(jax.tree.map(lambda x, y: bool((x == y).all()), a, b)))


@pytest.fixture(scope="module", autouse=True)
def promotion():
    """Optax multiplies floats by integer counts; the strict tests are the model's."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run: its workdir and last state."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    return workdir, jax.device_get(train(tiny_config(), workdir))


def interrupt_at(monkeypatch, step: int, action) -> None:
    """Calls `action` when a run has made `step` steps."""
    advance = log_module.Log.advance
    made = []

    def advance_and_act(self, *waited):
        advance(self, *waited)
        made.append(1)
        if len(made) == step:
            action()

    monkeypatch.setattr(log_module.Log, "advance", advance_and_act)


class Killed(BaseException):
    """Stands for a kill: nothing in the loop may catch it."""


def train_and_kill_at(monkeypatch, step: int, workdir: Path) -> None:
    """Trains until `step` steps are made, then dies."""

    def kill():
        raise Killed

    with monkeypatch.context() as patch:
        interrupt_at(patch, step, kill)
        with pytest.raises(Killed):
            train(tiny_config(), workdir)


def test_a_killed_run_continues_to_the_same_bits(whole, tmp_path, monkeypatch, capsys):
    train_and_kill_at(monkeypatch, 5, tmp_path / "run")
    resumed = train(tiny_config(), tmp_path / "run")
    assert "resumed at step 3" in capsys.readouterr().out
    assert equal(jax.device_get(resumed), whole[1])


def test_a_killed_run_reports_every_step_once(whole, tmp_path, monkeypatch):
    train_and_kill_at(monkeypatch, 7, tmp_path / "run")
    train(tiny_config(), tmp_path / "run")

    def steps(workdir: Path) -> list[int]:
        lines = (workdir / "metrics.jsonl").read_text().splitlines()
        return [json.loads(line)["step"] for line in lines]

    assert steps(tmp_path / "run") == steps(whole[0]) == [2, 4, 6, 8]


def test_sigterm_saves_two_steps_later(whole, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        interrupt_at(patch, 4, lambda: os.kill(os.getpid(), signal.SIGTERM))
        stopped = train(tiny_config(), tmp_path / "run")
    assert int(stopped.step) == 6
    assert "stopped at step 6" in capsys.readouterr().out
    resumed = train(tiny_config(), tmp_path / "run")
    assert equal(jax.device_get(resumed), whole[1])


def test_another_seed_gives_another_run(whole, tmp_path):
    other = train(tiny_config(**{"seed": 1}), tmp_path / "run")
    assert not equal(jax.device_get(other.params), whole[1].params)


def test_a_finished_run_is_left_alone(whole):
    again = train(tiny_config(), whole[0])
    assert equal(jax.device_get(again), whole[1])


def test_workdir_gives_the_ema_of_its_latest_checkpoint(whole):
    weights = read_run(whole[0])
    assert equal(weights.variables, whole[1].ema)
    assert not equal(weights.variables["params"], whole[1].params)
    assert equal(dear_jax.load(whole[0]).variables, whole[1].ema)


def test_workdir_of_another_config_is_refused_by_key(whole):
    with pytest.raises(InputError, match="config.optimizer.learning_rate=0.001"):
        train(tiny_config(**{"optimizer.learning_rate": 1e-4}), whole[0])


def test_what_only_feeds_or_watches_a_run_may_change(whole):
    again = train(tiny_config(**{"data.threads": 2, "log.every": 1}), whole[0])
    assert int(again.step) == 8


def test_a_start_that_fails_does_not_claim_the_workdir(tmp_path):
    with pytest.raises(InputError, match="widths"):
        train(tiny_config(**{"model.widths": (4, 4)}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def poisoned(batches, steps):
    """The same batches, with colours that are no numbers at some steps."""
    for step, batch in enumerate(batches, 1):
        if step in steps:
            batch = batch | {"colours": np.full_like(batch["colours"], np.nan)}
        yield batch


def poison(monkeypatch, steps) -> None:
    monkeypatch.setattr(
        loop, "training_batches", lambda *a: poisoned(training_batches(*a), steps)
    )


def test_a_step_without_a_finite_loss_changes_nothing_but_the_count(
    tmp_path, monkeypatch
):
    changes = {"log.every": 1, "optimizer.schedule": "constant"}
    kept = jax.device_get(train(tiny_config(4, **changes), tmp_path / "kept"))
    poison(monkeypatch, (5,))
    skipped = jax.device_get(train(tiny_config(5, **changes), tmp_path / "run"))
    assert int(skipped.step) == 5
    assert equal(skipped.replace(step=kept.step), kept)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["skipped"] for line in lines] == [0, 0, 0, 0, 1]
    assert json.loads(lines[-1])["loss"] == "nan"


def test_too_many_such_steps_end_the_run_with_a_sound_checkpoint(tmp_path, monkeypatch):
    poison(monkeypatch, range(3, 100))
    with pytest.raises(InputError, match="20 steps in a row, up to step 22"):
        train(tiny_config(steps=60), tmp_path / "run")
    variables = read_run(tmp_path / "run").variables
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables))


@pytest.mark.parametrize("key", ["train.steps", "train.batch_size", "log.every"])
def test_numbers_that_cannot_be_are_refused_by_name(key, tmp_path):
    with pytest.raises(InputError, match=f"config.{key}=0"):
        train(tiny_config(**{key: 0}), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_evaluation_writes_sheet_and_best_weights(tmp_path):
    changes = {"evaluate.every": 2, "evaluate.limit": 1, "evaluate.scale": 8.0}
    train(tiny_config(steps=4, **changes), tmp_path / "run")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    scores = [json.loads(line) for line in lines if '"evaluate"' in line]
    assert [score["step"] for score in scores] == [0, 2, 4]
    best = dear_jax.load(tmp_path / "run", which="best")
    assert best.provenance["psnr"] == max(score["psnr"] for score in scores[1:])
    run = json.loads((tmp_path / "run" / "config.json").read_text())
    latest = dear_jax.load(tmp_path / "run")
    for made in (best, latest):
        assert made.provenance["fingerprint"] == run["data"]
    assert (tmp_path / "run" / "sheets" / "00000004.png").exists()


def scored_steps(workdir: Path) -> list[int]:
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [line["step"] for line in lines if line["kind"] == "evaluate"]


SCORED = {"evaluate.every": 2, "evaluate.limit": 1, "evaluate.scale": 8.0}


def test_a_failing_evaluation_costs_no_steps_and_is_made_later(tmp_path, monkeypatch):
    changes = {**SCORED, "checkpoint.every": 100}
    evaluate = Validation.__call__

    def fail_at_the_second(self, *arguments):
        made.append(1)
        if len(made) == 2:
            raise InputError("photo.png: no such file")
        return evaluate(self, *arguments)

    made = []
    with monkeypatch.context() as patch:
        patch.setattr(Validation, "__call__", fail_at_the_second)
        with pytest.raises(InputError, match="photo.png"):
            train(tiny_config(4, **changes), tmp_path / "run")
    assert saved_steps(tmp_path / "run") == [2] and scored_steps(tmp_path / "run") == [
        0
    ]
    train(tiny_config(4, **changes), tmp_path / "run")
    assert scored_steps(tmp_path / "run") == [0, 2, 4]
    train(tiny_config(4, **changes), tmp_path / "run")
    assert scored_steps(tmp_path / "run") == [0, 2, 4]


def test_sigterm_ends_an_evaluation(tmp_path, monkeypatch, capsys):
    def restored(*arguments, on_restored, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        on_restored(None, None)
        pytest.fail("the evaluation goes on")

    monkeypatch.setattr(validation, "evaluate", restored)
    stopped = train(tiny_config(8, **SCORED), tmp_path / "run")
    assert int(stopped.step) == 2 and saved_steps(tmp_path / "run") == [2]
    assert "step 0: not evaluated" in capsys.readouterr().out


def test_best_weights_of_a_run_begun_anew_are_its_own(tmp_path, monkeypatch):
    scores = iter([1.0, 50.0, 1.0, 2.0])
    monkeypatch.setattr(
        Validation,
        "__call__",
        lambda *_: ({"psnr": next(scores)}, np.zeros((8, 8, 3), np.uint8)),
    )
    train(tiny_config(2, **SCORED), tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    train(tiny_config(2, **SCORED, seed=1), tmp_path / "run")
    assert read_run(tmp_path / "run", "best").provenance["psnr"] == 2.0


def test_sheets_show_the_bins_in_turn(monkeypatch):
    config = tiny_config(**{"evaluate.limit": 3, "evaluate.scale": 16.0})
    monkeypatch.setattr(
        sheets, "contact_sheet", lambda rows, titles, captions: captions
    )
    shown = Validation(config)
    _, captions = shown(draw_like(init_shapes(build(config.model.to_dict()))))
    assert [c.split()[-2] for c in captions] == ["01-10", "10-20", "20-30"]


# Optimizer.


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
