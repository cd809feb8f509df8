"""A checkpoint is what was saved, bit for bit, or it is not used."""

import errno
import functools
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from dear_jax.checkpoint import Checkpoints, read_ema, saved_steps
from dear_jax.errors import InputError
from dear_jax.training.state import TrainState
from tests.starting import ROOT, environment


@functools.cache
def numpy_state(step: int, width: int = 5) -> TrainState:
    """A state that has every kind of leaf there is, other for each step."""
    rng = np.random.default_rng(step)
    params = {"a": {"kernel": rng.normal(size=(300, width)).astype(np.float32)}}
    params["bias"] = rng.normal(size=7).astype(ml_dtypes.bfloat16)
    stats = {"batch_stats": {"seen": rng.random(9) < 0.5}}
    opt_state = jax.device_get(optax.adam(1e-3).init(params))
    ema = {"params": jax.tree.map(np.negative, params), **stats}
    return TrainState(np.int32(step), params, stats, opt_state, ema, None)


def make_state(step: int, width: int = 5, devices: int = 1, **changes) -> TrainState:
    """The state, replicated over some devices."""
    mesh = jax.sharding.Mesh(np.array(jax.devices()[:devices]), ("data",))
    everywhere = NamedSharding(mesh, PartitionSpec())
    return jax.device_put(numpy_state(step, width).replace(**changes), everywhere)


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


def test_the_average_comes_back_alone_as_numpy(saved):
    shapes = jax.eval_shape(lambda: make_state(0).ema)
    variables, step = read_ema(saved, shapes)
    assert step == 6 and same(variables, make_state(6).ema)
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(variables))


@pytest.mark.parametrize("before, after", [(1, 1), (4, 1), (1, 4)])
def test_a_state_comes_back_bit_for_bit_on_any_number_of_devices(
    before, after, tmp_path
):
    spoil = jax.jit(lambda s: jax.tree.map(jnp.zeros_like, s), donate_argnums=0)
    state = make_state(2, devices=before)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state)
        jax.block_until_ready(spoil(state))  # It may be donated at once.
    found = restore(tmp_path, devices=after)
    assert same(found, make_state(2))
    assert all(len(leaf.devices()) == after for leaf in jax.tree.leaves(found))
    jax.block_until_ready(spoil(found))


def test_only_the_last_checkpoints_stay_and_saved_steps_are_left_alone(workdir):
    save(workdir, 9)
    assert saved_steps(workdir) == [6, 9]
    before = {p: p.stat().st_mtime_ns for p in files(workdir)}
    save(workdir, 9)
    assert {p: p.stat().st_mtime_ns for p in files(workdir)} == before


def test_what_a_killed_save_left_is_removed(workdir):
    (workdir / "checkpoints" / "9.orbax-checkpoint-tmp" / "state").mkdir(parents=True)
    assert same(restore(workdir), make_state(6))
    assert sorted(os.listdir(workdir / "checkpoints")) == ["3", "6"]


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
    if content:
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
    assert "Traceback" not in captured.out + captured.err


def test_arrays_of_another_checkpoint_are_found_by_their_checksums(workdir):
    newest, older = (workdir / "checkpoints" / step for step in ("6", "3"))
    shutil.rmtree(newest / "state")
    shutil.copytree(older / "state", newest / "state")
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
        truncate(workdir / "checkpoints" / "6" / "notes" / "metadata")
        with Checkpoints(workdir, say=lambda _: None) as checkpoints:
            assert int(checkpoints.restore(make_state(0)).step) == 3
            checkpoints.save(make_state(6))
        assert len(os.listdir(workdir / "damaged")) == time_
    assert same(restore(workdir), make_state(6))


def test_a_run_never_begins_again_because_all_its_checkpoints_are_damaged(workdir):
    for file in files(workdir / "checkpoints"):
        truncate(file)
    for _ in range(2):  # The same command again changes nothing.
        with pytest.raises(InputError, match="no checkpoint is sound .*remove"):
            restore(workdir)
    assert saved_steps(workdir) == [3, 6]


@pytest.mark.parametrize("change", [{"width": 4}, {"discriminator": {"x": np.ones(2)}}])
def test_another_model_is_no_damage(change, workdir):
    with Checkpoints(workdir, say=pytest.fail) as checkpoints:
        with pytest.raises(InputError, match="6 is of another model.*--workdir"):
            checkpoints.restore(make_state(0, **change))
    with pytest.raises(InputError, match="another model"):
        read_ema(workdir, make_state(0, width=4).ema)
    assert saved_steps(workdir) == [3, 6] and not (workdir / "damaged").exists()


def os_error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    "error, raised",
    [
        *((os_error(n), InputError) for n in (errno.EMFILE, errno.EACCES, errno.EIO)),
        (os_error(errno.ENOSPC), InputError),
        (ValueError(f"UNKNOWN: {os.strerror(errno.EMFILE)} [OS 24]"), InputError),
        (MemoryError(), MemoryError),
        (ImportError("no zstd"), ImportError),
        (AssertionError("a mistake in the code"), AssertionError),
    ],
)
@pytest.mark.parametrize("inner", [False, True])
def test_what_keeps_sound_checkpoints_from_being_read_is_no_damage(
    inner, error, raised, workdir, monkeypatch
):
    def refuse(*_, **__):
        if inner and not isinstance(error, AssertionError):
            raise Exception("Encountered error while reading array") from error
        raise error

    monkeypatch.setattr(ocp.CheckpointManager, "restore", refuse)
    with pytest.raises((raised, InputError) if inner else raised):
        restore(workdir)
    assert saved_steps(workdir) == [3, 6] and not (workdir / "damaged").exists()


# Saves that fail or are killed.


def check_refused(workdir: Path, reason: str) -> None:
    """A failing save of step 9 is told once, with what is left."""
    with pytest.raises(InputError) as told:
        save(workdir, 9)
    message = str(told.value)
    assert "\n" not in message and reason in message
    assert f"{workdir}/checkpoints/9" in message
    assert "the last one is of step 6" in message and "same command" in message


@pytest.fixture
def failing(monkeypatch):
    """Saves fail: in the thread that writes."""

    def refuse(*_, **__):
        raise os_error(errno.EROFS)

    monkeypatch.setattr(ocp.CheckpointManager, "_finalize", refuse)
    return monkeypatch


def test_the_next_save_tells_of_the_failure_before(workdir, failing):
    checkpoints = Checkpoints(workdir, say=pytest.fail)
    checkpoints.save(make_state(9))
    with pytest.raises(InputError, match="checkpoints/9.*Read-only.*of step 6"):
        checkpoints.save(make_state(12))
    checkpoints.close()  # Nothing is told twice.
    failing.undo()
    save(workdir, 9)
    assert same(restore(workdir), make_state(9))


def test_what_ends_a_run_is_not_hidden_by_a_failed_save(workdir, failing):
    said = []
    with pytest.raises(KeyError), Checkpoints(workdir, say=said.append) as checkpoints:
        checkpoints.save(make_state(9))
        raise KeyError
    assert len(said) == 1 and "Read-only" in said[0]


def test_a_folder_that_is_gone_is_not_made_again(workdir, tmp_path):
    checkpoints = Checkpoints(workdir)
    workdir.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="No such file.*there is none"):
        checkpoints.save(make_state(9))
    assert not workdir.exists()
    assert same(restore(tmp_path / "elsewhere"), make_state(6))


def test_a_path_that_can_be_no_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file.*cannot be a folder"):
        Checkpoints(tmp_path / "file")


@pytest.mark.parametrize("left", [0, 4, 24])
def test_a_full_disk_is_told_in_one_line_and_costs_one_save(left, saved, make_disk):
    small_disk = make_disk("400k")
    workdir = shutil.copytree(saved, small_disk / "run")
    filling = small_disk / "filling"
    free = shutil.disk_usage(small_disk).free
    filling.write_bytes(bytes(max(free - left * 1024, 0)))
    check_refused(workdir, "No space left on device")
    filling.unlink()
    assert same(restore(workdir), make_state(6))
    save(workdir, 9)
    assert same(restore(workdir), make_state(9))


SAVE_FOREVER = """
import itertools, sys
from tests.test_checkpoints import *
with Checkpoints(Path(sys.argv[1])) as checkpoints:
    state = checkpoints.restore(make_state(0))
    for step in itertools.count(1 if state is None else int(state.step) + 1):
        checkpoints.save(make_state(step))
        print(step, flush=True)
"""


@pytest.mark.slow
def test_kills_while_saving_leave_a_sound_checkpoint(tmp_path):
    rng = random.Random(0)
    for _ in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", SAVE_FOREVER, str(tmp_path)],
            env=environment(1),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
        )
        begun = [process.stdout.readline() for _ in range(2)]
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        told, _ = process.communicate()
        last = [int(step) for step in [*begun, *told.split()]][-1]
        # The save before the last had ended when the last began.
        newest = restore(tmp_path)
        assert int(newest.step) >= last - 1
        assert same(newest, make_state(int(newest.step)))
