"""Progress on a terminal and elsewhere."""

import io

import pytest

from dear_jax.cli import progress as module
from dear_jax.cli.progress import Progress, duration


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    """Sets the time; things take as long as it says."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def work(progress: Progress, clock: list, seconds: float, steps: int = 10) -> None:
    with progress.on("a.png") as inside:
        for step in range(steps):
            clock[0] += seconds / steps
            inside(step + 1, steps)


def test_without_a_terminal_quick_work_is_silent(clock):
    stream = io.StringIO()
    with Progress(3, stream=stream) as progress:
        for _ in range(3):
            work(progress, clock, seconds=5)
    assert stream.getvalue() == ""


def test_without_a_terminal_long_work_is_told_now_and_then(clock):
    stream = io.StringIO()
    with Progress(1, stream=stream) as progress:
        work(progress, clock, seconds=200, steps=200)
    lines = stream.getvalue().splitlines()
    assert len(lines) == 6
    assert lines[0] == "a.png: 15%, 3 min left"
    assert lines[-1] == "a.png: 90%, 20 s left"


def test_lines_are_numbered_where_there_are_several():
    with Progress(2, stream=io.StringIO()) as progress:
        with progress.on("a"):
            pass
        assert progress.numbered("a") == "[1/2] a"
    assert Progress(1, stream=io.StringIO()).numbered("a") == "a"


def test_things_count_as_done_also_if_they_fail():
    with Progress(2, stream=io.StringIO()) as progress:
        with pytest.raises(KeyError), progress.on("a"):
            raise KeyError
        assert progress.numbered("a") == "[1/2] a"


def test_a_terminal_shows_a_bar_over_the_things(clock):
    stream = Terminal()
    with Progress(2, stream=stream) as progress:
        work(progress, clock, seconds=0.1)
        progress.tell("a line")
        work(progress, clock, seconds=0.1)
    shown = stream.getvalue()
    assert "0/2" in shown and "a line\n" in shown
    assert "a.png" not in shown


def test_a_terminal_shows_a_bar_inside_what_takes_long(clock, monkeypatch):
    monkeypatch.setattr(module, "_LONG", 0)
    stream = Terminal()
    with Progress(1, stream=stream) as progress:
        work(progress, clock, seconds=60)
    assert "a.png: " in stream.getvalue() and "photos" not in stream.getvalue()


def test_a_callback_may_have_nothing_to_do():
    with Progress(1, stream=io.StringIO()) as progress, progress.on("a") as inside:
        inside(0, 0)


@pytest.mark.parametrize(
    "seconds, text",
    [(3.21, "3.2 s"), (45.2, "45 s"), (100, "2 min"), (3899, "1 h 5 min")],
)
def test_times_are_for_people(seconds, text):
    assert duration(seconds) == text
