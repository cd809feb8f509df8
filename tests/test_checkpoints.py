"""A checkpoint is what was saved, bit for bit, or it is not used."""

import errno
import os
import random
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from saved_states import files, make_state, restore, same, save

from dear_jax.checkpointing import checkpoints as module
from dear_jax.checkpointing.checkpoints import Checkpoints, read_ema, saved_steps
from dear_jax.checkpointing.stored import Damaged, read_stored, write_stored
from dear_jax.errors import InputError


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A workdir with checkpoints of the steps 3 and 6."""
    workdir = tmp_path_factory.mktemp("saved")
    save(workdir, 3, 6)
    return workdir


@pytest.fixture
def workdir(saved, tmp_path):
    """A copy of it, to be maltreated."""
    return shutil.copytree(saved, tmp_path / "run")


# Sound checkpoints.


def test_without_checkpoints_nothing_is_restored(tmp_path):
    assert restore(tmp_path) is None
    assert read_ema(tmp_path, make_state(0).ema) is None


def test_the_newest_state_comes_back_bit_for_bit(saved):
    assert same(restore(saved), make_state(6))


def test_the_average_comes_back_alone_as_numpy(saved):
    shapes = jax.eval_shape(lambda: make_state(0).ema)
    variables, step = read_ema(saved, shapes)
    assert step == 6 and same(variables, make_state(6).ema)
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(variables))


@pytest.mark.parametrize("before, after", [(4, 1), (1, 4)])
def test_a_state_goes_on_with_another_number_of_devices(before, after, tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(make_state(2, devices=before))
    found = restore(tmp_path, devices=after)
    assert same(found, make_state(2))
    assert all(len(leaf.devices()) == after for leaf in jax.tree.leaves(found))


@pytest.mark.parametrize("devices", [1, 4])
def test_saved_and_restored_states_may_be_donated(devices, tmp_path):
    spoil = jax.jit(lambda s: jax.tree.map(jnp.zeros_like, s), donate_argnums=0)
    state = make_state(2, devices=devices)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state)
        jax.block_until_ready(spoil(state))
    found = restore(tmp_path, devices=devices)
    copied = jax.device_get(jax.tree.map(jnp.copy, found))
    jax.block_until_ready(spoil(found))
    assert same(copied, make_state(2))


def test_only_the_last_checkpoints_stay(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        for step in (8, 9, 10, 11):
            checkpoints.save(make_state(step))
    assert saved_steps(tmp_path) == [10, 11]
    assert sorted(os.listdir(tmp_path / "checkpoints")) == ["10", "11"]


def test_old_checkpoints_stay_until_the_new_one_is_whole(workdir, monkeypatch):
    seen = []

    def write(*arguments):
        seen.append(saved_steps(workdir))
        write_stored(*arguments)

    monkeypatch.setattr(module, "write_stored", write)
    save(workdir, 9)
    assert seen == [[3, 6]] and saved_steps(workdir) == [6, 9]


def test_a_saved_step_is_left_alone(workdir):
    before = {p: p.stat().st_mtime_ns for p in files(workdir)}
    save(workdir, 6)
    assert {p: p.stat().st_mtime_ns for p in files(workdir)} == before


def test_what_a_killed_save_left_is_removed(workdir):
    for name in ("9.orbax-checkpoint-tmp", "0.old", "mine"):
        (workdir / "checkpoints" / name / "state").mkdir(parents=True)
    assert same(restore(workdir), make_state(6))
    assert sorted(os.listdir(workdir / "checkpoints")) == ["3", "6", "mine"]


# Damaged checkpoints.


def check_survived(workdir: Path) -> bool:
    """Whether the newest was given up; else it is restored as it was."""
    said = []
    found = restore(workdir, said.append)
    if not said:
        assert same(found, make_state(6))
        return False
    assert same(found, make_state(3))
    assert len(said) == 1 and f"{workdir}/checkpoints/6: damaged" in said[0]
    assert "\n" not in said[0] and str(workdir / "damaged" / "6") in said[0]
    assert saved_steps(workdir) == [3] and (workdir / "damaged" / "6").is_dir()
    return True


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def flip(path: Path) -> None:
    """Flips a bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink])
def test_any_damaged_file_is_harmless_or_found(damage, saved, tmp_path, capfd):
    found = set()
    for file in files(saved / "checkpoints" / "6"):
        workdir = shutil.copytree(saved, tmp_path / "run")
        name = file.relative_to(saved)
        damage(workdir / name)
        if check_survived(workdir):
            found.add(name.name)
        shutil.rmtree(workdir)
    # Damage of what counts was seen as such.
    assert found >= {"manifest.ocdbt", "metadata"}
    assert any(len(name) == 32 for name in found)
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_random_flips_in_the_arrays_are_found_or_harmless(saved, tmp_path):
    rng = random.Random(0)
    largest = max(files(saved / "checkpoints" / "6"), key=lambda p: p.stat().st_size)
    content = largest.read_bytes()
    for _ in range(10):
        workdir = shutil.copytree(saved, tmp_path / "run")
        changed = bytearray(content)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        (workdir / largest.relative_to(saved)).write_bytes(changed)
        check_survived(workdir)
        shutil.rmtree(workdir)


def test_arrays_of_another_checkpoint_are_found_by_their_checksums(workdir):
    newest, older = (workdir / "checkpoints" / step for step in ("6", "3"))
    shutil.rmtree(newest / "state")
    shutil.copytree(older / "state", newest / "state")
    with pytest.raises(Damaged, match="checksum"):
        read_stored(newest, make_state(0))
    with pytest.raises(InputError, match="checkpoints/6: damaged .*checksum"):
        read_ema(workdir, make_state(0).ema)
    assert check_survived(workdir)


def test_a_checkpoint_under_another_name_is_not_taken_for_that_step(workdir):
    shutil.copytree(workdir / "checkpoints" / "3", workdir / "checkpoints" / "9")
    said = []
    assert same(restore(workdir, said.append), make_state(6))
    assert "it holds step 3" in said[0]


def test_a_run_goes_on_after_damage_and_saves_that_step_again(workdir):
    for time_ in (1, 2):
        truncate(workdir / "checkpoints" / "6" / "checksums" / "metadata")
        with Checkpoints(workdir, say=lambda _: None) as checkpoints:
            assert int(checkpoints.restore(make_state(0)).step) == 3
            checkpoints.save(make_state(6))
        assert len(os.listdir(workdir / "damaged")) == time_
    assert same(restore(workdir), make_state(6))


def test_a_run_never_begins_again_because_all_its_checkpoints_are_damaged(workdir):
    (workdir / "best.safetensors").touch()
    for file in files(workdir / "checkpoints"):
        truncate(file)
    said = []
    for _ in range(2):  # The same command again changes nothing.
        with pytest.raises(InputError, match="no sound checkpoint .*best.*remove"):
            restore(workdir, said.append)
    assert len(said) == 2 and sorted(os.listdir(workdir / "damaged")) == ["3", "6"]
    shutil.rmtree(workdir / "damaged")
    assert restore(workdir) is None


@pytest.mark.parametrize("change", [{"width": 4}, {"opponent": {"x": np.ones(2)}}])
def test_another_model_is_no_damage(change, workdir):
    with Checkpoints(workdir, say=pytest.fail) as checkpoints:
        with pytest.raises(InputError, match="6 is of another model.*--workdir"):
            checkpoints.restore(make_state(0, **change))
    with pytest.raises(InputError, match="another model"):
        read_ema(workdir, make_state(0, width=4).ema)
    assert saved_steps(workdir) == [3, 6] and not (workdir / "damaged").exists()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES])
def test_what_may_not_be_read_is_no_damage(number, workdir, monkeypatch):
    def refuse(*_, **__):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("dear_jax.checkpointing.stored._read_arrays", refuse)
    with pytest.raises(InputError, match=f"cannot be read.*{os.strerror(number)}"):
        restore(workdir)
    assert saved_steps(workdir) == [3, 6]
