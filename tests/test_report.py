"""Laws of the report by scale: what is said, and that programs can read it."""

import json

import numpy as np
import pytest

from dear_jax.evaluation import report
from dear_jax.evaluation.scores import METRICS, Score

PASTED = {"psnr_pasted": 33.25, "ssim_pasted": 0.9, "l1_pasted": 0.01}


def _score(system="classical", scale=4.0, bin_name="01-10", psnr=20.0, i=0, **rest):
    name = f"{i}.png"
    return Score(system, name, "m.png", bin_name, scale, psnr, 0.5, 0.1, 0.3, **rest)


def _both(gain=1.5, photos=6):
    """Two systems on some photos, two bins each; the second is better by `gain`."""
    rng = np.random.default_rng(0)
    scores = []
    for i in range(photos):
        for name in ("01-10", "10-20"):
            psnr = float(rng.normal(20, 2))
            scores.append(_score(psnr=psnr, bin_name=name, i=i))
            scores.append(_score("ours", psnr=psnr + gain, bin_name=name, i=i))
    return scores


def _rows(table, system):
    return [line for line in table.splitlines() if line.startswith(system + " ")]


def test_pooled_is_the_plain_mean_over_all_results():
    values = {"01-10": [10.0, 20.0, 30.0], "10-20": [60.0]}
    scores = [
        _score(bin_name=name, psnr=psnr, i=i)
        for name, found in values.items()
        for i, psnr in enumerate(found)
    ]
    row = _rows(report.format_table(scores), "classical")[0].split()
    assert row[1:3] == ["20.00", "60.00"] and row[4].startswith("30.00")


def test_columns_are_as_wide_as_the_names_of_their_bins():
    bins = ("random_thick_256", "thin")
    scores = [_score(bin_name=name, i=i) for i in range(2) for name in bins]
    lines = report.format_table(scores).splitlines()
    head, *rows = [line for line in lines if "|" in line]
    ends = [head.index(name) + len(name) for name in bins]
    for row in (head, *rows):
        assert row.index("|") == head.index("|")
        assert all(row[end - 1] != " " == row[end] for end in ends)
    usual = report.format_table([_score()]).splitlines()
    assert f"{'classical':<14}{'20.00':>9}  | 20.00" in usual


def test_table_states_protocol_scales_and_differences():
    scores = [_score(), _score("ours", psnr=21.5), _score(scale=6.0)]
    table = report.format_table(scores, {"photos": "mine"})
    assert table.startswith("protocol v1:")
    assert "photos: mine" in table and "\nx4:" in table and "\nx6:" in table
    assert table.count("+1.50") == 2  # its bin, and pooled
    assert max(map(len, table.splitlines())) <= report.WIDTH


def test_pooled_means_have_an_interval_and_differences_a_test():
    table = report.format_table(_both())
    assert "±" in _rows(table, "classical")[0]
    difference = next(x for x in table.splitlines() if "vs classical" in x)
    # The same on every photo: certain, and as unlikely as six signs can be.
    assert difference.endswith("+1.50±0.00  p 0.031")


def test_a_single_photo_has_neither_interval_nor_certainty():
    table = report.format_table([_score(), _score("ours", psnr=21.5)])
    assert "±0" not in table and "p 1.000" in table and "nan" not in table


def test_every_metric_has_a_block_lpips_only_if_measured():
    assert report.format_table(_both()).count("is better)") == len(METRICS)
    without = [Score("a", "p", "m", "01-10", 4.0, 20.0, 0.5, 0.1)]
    assert "LPIPS (" not in report.format_table(without)


def test_table_shows_pasted_numbers_at_scale_1():
    table = report.format_table([_score(scale=1.0, **PASTED)])
    before, after = table.split("known pixels pasted back:")
    assert "33.25" in after and "33.25" not in before


def test_perfect_results_are_shown_and_their_difference_is_a_dash():
    perfect = [_score(psnr=float("inf"), i=i) for i in range(3)]
    ours = [_score("ours", psnr=float("inf"), i=i) for i in range(2)]
    table = report.format_table([*perfect, *ours, _score("ours", i=2)])
    assert "inf" in table and "nan" not in table


def test_a_system_without_scores_has_a_row_of_dashes_and_the_reason():
    scores = [_score(), _score("misf+elan"), _score("elan" + report.UNTRAINED)]
    notes = {4.0: {"edsr": "has weights for x2 only", "misf+elan": "trained at 64"}}
    table = report.format_table(scores, notes=notes)
    rows = [row.split() for row in _rows(table, "edsr")]
    assert rows == [["edsr", "-", "|", "-"]] * 4
    assert "edsr: has weights for x2 only" in table
    assert "misf+elan: trained at 64" in table
    assert "it is no result" in table
    # Only trained systems are compared with the classical row.
    assert table.count("vs classical") == 4


def test_json_has_every_score_also_infinite_ones(tmp_path):
    scores = [_score(psnr=float("inf"), scale=1.0, **PASTED), _score("b", 2.5)]
    path = tmp_path / "scale-1.json"
    path.write_text("old")
    report.write_json(path, scores, {"masks": "mine"})
    found = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert [Score.from_row(row) for row in found["rows"]] == scores
    assert found["estimates"]["2.5"]["b"]["pooled"]["ssim"][0] == 0.5
    assert [p.name for p in tmp_path.iterdir()] == ["scale-1.json"]
