"""Whether this process is one of several, and which: from flags or surroundings.

Known surroundings, each only where it means more than one process:

- JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID;
- Open MPI (mpirun) and Slurm (srun; not the shells of sbatch and salloc);
- Cloud TPUs of several hosts, on GCE and GKE;
- indexed Jobs and JobSets of Kubernetes.

Addresses, counts and numbers come from the same code in JAX that
`jax.distributed.initialize` uses.
"""

import importlib.util
import os
from collections.abc import Mapping
from typing import NamedTuple

from dear_jax.errors import InputError

_NAMES = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
_FLAGS = ("--coordinator", "--num_processes", "--process_id")


class Launch(NamedTuple):
    """One process of several.

    Attributes:
      coordinator: "HOST:PORT" of process 0.
      count: number of processes, at least 2.
      index: of this one, from 0.
    """

    coordinator: str
    count: int
    index: int


def find_launch(
    coordinator: str | None, count: int | None, index: int | None, patience: float
) -> Launch | None:
    """Returns what the arguments or else the surroundings say; None: one process.

    A count of 1 alone means one process, whatever the surroundings.

    Raises:
      InputError: if some of the three are missing or they cannot be.
    """
    given = (coordinator, count, index)
    if count == 1 and index in (None, 0):
        return None
    if given != (None, None, None):
        return _checked(given, _FLAGS)
    named = tuple(os.environ.get(name) or None for name in _NAMES)
    if named[1] or named[2]:
        if named[1] == "1":
            return None
        return _checked(named, _NAMES)
    cluster = _cluster()
    if cluster is not None:
        return _ask(cluster, named[0], patience)
    if named[0]:
        return _checked(named, _NAMES)
    return None


def own_gpus(environment: Mapping[str, str] = os.environ) -> list[int] | None:
    """Numbers of the GPUs this process takes of those it sees; None for all.

    Tasks that share a machine and see the same GPUs divide them. A task alone on its
    machine takes all, and so does one to which Slurm has bound GPUs of its own.
    """
    env = environment
    if env.get("JAX_LOCAL_DEVICE_IDS"):
        return None  # JAX reads it.
    if several_slurm_tasks(env):
        local, tasks = int(env["SLURM_LOCALID"]), _slurm_tasks_here(env)
    elif int(env.get("OMPI_COMM_WORLD_LOCAL_SIZE", 1)) > 1:
        local = int(env["OMPI_COMM_WORLD_LOCAL_RANK"])
        tasks = int(env["OMPI_COMM_WORLD_LOCAL_SIZE"])
    else:
        return None
    if tasks == 1:
        return None
    listed = env.get("CUDA_VISIBLE_DEVICES")
    here = env.get("SLURM_GPUS_ON_NODE", "")
    seen = len(listed.split(",")) if listed else int(here) if here.isdecimal() else 0
    if here.isdecimal() and seen < int(here):
        return None  # Bound: others have the rest.
    each = max(seen // tasks, 1)
    return list(range(local * each, (local + 1) * each))


def several_slurm_tasks(environment: Mapping[str, str]) -> bool:
    """Whether srun started more than this task.

    Scripts of sbatch and shells of salloc know the number of tasks of the whole
    allocation, but are one task.
    """
    names = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_PROCID", "SLURM_LOCALID")
    if not all(name in environment for name in names):
        return False
    tasks = environment.get("SLURM_STEP_NUM_TASKS") or environment.get("SLURM_NTASKS")
    return int(tasks or 1) > 1


def _slurm_tasks_here(env: Mapping[str, str]) -> int:
    """Tasks on this machine, by a list such as "8(x2),4" over the machines."""
    listed = env.get("SLURM_STEP_TASKS_PER_NODE") or env.get("SLURM_TASKS_PER_NODE")
    if not listed:
        return int(env.get("SLURM_NTASKS_PER_NODE", 1))
    node, seen = int(env.get("SLURM_NODEID", 0)), 0
    for part in listed.split(","):
        tasks, _, times = part.partition("(x")
        seen += int(times.rstrip(")") or 1)
        if node < seen:
            break
    return int(tasks)


def _checked(given: tuple, names: tuple[str, str, str]) -> Launch:
    missing = [name for name, v in zip(names, given, strict=True) if v is None]
    if missing:
        raise InputError(
            f"{', '.join(missing)} missing; give {', '.join(names[:2])} and {names[2]}"
        )
    try:
        count, index = int(given[1]), int(given[2])
    except ValueError:
        raise InputError(
            f"{names[1]}={given[1]}, {names[2]}={given[2]}: must be whole numbers"
        ) from None
    if count < 1:
        raise InputError(f"{names[1]}={count}: must be at least 1")
    if not 0 <= index < count:
        raise InputError(
            f"{names[2]}={index}: must lie in 0 to {names[1]} - 1 = {count - 1}"
        )
    return Launch(given[0], count, index)


def _cluster():
    """JAX's class for surroundings of several processes, None if there is one."""
    from jax._src import clusters  # Public only as a whole, as jax.distributed.

    env = os.environ
    if int(env.get("OMPI_COMM_WORLD_SIZE", 1)) > 1:
        return clusters.OmpiCluster
    if several_slurm_tasks(env):
        return clusters.SlurmCluster
    for tpus in (clusters.GkeTpuCluster, clusters.GceTpuCluster):
        if tpus.is_env_present():
            return tpus if tpus.get_process_count() > 1 else None
    if "KUBERNETES_SERVICE_HOST" in env and "JOB_COMPLETION_INDEX" in env:
        if importlib.util.find_spec("kubernetes") is None:
            raise InputError(
                "this is a pod of an indexed Kubernetes Job: install jax[k8s] to "
                "find the others, or give --num_processes=1 to train by itself"
            )
        pods = clusters.K8sCluster
        return pods if pods.is_env_present() and _count(pods) > 1 else None
    return None


def _count(cluster) -> int:
    try:
        return cluster.get_process_count()
    except (RuntimeError, OSError, KeyError) as error:
        raise _unclear(error) from None


def _ask(cluster, coordinator: str | None, patience: float) -> Launch:
    try:
        coordinator = coordinator or cluster.get_coordinator_address(
            timeout_secs=int(patience),
            override_coordinator_port=os.environ.get("JAX_COORDINATOR_PORT"),
        )
        count, index = cluster.get_process_count(), cluster.get_process_id()
    except (RuntimeError, OSError, KeyError, ValueError) as error:
        raise _unclear(error) from None
    return Launch(coordinator, count, index)


def _unclear(error: Exception) -> InputError:
    reason = " ".join(f"{type(error).__name__} {error}".split())[:300]
    return InputError(
        "one of several processes, but the others cannot be found "
        f"({reason}); give --coordinator, --num_processes and --process_id, or "
        "--num_processes=1 to train by itself"
    )
