"""Processes agree, end together, and compute what one process computes."""

import json

import jax
import numpy as np
import pytest

from dear_jax import multihost
from dear_jax.errors import InputError
from dear_jax.multihost import agreed, check_alike, gathered, initialize, on_first
from tests.rounding import allowance
from tests.starting import SURROUNDINGS, finish, free_port, start
from tests.two_processes import arrays_of_steps


@pytest.fixture
def connect(monkeypatch):
    """A function that sets what JAX does when asked to connect."""
    for name in list(multihost.os.environ):
        if name.startswith(SURROUNDINGS):
            monkeypatch.delenv(name)

    def set_to(function):
        monkeypatch.setattr(jax.distributed, "initialize", function)

    set_to(lambda *_, **__: pytest.fail("it connects"))
    return set_to


def test_one_process_calls_straight_through():
    assert on_first(lambda: 3) == agreed(lambda: 3) == 3
    assert gathered("alone") == ["alone"]
    check_alike("a thing", "x")
    with pytest.raises(InputError, match="full"):
        agreed(lambda: (_ for _ in ()).throw(InputError("full")))


def test_a_count_of_one_looks_for_no_others(connect):
    initialize(count=1)


def test_without_a_cluster_there_is_one_process(connect):
    def initialize_(*_, **__):
        raise ValueError("coordinator_address should be defined.")

    connect(initialize_)
    initialize()
    with pytest.raises(InputError, match="give --coordinator"):
        initialize(count=2, index=0)


@pytest.mark.parametrize(
    "address, message",
    [
        ("host", "give HOST:PORT"),
        ("host:x", "give HOST:PORT"),
        ("host:99999", "give HOST:PORT"),
        ("no.such.host.invalid:1234", "no such host"),
    ],
)
def test_wrong_addresses_are_refused_in_one_line(address, message, connect):
    with pytest.raises(InputError, match=message):
        initialize(address, 2, 1)


def test_processes_cannot_be_connected_once_jax_runs():
    jax.devices()
    with pytest.raises(InputError, match="must be called before"):
        initialize("localhost:1", 2, 0)


def test_mistakes_end_with_status_2_and_bugs_with_their_traceback(capsys):
    with pytest.raises(SystemExit) as ended, multihost.exit_status():
        raise InputError("no\nphotos")
    assert ended.value.code == 2 and capsys.readouterr().err == "error: no photos\n"
    with pytest.raises(KeyError), multihost.exit_status():
        raise KeyError


# Two processes of two devices each.


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """How two processes ended and what they found: talk, arrays of steps."""
    folder, address = tmp_path_factory.mktemp("both"), f"localhost:{free_port()}"
    module = ("-m", "tests.two_processes", address)
    ended = finish([start(*module, str(i), str(folder)) for i in range(2)])
    for code, _, errors in ended:
        assert code == 2, errors
    talk = [json.loads((folder / f"{i}.json").read_text()) for i in range(2)]
    return ended, talk, [dict(np.load(folder / f"{i}.npz")) for i in range(2)]


@pytest.mark.slow
def test_what_processes_agree_on(both):
    ended, talk, _ = both
    found = {key: [one[key] for one in talk] for key in talk[0]}
    assert found == {
        "devices": [[2, 4]] * 2,
        "is_first": [True, False],
        "sigterm": [True, True],
        "gathered": [["from 0", "from 1"]] * 2,
        "on_first": ["returned done", "returned None"],
        "mistake": ["InputError: no photos"] * 2,
        "agreed": ["returned 0", "returned 1"],
        "objection": ["InputError: process 1: full"] * 2,
        "alike": ["returned None"] * 2,
        "unlike": [
            "InputError: the seed differs between the processes; give all processes "
            "the same"
        ]
        * 2,
    }
    # They end by one mistake, which the first prints.
    printed = [errors.count("error: the end\n") for _, _, errors in ended]
    assert printed == [1, 0]


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 4])
def test_two_processes_train_as_one(devices, both):
    with jax.numpy_dtype_promotion("standard"):
        reference = arrays_of_steps(jax.devices()[:devices])
    parts = both[2]
    names = [name for name in reference if name.startswith("batch/")]
    assert len(names) >= 5
    for name in names:
        whole = np.concatenate([part[name] for part in parts])
        np.testing.assert_array_equal(whole, reference[name])
    for part in parts:
        distance = np.linalg.norm(part["gradient"] - reference["gradient"])
        assert distance <= allowance(np.linalg.norm(reference["gradient"]), layers=8)
        np.testing.assert_allclose(part["losses"], reference["losses"], rtol=1e-5)
