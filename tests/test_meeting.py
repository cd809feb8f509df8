"""Processes meet before JAX connects them, or are told why not."""

import socket
import threading
import time

import pytest

from dear_jax.distributed import meeting
from dear_jax.errors import InputError
from tests.starting import free_port


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
