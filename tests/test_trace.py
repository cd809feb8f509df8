"""A trace is of the steps after the first few, and costs nothing when not asked for."""

import contextlib
import gzip
import json

import jax
import jax.numpy as jnp
import pytest

from dear_jax.training import trace
from dear_jax.training.trace import Trace


def run(workdir, steps, start=0):
    """Runs a few steps as a training loop does; what was said."""
    said = []
    step_fn = jax.jit(lambda x: jnp.sin(x @ x))
    x = jnp.ones((8, 8))
    with Trace(workdir, start, said.append) as traced:
        for step in range(start + 1, steps + 1):
            with traced.step(step):
                x = step_fn(x)
    return said


def traced_steps(workdir) -> list[int]:
    (path,) = workdir.glob("profile/plugins/profile/*/perfetto_trace.json.gz")
    with gzip.open(path) as file:
        found = json.load(file)["traceEvents"]
    marks = [event for event in found if event.get("name") == "train"]
    return sorted(int(event["args"]["step_num"]) for event in marks)


def test_the_steps_after_the_warm_up_are_traced_and_their_place_is_said(tmp_path):
    (said,) = run(tmp_path, 120, start=100)
    assert traced_steps(tmp_path) == [106, 107, 108, 109, 110]
    assert str(tmp_path / "profile") in said and "perfetto_trace.json.gz" in said


def test_a_run_that_ends_meanwhile_keeps_the_trace_of_what_there_was(tmp_path):
    (said,) = run(tmp_path, 7)
    assert traced_steps(tmp_path) == [6, 7] and "perfetto" in said


def test_a_run_too_short_to_trace_says_so(tmp_path):
    assert run(tmp_path, 3) == ["no profile: the run ended before step 6"]
    assert not list(tmp_path.iterdir())


def test_not_asked_for_nothing_is_done(monkeypatch):
    monkeypatch.setattr(trace, "jax", None)  # Nothing of it may be used.
    with Trace(None, 0, pytest.fail) as traced:
        for step in range(1, 20):
            assert isinstance(traced.step(step), contextlib.nullcontext)


def test_a_trace_that_cannot_be_written_does_not_stop_the_run(tmp_path):
    (tmp_path / "profile").write_text("")
    (said,) = run(tmp_path, 20)
    assert said.startswith("no profile: ") and "profile cannot be written" in said
    assert not run(None, 20)
