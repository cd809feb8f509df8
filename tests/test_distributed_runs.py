"""A run on several processes is the run on one; it goes on on any number."""

import json
import signal
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from dear_jax.multihost import HEARTBEAT
from dear_jax.training.logging import read_metrics
from tests.killed import last_state
from tests.starting import finish, free_port, start

CONSTANT = "--config.optimizer.schedule=constant"


def start_run(workdir: Path, *overrides: str, count: int = 2, each=None) -> list:
    """Processes of `run_train.py` with two devices, or one if it is alone."""
    command = ("run_train.py", "--config=tests/tiny_run.py", f"--workdir={workdir}")
    address = f"--coordinator=localhost:{free_port()}"
    runs = []
    for index in range(count):
        place = (address, f"--num_processes={count}", f"--process_id={index}")
        own = each[index] if each else ()
        place = place if count > 1 else ()
        runs.append(start(*command, *overrides, *own, *place, devices=min(count, 2)))
    return runs


def run(workdir: Path, *overrides: str, count: int = 2) -> list:
    """Runs to the end, with success."""
    ended = finish(start_run(workdir, CONSTANT, *overrides, count=count))
    for code, _, errors in ended:
        assert code == 0, errors
    return ended


def losses(workdir: Path) -> list[tuple[int, float]]:
    lines = map(json.loads, (workdir / "metrics.jsonl").read_text().splitlines())
    return [(line["step"], line["loss"]) for line in lines if line["kind"] == "train"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """24 undisturbed steps on one process of one device."""
    workdir = tmp_path_factory.mktemp("whole") / "run"
    run(workdir, "--config.train.steps=24", "--config.log.every=1", count=1)
    return workdir


def assert_same_run(workdir: Path, whole: Path) -> None:
    """The same data in the same order, and parameters equal to rounding."""
    ours, theirs = losses(workdir), losses(whole)
    assert [step for step, _ in ours] == [step for step, _ in theirs]
    np.testing.assert_allclose(
        [loss for _, loss in ours], [loss for _, loss in theirs], rtol=1e-5
    )
    jax.tree.map_with_path(
        lambda path, mine, other: np.testing.assert_allclose(
            mine, other, rtol=1e-5, atol=1e-6, err_msg=jax.tree_util.keystr(path)
        ),
        last_state(workdir),
        last_state(whole),
    )


@pytest.mark.parametrize(
    "counts",
    [
        pytest.param((2, 1), marks=pytest.mark.slow),
        pytest.param((2, 2), marks=pytest.mark.long),
        pytest.param((1, 2), marks=pytest.mark.long),
    ],
)
def test_a_run_goes_on_on_other_machines(counts, whole, tmp_path):
    workdir = tmp_path / "run"
    for count, steps in zip(counts, (12, 24), strict=True):
        ended = run(
            workdir,
            f"--config.train.steps={steps}",
            "--config.log.every=1",
            "--config.evaluate.every=12",
            "--config.evaluate.limit=1",
            "--config.evaluate.scale=8",
            count=count,
        )
    assert "resumed at step 12" in ended[0][1] + ended[0][2]
    assert_same_run(workdir, whole)
    evaluated = [r["step"] for r in read_metrics(workdir) if r["kind"] == "evaluate"]
    assert evaluated == [0, 12, 24]


def start_and_wait(workdir: Path) -> list:
    """Two processes that have made a few steps of very many."""
    runs = start_run(workdir, "--config.train.steps=100000", "--config.log.every=1")
    lines = workdir / "metrics.jsonl"
    until = time.monotonic() + 600
    while not (lines.exists() and len(lines.read_text().splitlines()) > 3):
        if any(run.poll() is not None for run in runs) or time.monotonic() > until:
            raise AssertionError(f"no steps were made: {finish(runs, seconds=1)}")
        time.sleep(0.1)
    return runs


@pytest.mark.long
def test_sigterm_to_one_stops_both_after_the_same_step(tmp_path):
    workdir = tmp_path / "run"
    runs = start_and_wait(workdir)
    runs[1].send_signal(signal.SIGTERM)
    (code, out, errors), second = finish(runs)
    assert (code, second[0]) == (0, 0), errors + second[2]
    assert "stopped at step" in out + errors
    assert "stopped" not in second[1] + second[2]
    stopped = int((out + errors).split("stopped at step ")[1].split(";")[0])
    assert last_state(workdir).step == stopped == losses(workdir)[-1][0]


@pytest.mark.long
@pytest.mark.parametrize("dead", [0, 1])
def test_a_process_that_dies_does_not_leave_the_other_waiting(dead, tmp_path):
    runs = start_and_wait(tmp_path / "run")
    runs[dead].kill()
    ended = finish(runs, seconds=2 * HEARTBEAT)
    assert ended[1 - dead][0] != 0


@pytest.mark.long
def test_a_mistake_ends_both_in_one_line(tmp_path):
    (tmp_path / "photos").mkdir()
    wrong = f"--config.data.photos=('{tmp_path / 'photos'}',)"
    other = "--config.optimizer.learning_rate=0.5"
    for second, message in ((wrong, "holds no"), (other, "the configuration differs")):
        ended = finish(start_run(tmp_path / "run", each=[(), (second,)]))
        assert [code for code, _, _ in ended] == [2, 2]
        errors = "".join(errors for _, _, errors in ended)
        assert errors.count("error:") == 1 and message in errors, errors
        assert not (tmp_path / "run").exists()
