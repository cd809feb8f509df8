"""Several processes that train one model: start, agreement, end.

    with exit_status():
        initialize()                     # Before any other use of JAX.
        on_first(lambda: write(...))     # The first does it, the others wait for it.
        agreed(lambda: read(...))        # All do it; if one cannot, all stop.

With one process nothing is connected and everything calls straight through. All
processes must make the same calls in the same order. A process that dies ends the
others within `HEARTBEAT` seconds: JAX sees to that.
"""

import contextlib
import hashlib
import itertools
import os
import socket
import sys
import traceback
from collections.abc import Callable, Iterator
from typing import TypeVar, cast

import jax
import numpy as np

from dear_jax.errors import InputError

Result = TypeVar("Result")

HEARTBEAT = 60  # Seconds without a sign of life after which a process counts as dead.
_WEEK_MS = 7 * 24 * 3600 * 1000  # An action of the first, such as scoring, takes long.
_LONGEST = 4096  # Bytes of a text that processes exchange.
_NO_CLUSTER = "coordinator_address should be defined"  # How JAX says so.
_numbers = itertools.count()


class AgreedError(InputError):
    """An InputError that all processes raise alike."""


def initialize(
    coordinator: str | None = None, count: int | None = None, index: int | None = None
) -> None:
    """Connects this process with the others, if there are others.

    Without arguments JAX looks for a cluster (`jax.distributed.initialize`): Slurm,
    Open MPI, TPU pods, Kubernetes. Under Slurm and Open MPI each process takes the
    GPU of its number on the machine, unless JAX_LOCAL_DEVICE_IDS names others.

    Args:
      coordinator: "HOST:PORT" of process 0, the same for all; the port must be free.
      count: number of processes; 1 means one, whatever the cluster.
      index: of this process, from 0.

    Raises:
      InputError: if arguments are missing or wrong, or the processes do not meet.
    """
    if count == 1:
        return
    if coordinator:
        _check_address(coordinator)
    # Else JAX would take SIGTERM for itself; runs stop by it, see `StopSignals`.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            coordinator, count, index, heartbeat_timeout_seconds=HEARTBEAT
        )
    except (ValueError, TypeError, RuntimeError, OSError) as error:
        if _NO_CLUSTER in str(error) and count is None and index is None:
            return
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"the processes cannot be connected ({reason}); give --coordinator, "
            "--num_processes and --process_id, or --num_processes=1 to train by itself"
        ) from None


def is_first() -> bool:
    """Whether this is the process that writes and prints."""
    return jax.process_index() == 0


def on_first(action: Callable[[], Result]) -> Result | None:
    """Runs `action` on the first process; the others wait for its end.

    Returns:
      Its result on the first process, None on the others.

    Raises:
      InputError: in all processes, if `action` raises it.
    """
    return agreed(action if is_first() else lambda: None)


def agreed(action: Callable[[], Result]) -> Result:
    """Runs `action` on all processes and returns when all are done.

    Raises:
      InputError: in all processes, if `action` raises it in any.
    """
    if jax.process_count() == 1:
        return action()
    result, problem = None, ""
    try:
        result = action()
    except InputError as error:
        problem = str(error)
    for index, text in enumerate(gathered(problem)):
        if text:
            raise AgreedError(text if index == 0 else f"process {index}: {text}")
    return cast(Result, result)


def gathered(text: str) -> list[str]:
    """Texts of all processes, in their order; of each at most `_LONGEST` bytes."""
    if jax.process_count() == 1:
        return [text]
    import orbax.checkpoint as ocp
    from jax.experimental.multihost_utils import process_allgather

    # Collectives alone would give up, or keep devices busy, while one is at work.
    wait = ocp.multihost.get_barrier_sync_fn()
    wait(key=f"dear_jax/{next(_numbers)}", timeout_ms=_WEEK_MS)
    sent = np.zeros(_LONGEST, np.uint8)
    content = text.encode()[:_LONGEST]
    sent[: len(content)] = np.frombuffer(content, np.uint8)
    rows = np.asarray(process_allgather(sent))
    return [bytes(row).rstrip(b"\0").decode(errors="ignore") for row in rows]


def check_alike(what: str, text: str) -> None:
    """Raises InputError in all processes unless `text` is the same in all."""
    if len(set(gathered(hashlib.sha256(text.encode()).hexdigest()))) > 1:
        raise AgreedError(
            f"{what} differs between the processes; give all processes the same"
        )


@contextlib.contextmanager
def exit_status() -> Iterator[None]:
    """Ends the process with status 2 and one line for an InputError raised inside.

    What all processes raise is printed by the first. If there are several, they end
    for other errors too, without waiting for each other, which may last for ever.
    """
    try:
        yield
    except InputError as error:
        alike = isinstance(error, AgreedError)
        if not alike or is_first():
            print("error:", " ".join(str(error).split()), file=sys.stderr)
        if alike:
            jax.distributed.shutdown()
        _exit(2)
    except BaseException as error:
        if not jax.distributed.is_initialized():
            raise
        traceback.print_exception(error)
        _exit(130 if isinstance(error, KeyboardInterrupt) else 1)
    if jax.distributed.is_initialized():
        jax.distributed.shutdown()


def _exit(code: int) -> None:
    if not jax.distributed.is_initialized():
        sys.exit(code)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _check_address(address: str) -> None:
    """Raises InputError unless it is HOST:PORT of a host that is known here."""
    host, _, port = address.rpartition(":")
    try:
        if not host or not 0 < int(port) < 65536:
            raise ValueError
        socket.getaddrinfo(host.strip("[]"), int(port))
    except ValueError:
        raise InputError(
            f"coordinator {address!r}: give HOST:PORT of process 0, e.g. 10.0.0.1:1234"
        ) from None
    except OSError as error:
        raise InputError(
            f"coordinator {address}: no such host ({error.strerror}); give name or "
            "address of the machine of process 0"
        ) from None
