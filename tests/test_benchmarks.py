"""The arithmetic of the benchmarks: rooflines, counts, tables. No timing is tested."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import roofline  # noqa: E402
import steps  # noqa: E402
import train_step  # noqa: E402

from dear_jax.data.pipeline import training_batches  # noqa: E402
from dear_jax.monitoring.peaks import Peak  # noqa: E402

LIMITS = roofline.Limits({"float32": 2e12, "bfloat16": 8e12}, 1e11, None)


def tiny(**changes) -> steps.Case:
    return steps.Case(
        "liif", "float32", 4, side=8, scale=2, queries=8, width=8, **changes
    )


def record(case: steps.Case, seconds: float, flops=1e12, moved=1e9):
    timing = steps.Timing(seconds, seconds, 0.001)
    return train_step.Record(case, timing, flops, roofline.Costs(0, moved, 0), 1.0)


def cell(line: list[str], column: str) -> str:
    return line[train_step.COLUMNS.index(column)]


def test_roof_is_the_slower_of_arithmetic_and_memory():
    assert roofline.roof(6e12, 1e9, 2e12, 1e11) == 3.0
    assert roofline.roof(1e9, 6e11, 2e12, 1e11) == 6.0
    assert roofline.side_of_roof(6e12, 1e9, 2e12, 1e11) == "compute"
    assert roofline.side_of_roof(1e9, 6e11, 2e12, 1e11) == "memory"


def test_the_better_of_two_measurements_is_kept_for_each_limit():
    other = roofline.Limits({"float32": 3e12, "bfloat16": 7e12}, 9e10, None)
    better = LIMITS.or_better(other)
    assert better.flops == {"float32": 3e12, "bfloat16": 8e12}
    assert better.bandwidth == 1e11


def test_shares_are_of_the_limits_of_the_dtype():
    limits = LIMITS._replace(sheet=Peak(16e12, 4e12, 2e11))
    line = train_step.row(record(tiny(), seconds=1.0), limits)
    assert cell(line, "of measured") == "50.0%"
    assert cell(line, "of data sheet") == "25.0%"
    assert cell(line, "roofline, ms") == "500 (compute)"
    assert cell(line, "attained") == "50%"


def test_steps_of_one_dispatch_share_its_time():
    line = train_step.row(record(tiny(steps=4), seconds=2.0), LIMITS)
    assert cell(line, "ms a step") == "500"
    assert cell(line, "images/s") == "8"
    assert cell(line, "TFLOP/s") == "2"


def test_a_device_without_data_sheet_has_no_share_of_it():
    line = train_step.row(record(tiny(), seconds=1.0), LIMITS)
    assert cell(line, "of data sheet") == "-"
    assert "data sheet" not in LIMITS.line()


def test_costs_of_a_product_are_what_xla_counts():
    product = jax.jit(jnp.matmul).lower(jnp.ones((8, 16)), jnp.ones((16, 4)))
    found = roofline.costs(product.compile())
    assert found.flops == 2 * 8 * 16 * 4
    assert found.bytes >= 4 * (8 * 16 + 16 * 4 + 8 * 4)


def test_an_error_is_told_in_a_cell():
    assert roofline.brief(RuntimeError("RESOURCE_EXHAUSTED: 9 GiB")) == "out of memory"
    assert roofline.brief(ValueError("a | b\nc")) == "ValueError: a / b"


def test_steps_of_one_dispatch_follow_each_other():
    def step(state, frozen, batch, stop):
        return 2 * state + batch, {"loss": state}

    together = steps.in_one_dispatch(step, 3)
    state, metrics = together(jnp.float32(1), {}, jnp.array([1.0, 2.0, 3.0]), None)
    assert (float(state), float(metrics["loss"])) == (19, 8)


@pytest.mark.parametrize("model, side", [("dear", 16), ("edsr", None)])
def test_the_batch_is_as_the_pipelines(model, side):
    config = steps.configuration(steps.Case(model, "float32", 2, side=side))
    theirs = next(iter(training_batches(config.data, 2, seed=0)))
    ours = steps.random_batch(config)
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        assert (value.shape, value.dtype) == (theirs[key].shape, theirs[key].dtype), key


def test_a_case_changes_what_it_names_and_nothing_else():
    usual = steps.configuration(steps.Case("dear", "float32", 4))
    case = steps.Case("dear", "bfloat16", 8, side=24, scale=2, queries=7, width=4)
    config = steps.configuration(case)
    assert (config.train.dtype, config.train.batch_size) == ("bfloat16", 8)
    assert (config.data.side, config.data.scale) == (24, (2.0, 2.0))
    assert (config.data.queries, config.model.width) == (7, 4)
    assert config.model.blocks == usual.model.blocks
    assert config.optimizer == usual.optimizer
