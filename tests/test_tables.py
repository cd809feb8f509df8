"""The paper's tables: as printed, set up, filled with our scores, and written."""

import csv
import dataclasses
import io
import itertools
import json
import math
import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from dear_jax.errors import InputError
from dear_jax.evaluation import stats
from dear_jax.evaluation import table_render as render
from dear_jax.evaluation.scores import Score
from dear_jax.evaluation.stats import Difference, Estimate
from dear_jax.evaluation.tables import (
    Filled,
    Row,
    Table,
    fill_table,
    paper_tables,
    read_setup,
)
from dear_jax.inference import loading as catalogue
from dear_jax.models import registry

TEXT = Path(__file__).parents[2] / "shared" / "paper" / "superinpaint.txt"
CELEBA, PLACES, FFHQ = "CelebAHQ", "Places365", "FFHQ"
NUMBER = re.compile(r"\d+\.\d+")

# What the text of Section 5 quotes: table, dataset, scale, metric, two rows, by how
# much they differ; percentages of SSIM are hundredths, not relative.
QUOTED = [
    (1, CELEBA, 4, "psnr", "DEAR", "MISF→LTE", "3.75"),
    (1, CELEBA, 4, "ssim", "DEAR", "MISF→LTE", "0.139"),
    (1, CELEBA, 4, "psnr", "DEAR", "LTE", "1.58"),
    (1, CELEBA, 4, "ssim", "DEAR", "LTE", "0.113"),
    (1, PLACES, 4, "psnr", "DEAR", "LAMA→LTE", "3.68"),
    (1, PLACES, 4, "ssim", "DEAR", "LTE", "0.102"),
    (1, FFHQ, 4, "l1", "DEAR", "LTE", "-0.003"),
    (1, FFHQ, 4, "lpips", "DEAR", "LTE", "-0.086"),
    (2, CELEBA, 2, "psnr", "DEAR", "MISF→EDSR", "4.02"),
    (2, CELEBA, 2, "ssim", "DEAR", "MISF→EDSR", "0.056"),
    (2, CELEBA, 8, "psnr", "DEAR", "LTE", "0.49"),
    (3, FFHQ, 2, "psnr", "DEAR", "LIIF", "0.48"),
    (3, FFHQ, 2, "psnr", "DEAR", "LTE", "1.9"),
    (4, CELEBA, 1, "psnr", "DEAR", "MISF", "0.21"),
    (4, PLACES, 1, "psnr", "DEAR", "MISF", "0.59"),
    (5, CELEBA, 4, "psnr", "+DSE", "Base", "0.95"),
    (5, CELEBA, 4, "psnr", "+USE", "+DSE", "0.77"),
    (5, CELEBA, 4, "l1", "+USE", "+DSE", "-0.007"),
    (5, CELEBA, 4, "ssim", "+PIM", "+USE", "0.015"),
    (5, CELEBA, 4, "lpips", "+PIM", "+USE", "-0.034"),
]


def _printed(table, label, dataset, scale, metric):
    return Decimal(paper_tables()[table].printed[label, dataset, scale, metric])


@pytest.fixture(scope="module")
def lines():
    """The numbers in each line of the paper's text."""
    if not TEXT.is_file():
        pytest.skip("the paper's text is not here")
    text = TEXT.read_text(encoding="utf-8")
    return [tuple(NUMBER.findall(line)) for line in text.splitlines()]


def _within(numbers, line):
    starts = range(len(line) - len(numbers) + 1)
    return any(line[i : i + len(numbers)] == numbers for i in starts)


def test_every_cell_is_there_once_and_is_a_number_or_a_dash():
    for number, table in paper_tables().items():
        assert number == table.number
        cells = [
            (row.label, dataset, scale, metric)
            for row in table.rows
            for dataset in table.datasets
            for scale in table.scales
            for metric in table.metrics
        ]
        assert sorted(table.printed) == sorted(cells)
        for (*_, metric), text in table.printed.items():
            digits = 2 if metric == "psnr" else 3
            assert text == "-" or len(text.split(".")[1]) == digits
    assert list(paper_tables()) == [1, 2, 3, 4, 5, 6]
    assert [len(t.rows) for t in paper_tables().values()] == [19, 10, 3, 3, 4, 3]


def test_numbers_are_those_of_the_papers_text(lines):
    for table in paper_tables().values():
        for row in table.rows:
            for dataset in table.datasets:
                numbers = tuple(
                    text
                    for (label, where, *_), text in table.printed.items()
                    if (label, where) == (row.label, dataset) and text != "-"
                )
                if (table.number, row.label) == (5, "Base"):
                    # Its text goes column by column, as do the next two rows'.
                    numbers = numbers[:1]
                if table.number != 5 or row.label in ("Base", "+PIM"):
                    assert any(_within(numbers, line) for line in lines), row
    (ablation,) = [line for line in lines if line[:1] == ("27.21",)]
    for dataset in (CELEBA, PLACES):
        for metric in paper_tables()[5].metrics:
            column = [
                paper_tables()[5].printed[label, dataset, 4, metric]
                for label in ("Base", "+DSE", "+USE")
            ]
            assert _within(tuple(column), ablation)


def test_columns_of_table_1_are_in_the_papers_order(lines):
    table = paper_tables()[1]
    whole = [numbers for numbers in lines if len(numbers) == 72]
    for dataset, line in zip(table.datasets, whole, strict=True):
        labels = [row.label for row in table.rows if row.label != "LIIF"]
        ours = [
            table.printed[label, dataset, 4, metric]
            for label in labels
            for metric in table.metrics
        ]
        assert tuple(ours) == line


def test_every_row_is_a_system_of_ours():
    for table in paper_tables().values():
        for row in table.rows:
            if table.number == 5:
                assert row.system.startswith("dear")
            else:
                assert catalogue.is_system(row.system)
    baselines = [row.system for row in paper_tables()[1].rows if row.label != "DEAR"]
    assert sorted(baselines) == sorted(catalogue.BASELINES)
    assert len(baselines) == 18  # as Section 6 counts them


def test_ablation_adds_one_part_at_a_time():
    models = [registry.fields_of(row.system) for row in paper_tables()[5].rows]
    parts = ("detail", "attention", "importance")
    has = [[model[part] for part in parts] for model in models]
    assert has == [[row > part for part in range(3)] for row in range(4)]


@pytest.mark.parametrize("quoted", QUOTED, ids=lambda q: f"table {q[0]}: {q[-1]}")
def test_numbers_are_those_that_the_text_quotes(quoted):
    table, dataset, scale, metric, row, other, difference = quoted
    values = (_printed(table, r, dataset, scale, metric) for r in (row, other))
    assert next(values) - next(values) == Decimal(difference)


def test_where_text_and_tables_of_the_paper_disagree_the_tables_are_kept():
    """All numbers are the paper's: none is a typo here."""
    assert _printed(3, "DEAR", FFHQ, 8, "ssim") == Decimal("0.826")  # As quoted.
    # Section 5.4 says that detail gains 2.2 %.
    base, detail = (_printed(5, r, CELEBA, 4, "ssim") for r in ("Base", "+DSE"))
    assert detail - base == Decimal("0.032") != Decimal("0.022")
    # Not every part helps, and Table 3 has no drop of LTE at low scales.
    l1 = [_printed(5, row, PLACES, 4, "l1") for row in ("+DSE", "+USE")]
    assert l1[0] < l1[1]
    lte = [_printed(3, "LTE", FFHQ, scale, "psnr") for scale in (2, 4, 6, 8)]
    assert lte == sorted(lte, reverse=True)


def test_tables_contradict_each_other_about_lte_and_in_nothing_else():
    """Tables 2, 5 and 6 print rows of Table 1 again."""
    known, same = paper_tables()[1].printed, {"+PIM": "DEAR"}
    contradictions, compared = {}, 0
    for table in (2, 5, 6):
        for (label, *cell), text in paper_tables()[table].printed.items():
            first = known.get((same.get(label, label), *cell))
            compared += first is not None
            if first not in (None, text):
                contradictions[table, label, *cell] = (first, text)
    assert compared == 20 + 8 + 24
    assert contradictions == {
        (2, "LTE", CELEBA, 4, "psnr"): ("28.26", "28.82"),
        (2, "LTE", CELEBA, 4, "ssim"): ("0.855", "0.872"),
    }


def test_dear_is_best_wherever_the_text_says_so():
    for number in (1, 2):
        table = paper_tables()[number]
        for (label, *cell), text in table.printed.items():
            if label != "DEAR" and text != "-":
                gain = _printed(number, "DEAR", *cell) - Decimal(text)
                assert gain < 0 if cell[-1] in ("l1", "lpips") else gain > 0


def test_printed_l1_of_20_two_stage_cells_exceeds_what_a_photo_of_their_psnr_can_have():
    """A photo's L1 is at most its root mean squared error, 10^(-PSNR / 20)."""
    beyond = []
    for table in paper_tables().values():
        for (label, *cell, metric), text in table.printed.items():
            if metric == "l1" and text != "-":
                psnr = _printed(table.number, label, *cell, "psnr")
                if Decimal(text) > 10 ** (-psnr / 20):
                    beyond.append((table.number, label, *cell))
    assert len(beyond) == 20
    assert all(number == 1 and "→" in label for number, label, *_ in beyond)
    assert (1, "LTE→LAMA", CELEBA, 4) in beyond


# Setups


ROOT = Path(__file__).parents[1]
PHOTOS = "[data.FFHQ]\nphotos = 'p'\n"


def _written(folder, text):
    path = folder / "s.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text, words",
    [
        ("[systems]\nDEER = 'x'", "systems.DEER is unknown; choose from"),
        (
            "[data.CelebHQ]\nphotos = 'x'",
            "CelebHQ is unknown; choose from CelebAHQ",
        ),
        ("[data.FFHQ]\nmasks = 'x'", "data.FFHQ names no photos"),
        ("[data.FFHQ]\nphoto = 'x'", "data.FFHQ.photo is unknown"),
        ("[table9.systems]\nDEAR = 'x'", "table9 is unknown"),
        ("[table1.system]\nDEAR = 'x'", "table1.system is unknown"),
        ("DEAR", "not a setup of tables"),
        ("[extra]\nDEAR = 'x'", "extra.DEAR is a row of the paper's"),
        # No row of Table 1, but of Table 5.
        ("[extra]\n'+PIM' = 'x'", "extra.+PIM is a row of the paper's"),
        ("[table1.extra]\nLTE = 'x'", "table1.extra.LTE is a row of the paper's"),
        ("systems = 'x'", "systems = 'x': give a section"),
        ("extra = 3", "extra = 3: give a section"),
        ("data = []", "data = []: give a section"),
        ("table1 = 3", "table1 = 3: give a section"),
        ("table2 = 3", "table2 = 3: give a section"),
        ("table1.systems = 'x'", "table1.systems = 'x': give a section"),
        ("[data]\nCelebAHQ = 'bundled'", "data.CelebAHQ = 'bundled': give a section"),
        ("[data.FFHQ]\nphotos = 3", "data.FFHQ.photos = 3: give a text"),
        (f"{PHOTOS}masks = false", "data.FFHQ.masks = False: give a text"),
        (f"{PHOTOS}of_the_paper = 'no'", "of_the_paper = 'no': give true or false"),
        (f"{PHOTOS}of_the_paper = 1", "of_the_paper = 1: give true or false"),
        ("[systems]\nDEAR = 1.5", "systems.DEAR = 1.5: give a text"),
        ("[extra]\nmine = ['x']", r"extra.mine = ['x']: give a text"),
    ],
)
def test_what_a_setup_gets_wrong_is_named_with_the_remedy(tmp_path, text, words):
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        read_setup(_written(tmp_path, text), 1)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 's.toml'}: ") and "\n" not in message
    with pytest.raises(InputError, match="no such setup"):
        read_setup(tmp_path / "no.toml", 1)


def test_a_setup_of_one_table_goes_before_the_general_one(tmp_path):
    path = _written(
        tmp_path,
        '[systems]\nDEAR = "a"\nLTE = "b"\n[table6.systems]\nDEAR = "c"\n'
        '[data.FFHQ]\nphotos = "p"\n[table3.data.FFHQ]\nphotos = "q"\n'
        '[table6.extra]\nmine = "d"\n',
    )
    assert read_setup(path, 6).systems == {"DEAR": "c", "LTE": "b"}
    assert read_setup(path, 1).systems == {"DEAR": "a", "LTE": "b"}
    assert read_setup(path, 3).data["FFHQ"].photos == "q"
    assert read_setup(path, 1).data["FFHQ"].photos == "p"
    assert read_setup(path, 6).extra == {"mine": "d"}
    assert read_setup(path, 1).extra == {}
    # Photos are not the paper's unless a setup says so.
    assert not read_setup(_written(tmp_path, PHOTOS), 1).data["FFHQ"].of_the_paper
    own = _written(tmp_path, f"{PHOTOS}of_the_paper = true")
    assert read_setup(own, 1).data["FFHQ"].of_the_paper


@pytest.mark.parametrize("path", sorted((ROOT / "results").glob("*.toml")))
def test_the_setups_that_come_along_can_be_read_for_every_table(path):
    for number in paper_tables():
        assert set(paper_tables()[number].datasets) & set(read_setup(path, number).data)


# Filling


METRICS = ("psnr", "ssim", "l1", "lpips")
BINS = ("10-20", "20-30")


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(stats.bootstrap, "__defaults__", (200, 0))


def _scores(seed=0, scale=4.0, photos=6, **fixed):
    rng = np.random.default_rng(seed)
    return [
        Score(
            system=f"system {seed}",
            photo=f"{photo}.png",
            mask="m.png",
            bin=hole_ratio,
            scale=scale,
            **{metric: float(rng.uniform(1, 30)) for metric in METRICS} | fixed,
        )
        for photo, hole_ratio in itertools.product(range(photos), BINS)
    ]


def _table(scales=(4.0,), labels=("LTE", "DEAR")):
    rows = tuple(Row(label, label.lower()) for label in labels)
    datasets, metrics = ("CelebAHQ",), METRICS
    cells = itertools.product(labels, datasets, scales, metrics)
    printed = dict.fromkeys(cells, "1.000")
    return Table(9, "a test", True, datasets, scales, metrics, rows, printed)


def _pair(lte, dear, **options):
    scale = lte[0].scale
    scores = {("LTE", "CelebAHQ", scale): lte, ("DEAR", "CelebAHQ", scale): dear}
    return fill_table(_table((scale,)), scores, **options)


def _first(filled):
    return next(iter(filled.gains.values()))


def test_estimates_are_plain_means_of_all_results():
    lte, dear = _scores(1), _scores(2)
    filled = _pair(lte, dear)
    assert len(filled.cells) == 8
    for metric in METRICS:
        cell = filled.cells["LTE", "CelebAHQ", 4.0, metric]
        values = [getattr(score, metric) for score in lte]
        assert cell.mean == pytest.approx(np.mean(values), rel=1e-12)
        assert cell.low < cell.mean < cell.high
        assert (cell.results, cell.photos) == (12, 6)
    assert _pair(lte[::-1], dear) == filled  # The order makes no difference.


def test_difference_is_reference_minus_row_on_the_images_of_both():
    lte, dear = _scores(1), _scores(2)
    filled = _pair(lte[3:], dear[:-2])
    shared = [d.psnr - b.psnr for b, d in zip(lte[3:-2], dear[3:-2], strict=True)]
    psnr = filled.gains["LTE", "CelebAHQ", 4.0, "psnr"]
    assert {label for label, *_ in filled.gains} == {"LTE"}
    assert filled.reference == "DEAR"
    assert psnr.mean == pytest.approx(np.mean(shared), rel=1e-12)
    assert psnr.low < psnr.mean < psnr.high
    # A cell's own mean is still that of all its images.
    assert filled.cells["LTE", "CelebAHQ", 4.0, "psnr"].results == 9


def test_images_match_by_photo_mask_and_bin():
    lte, dear = _scores(1), _scores(2)
    others = [dataclasses.replace(score, mask="other.png") for score in lte]
    assert _pair(others, dear).gains == {}
    assert _pair(_scores(1, photos=2), dear).gains


def test_a_photos_results_flip_together():
    """Two photos can flip in four ways, of which two are as far from 0, however
    many results they have."""
    lte = _scores(1, photos=2)
    dear = [dataclasses.replace(s, psnr=s.psnr + 1) for s in lte]
    assert _first(_pair(lte, dear)).p == 0.5
    for gain in _pair(lte, lte).gains.values():
        assert (gain.mean, gain.low, gain.high, gain.p) == (0, 0, 0, 1)


def test_perfect_results_are_infinite_and_equal_to_each_other():
    perfect, other = _scores(1, psnr=math.inf), _scores(2)
    filled = _pair(perfect, other)
    assert filled.cells["LTE", "CelebAHQ", 4.0, "psnr"].low == math.inf
    psnr, ssim, *_ = filled.gains.values()
    assert psnr.mean == -math.inf and math.isnan(psnr.p)
    assert math.isfinite(ssim.mean) and math.isfinite(ssim.p)
    same = _first(_pair(perfect, _scores(2, psnr=math.inf)))
    assert (same.mean, same.p) == (0, 1)


def test_nan_spoils_only_its_own_cell_and_one_photo_has_no_interval():
    filled = _pair(_scores(1, ssim=math.nan), _scores(2))
    nans = [key for key, cell in filled.cells.items() if math.isnan(cell.mean)]
    assert nans == [("LTE", "CelebAHQ", 4.0, "ssim")]
    filled = _pair(_scores(1, photos=1), _scores(2, photos=1))
    assert math.isnan(filled.cells["DEAR", "CelebAHQ", 4.0, "l1"].low)
    assert math.isnan(_first(filled).low) and _first(filled).p == 1


def test_what_was_not_measured_has_no_cell():
    filled = _pair(_scores(1, lpips=None), _scores(2))
    assert ("LTE", "CelebAHQ", 4.0, "lpips") not in filled.cells
    assert ("DEAR", "CelebAHQ", 4.0, "lpips") in filled.cells
    assert [metric for *_, metric in filled.gains] == ["psnr", "ssim", "l1"]
    assert fill_table(_table(), {}).cells == {}


def test_pasted_results_are_estimated_at_scale_1_only():
    pasted = {f"{metric}_pasted": 2.0 for metric in METRICS}
    filled = _pair(_scores(1, 1.0, **pasted), _scores(2, 1.0, **pasted))
    assert filled.cells["LTE", "CelebAHQ", 1.0, "ssim_pasted"].mean == 2
    assert len(filled.cells) == 16 and len(filled.gains) == 8
    assert len(_pair(_scores(1, **pasted), _scores(2, **pasted)).cells) == 8


def test_reference_is_the_papers_last_row_where_there_is_no_dear():
    table = paper_tables()[5]
    extra = [Row("Telea→bicubic", "telea+bicubic")]
    labels = [row.label for row in (*table.rows, *extra)]
    scores = {(r, "Places365", 4.0): _scores(i) for i, r in enumerate(labels)}
    filled = fill_table(table, scores, extra_rows=extra)
    assert filled.reference == "+PIM"
    compared = dict.fromkeys(label for label, *_ in filled.gains)
    assert list(compared) == ["Base", "+DSE", "+USE", "Telea→bicubic"]


def test_scores_without_a_place_are_refused():
    with pytest.raises(ValueError, match="Nobody"):
        fill_table(_table(), {("Nobody", "CelebAHQ", 4.0): _scores()})
    with pytest.raises(ValueError, match="twice"):
        fill_table(_table(), {("LTE", "CelebAHQ", 4.0): _scores() + _scores()})
    with pytest.raises(ValueError, match="LTE"):
        fill_table(_table(), {}, extra_rows=[Row("LTE", "lte")])


# Writing


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
    values = {
        "table": Table(
            *(9, "Photos restored", True, ("FFHQ",), (4.0,), ("psnr", "l1")),
            *(rows, printed, ("A remark on the paper.",)),
        ),
        "cells": {(row, "FFHQ", 4.0, m): e for (row, m), e in estimates.items()},
        "extra_rows": (Row("Telea", "telea+bicubic"),),
        "gains": {
            ("LTE", "FFHQ", 4.0, "psnr"): Difference(1.04, 0.8, 1.3, 0.0001),
            ("LTE", "FFHQ", 4.0, "l1"): Difference(0.001, nan, nan, 1.0),
            ("Telea", "FFHQ", 4.0, "psnr"): Difference(-inf, nan, nan, nan),
        },
        "notes": {"MISF→BI": "no weights", "DEAR": "a | b", "Telea": "no weights"},
        "about": ("protocol v1",),
    }
    return Filled(**values | changes)


def _scores_writing():
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
        # A row of ours alone stands only where it was measured.
        assert "elsewhere" not in write(_filled(extra_rows=(Row("elsewhere", "x"),)))


def test_a_table_without_results_of_ours_shows_the_papers():
    empty = _filled(cells={}, gains={}, extra_rows=(), notes={})
    for write in (render.to_text, render.to_markdown):
        text = write(empty)
        assert "28.26" in text and "compare" not in text and text.count("*") < 2
    assert {record["mean"] for record in _records(render.to_csv(empty))} == {""}


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
        gains=dict.fromkeys(keys, Difference(-0.5, -0.75, -0.25, 0.0123)),
        extra_rows=(TELEA,),
    )
    lines = render.to_text(filled).splitlines()
    assert max(map(len, lines)) <= 110
    assert sum("|" in line for line in lines) >= len(filled.rows)
    assert any("Telea→bicubic" in line for line in lines)


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
    records = _records(render.to_csv(filled))
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
    read = json.loads("".join(render.json_lines(_filled(), _scores_writing())))
    (image,) = read["images"]
    assert (image["photo"], image["psnr"], image["l1"]) == ("ä.png", "inf", "nan")
    assert image["ssim"] == 0.5 and image["row"] == "LTE"
    assert (read["table"], read["notes"]["DEAR"]) == (9, "a | b")
    lines = _records(render.to_csv(_filled()))
    for cell, line in zip(read["cells"], lines, strict=True):
        assert {k: "" if v is None else str(v) for k, v in cell.items()} == line


def test_images_are_written_one_by_one():
    made = []

    class Watched(list):
        def __iter__(self):
            for score in super().__iter__():
                made.append(score)
                yield score

    ((place, (score,)),) = _scores_writing().items()
    lines = render.json_lines(_filled(), {place: Watched([score] * 5)})
    counts = [len(made) for line in lines if '"photo"' in line]
    assert counts == [1, 2, 3, 4, 5]
    assert not hasattr(score, "__dict__")


@pytest.mark.parametrize("write", [render.to_text, render.to_markdown, render.to_csv])
def test_names_that_are_not_utf8_are_escaped(write):
    strange = "caf\udce9"
    extra, notes = (Row("Telea", strange),), {"DEAR": strange}
    text = write(_filled(about=(strange,), extra_rows=extra, notes=notes))
    assert r"caf\udce9" in text and text.encode("utf-8")
    # JSON gives them back.
    ((place, (score,)),) = _scores_writing().items()
    score = dataclasses.replace(score, photo="caf\udce9/ä.png")
    lines = render.json_lines(_filled(about=(strange,)), {place: [score]})
    read = json.loads("".join(lines).encode("utf-8"))
    assert read["about"] == [strange] and read["images"][0]["photo"] == score.photo


def test_equal_tables_give_equal_text():
    reverse = _filled(cells=dict(reversed(_filled().cells.items())))
    for write in (render.to_text, render.to_markdown, render.to_csv):
        assert write(reverse) == write(_filled())
