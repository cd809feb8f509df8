"""How fast a run goes, beside its devices' peaks, its memory, and its profile."""

import gzip
import json
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dear_jax.training import throughput
from dear_jax.training.throughput import Profile, peak_flops, peak_of


def test_memory_of_this_process_is_what_is_resident():
    before = throughput.memory()["host_memory_gib"]
    ballast = np.ones(2**26, np.uint8)  # Writes to all of it.
    grown = throughput.memory()["host_memory_gib"] - before
    assert ballast.size == 2**26 and 0.05 < grown < 0.08


def test_memory_of_devices_is_the_most_that_one_needed(monkeypatch):
    class Device:
        def __init__(self, peak):
            self.memory_stats = lambda: {"peak_bytes_in_use": peak * 2**30}

    monkeypatch.setattr(throughput.jax, "local_devices", lambda: [Device(3), Device(5)])
    assert throughput.memory()["device_memory_gib"] == 5


# Peaks.


def devices(*kinds):
    return [SimpleNamespace(device_kind=kind) for kind in kinds]


def test_devices_are_known_by_the_names_that_jax_gives_them():
    assert peak_of("NVIDIA H100 80GB HBM3") == (989.4e12, 494.7e12, 3.35e12)
    assert peak_of("NVIDIA H100 PCIe").bfloat16 == 756e12
    assert peak_of("NVIDIA A100-SXM4-40GB") == peak_of("A100-PCIE-40GB")
    assert peak_of("TPU v5 lite") == peak_of("TPU v5e") != peak_of("TPU v5")
    assert peak_of("Tesla V100-SXM2-16GB").bfloat16 is None


@pytest.mark.parametrize("kind", ["cpu", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "L400"])
def test_devices_that_are_not_known_have_no_peak(kind):
    assert peak_of(kind) is None
    assert peak_flops(devices("NVIDIA L4", kind), "bfloat16") is None


def test_the_peak_of_several_devices_is_their_sum():
    two = devices("NVIDIA H200", "NVIDIA L4")
    assert peak_flops(two, "bfloat16") == pytest.approx((989.4 + 121) * 1e12)
    assert peak_flops(two, "float32") == pytest.approx((494.7 + 60) * 1e12)


def test_float32_at_another_precision_has_no_known_peak():
    with jax.default_matmul_precision("highest"):
        assert peak_flops(devices("NVIDIA L4"), "float32") is None
        assert peak_flops(devices("NVIDIA L4"), "bfloat16") == 121e12


# Profiles.


def run(workdir, steps, start=0):
    """Runs a few steps as a training loop does; what was said."""
    said = []
    step_fn = jax.jit(lambda x: jnp.sin(x @ x))
    x = jnp.ones((8, 8))
    with Profile(workdir, start, said.append) as profile:
        for step in range(start + 1, steps + 1):
            with profile.step(step):
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


def test_without_a_workdir_nothing_is_done(monkeypatch):
    monkeypatch.setattr(throughput, "jax", None)  # Nothing of it may be used.
    with Profile(None, 0, pytest.fail) as profile:
        for step in range(1, 20):
            with profile.step(step):
                pass


def test_a_trace_that_cannot_be_written_does_not_stop_the_run(tmp_path):
    (tmp_path / "profile").write_text("")
    (said,) = run(tmp_path, 20)
    assert said.startswith("no profile: ") and "profile cannot be written" in said
    assert not run(None, 20)
