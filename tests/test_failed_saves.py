"""A save that fails or is killed costs itself, in one line, and nothing else."""

import errno
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from saved_states import make_state, restore, same, save

from dear_jax.checkpointing import checkpoints as module
from dear_jax.checkpointing.checkpoints import Checkpoints
from dear_jax.errors import InputError

ROOT = Path(__file__).parents[1]


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


def check_refused(workdir: Path, reason: str) -> None:
    """A failing save of step 9 is told, with what is left, and leaves nothing."""
    with pytest.raises(InputError) as told:
        save(workdir, 9)
    message = str(told.value)
    assert "\n" not in message and reason in message
    assert f"{workdir}/checkpoints/9" in message
    assert "the last one is of step 6" in message and "same command" in message


@pytest.mark.parametrize("words", [False, True])
def test_a_failed_save_is_told_and_the_last_checkpoint_is_sound(
    words, workdir, monkeypatch
):
    reason = os.strerror(errno.ENOSPC)

    def fill(folder, *_):
        folder.with_name("9.orbax-checkpoint-tmp").mkdir()
        if words:  # As TensorStore tells it.
            raise ValueError(f"RESOURCE_EXHAUSTED: Failed to write: {reason} [28]")
        raise OSError(errno.ENOSPC, reason)

    with monkeypatch.context() as patch:
        patch.setattr(module, "write_stored", fill)
        check_refused(workdir, reason)
    assert sorted(os.listdir(workdir / "checkpoints")) == ["3", "6"]
    save(workdir, 9)
    assert same(restore(workdir), make_state(9))


def test_the_next_save_tells_of_the_failure_before(workdir, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(module, "write_stored", refuse)
    checkpoints = Checkpoints(workdir)
    checkpoints.save(make_state(9))
    with pytest.raises(InputError, match="checkpoints/9.*Read-only"):
        checkpoints.save(make_state(12))
    checkpoints.close()  # Nothing is under way, nothing is told twice.


def test_what_ends_a_run_is_not_hidden_by_a_failed_save(workdir, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(module, "write_stored", refuse)
    said = []
    with pytest.raises(KeyError), Checkpoints(workdir, say=said.append) as checkpoints:
        checkpoints.save(make_state(9))
        raise KeyError
    assert len(said) == 1 and "Read-only" in said[0]


def test_a_folder_that_is_gone_is_not_made_again(workdir, tmp_path):
    checkpoints = Checkpoints(workdir)
    workdir.rename(tmp_path / "elsewhere")
    checkpoints.save(make_state(9))
    with pytest.raises(InputError, match="No such file.*there is none"):
        checkpoints.close()
    assert not workdir.exists()
    assert same(restore(tmp_path / "elsewhere"), make_state(6))


def test_a_path_that_can_be_no_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file.*cannot be a folder"):
        Checkpoints(tmp_path / "file")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(path)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("file systems cannot be mounted here")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.mark.parametrize("left", [0, 4, 24])
def test_a_full_disk_is_told_in_one_line_and_costs_one_save(
    left, saved, small_disk, capfd
):
    workdir = shutil.copytree(saved, small_disk / "run")
    filling = small_disk / "filling"
    free = shutil.disk_usage(small_disk).free
    filling.write_bytes(bytes(max(free - left * 1024, 0)))
    check_refused(workdir, "No space left on device")
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""
    assert sorted(os.listdir(workdir / "checkpoints")) == ["3", "6"]
    assert same(restore(workdir), make_state(6))
    filling.unlink()
    save(workdir, 9)
    assert same(restore(workdir), make_state(9))


def test_a_disk_that_may_not_be_written_is_told(saved, small_disk):
    workdir = shutil.copytree(saved, small_disk / "run")
    checkpoints = Checkpoints(workdir)
    remount = ["mount", "-o", "remount,ro", str(small_disk)]
    subprocess.run(remount, check=True)
    checkpoints.save(make_state(9))
    with pytest.raises(InputError, match="Read-only file system.*of step 6"):
        checkpoints.close()


# Kills.

SAVE_FOREVER = """
with Checkpoints(workdir) as checkpoints:
    state = checkpoints.restore(make_state(0))
    for step in itertools.count(1 if state is None else int(state.step) + 1):
        checkpoints.save(make_state(step))
        print(step, flush=True)
"""
SAVE_NOWHERE = """
try:
    with Checkpoints(workdir / "run") as checkpoints:
        (workdir / "run" / "checkpoints").rename(workdir / "away")
        checkpoints.save(make_state(9))
except InputError as error:
    sys.exit(f"error: {error}")
"""


def start(script: str, workdir: Path, *arguments: str) -> subprocess.Popen:
    """Starts a process of Python."""
    imports = """
import itertools
from tests.saved_states import *
from tests.test_failed_saves import *
workdir = Path(sys.argv[1])
"""
    paths = f"{ROOT}{os.pathsep}{ROOT / 'tests'}"
    return subprocess.Popen(
        [sys.executable, "-c", imports + script, str(workdir), *arguments],
        env={**os.environ, "PYTHONPATH": paths, "JAX_PLATFORMS": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.slow
def test_kills_while_saving_leave_a_sound_checkpoint(tmp_path):
    rng = random.Random(0)
    for _ in range(5):
        process = start(SAVE_FOREVER, tmp_path)
        begun = [process.stdout.readline() for _ in range(2)]
        time.sleep(rng.uniform(0, 0.3))
        process.kill()
        told, errors = process.communicate()
        assert process.returncode == -signal.SIGKILL and errors == ""
        last = [int(step) for step in [*begun, *told.split()]][-1]
        # The save before the last had ended when the last began.
        newest = restore(tmp_path)
        assert int(newest.step) >= last - 1 and same(
            newest, make_state(int(newest.step))
        )


@pytest.mark.slow
def test_a_process_ends_after_a_failed_save(tmp_path):
    process = start(SAVE_NOWHERE, tmp_path)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert errors.count("\n") == 1 and "No such file" in errors


# Several processes.

ONE_OF_TWO = """
from dear_jax.distributed import processes
port, index = sys.argv[2], int(sys.argv[3])
jax.config.update("jax_num_cpu_devices", 2)
processes.initialise(f"localhost:{port}", 2, index)
said = []
def restored():
    found = checkpoints.restore(make_state(0, devices=4))
    assert all(len(leaf.sharding.device_set) == 4 for leaf in jax.tree.leaves(found))
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), found)
with Checkpoints(workdir, say=said.append) as checkpoints:
    assert same(restored(), make_state(6))
    checkpoints.save(make_state(9, devices=4))
with Checkpoints(workdir, say=said.append) as checkpoints:
    assert same(restored(), make_state(9))
    def refuse(*_): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if index == 0:
        (workdir / "checkpoints" / "9" / "state" / "manifest.ocdbt").unlink()
        module.write_stored = refuse
    assert same(restored(), make_state(6))
    assert len(said) == 1 - index
    checkpoints.save(make_state(12, devices=4))
    with pytest.raises(InputError, match="12: .*No space left"):
        checkpoints.close()
processes.shutdown()
"""


@pytest.mark.slow
def test_two_processes_save_restore_and_fail_as_one(workdir):
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    both = [start(ONE_OF_TWO, workdir, str(port), str(i)) for i in range(2)]
    for process in both:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    assert same(restore(workdir), make_state(6))
