"""Laws of batches that go on when a process that reads photos dies."""

import itertools
import multiprocessing
import os
import signal

import ml_collections
import pytest
from prepared import assert_equal_batches, first

from dear_jax.data import pipeline
from dear_jax.data.lasting import Lasting
from dear_jax.errors import InputError

DEATH = RuntimeError("Worker process was terminated unexpectedly with exit code -9. x")


class Dying:
    """Numbers from `start`, until one is in `deaths`: then as often as said there."""

    def __init__(self, deaths, error=DEATH):
        self.deaths, self.error, self.made = dict(deaths), error, []

    def __call__(self, start):
        self.made.append(start)
        for number in itertools.count(start):
            if self.deaths.get(number):
                self.deaths[number] -= 1
                raise self.error
            yield number


def test_nothing_is_lost_or_repeated_when_processes_die():
    for error in (DEATH, EOFError(), ConnectionResetError("by peer")):
        source = Dying({5: 1, 7: 2, 8: 1}, error)
        assert first(8, Lasting(source, 3)) == list(range(3, 11))
        assert source.made == [3, 5, 7, 7, 8]


def test_the_third_death_at_one_batch_is_told_with_the_remedy():
    batches = Lasting(Dying({4: 3}), 4)
    with pytest.raises(InputError, match=r"config\.data\.workers.*batch 4.*lower"):
        next(batches)


@pytest.mark.parametrize("error", [InputError("a.png: no"), RuntimeError("a bug")])
def test_other_errors_are_raised_at_once(error):
    source = Dying({0: 1}, error)
    with pytest.raises(type(error), match=str(error)):
        next(Lasting(source, 0))
    assert source.made == [0]


def test_a_death_is_told_with_its_batch(caplog):
    assert first(2, Lasting(Dying({1: 1}), 0)) == [0, 1]
    assert "died at batch 1 (Worker process was terminated" in caplog.text


@pytest.mark.slow
def test_killed_reading_processes_are_replaced():
    """By what the system does when memory runs out; the words of grain's error too."""
    data = ml_collections.ConfigDict(
        {
            "photos": ("bundled",),
            "masks": "none",
            "skip_unreadable": False,
            "side": 8,
            "scale": (1.0, 2.0),
            "queries": 16,
            "threads": 0,
            "workers": 0,
        }
    )
    whole = first(12, pipeline.training_batches(data, 4, 0))
    data.workers = 2
    batches = pipeline.training_batches(data, 4, 0)
    found = [next(batches)]
    for child in multiprocessing.active_children():
        os.kill(child.pid, signal.SIGKILL)
    found += first(11, batches)
    batches.close()
    assert_equal_batches(found, whole)
