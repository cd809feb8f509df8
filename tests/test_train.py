"""A run is a function of its configuration: not of interruptions, not of devices."""

import json
import os
import shutil
import signal
from functools import partial
from pathlib import Path

import jax
import numpy as np
import pytest
from tiny import (
    detector_config,
    draw_like,
    system_config,
    texture_config,
    tiny_config,
)

import dear_jax
from dear_jax.checkpoint import saved_steps
from dear_jax.data.pipeline import training_batches
from dear_jax.errors import InputError
from dear_jax.evaluation import sheets
from dear_jax.inference.damage import open_detector
from dear_jax.inference.runs import read_run
from dear_jax.models.registry import build, init_shapes
from dear_jax.training import train as loop
from dear_jax.training import validation
from dear_jax.training.logging import read_metrics
from dear_jax.training.train import train
from dear_jax.training.validation import Validation
from tests.killed import equal, interrupt_at, train_and_kill_at

pytestmark = pytest.mark.usefixtures("optax_promotion")

SYSTEMS = (
    *("edsr,scale=2", "elan,scale=2", "liif", "lte,input=clean"),
    *("misf,side=16", "lama,side=16"),
)
SCORED = {"evaluate.every": 2, "evaluate.limit": 1, "evaluate.scale": 8.0}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run: its workdir and last state."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    return workdir, jax.device_get(train(tiny_config(), workdir))


def steps_of(workdir: Path, kind: str) -> list[int]:
    return [r["step"] for r in read_metrics(workdir) if r["kind"] == kind]


# Interruptions.


def test_a_killed_run_continues_to_the_same_bits_and_reports_every_step_once(
    whole, tmp_path, monkeypatch, capsys
):
    train_and_kill_at(monkeypatch, 5, tiny_config(), tmp_path / "run")
    assert steps_of(tmp_path / "run", "train") == [2, 4]
    resumed = train(tiny_config(), tmp_path / "run")
    assert "resumed at step 3" in capsys.readouterr().out
    assert equal(jax.device_get(resumed), whole[1])
    for workdir in (tmp_path / "run", whole[0]):
        assert steps_of(workdir, "train") == [2, 4, 6, 8]


# Those that take longest to compile, whose parts the others share, are tested apart.
COMPILED_LONGEST = {"misf,side=16", "lama,side=16"}


@pytest.mark.parametrize(
    "system",
    [
        pytest.param(name, marks=[pytest.mark.long] * (name in COMPILED_LONGEST))
        for name in (*SYSTEMS, "texture")
    ],
)
def test_every_system_is_scored_and_killed_goes_on_to_the_same_bits_and_reloads(
    system, tmp_path, monkeypatch
):
    make = texture_config if system == "texture" else partial(system_config, system)
    scored = make(**{"evaluate.every": 4, "evaluate.limit": 1})
    whole = jax.device_get(train(scored, tmp_path / "whole"))
    start, score = [
        r for r in read_metrics(tmp_path / "whole") if r["kind"] == "evaluate"
    ]
    assert start["step"] == 0 and np.isfinite(start["psnr"])
    assert (tmp_path / "whole" / "sheets" / "00000004.png").exists()
    best = dear_jax.load(tmp_path / "whole", which="best")
    assert best.provenance["psnr"] == score["psnr"]
    assert equal(best.variables, whole.ema)

    train_and_kill_at(monkeypatch, 3, make(), tmp_path / "run")
    resumed = jax.device_get(train(make(), tmp_path / "run"))
    assert equal(resumed, whole)
    assert equal(dear_jax.load(tmp_path / "run").variables, whole.ema)
    assert not equal(whole.ema["params"], whole.params)


def test_a_detector_is_scored_and_killed_goes_on_to_the_same_bits(
    tmp_path, monkeypatch
):
    scored = detector_config(**{"evaluate.every": 4})
    whole = jax.device_get(train(scored, tmp_path / "whole"))
    _, score = [r for r in read_metrics(tmp_path / "whole") if r["kind"] == "evaluate"]
    assert 0 <= score["f1"] <= 1
    assert (tmp_path / "whole" / "sheets" / "00000004.png").exists()
    best = open_detector(str(tmp_path / "whole" / "best.safetensors"))
    assert best.provenance["f1"] == score["f1"]
    assert equal(best.variables, whole.ema)

    train_and_kill_at(monkeypatch, 3, detector_config(), tmp_path / "run")
    resumed = jax.device_get(train(detector_config(), tmp_path / "run"))
    assert equal(resumed, whole)


def test_a_detector_needs_damage(tmp_path):
    with pytest.raises(InputError, match="damage.share=0: detector learns from damage"):
        train(detector_config(**{"data.damage.share": 0.0}), tmp_path / "run")


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


# The workdir.


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


# Steps without a finite loss.


def poison(monkeypatch, steps) -> None:
    """Batches of some steps have colours that are no numbers."""

    def poisoned(*arguments):
        for step, batch in enumerate(training_batches(*arguments), 1):
            if step in steps:
                batch = batch | {"colours": np.full_like(batch["colours"], np.nan)}
            yield batch

    monkeypatch.setattr(loop, "training_batches", poisoned)


def test_a_step_without_a_finite_loss_changes_nothing_but_the_count(
    tmp_path, monkeypatch
):
    changes = {"log.every": 1, "optimizer.schedule": "constant"}
    kept = jax.device_get(train(tiny_config(4, **changes), tmp_path / "kept"))
    poison(monkeypatch, (5,))
    skipped = jax.device_get(train(tiny_config(5, **changes), tmp_path / "run"))
    assert int(skipped.step) == 5
    assert equal(skipped.replace(step=kept.step), kept)
    reports = read_metrics(tmp_path / "run")
    assert [report["skipped"] for report in reports] == [0, 0, 0, 0, 1]
    assert np.isnan(reports[-1]["loss"])


def test_too_many_such_steps_end_the_run_with_a_sound_checkpoint(tmp_path, monkeypatch):
    poison(monkeypatch, range(3, 100))
    with pytest.raises(InputError, match="20 steps in a row, up to step 22"):
        train(tiny_config(steps=60), tmp_path / "run")
    variables = read_run(tmp_path / "run").variables
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(variables))


# Evaluations.


def test_evaluations_write_scores_sheets_and_the_best_weights(tmp_path):
    train(tiny_config(steps=4, **SCORED), tmp_path / "run")
    scores = [r for r in read_metrics(tmp_path / "run") if r["kind"] == "evaluate"]
    assert [score["step"] for score in scores] == [0, 2, 4]
    best = dear_jax.load(tmp_path / "run", which="best")
    assert best.provenance["psnr"] == max(score["psnr"] for score in scores[1:])
    run = json.loads((tmp_path / "run" / "config.json").read_text())
    latest = dear_jax.load(tmp_path / "run")
    for made in (best, latest):
        assert made.provenance["fingerprint"] == run["data"]
        assert made.provenance["config"] == run["config"]
    assert (tmp_path / "run" / "sheets" / "00000004.png").exists()


def test_a_failing_evaluation_costs_no_steps_and_is_made_later(tmp_path, monkeypatch):
    config = tiny_config(4, **SCORED, **{"checkpoint.every": 100})
    evaluate, made = Validation.__call__, []

    def fail_at_the_second(self, *arguments):
        made.append(1)
        if len(made) == 2:
            raise InputError("photo.png: no such file")
        return evaluate(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Validation, "__call__", fail_at_the_second)
        with pytest.raises(InputError, match="photo.png"):
            train(config, tmp_path / "run")
    assert saved_steps(tmp_path / "run") == [2]
    assert steps_of(tmp_path / "run", "evaluate") == [0]
    for _ in range(2):
        train(config, tmp_path / "run")
        assert steps_of(tmp_path / "run", "evaluate") == [0, 2, 4]


def test_sigterm_ends_an_evaluation(tmp_path, monkeypatch, capsys):
    def restored(restorer, samples, *, on_restored, **options):
        os.kill(os.getpid(), signal.SIGTERM)
        sample = next(iter(samples))
        on_restored(sample, sample.truth)
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
    captions, draw = [], sheets.contact_sheet

    def listen(rows, titles, names):
        captions.extend(names)
        return draw(rows, titles, names)

    monkeypatch.setattr(sheets, "contact_sheet", listen)
    validation = Validation(config)
    validation(draw_like(init_shapes(build(config.model.to_dict()))))
    assert [c.split()[-2] for c in captions] == ["01-10", "10-20", "20-30"]
