"""A workdir belongs to one run, and to another only if told so."""

import json
import os
import shutil

import pytest
from tiny import tiny_config

from dear_jax.errors import InputError
from dear_jax.inference.runs import read_run
from dear_jax.training.workdir import claim_workdir


@pytest.fixture
def workdir(tmp_path):
    """A run of the tiny configuration that has a checkpoint."""
    claim_workdir(tmp_path / "run", tiny_config(), "data", say=pytest.fail)
    (tmp_path / "run" / "checkpoints" / "3").mkdir(parents=True)
    return tmp_path / "run"


def claim(workdir, data="data", accept=True, **changes) -> list[str]:
    """What is told when a run of a changed configuration is continued."""
    said = []
    claim_workdir(workdir, tiny_config(**changes), data, accept, said.append)
    return said


def learning_rate(workdir) -> float:
    content = json.loads((workdir / "config.json").read_text())
    return content["config"]["optimizer"]["learning_rate"]


def test_the_same_run_may_go_on_and_nothing_is_told(workdir):
    before = (workdir / "config.json").read_text()
    for accept in (False, True):
        assert claim(workdir, accept=accept) == []
    assert (workdir / "config.json").read_text() == before


def test_another_configuration_is_refused_by_key_and_told_how(workdir):
    before = (workdir / "config.json").read_text()
    message = "learning_rate=0.001, not 0.0001; .*--workdir .*--accept_changes"
    with pytest.raises(InputError, match=message):
        claim(workdir, accept=False, **{"optimizer.learning_rate": 1e-4})
    assert (workdir / "config.json").read_text() == before


def test_accepted_changes_are_told_taken_over_and_noted(workdir):
    changes = {"optimizer.learning_rate": 1e-4, "data.augment": "dihedral"}
    assert claim(workdir, data="other", **changes) == [
        "config.data.augment: 'flip' -> 'dihedral'",
        "config.optimizer.learning_rate: 0.001 -> 0.0001",
        "batches of config.data: data -> other",
    ]
    assert claim(workdir, data="other", accept=False, **changes) == []
    assert claim(workdir, data="other", **{"data.augment": "dihedral"}) == [
        "config.optimizer.learning_rate: 0.0001 -> 0.001"
    ]
    notes = json.loads((workdir / "config.json").read_text())["accepted"]
    assert len(notes) == 4
    assert notes[3] == "step 3: config.optimizer.learning_rate: 0.0001 -> 0.001"


@pytest.mark.parametrize(
    "key, value",
    [("model.decoder_width", 9), ("model.decoder", "x"), ("objective.name", "pairs")],
)
def test_what_shapes_the_state_is_refused_even_if_told(key, value, workdir):
    config = tiny_config()
    part, name = key.split(".")
    with config.unlocked():
        config[part][name] = value
    config.optimizer.learning_rate = 1e-4
    said = []
    with pytest.raises(InputError, match=f"config.{key}=.*--accept_changes cannot"):
        claim_workdir(workdir, config, "data", True, said.append)
    assert learning_rate(workdir) == 0.001


@pytest.mark.parametrize(
    "key, value",
    [
        *(("train.dtype", "bfloat16"), ("train.accumulate", 2)),
        *(("train.deterministic", False), ("seed", 1)),
        *(("train.batch_size", 8), ("train.ema_decay", 0.5), ("train.steps", 9)),
    ],
)
def test_what_may_change_a_bit_is_not_taken_silently(key, value, workdir):
    with pytest.raises(InputError, match=f"config.{key}="):
        claim(workdir, accept=False, **{key: value})
    assert len(claim(workdir, **{key: value})) == 1


def test_what_feeds_or_watches_a_run_may_change(workdir):
    changes = {"data.threads": 2, "log.every": 1, "evaluate.limit": 2}
    changes |= {"checkpoint.every": 9, "data.photos": ("elsewhere",)}
    assert claim(workdir, accept=False, **changes) == []


def test_other_photos_are_refused(workdir):
    with pytest.raises(InputError, match="other photos or masks.*--accept_changes"):
        claim(workdir, data="other", accept=False)


def test_a_run_without_checkpoint_may_be_corrected(workdir):
    shutil.rmtree(workdir / "checkpoints")
    (workdir / "checkpoints" / "3.orbax-checkpoint-tmp").mkdir(parents=True)
    assert claim(workdir, accept=False, **{"optimizer.learning_rate": 1e-4}) == []
    assert learning_rate(workdir) == 1e-4


def test_a_halving_run_may_be_made_longer(tmp_path):
    config = tiny_config(**{"optimizer.schedule": "halving"})
    claim_workdir(tmp_path / "run", config, "data")
    (tmp_path / "run" / "checkpoints" / "3").mkdir(parents=True)
    config.train.steps = 99
    claim_workdir(tmp_path / "run", config, "data")
    config.optimizer.schedule = "cosine"
    with pytest.raises(InputError, match="schedule"):
        claim_workdir(tmp_path / "run", config, "data")


def test_a_foreign_folder_is_not_made_a_workdir(tmp_path):
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="not empty"):
        claim_workdir(tmp_path, tiny_config(), "data")
    assert os.listdir(tmp_path) == ["letter.txt"]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"config": {}, "data": "x"}'])
def test_a_damaged_config_is_refused_by_name(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match="config.json: damaged"):
        read_run(tmp_path)


@pytest.mark.parametrize("content", ["{}", '{"architectures": ["Other"]}'])
def test_somebody_elses_config_is_not_replaced(content, tmp_path):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(InputError, match="config.json"):
        claim_workdir(tmp_path, tiny_config(), "data")
    assert (tmp_path / "config.json").read_text() == content


def test_a_path_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/run: cannot be a folder"):
        claim_workdir(tmp_path / "file" / "run", tiny_config(), "data")


def test_a_full_disk_leaves_the_config_as_it_was(workdir, make_disk):
    before, disk = (workdir / "config.json").read_text(), make_disk("64k")
    there = shutil.copytree(workdir, disk / "run")
    (disk / "filling").write_bytes(bytes(shutil.disk_usage(disk).free))
    with pytest.raises(InputError, match="config.json.*No space left on device"):
        claim(there, **{"optimizer.learning_rate": 1e-4})
    assert (there / "config.json").read_text() == before
    assert sorted(os.listdir(there)) == ["checkpoints", "config.json"]
