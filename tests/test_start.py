"""A run begins from weights that exist: these alone decide its step 0."""

import json
import shutil

import jax
import numpy as np
import pytest
from tiny import draw_like, example, tiny_config, tiny_fields

import dear_jax
from configs import fine_tune
from dear_jax.errors import InputError
from dear_jax.models.registry import build, init_shapes, init_variables
from dear_jax.training.export import export
from dear_jax.training.optimizer import make_optimizer
from dear_jax.training.state import create_state, fitted, read_start
from dear_jax.training.train import train
from dear_jax.weights import Weights, digest_of, read_weights, write_weights
from tests.killed import equal, train_and_kill_at

pytestmark = pytest.mark.usefixtures("optax_promotion")


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A short run, and the file that it was exported to."""
    workdir = tmp_path_factory.mktemp("first")
    train(tiny_config(2), workdir / "run")
    file = workdir / "first.safetensors"
    export(workdir / "run", file, "latest", "float32", {"terms": "mine", "data": "x"})
    return workdir / "run", file


def begun(source, steps: int = 4, **changes):
    return tiny_config(steps, **{"train.start_from": str(source), **changes})


def start_of(config):
    return read_start(config, build(config.model.to_dict()))


@pytest.mark.parametrize("which", [0, 1])
def test_step_0_is_the_weights_of_a_run_or_of_its_file(first, which):
    config = begun(first[which])
    start = start_of(config)
    assert not start.lines
    model = build(config.model.to_dict())
    tx = make_optimizer(config.optimizer, 4)
    state = jax.jit(lambda v: create_state(model, tx, config, v))(start.variables)
    expected = read_weights(first[1]).variables
    assert equal(state.params, expected["params"]) and equal(state.ema, expected)
    # Nothing else of the state differs from that of a run from random weights.
    random = create_state(model, tx, config)
    assert equal(state.opt_state, random.opt_state) and int(state.step) == 0


def test_a_killed_run_goes_on_from_its_own_checkpoint(first, tmp_path, monkeypatch):
    file = shutil.copy(first[1], tmp_path / "first.safetensors")
    whole = jax.device_get(train(begun(file), tmp_path / "whole"))
    fresh = jax.device_get(train(tiny_config(4), tmp_path / "fresh"))
    assert not equal(whole.params, fresh.params)
    train_and_kill_at(monkeypatch, 4, begun(file), tmp_path / "run")
    (tmp_path / "first.safetensors").unlink()  # Step 0 is past.
    resumed = jax.device_get(train(begun(file), tmp_path / "run"))
    assert equal(resumed, whole)
    made = dear_jax.load(tmp_path / "run").provenance["started_from"]
    assert made["name"] == str(file) and made["terms"] == "mine"
    weights = read_weights(first[1])
    assert made["hash"] == digest_of(weights.model, weights.variables)


def test_provenance_keeps_the_whole_chain(first, tmp_path):
    changes = {"evaluate.every": 1, "evaluate.limit": 1, "evaluate.scale": 8.0}
    train(begun(first[1], 1, **changes), tmp_path / "second")
    train(begun(tmp_path / "second", 1), tmp_path / "third")
    best = dear_jax.load(tmp_path / "second", which="best").provenance
    assert best["started_from"]["data"] == "x"
    third = dear_jax.load(tmp_path / "third").provenance["started_from"]
    assert third["name"] == str(tmp_path / "second")
    assert third["started_from"]["name"] == str(first[1])
    config = json.loads((tmp_path / "third" / "config.json").read_text())
    assert config["started_from"] == third


def test_a_bundled_model_is_a_start():
    config = fine_tune.get_config()
    start = start_of(config)
    assert start.facts["name"] == "dear-lite" and "CelebA" in start.facts["terms"]
    assert not start.lines
    assert equal(start.variables, dear_jax.load("dear-lite").variables)


def test_what_does_not_fit_is_named_and_begins_anew(first, tmp_path, capsys):
    changes = {"model.decoder_width": 12, "model.detail": False}
    config = begun(first[1], 1, **changes)
    start = start_of(config)
    shape, extra = (line.partition(": ")[2] for line in start.lines)
    assert "of another shape: params/decoder/hidden_0/bias (8,) for (12,)" in shape
    assert "left out, not in the model: params/detail_filters/" in extra
    fresh = init_variables(build(config.model.to_dict()), config.seed)["params"]
    begun_anew = start.variables["params"]["decoder"]["hidden_0"]
    assert equal(begun_anew, fresh["decoder"]["hidden_0"])
    kept = read_weights(first[1]).variables["params"]["encoder"]
    assert equal(start.variables["params"]["encoder"], kept)
    train(config, tmp_path / "run")
    assert capsys.readouterr().out.count("params/decoder/hidden_0/bias") == 1


def test_layers_that_the_weights_lack_begin_anew(first, tmp_path):
    weights = read_weights(first[1])
    fields = {**weights.model, "detail": False}
    variables = draw_like(init_shapes(build(fields)))
    write_weights(tmp_path / "w.safetensors", Weights(variables, fields, {}))
    start = start_of(begun(tmp_path / "w.safetensors"))
    (line,) = start.lines
    assert "start anew, not in the weights: params/detail_filters/" in line


def test_the_input_of_a_level_begins_without_effect():
    fields = tiny_fields("dear-lite")
    old = draw_like(init_shapes(build(fields)))
    model = build({**fields, "level_input": True})
    fresh = draw_like(init_shapes(model), seed=1)
    variables, lines = fitted(old, jax.tree.map(np.asarray, fresh))
    assert not lines
    batch = example((11, 14))
    expected, _ = jax.jit(build(fields).apply)(old, *batch)
    run = jax.jit(model.apply)
    for level in (0.0, 0.8):
        colours, _ = run(variables, *batch, np.full(1, level, np.float32))
        np.testing.assert_allclose(colours, expected, atol=1e-5)


@pytest.mark.parametrize(
    "source, message",
    [
        ("nowhere", "config.train.start_from='nowhere': model 'nowhere': neither"),
        ("telea", "config.train.start_from='telea': model 'telea': neither"),
    ],
)
def test_what_is_no_model_is_refused_before_the_workdir_is_claimed(
    source, message, tmp_path
):
    with pytest.raises(InputError, match=message):
        train(begun(source), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_weights_of_another_architecture_are_refused(tmp_path):
    fields = {"architecture": "edsr", "width": 4, "blocks": 1}
    variables = draw_like(init_shapes(build(fields)))
    write_weights(tmp_path / "w.safetensors", Weights(variables, fields, {}))
    with pytest.raises(InputError, match="weights of edsr, but config.model.arch"):
        train(begun(tmp_path / "w.safetensors"), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_weights_of_which_nothing_fits_are_refused(tmp_path):
    fields = {**tiny_fields("dear"), "norm": "none"}
    variables = {"params": {"elsewhere": {"kernel": np.zeros((1, 1), np.float32)}}}
    fresh = draw_like(init_shapes(build(fields)))
    with pytest.raises(InputError, match="none of its layers fits"):
        fitted(variables, fresh)


def test_another_start_is_another_run(first, tmp_path):
    train(begun(first[1], 1), tmp_path / "run")
    with pytest.raises(InputError, match="belongs to a run with config.train.start_f"):
        train(tiny_config(1), tmp_path / "run")
