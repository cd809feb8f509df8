"""Whatever happens to a run, the same command ends at the undisturbed run's bits.

Real processes of `run_train.py`, killed, starved and robbed.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from dear_jax import bundled
from tests.killed import last_state
from tests.starting import ROOT, environment
from tests.tiny_run import get_config

STEPS = get_config().train.steps


class Run:
    """A process of `run_train.py` on one device."""

    def __init__(self, workdir: Path, *overrides: str):
        self.workdir = workdir
        command = [sys.executable, "run_train.py", "--config=tests/tiny_run.py"]
        command += [f"--workdir={workdir}", *overrides]
        self._errors = tempfile.TemporaryFile("w+")
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=environment(devices=1),
            stdout=self._errors,
            stderr=self._errors,
        )
        self.pid = self._process.pid

    def wait_for(self, condition, seconds: float = 600) -> bool:
        """Looks again and again until the condition holds; False if the run ended."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if condition():
                return True
            if self._process.poll() is not None:
                return False
            time.sleep(0.0005)
        raise AssertionError(f"nothing happened in {seconds} s: {self.told()}")

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Sends a signal and waits; the exit status."""
        self._process.send_signal(number)
        return self._process.wait(300)

    def end(self) -> tuple[int, str]:
        """The exit status and what was printed."""
        return self._process.wait(900), self.told()

    def told(self) -> str:
        self._errors.seek(0)
        return self._errors.read()

    def steps(self) -> int:
        """Steps reported so far."""
        path = self.workdir / "metrics.jsonl"
        return path.read_text().count("\n") if path.exists() else 0

    def is_saving(self) -> bool:
        folder = self.workdir / "checkpoints"
        return folder.is_dir() and any("tmp" in path.name for path in folder.iterdir())


def check_same_end(workdir: Path, undisturbed) -> None:
    state = last_state(workdir)
    assert int(state.step) == STEPS
    jax.tree.map(np.testing.assert_array_equal, state, undisturbed)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The last state of a run that nothing happened to."""
    workdir = tmp_path_factory.mktemp("undisturbed") / "run"
    status, told = Run(workdir).end()
    assert status == 0, told
    return last_state(workdir)


@pytest.mark.long
def test_kills_some_of_them_while_saving(undisturbed, tmp_path):
    rng = random.Random(0)
    while_saving = 0
    for kill in range(6):
        run = Run(tmp_path / "run")
        seen = run.steps()
        if kill % 2:
            assert run.wait_for(run.is_saving), run.told()
            while_saving += run.is_saving()
        else:
            assert run.wait_for(lambda: run.steps() > seen), run.told()  # noqa: B023
            time.sleep(rng.uniform(0, 0.1))
        assert run.kill() == -signal.SIGKILL, run.told()
    assert while_saving
    status, told = Run(tmp_path / "run").end()
    assert status == 0 and "resumed at step" in told
    check_same_end(tmp_path / "run", undisturbed)


@pytest.mark.long
def test_sigterm_saves_and_exits_with_0_at_once(undisturbed, tmp_path):
    run = Run(tmp_path / "run")
    assert run.wait_for(lambda: run.steps() > 2)
    assert run.kill(signal.SIGTERM) == 0
    assert int(last_state(tmp_path / "run").step) < STEPS
    assert "the same command continues" in run.told()
    status, _ = Run(tmp_path / "run").end()
    assert status == 0
    check_same_end(tmp_path / "run", undisturbed)


@pytest.mark.long
def test_a_full_disk_ends_in_one_line_and_loses_nothing(undisturbed, make_disk):
    small_disk = make_disk("24m")
    run = Run(small_disk / "run")
    assert run.wait_for(lambda: run.steps() > 4)
    ballast = small_disk / "ballast"
    free = shutil.disk_usage(small_disk).free
    ballast.write_bytes(bytes(max(free - 20_000, 0)))
    status, told = run.end()
    assert status == 2, told
    assert "No space left" in told and "Traceback" not in told, told
    ballast.unlink()
    status, told = Run(small_disk / "run").end()
    assert status == 0 and "resumed at step" in told, told
    check_same_end(small_disk / "run", undisturbed)


@pytest.mark.long
def test_truncated_checkpoints_are_passed_over(undisturbed, tmp_path):
    run = Run(tmp_path / "run")
    assert run.wait_for(lambda: run.steps() > 8)
    assert run.kill(signal.SIGTERM) == 0
    steps = [int(p.name) for p in (tmp_path / "run" / "checkpoints").iterdir()]
    assert len(steps) == 2
    newest = tmp_path / "run" / "checkpoints" / str(max(steps))
    for path in newest.rglob("*"):
        if path.is_file():
            os.truncate(path, path.stat().st_size // 2)
    status, told = Run(tmp_path / "run").end()
    assert status == 0 and f"resumed at step {min(steps)}" in told, told
    assert str(newest) in told
    check_same_end(tmp_path / "run", undisturbed)


@pytest.mark.long
def test_a_vanished_photo_stops_the_run_until_it_is_back(undisturbed, tmp_path):
    shutil.copytree(bundled.PHOTOS, tmp_path / "photos")
    photos = f"--config.data.photos=('{tmp_path / 'photos'}',)"
    run = Run(tmp_path / "run", photos)
    assert run.wait_for(lambda: run.steps() > 2)
    photo = sorted((tmp_path / "photos").glob("*.*"))[1]
    photo.rename(tmp_path / photo.name)
    status, told = run.end()
    assert status == 2 and photo.name in told and "Traceback" not in told, told
    status, told = Run(tmp_path / "run", photos).end()
    assert status == 2 and "Traceback" not in told, told
    (tmp_path / photo.name).rename(photo)
    status, told = Run(tmp_path / "run", photos).end()
    assert status == 0, told
    check_same_end(tmp_path / "run", undisturbed)


@pytest.mark.long
def test_killed_reading_processes_are_replaced(undisturbed, tmp_path):
    run = Run(tmp_path / "run", "--config.data.workers=2")
    assert run.wait_for(lambda: run.steps() > 2)
    for worker in reading_processes(run.pid):
        os.kill(worker, signal.SIGKILL)
    status, told = run.end()
    assert status == 0, told
    check_same_end(tmp_path / "run", undisturbed)


@pytest.mark.long
def test_reading_processes_end_with_a_killed_run(tmp_path):
    run = Run(tmp_path / "run", "--config.data.workers=1")
    assert run.wait_for(lambda: run.steps() > 0)
    readers = reading_processes(run.pid)
    run.kill()
    until = time.monotonic() + 60
    while any(map(is_running, readers)):
        assert time.monotonic() < until
        time.sleep(0.1)


def is_running(process: int) -> bool:
    try:
        return bool(Path(f"/proc/{process}/cmdline").read_bytes())
    except OSError:
        return False


def reading_processes(parent: int) -> list[int]:
    # A child is listed with the thread that started it.
    lists = list(Path(f"/proc/{parent}/task").glob("*/children"))
    if not lists:
        pytest.skip("the system does not list processes")
    children = [int(c) for path in lists for c in path.read_text().split()]
    # Python's own helper for shared memory is no reader.
    found = [
        child
        for child in children
        if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    assert found
    return found
