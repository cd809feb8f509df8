"""Laws of filling the paper's tables with our scores."""

import dataclasses
import itertools
import math

import numpy as np
import pytest

from dear_jax.evaluation import statistics
from dear_jax.evaluation.scores import Score
from dear_jax.evaluation.table_filled import fill_table
from dear_jax.evaluation.table_paper import Row, Table, paper_tables

METRICS = ("psnr", "ssim", "l1", "lpips")
BINS = ("10-20", "20-30")


@pytest.fixture(autouse=True)
def few_draws(monkeypatch):
    monkeypatch.setattr(statistics.bootstrap, "__defaults__", (200, 0))


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


def test_the_order_of_scores_makes_no_difference():
    lte, dear = _scores(1), _scores(2)
    assert _pair(lte[::-1], dear) == _pair(lte, dear)


def test_difference_is_reference_minus_row_on_the_images_of_both():
    lte, dear = _scores(1), _scores(2)
    filled = _pair(lte[3:], dear[:-2])
    shared = [d.psnr - b.psnr for b, d in zip(lte[3:-2], dear[3:-2], strict=True)]
    (psnr,) = [c for c in filled.comparisons if c.metric == "psnr"]
    assert (psnr.label, psnr.reference) == ("LTE", "DEAR")
    assert psnr.difference == pytest.approx(np.mean(shared), rel=1e-12)
    assert psnr.low < psnr.difference < psnr.high
    # A cell's own mean is still that of all its images.
    assert filled.cells["LTE", "CelebAHQ", 4.0, "psnr"].results == 9


def test_images_match_by_photo_mask_and_bin():
    lte, dear = _scores(1), _scores(2)
    others = [dataclasses.replace(score, mask="other.png") for score in lte]
    assert _pair(others, dear).comparisons == ()
    assert _pair(_scores(1, photos=2), dear).comparisons != ()


def test_a_photos_results_flip_together():
    """Two photos can flip in four ways, of which two are as far from 0, however
    many results they have."""
    lte = _scores(1, photos=2)
    dear = [dataclasses.replace(s, psnr=s.psnr + 1) for s in lte]
    assert _pair(lte, dear).comparisons[0].p == 0.5


def test_row_against_itself_differs_by_nothing():
    scores = _scores(1)
    for c in _pair(scores, scores).comparisons:
        assert (c.difference, c.low, c.high, c.p) == (0, 0, 0, 1)


def test_perfect_results_are_infinite_and_equal_to_each_other():
    perfect, other = _scores(1, psnr=math.inf), _scores(2)
    filled = _pair(perfect, other)
    assert filled.cells["LTE", "CelebAHQ", 4.0, "psnr"].low == math.inf
    psnr, ssim, *_ = filled.comparisons
    assert psnr.difference == -math.inf and math.isnan(psnr.p)
    assert math.isfinite(ssim.difference) and math.isfinite(ssim.p)
    same = _pair(perfect, _scores(2, psnr=math.inf)).comparisons[0]
    assert (same.difference, same.p) == (0, 1)


def test_nan_spoils_only_its_own_cell():
    filled = _pair(_scores(1, ssim=math.nan), _scores(2))
    nans = [key for key, cell in filled.cells.items() if math.isnan(cell.mean)]
    assert nans == [("LTE", "CelebAHQ", 4.0, "ssim")]


def test_one_photo_has_no_interval():
    filled = _pair(_scores(1, photos=1), _scores(2, photos=1))
    assert math.isnan(filled.cells["DEAR", "CelebAHQ", 4.0, "l1"].low)
    assert math.isnan(filled.comparisons[0].low) and filled.comparisons[0].p == 1


def test_what_was_not_measured_has_no_cell():
    filled = _pair(_scores(1, lpips=None), _scores(2))
    assert ("LTE", "CelebAHQ", 4.0, "lpips") not in filled.cells
    assert ("DEAR", "CelebAHQ", 4.0, "lpips") in filled.cells
    assert [c.metric for c in filled.comparisons] == ["psnr", "ssim", "l1"]
    assert fill_table(_table(), {}).cells == {}


def test_pasted_results_are_estimated_at_scale_1_only():
    pasted = {f"{metric}_pasted": 2.0 for metric in METRICS}
    filled = _pair(_scores(1, 1.0, **pasted), _scores(2, 1.0, **pasted))
    assert filled.cells["LTE", "CelebAHQ", 1.0, "ssim_pasted"].mean == 2
    assert len(filled.cells) == 16 and len(filled.comparisons) == 8
    assert len(_pair(_scores(1, **pasted), _scores(2, **pasted)).cells) == 8


def test_reference_is_the_papers_last_row_where_there_is_no_dear():
    table = paper_tables()[5]
    extra = [Row("Telea→bicubic", "telea+bicubic")]
    labels = [row.label for row in (*table.rows, *extra)]
    scores = {(r, "Places365", 4.0): _scores(i) for i, r in enumerate(labels)}
    filled = fill_table(table, scores, extra_rows=extra)
    assert {c.reference for c in filled.comparisons} == {"+PIM"}
    compared = dict.fromkeys(c.label for c in filled.comparisons)
    assert list(compared) == ["Base", "+DSE", "+USE", "Telea→bicubic"]


def test_scores_without_a_place_are_refused():
    with pytest.raises(ValueError, match="Nobody"):
        fill_table(_table(), {("Nobody", "CelebAHQ", 4.0): _scores()})
    with pytest.raises(ValueError, match="twice"):
        fill_table(_table(), {("LTE", "CelebAHQ", 4.0): _scores() + _scores()})
    with pytest.raises(ValueError, match="LTE"):
        fill_table(_table(), {}, extra_rows=[Row("LTE", "lte")])
