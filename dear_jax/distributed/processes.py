"""Several processes that train one model: start, agreement, end.

    initialise()                     # Before any other use of JAX.
    on_first(lambda: write(...))     # The first does it, the others wait for it.
    agreed(lambda: read(...))        # All do it; if one cannot, all stop.
    shutdown()

With one process nothing is connected and everything calls straight through. All
processes must make the same calls in the same order. They speak through JAX's
coordination service, not through the devices: waiting takes no device time, and an
action may last for hours, which collectives do not allow.
"""

import contextlib
import itertools
import json
import signal
import socket
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax

from dear_jax.distributed.launch import find_launch, own_gpus
from dear_jax.distributed.meeting import meet
from dear_jax.errors import InputError

Result = TypeVar("Result")

# Seconds without a sign of life after which a process counts as dead and all end.
# Heartbeats have a thread of their own and do not stop while Python works.
HEARTBEAT = 60
_PATIENCE = 300.0  # Machines of a cluster may start minutes apart.
_LISTEN = 5  # Seconds; Python sees signals in between.

_OF_ANOTHER = "of_another_process"  # Attribute of errors.

_numbers = itertools.count()


def initialise(
    coordinator: str | None = None,
    count: int | None = None,
    index: int | None = None,
    patience: float = _PATIENCE,
) -> None:
    """Connects this process with the others, if there are others.

    With the three arguments by them; without by the surroundings, see
    `dear_jax.distributed.launch`. A count of 1 alone means one process.

    A process takes all GPUs it sees, unless Slurm or Open MPI started several on its
    machine, which then divide them: one task with 8 GPUs and 8 tasks with one each
    both work, whether Slurm binds GPUs to tasks or not. (JAX by itself gives each
    task one GPU, and the wrong one if they are bound.) JAX_LOCAL_DEVICE_IDS=0,1
    overrules this.

    Args:
      coordinator: "HOST:PORT" of process 0, the same for all; the port must be free.
      count: number of processes.
      index: of this one, from 0.
      patience: seconds to wait for the others.

    Raises:
      InputError: if arguments are missing or wrong, or the processes do not meet.
      RuntimeError: if JAX has been used before.
      ValueError: outside the main thread.
    """
    launch = find_launch(coordinator, count, index, patience)
    if launch is None or launch.count == 1:
        return
    from jax._src import xla_bridge

    if xla_bridge.backends_are_initialized():
        raise RuntimeError(
            "initialise() must come before whatever uses a device: jax.devices, "
            "arrays, computations"
        )
    meet(*launch, patience)
    on_sigterm = signal.getsignal(signal.SIGTERM)
    jax.distributed.initialize(
        *launch,
        local_device_ids=own_gpus(),
        cluster_detection_method="deactivate",  # `find_launch` has asked it.
        initialization_timeout=int(max(patience, 60)),
        heartbeat_timeout_seconds=HEARTBEAT,
    )
    # JAX's handler would only take notes, and a process that is told to end go on.
    signal.signal(signal.SIGTERM, on_sigterm)


def shutdown() -> None:
    """Waits for the other processes and takes leave of them; for a good end only."""
    jax.distributed.shutdown()


def several() -> bool:
    """Whether there are other processes."""
    return jax.distributed.is_initialized()


def is_first() -> bool:
    """Whether this is the process that writes and prints."""
    return not several() or jax.process_index() == 0


def on_first(action: Callable[[], Result]) -> Result | None:
    """Runs `action` on the first process; the others wait for its end.

    Returns:
      Its result on the first process, None on the others.

    Raises:
      InputError: in all processes, if `action` raises it.
      RuntimeError: in the others, if it raises anything else in the first.
    """
    if not several():
        return action()
    key = f"dear_jax/{next(_numbers)}"
    if is_first():
        with _told(key):
            return action()
    _await(key, 0)
    return None


def agreed(action: Callable[[], Result]) -> Result:
    """Runs `action` on all processes and returns when all are done.

    Raises:
      InputError: in all processes, if `action` raises it in any.
      RuntimeError: in the others, if it raises anything else in one.
    """
    if not several():
        return action()
    key, me = f"dear_jax/{next(_numbers)}", jax.process_index()
    with _told(f"{key}/{me}"):
        result = action()
    for index in range(jax.process_count()):
        if index != me:
            _await(f"{key}/{index}", index)
    return result


def gathered(text: str) -> list[str]:
    """Returns, in all processes, what each of them calls it with, in their order."""
    if not several():
        return [text]
    key = f"dear_jax/{next(_numbers)}"
    client().key_value_set(f"{key}/{jax.process_index()}", text)
    return [_waited(f"{key}/{index}") for index in range(jax.process_count())]


def check_alike(what: str, mine: str) -> None:
    """Checks that a text is the same in all processes.

    Raises:
      InputError: in all of them, if it is not.
    """
    if not several():
        return
    key = f"dear_jax/{next(_numbers)}"
    if is_first():
        client().key_value_set(key, mine)

    def compare() -> None:
        # The first has told it before it waits for the others.
        if client().blocking_key_value_get(key, 1000 * int(_PATIENCE)) != mine:
            raise InputError(
                f"{what} differs from that of process 0; give all processes the same"
            )

    agreed(compare)


def is_of_another(error: BaseException) -> bool:
    """Whether `on_first` or `agreed` raised it for another process, which tells it."""
    return getattr(error, _OF_ANOTHER, False)


def client() -> Any:
    """JAX's client of the coordination service; it has no public name."""
    from jax._src.distributed import global_state

    return global_state.client


@contextlib.contextmanager
def _told(key: str) -> Iterator[None]:
    """Tells the other processes how what is done in it ended."""
    outcome = {"kind": "bug", "message": "it ended", "host": socket.gethostname()}
    try:
        yield
        outcome["kind"] = "good"
    except InputError as error:
        outcome.update(kind="input", message=str(error))
        raise
    except BaseException as error:
        outcome["message"] = repr(error)
        raise
    finally:
        client().key_value_set(key, json.dumps(outcome))


def _await(key: str, index: int) -> None:
    """Waits for what process `index` tells, and raises what it raised."""
    outcome = json.loads(_waited(key))
    place = f"process {index} on {outcome['host']}"
    if outcome["kind"] == "good":
        return
    message = outcome["message"]
    if outcome["kind"] == "bug":
        error = RuntimeError(f"{place} failed: {message}")
    else:
        error = InputError(message if index == 0 else f"{place}: {message}")
    setattr(error, _OF_ANOTHER, True)
    raise error


def _waited(key: str) -> str:
    """Waits for what some process sets a key to."""
    while True:
        try:
            return client().blocking_key_value_get(key, _LISTEN * 1000)
        except Exception as error:  # JAX has changed its class before.
            if "DEADLINE_EXCEEDED" not in str(error):
                raise
