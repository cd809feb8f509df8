"""The arithmetic of the benchmarks: rooflines, counts, tables. No timing is tested."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import tiny_fields

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import measuring  # noqa: E402
import query_flops  # noqa: E402
import restoring  # noqa: E402
import restoring_tables as tables  # noqa: E402
import roofline  # noqa: E402
import steps  # noqa: E402
import train_step  # noqa: E402

from dear_jax.data.pipeline import training_batches  # noqa: E402
from dear_jax.models.registry import build, fields_of, init_shapes  # noqa: E402
from dear_jax.training.flops import count_flops  # noqa: E402
from dear_jax.training.throughput import Peak  # noqa: E402

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


def process(times: list[float], peak: float, **more) -> dict:
    """What a process of `restoring.py` records."""
    more |= {"start": 1.0, "warm": peak / 2, "imported": 100.0, "version": "X 1"}
    return {"times": times, "peak": peak, "product": 1e11, **more}


def contest(**theirs) -> tables.Row:
    ours = [process([1.0, 1.0, 1.0], 200.0), process([2.0], 200.0)]
    work = tables.Flops(2e10, 1e10, 2e10)
    return tables.Row("64:256", ours, theirs, work)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_ratios_are_official_over_ours_of_the_medians_with_those_of_the_turns():
    theirs = [process([6.0], 300.0), process([4.0], 500.0)]
    line = cells(tables.time_row(contest(liif=theirs)))
    assert line[1:4] == ["1", "5", "5.00 (2.00 to 6.00)"]
    assert cells(tables.memory_row(contest(liif=theirs), "peak"))[2:4] == [
        "400",
        "2.00",
    ]


def test_who_was_not_measured_has_no_numbers():
    line = cells(tables.time_row(contest()))
    assert line[2:6] == ["-"] * 4


def test_the_products_alone_take_their_work_over_the_rate():
    line = cells(tables.limits_row(contest(), 1e11))
    assert line[1:] == ["20", "10", "20", "50", "100", "0.5", "50%"]


def test_every_table_of_the_report_has_as_many_cells_as_columns():
    row = contest(lte=[process([6.0], 300.0), process([4.0], 500.0)])
    facts = {"threads": 2, "busy": 0.1, "liif": "random", "missing": 0.3}
    text = tables.report([row], ["Left out: liif at 64:256 (no checkout)."], facts)
    blocks = [block.splitlines() for block in text.split("\n\n") if block[0] == "|"]
    assert len(blocks) == 4
    for head, rule, *lines in blocks:
        assert len(lines) == 1
        assert head.count("|") == rule.count("|") == lines[0].count("|")
    assert "Left out" in text


@pytest.mark.parametrize("preset", ["dear", "dear-lite"])
def test_stages_add_up_to_the_whole_model(preset):
    """Where all pixels are known, none is skipped."""
    fields = {**tiny_fields(preset), "attention_keys": "all"}
    model, side = build(fields), 16
    photo, mask = (jax.ShapeDtypeStruct((1, side, side, n), np.float32) for n in (3, 1))

    def encode(variables, photo, mask):
        return model.apply(variables, photo, mask, method="encode")

    whole = count_flops(encode, init_shapes(model), photo, mask)
    parts = query_flops.encoding_flops(fields, side)
    parts += query_flops.attention_flops(fields, side, known=1.0)
    assert parts == whole


def test_pixels_that_are_missing_ask_for_no_attention():
    fields = fields_of("dear")
    everywhere, half = (query_flops.attention_flops(fields, 64, k) for k in (1, 0.5))
    assert half == everywhere / 2


def test_decoding_grows_with_the_pixels_of_the_target():
    fields = tiny_fields("dear")
    small, large = (query_flops.decoding_flops(fields, 16, n) for n in (32, 64))
    assert large == 4 * small > 0


def test_the_mask_of_the_comparison_is_of_the_size_that_is_said():
    inputs = restoring.photo_and_mask(64, restoring.MISSING)
    assert inputs["photo"].shape == (64, 64, 3) and inputs["photo"].dtype == np.float32
    assert inputs["mask"].sum() == round(restoring.MISSING * 64**2)


def test_a_slow_second_call_is_the_one_that_is_timed(monkeypatch):
    calls, clock = [], [0.0]
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: clock[0])

    def call():
        calls.append(1)
        clock[0] += 10.0

    record, _ = measuring.measure(call, 0.0, {"runs": 20, "seconds": 5.0})
    assert (len(calls), record["times"]) == (2, [10.0])
    calls.clear()
    record, _ = measuring.measure(call, 0.0, {"runs": 3, "seconds": 60.0})
    assert (len(calls), record["times"]) == (5, [10.0] * 3)
