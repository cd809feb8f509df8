"""All processes of a run meet once, before JAX connects them.

JAX ends a process by a C++ stack trace where a host name is wrong, a port taken or a
process missing, and does not say which. Here they meet first: the first process
listens where JAX will listen, the others say who they are, and whatever does not
fit is told to all of them in one line.
"""

import json
import os
import socket
import time
from collections.abc import Iterable

from dear_jax.errors import InputError

_REPLY = 10.0  # Seconds that whoever is connected may take to speak.
_RESOLVE = 60.0  # Seconds until a host name must be known; clusters are slow at it.


def meet(address: str, count: int, index: int, patience: float) -> None:
    """Returns when all `count` processes have called it.

    Args:
      address: "HOST:PORT" of process 0.
      count: number of processes.
      index: of this process, 0 to count - 1.
      patience: seconds to wait for the others.

    Raises:
      InputError: in all processes that could be reached, if they cannot meet.
    """
    host, port = split_address(address)
    if index == 0:
        _receive(port, count, patience)
    else:
        _visit(host, port, count, index, patience)


def split_address(address: str) -> tuple[str, int]:
    """Returns (host, port) of "HOST:PORT" or "[IPv6]:PORT"; InputError otherwise."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise InputError(
            f"coordinator {address!r}: give HOST:PORT of the first process, "
            "e.g. 10.0.0.1:1234"
        )
    return host.strip("[]"), int(port)


def _receive(port: int, count: int, patience: float) -> None:
    """The first process: waits for the others and tells them the outcome."""
    guests: dict[int, socket.socket] = {}
    until = time.monotonic() + patience
    problem = None
    with _listen(port) as door:
        while problem is None and len(guests) < count - 1:
            door.settimeout(max(until - time.monotonic(), 1e-3))
            try:
                guest, _ = door.accept()
            except TimeoutError:
                missing = sorted(set(range(1, count)) - guests.keys())
                problem = (
                    f"{_names(missing)} of {count} did not come within {patience:g} "
                    "seconds; see that each is started with the same coordinator and "
                    f"number of processes and that port {port} is open to them"
                )
                continue
            problem = _admit(guest, guests, count)
    for guest in guests.values():
        _say(guest, {"problem": problem})
    for guest in guests.values():
        _hear(guest)  # They hang up first, or the port would stay taken a while.
        guest.close()
    if problem:
        raise InputError(problem)


def _admit(guest: socket.socket, guests: dict, count: int) -> str | None:
    """Notes a guest; returns what is wrong with it, None if nothing is."""
    guest.settimeout(_REPLY)
    said = _hear(guest)
    if not isinstance(said, dict) or not {"index", "count"} <= said.keys():
        guest.close()  # A stranger, such as a scanner of ports.
        return None
    index, problem = said["index"], None
    if said["count"] != count:
        problem = (
            f"process {index} was started for {said['count']} processes, process 0 "
            f"for {count}; give all the same number"
        )
    elif index in guests:
        problem = f"two processes are number {index}; give each a number of its own"
    if problem:
        _say(guest, {"problem": problem})
    guests[index if index not in guests else -1] = guest
    return problem


def _visit(host: str, port: int, count: int, index: int, patience: float) -> None:
    """Another process: says who it is and waits for the outcome."""
    with _connect(host, port, patience) as first:
        # The first process knows better what is missing; let it speak.
        first.settimeout(patience + _REPLY)
        _say(first, {"index": index, "count": count})
        said = _hear(first)
    if not isinstance(said, dict) or "problem" not in said:
        raise InputError(
            f"coordinator {host}:{port}: something else answers there, or a second "
            f"process 0, or a run that has begun; choose another port"
        )
    if said["problem"]:
        raise InputError(said["problem"])


def _connect(host: str, port: int, patience: float) -> socket.socket:
    start = time.monotonic()
    while True:
        try:
            return socket.create_connection((host, port), timeout=_REPLY)
        except OSError as error:
            waited = time.monotonic() - start
            if isinstance(error, socket.gaierror) and waited > min(_RESOLVE, patience):
                raise InputError(
                    f"coordinator {host}:{port}: no such host ({error.strerror}); "
                    "give name or address of the first process's machine"
                ) from None
            if waited > patience:
                raise InputError(
                    f"coordinator {host}:{port}: no answer within {patience:g} seconds "
                    f"({error.strerror or error}); start process 0 there, or correct "
                    "the address"
                ) from None
        time.sleep(min(0.2, patience / 4))


def _listen(port: int) -> socket.socket:
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        return socket.create_server(("", port), family=family, dualstack_ipv6=both)
    except OSError as error:
        raise InputError(
            f"coordinator port {port}: cannot be used on this machine "
            f"({os.strerror(error.errno)}); choose another port"
        ) from None


def _say(to: socket.socket, what: dict) -> None:
    try:
        to.sendall(json.dumps(what).encode() + b"\n")
    except OSError:
        pass  # It is gone; JAX will miss it.


def _hear(other: socket.socket) -> object:
    """Returns the JSON of one line, or None where none comes."""
    try:
        with other.makefile("rb") as lines:
            return json.loads(lines.readline(4096))
    except (OSError, ValueError):
        return None


def _names(indices: Iterable[int]) -> str:
    indices = list(indices)
    shown = ", ".join(map(str, indices[:8])) + (", ..." if len(indices) > 8 else "")
    return f"process {shown}" if len(indices) == 1 else f"processes {shown}"
