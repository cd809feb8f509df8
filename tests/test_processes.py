"""Processes agree, and compute what one process computes."""

import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest

from dear_jax.distributed import processes
from dear_jax.errors import InputError
from tests.rounding import allowance
from tests.starting import finish, free_port, start
from tests.two_processes import arrays_of_steps


def test_one_process_calls_straight_through():
    assert processes.is_first()
    assert processes.on_first(lambda: 3) == processes.agreed(lambda: 3) == 3
    assert processes.gathered("alone") == ["alone"]
    with pytest.raises(InputError, match="full"):
        processes.agreed(lambda: (_ for _ in ()).throw(InputError("full")))


def test_processes_cannot_be_connected_once_jax_runs():
    jax.devices()
    with pytest.raises(RuntimeError, match="before"):
        processes.initialise("localhost:1", 2, 0)


# Two processes of two devices each.


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


def test_what_each_says_is_gathered_in_their_order(talk):
    assert [found["gathered"] for found in talk] == [["from 0", "from 1"]] * 2


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
    first, second = do("alarm", tmp_path)
    assert (first[0], second[0]) == (2, 2)
    assert "process 1 on" in first[1] and "no photos" in first[1]
    assert "must tell it itself: False" in second[1]
    # Since they met: how long they take to start is another matter.
    waited = int(re.search(r"after (\d+) s", first[1])[1])
    assert waited < processes.HEARTBEAT


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
def test_first_gradients_agree(steps, reference):
    gradient = reference["gradient"]
    for part in steps:
        distance = np.linalg.norm(part["gradient"] - gradient)
        assert distance <= allowance(np.linalg.norm(gradient), layers=8)


@pytest.mark.slow
def test_losses_over_20_steps_agree(steps, reference):
    for part in steps:
        np.testing.assert_allclose(part["losses"], reference["losses"], rtol=1e-5)
