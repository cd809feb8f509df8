"""Renderings of filled tables: what they look like, and that programs can read them."""

import csv
import dataclasses
import io
import json
import math

import pytest

from dear_jax.evaluation import table_files as export
from dear_jax.evaluation import table_render as render
from dear_jax.evaluation.estimates import Estimate
from dear_jax.evaluation.scores import Score
from dear_jax.evaluation.table_filled import Comparison, Filled
from dear_jax.evaluation.table_paper import Row, Table, paper_tables

HEAD = (
    "protocol v1 "
    "Cells: paper | ours ± half of the interval; * best of ours; ours are means with a "
    "95 % interval (bootstrap over photos); - where there is no number. "
    "FFHQ: the paper's numbers and ours come from different photos and do not compare; "
    "ours compare with each other."
)
CELLS = """\
FFHQ, ×4: 12 results of 6 photos a row; LTE: 1 result of 1 photo
--------------------------------------------------
              PSNR, dB ↑              L1 ↓
--------------------------------------------------
MISF→BI    9.55 |     -        0.037 |     -
LTE       28.26 | 24.06±0.35   0.025 | 0.030±-*
DEAR          - | 25.10±0.50       - | 0.031±0.001
--------------------------------------------------
Telea         - |   inf*           - |   nan
--------------------------------------------------"""
COMPARISONS = """\
FFHQ, ×4
                PSNR, dB ↑                 L1 ↓
LTE     +1.04 [+0.80, +1.30] <0.001   +0.0010 - 1.000
Telea    -inf -                   -         -"""
NOTES = """\
Notes
A remark on the paper.
MISF→BI, Telea: no weights
DEAR: a | b
"""

TELEA = Row("Telea→bicubic", "telea+bicubic")


def _filled(**changes):
    rows = (Row("MISF→BI", "misf+bilinear"), Row("LTE", "lte"), Row("DEAR", "dear"))
    numbers = dict(
        zip(rows, (("9.55", "0.037"), ("28.26", "0.025"), "--"), strict=True)
    )
    printed = {
        (row.label, "FFHQ", 4.0, metric): number
        for row, texts in numbers.items()
        for metric, number in zip(("psnr", "l1"), texts, strict=True)
    }
    nan, inf = math.nan, math.inf
    estimates = {
        ("LTE", "psnr"): Estimate(24.06, 23.7, 24.4, 12, 6),
        ("LTE", "l1"): Estimate(0.03, nan, nan, 1, 1),
        ("DEAR", "psnr"): Estimate(25.1, 24.6, 25.6, 12, 6),
        ("DEAR", "l1"): Estimate(0.031, 0.030, 0.032, 12, 6),
        ("Telea", "psnr"): Estimate(inf, 24.0, inf, 12, 6),
        ("Telea", "l1"): Estimate(nan, nan, nan, 12, 6),
    }
    place = ("DEAR", "FFHQ", 4.0)
    values = {
        "table": Table(
            *(9, "Photos restored", True, ("FFHQ",), (4.0,), ("psnr", "l1")),
            *(rows, printed, ("A remark on the paper.",)),
        ),
        "cells": {(row, "FFHQ", 4.0, m): e for (row, m), e in estimates.items()},
        "extra_rows": (Row("Telea", "telea+bicubic"),),
        "comparisons": (
            Comparison("LTE", *place, "psnr", 1.04, 0.8, 1.3, 0.0001),
            Comparison("LTE", *place, "l1", 0.001, nan, nan, 1.0),
            Comparison("Telea", *place, "psnr", -inf, nan, nan, nan),
        ),
        "notes": {"MISF→BI": "no weights", "DEAR": "a | b", "Telea": "no weights"},
        "about": ("protocol v1",),
    }
    return Filled(**values | changes)


def _scores():
    score = Score("lte", "ä.png", "m", "10-20", 4.0, math.inf, 0.5, math.nan)
    return {("LTE", "FFHQ", 4.0): [score]}


def _records(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_text_looks_like_this():
    title, head, cells, versus, *rest = render.to_text(_filled()).split("\n\n")
    assert title == "Table 9 of the paper: Photos restored"
    assert " ".join(head.split()) == HEAD
    assert cells == CELLS
    assert versus.startswith("DEAR minus each row on the same images, with 95 %")
    assert rest == [COMPARISONS, NOTES]


def test_photos_of_the_paper_need_no_warning():
    assert "do not compare" in render.to_markdown(_filled())
    for write in (render.to_text, render.to_markdown):
        assert "do not compare" not in write(_filled(paper_photos=("FFHQ",)))


def test_a_table_without_results_of_ours_shows_the_papers():
    empty = _filled(cells={}, comparisons=(), extra_rows=(), notes={})
    for write in (render.to_text, render.to_markdown):
        text = write(empty)
        assert "28.26" in text and "compare" not in text and text.count("*") < 2
    assert {record["mean"] for record in _records(export.to_csv(empty))} == {""}


@pytest.mark.parametrize("number", paper_tables())
def test_every_table_is_as_wide_as_a_terminal_shows(number):
    table = paper_tables()[number]
    pasted = [metric + "_pasted" for metric in table.metrics] * (table.scales == (1,))
    keys = [
        (row.label, dataset, scale, metric)
        for row in (*table.rows, TELEA)
        for dataset in table.datasets
        for scale in table.scales
        for metric in (*table.metrics, *pasted)
    ]
    filled = _filled(
        table=table,
        cells=dict.fromkeys(keys, Estimate(24.5, 24.0, 25.0, 600, 100)),
        comparisons=tuple(
            Comparison(label, "DEAR", *place, -0.5, -0.75, -0.25, 0.0123)
            for label, *place in keys
        ),
        extra_rows=(TELEA,),
    )
    lines = render.to_text(filled).splitlines()
    assert max(map(len, lines)) <= 110
    assert sum("|" in line for line in lines) >= len(filled.rows)
    assert any("Telea→bicubic" in line for line in lines)


def test_a_row_of_ours_alone_stands_only_where_it_was_measured():
    text = render.to_text(_filled(extra_rows=(Row("elsewhere", "telea"),)))
    assert "elsewhere" not in text


def test_numbers_of_a_column_are_aligned_at_the_bar():
    block = render.to_text(_filled()).split("FFHQ, ×4")[1].splitlines()
    bars = [[i for i, c in enumerate(line) if c == "|"] for line in block]
    assert len({tuple(at) for at in bars if at}) == 1


def test_rows_of_markdown_have_as_many_cells_as_their_head():
    text = render.to_markdown(_filled()).replace(r"\|", "")
    tables = [
        [line.count("|") for line in part.splitlines()]
        for part in text.split("\n\n")
        if part.startswith("|")
    ]
    assert [set(cells) for cells in tables] == [{6}, {4}]
    assert "| LTE | 28.26 | 24.06 [23.70, 24.40] | 0.025 | **0.030** [-] |" in text
    assert r"DEAR: a \| b" in render.to_markdown(_filled())


def test_csv_reads_back_in_full_precision():
    filled = _filled()
    records = _records(export.to_csv(filled))
    assert len(records) == 4 * 2
    found = 0
    for record in records:
        key = (
            record["row"],
            record["dataset"],
            float(record["scale"]),
            record["metric"],
        )
        cell = filled.cells.get(key)
        assert record["paper"] == filled.table.printed.get(key, "-")
        assert (record["mean"] == "") == (cell is None)
        if cell:
            found += 1
            read = [float(record[name]) for name in ("mean", "low", "high")]
            assert str(read) == str([cell.mean, cell.low, cell.high])
            assert int(record["results"]) == cell.results
    assert found == len(filled.cells)
    psnr = records[2]
    assert (psnr["row"], psnr["reference"], psnr["p"]) == ("LTE", "DEAR", "0.0001")
    assert [r["in_paper"] for r in records] == ["True"] * 6 + ["False"] * 2


def test_json_reads_back_with_every_image_and_what_is_not_finite_as_text():
    read = json.loads("".join(export.json_lines(_filled(), _scores())))
    (image,) = read["images"]
    assert (image["photo"], image["psnr"], image["l1"]) == ("ä.png", "inf", "nan")
    assert image["ssim"] == 0.5 and image["row"] == "LTE"
    assert (read["table"], read["notes"]["DEAR"]) == (9, "a | b")
    lines = _records(export.to_csv(_filled()))
    for cell, line in zip(read["cells"], lines, strict=True):
        assert {k: "" if v is None else str(v) for k, v in cell.items()} == line


def test_images_are_written_one_by_one():
    made = []

    class Watched(list):
        def __iter__(self):
            for score in super().__iter__():
                made.append(score)
                yield score

    ((place, (score,)),) = _scores().items()
    lines = export.json_lines(_filled(), {place: Watched([score] * 5)})
    counts = [len(made) for line in lines if '"photo"' in line]
    assert counts == [1, 2, 3, 4, 5]
    assert not hasattr(score, "__dict__")


@pytest.mark.parametrize("write", [render.to_text, render.to_markdown, export.to_csv])
def test_names_that_are_not_utf8_are_escaped(write):
    strange = "caf\udce9"
    extra, notes = (Row("Telea", strange),), {"DEAR": strange}
    text = write(_filled(about=(strange,), extra_rows=extra, notes=notes))
    assert r"caf\udce9" in text and text.encode("utf-8")


def test_json_gives_back_names_that_are_not_utf8():
    ((place, (score,)),) = _scores().items()
    score = dataclasses.replace(score, photo="caf\udce9/ä.png")
    strange = _filled(about=("caf\udce9",))
    text = "".join(export.json_lines(strange, {place: [score]}))
    read = json.loads(text.encode("utf-8"))
    assert read["about"] == ["caf\udce9"]
    assert read["images"][0]["photo"] == score.photo


def test_equal_tables_give_equal_text():
    reverse = _filled(cells=dict(reversed(_filled().cells.items())))
    for write in (render.to_text, render.to_markdown, export.to_csv):
        assert write(reverse) == write(_filled())
