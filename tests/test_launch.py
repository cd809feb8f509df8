"""Which of how many processes this is, as flags and clusters say."""

import os

import pytest

from dear_jax.distributed import launch
from dear_jax.errors import InputError
from tests.starting import SURROUNDINGS

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
