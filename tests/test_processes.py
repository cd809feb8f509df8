"""A run on two processes is the run on one, and ends as one."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from dear_jax.checkpointing.checkpoints import Checkpoints
from dear_jax.distributed import launch, meeting, processes
from dear_jax.errors import InputError
from dear_jax.monitoring.metrics_file import read_metrics
from dear_jax.registry import build
from dear_jax.training.optimizer import make_optimizer
from dear_jax.training.state import create_state
from tests.tiny_run import get_config
from tests.two_processes import arrays_of_steps

ROOT = Path(__file__).parents[1]
SURROUNDINGS = ("JAX_", "SLURM_", "OMPI_", "KUBERNETES_", "JOB_COMPLETION_INDEX")


# Whether there are several processes.

SLURM = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_NODELIST": "node[3-4]",
    "SLURM_NTASKS": "2",
    "SLURM_PROCID": "1",
    "SLURM_LOCALID": "0",
}
MPI = {
    "OMPI_COMM_WORLD_SIZE": "2",
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_MCA_orte_hnp_uri": "4096.0;tcp://10.0.0.1:34911",
}
JAX = {
    "JAX_COORDINATOR_ADDRESS": "host:1234",
    "JAX_NUM_PROCESSES": "2",
    "JAX_PROCESS_ID": "1",
}
POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "0"}


@pytest.fixture
def surroundings(monkeypatch):
    """A function that makes variables the only ones of any cluster."""
    for name in list(os.environ):
        if name.startswith(SURROUNDINGS):
            monkeypatch.delenv(name)

    def set_to(variables: dict[str, str]) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return set_to


def find(coordinator=None, count=None, index=None):
    return launch.find_launch(coordinator, count, index, patience=1)


@pytest.mark.parametrize(
    "variables, coordinator",
    [(SLURM, "node3:61447"), (MPI, "10.0.0.1:61441"), (JAX, "host:1234")],
)
def test_clusters_tell_which_of_several_processes_this_is(
    surroundings, variables, coordinator
):
    surroundings(variables)
    assert find() == (coordinator, 2, 1)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {**SLURM, "SLURM_NTASKS": "1"},
        # The script of sbatch and the shell of salloc, for eight tasks.
        {k: "8" for k in SLURM if k != "SLURM_STEP_NODELIST"},
        {**SLURM, "SLURM_NTASKS": "8", "SLURM_STEP_NUM_TASKS": "1"},
        {**MPI, "OMPI_COMM_WORLD_SIZE": "1"},
        {**JAX, "JAX_NUM_PROCESSES": "1"},
        {"KUBERNETES_SERVICE_HOST": "10.0.0.1"},
    ],
)
def test_one_process_is_left_alone(surroundings, variables):
    surroundings(variables)
    assert find() is None


def test_flags_overrule_the_surroundings(surroundings):
    surroundings(SLURM)
    assert find("other:5", 3, 2) == ("other:5", 3, 2)
    assert find(count=1) is None


@pytest.mark.parametrize(
    "given, message",
    [
        (("host:1", None, 0), "--num_processes missing"),
        ((None, 2, None), "--coordinator, --process_id missing"),
        (("host:1", 2, 2), "--process_id=2: must lie in 0 to"),
        (("host:1", 0, 0), "--num_processes=0"),
    ],
)
def test_wrong_flags_are_refused_by_name(given, message):
    with pytest.raises(InputError, match=message):
        find(*given)


@pytest.mark.parametrize(
    "variables, message",
    [
        ({"JAX_NUM_PROCESSES": "2"}, "JAX_COORDINATOR_ADDRESS, JAX_PROCESS_ID missing"),
        ({"JAX_COORDINATOR_ADDRESS": "host:1"}, "JAX_NUM_PROCESSES"),
        ({**JAX, "JAX_PROCESS_ID": "x"}, "JAX_PROCESS_ID=x"),
        ({k: MPI[k] for k in list(MPI)[:2]}, "give --coordinator"),
    ],
)
def test_incomplete_surroundings_are_refused_by_name(surroundings, variables, message):
    surroundings(variables)
    with pytest.raises(InputError, match=message):
        find()


def test_pods_of_a_job_do_not_silently_train_alone(surroundings, monkeypatch):
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: None)
    surroundings(POD)
    with pytest.raises(InputError, match="--num_processes=1"):
        find()


def slurm_task(local: int, tasks: str, **more: str) -> dict[str, str]:
    names = {"SLURM_STEP_TASKS_PER_NODE": tasks, "SLURM_LOCALID": str(local)}
    return {**SLURM, "SLURM_NTASKS": "9", **names, **more}


@pytest.mark.parametrize(
    "environment, expected",
    [
        ({}, None),
        (slurm_task(0, "1(x2)", CUDA_VISIBLE_DEVICES="0,1,2,3"), None),
        (slurm_task(1, "4(x2)", CUDA_VISIBLE_DEVICES="0,1,2,3"), [1]),
        (slurm_task(1, "2(x2)", CUDA_VISIBLE_DEVICES="0,1,2,3"), [2, 3]),
        (slurm_task(1, "4,1", CUDA_VISIBLE_DEVICES="0,1,2,3", SLURM_NODEID="1"), None),
        (
            slurm_task(1, "4", CUDA_VISIBLE_DEVICES="0", SLURM_GPUS_ON_NODE="4"),
            None,
        ),
        (slurm_task(1, "4", JAX_LOCAL_DEVICE_IDS="3"), None),
    ],
)
def test_tasks_of_a_machine_divide_its_gpus(environment, expected):
    assert launch.own_gpus(environment) == expected


# Meeting.


def free_port() -> int:
    with socket.socket() as door:
        door.bind(("", 0))
        return door.getsockname()[1]


def outcomes(*guests, patience=0.5) -> list[str]:
    """What `meet` does for several (count, index) at once."""
    said, port = [""] * len(guests), free_port()

    def go(place: int, count: int, index: int) -> None:
        try:
            meeting.meet(f"localhost:{port}", count, index, patience)
            said[place] = "met"
        except InputError as error:
            said[place] = str(error)

    threads = [
        threading.Thread(target=go, args=(i, *guest)) for i, guest in enumerate(guests)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return said


def test_processes_meet_in_any_order():
    assert outcomes((3, 2), (3, 1), (3, 0), patience=5) == ["met"] * 3


def test_a_missing_process_is_named_to_those_that_came():
    first, second = outcomes((3, 0), (3, 2))
    assert first == second and first.startswith("process 1 of 3 did not come")


def test_different_counts_are_told_to_both():
    first, second = outcomes((2, 0), (3, 1), patience=5)
    assert first == second and "started for 3 processes, process 0 for 2" in first


def test_a_number_given_twice_is_told_to_all():
    said = outcomes((3, 0), (3, 1), (3, 1), patience=5)
    assert said == ["two processes are number 1; give each a number of its own"] * 3


def test_a_silent_coordinator_is_named():
    assert "no answer within 0.5 seconds" in outcomes((2, 1))[0]


def test_a_taken_port_is_named():
    with socket.create_server(("", 0)) as door:
        port = door.getsockname()[1]
        with pytest.raises(InputError, match=f"port {port}: cannot be used"):
            meeting.meet(f"localhost:{port}", 2, 0, 1)


@pytest.mark.parametrize("address", ["localhost", "localhost:", ":1234", "host:99999"])
def test_an_address_without_host_or_port_is_refused(address):
    with pytest.raises(InputError, match="give HOST:PORT"):
        meeting.meet(address, 2, 1, 1)


def test_strangers_at_the_door_do_not_disturb():
    port, said = free_port(), []

    def receive() -> None:
        said.append(meeting.meet(f"localhost:{port}", 2, 0, 5))

    thread = threading.Thread(target=receive)
    thread.start()
    for _ in range(100):
        try:
            stranger = socket.create_connection(("localhost", port), 1)
            break
        except OSError:
            time.sleep(0.02)
    with stranger:
        stranger.sendall(b"GET / HTTP/1.1\r\n\r\n")
    meeting.meet(f"localhost:{port}", 2, 1, 5)
    thread.join()
    assert said == [None]


# One process.


def test_one_process_calls_straight_through():
    assert processes.is_first()
    assert processes.on_first(lambda: 3) == processes.agreed(lambda: 3) == 3
    with pytest.raises(InputError, match="full"):
        processes.agreed(lambda: (_ for _ in ()).throw(InputError("full")))


def test_processes_cannot_be_connected_once_jax_runs():
    jax.devices()
    with pytest.raises(RuntimeError, match="before"):
        processes.initialise("localhost:1", 2, 0)


# Two processes of two devices each.


def environment(devices: int) -> dict[str, str]:
    """For a process of some CPU devices of its own."""
    ours = {k: v for k, v in os.environ.items() if not k.startswith(SURROUNDINGS)}
    return {
        **ours,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_COMPILATION_CACHE_DIR": str(jax.config.jax_compilation_cache_dir),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.2",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


def start(*command: str, devices: int = 2) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=ROOT,
        env=environment(devices),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(runs: list[subprocess.Popen], seconds: float = 300) -> list:
    """Returns (exit code, output, errors) of each; none survives."""
    try:
        ended = [run.communicate(timeout=seconds) for run in runs]
    finally:
        for run in runs:
            run.kill()
    return [(run.returncode, *texts) for run, texts in zip(runs, ended, strict=True)]


def do(deed: str, folder: Path) -> list:
    """Two processes of `tests.two_processes`."""
    address = f"localhost:{free_port()}"
    module = ("-m", "tests.two_processes", deed, address, "2")
    return finish([start(*module, str(i), str(folder)) for i in range(2)])


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    """What two processes found in each other."""
    folder = tmp_path_factory.mktemp("talk")
    for code, _, errors in do("talk", folder):
        assert code == 0, errors
    return [json.loads((folder / f"talk-{i}.json").read_text()) for i in range(2)]


def test_each_process_sees_its_devices_and_all(talk):
    assert [found["devices"] for found in talk] == [[2, 4], [2, 4]]
    assert [found["is_first"] for found in talk] == [True, False]


def test_python_gets_sigterm_on_every_process(talk):
    assert [found["sigterm"] for found in talk] == [True, True]


def test_only_the_first_gets_the_result(talk):
    assert [found["on_first"] for found in talk] == ["returned done", "returned None"]


def test_a_mistake_on_the_first_is_raised_in_all(talk):
    assert {found["mistake"] for found in talk} == {"InputError: no photos"}
    assert talk[0]["bug"] == "KeyError: 'oops'"
    assert "failed: KeyError('oops')" in talk[1]["bug"]


def test_a_mistake_on_any_is_raised_in_all(talk):
    assert [found["agreed"] for found in talk] == ["returned 0", "returned 1"]
    assert talk[1]["objection"] == "InputError: full"
    assert talk[0]["objection"].startswith("InputError: process 1 on ")
    assert talk[0]["objection"].endswith(": full")


@pytest.mark.slow
def test_an_alarm_ends_who_waits_in_a_collective_and_the_first_tells_it(tmp_path):
    began = time.monotonic()
    first, second = do("alarm", tmp_path)
    assert (first[0], second[0]) == (2, 2)
    assert "process 1 on" in first[1] and "no photos" in first[1]
    assert "must tell it itself: False" in second[1]
    assert time.monotonic() - began < processes.HEARTBEAT


@pytest.mark.slow
def test_the_first_has_time_to_save_after_a_mistake_that_all_know(tmp_path):
    first, second = do("saving", tmp_path)
    assert (first[0], second[0]) == (2, 2)
    assert first[1].splitlines() == ["saved", "must tell it itself: True"]
    assert second[1] == "None\n"  # The alarm ended it, and the first tells why.


@pytest.fixture(scope="module")
def steps(tmp_path_factory):
    """20 steps on two processes of two devices: findings of each."""
    folder = tmp_path_factory.mktemp("steps")
    for code, _, errors in do("steps", folder):
        assert code == 0, errors
    return [dict(np.load(folder / f"steps-{i}.npz")) for i in range(2)]


@pytest.fixture(scope="module", params=[1, 4])
def reference(request):
    """The same on one process of one and of four devices."""
    with jax.numpy_dtype_promotion("standard"):
        return arrays_of_steps(jax.devices()[: request.param])


@pytest.mark.slow
def test_parts_of_the_batch_side_by_side_are_the_batch(steps, reference):
    names = [name for name in reference if name.startswith("batch/")]
    assert len(names) >= 5
    for name in names:
        whole = np.concatenate([part[name] for part in steps])
        np.testing.assert_array_equal(whole, reference[name])


@pytest.mark.slow
def test_first_gradients_agree_to_a_millionth(steps, reference):
    gradient = reference["gradient"]
    for part in steps:
        distance = np.linalg.norm(part["gradient"] - gradient)
        assert distance <= 1e-6 * np.linalg.norm(gradient)


@pytest.mark.slow
def test_losses_over_20_steps_agree(steps, reference):
    for part in steps:
        np.testing.assert_allclose(part["losses"], reference["losses"], rtol=1e-5)


# Runs of run_train.py.

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


def final_state(workdir: Path):
    """The newest state that a run saved, as arrays."""
    config = get_config()
    model, tx = build(config.model.to_dict()), make_optimizer(config.optimizer, 1)
    with jax.numpy_dtype_promotion("standard"), Checkpoints(workdir) as checkpoints:
        return jax.device_get(checkpoints.restore(create_state(model, tx, config)))


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
        final_state(workdir),
        final_state(whole),
    )


@pytest.mark.slow
@pytest.mark.parametrize("counts", [(2, 2), (2, 1), (1, 2)])
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


@pytest.mark.slow
@pytest.mark.parametrize("told", [(0, 1), (0,), (1,)])
def test_sigterm_to_any_stops_all_after_the_same_step(told, tmp_path):
    workdir = tmp_path / "run"
    runs = start_run(workdir, "--config.train.steps=100000", "--config.log.every=1")
    lines = workdir / "metrics.jsonl"
    until = time.monotonic() + 240
    while not (lines.exists() and len(lines.read_text().splitlines()) > 3):
        assert all(r.poll() is None for r in runs) and time.monotonic() < until
        time.sleep(0.1)
    for index in told:
        runs[index].send_signal(signal.SIGTERM)
    (code, out, errors), second = finish(runs)
    assert (code, second[0]) == (0, 0), errors + second[2]
    assert "stopped at step" in out + errors
    assert "stopped" not in second[1] + second[2]
    stopped = int((out + errors).split("stopped at step ")[1].split(";")[0])
    assert final_state(workdir).step == stopped == losses(workdir)[-1][0]


@pytest.mark.slow
def test_processes_of_different_configurations_do_not_train_together(tmp_path):
    other = "--config.optimizer.learning_rate=0.5"
    ended = finish(start_run(tmp_path / "run", each=[(), (other,)]))
    assert [code for code, _, _ in ended] == [2, 2]
    told = "".join(out + errors for _, out, errors in ended)
    assert "the configuration differs from that of process 0" in told
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
def test_what_one_process_cannot_read_ends_all_in_one_line(tmp_path):
    (tmp_path / "photos").mkdir()
    wrong = f"--config.data.photos=('{tmp_path / 'photos'}',)"
    runs = start_run(tmp_path / "run", each=[(), (wrong,)])
    ended = finish(runs)
    assert [code for code, _, _ in ended] == [2, 2]
    told = [
        line
        for _, _, errors in ended
        for line in errors.splitlines()
        if line.startswith("error:")
    ]
    assert len(told) == 1 and "photos" in told[0], ended
    assert not (tmp_path / "run").exists()
