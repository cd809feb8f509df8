"""Laws of curves: what is drawn is what was measured and reported."""

import json
import math

import numpy as np
import pytest
from matplotlib.collections import PolyCollection
from PIL import Image

from dear_jax.errors import InputError
from dear_jax.evaluation import plots, run_plots
from dear_jax.evaluation.plots import by_family, looks
from dear_jax.evaluation.run_plots import draw_reports, facts, running_mean
from dear_jax.evaluation.scores import Score
from dear_jax.evaluation.stats import Estimate
from dear_jax.evaluation.tables import Filled, Row, paper_tables
from dear_jax.training.logging import read_metrics

BINS = ("01-10", "10-20", "20-30")


def scores(label="DEAR", photos=4, lpips=None, seed=0):
    rng = np.random.default_rng(seed)
    return [
        Score(label, f"{i}.png", "m", b, 4.0, *rng.uniform(0.1, 0.9, 3), lpips=lpips)
        for i in range(photos)
        for b in BINS
    ]


def filled(extra=(), **changed):
    table = paper_tables()[2]
    cells = {
        (row.label, "CelebAHQ", scale, metric): Estimate(
            20 - scale, 18 - scale, 21, 6, 2
        )
        for row in (*table.rows, *extra)
        for scale in table.scales
        for metric in table.metrics
    }
    given = {"about": ("CelebAHQ: 2 photos of bundled",), "notes": {}, **changed}
    return Filled(table, cells, tuple(extra), {}, **given)


def panels(figure):
    return [axes for axes in figure.axes if axes.axison and axes.get_ylabel()]


def texts(figure):
    return "\n".join(
        text.get_text() for text in figure.findobj(lambda o: hasattr(o, "get_text"))
    )


def curve(axes, label):
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return dict(zip(*map(list, line.get_data()), strict=True))


def bands(axes):
    return [c for c in axes.collections if isinstance(c, PolyCollection)]


def test_left_is_as_printed_and_right_is_ours():
    drawn = filled()
    figure = plots.draw_scale_curves(drawn)
    left, right = panels(figure)[:2]
    label = "MISF→EDSR"
    printed = {
        scale: float(text)
        for scale in drawn.table.scales
        if (text := drawn.table.printed[label, "CelebAHQ", scale, "psnr"]) != "-"
    }
    assert curve(left, label) == printed and set(printed) == {2, 4, 6, 8}
    assert curve(right, label) == {s: 20 - s for s in drawn.table.scales}
    assert left.get_ylim() == right.get_ylim()


def test_panels_say_metric_unit_direction_and_whose_photos():
    figure = plots.draw_scale_curves(filled())
    headings = [axes.get_ylabel() for axes in panels(figure)]
    assert len(headings) == 4 and all("↑ better" in text for text in headings)
    assert headings[0].startswith("PSNR, dB") and headings[2].startswith("SSIM")
    titles = [axes.get_title() for axes in panels(figure)]
    assert "paper" in titles[0] and "other photos" in titles[1]
    assert "2 photos of bundled" in texts(figure)
    own = plots.draw_scale_curves(filled(paper_photos=("CelebAHQ",)))
    assert "other photos" not in texts(own)


def test_a_system_has_one_look_in_both_panels_and_no_two_share_it():
    extra = (Row("Telea→bicubic", "telea+bicubic"), Row("mystery", "mystery"))
    figure = plots.draw_scale_curves(filled(extra))

    def seen(axes):
        return {
            line.get_label(): (
                line.get_color(),
                line.get_linestyle(),
                line.get_marker(),
                line.get_markerfacecolor(),
            )
            for line in axes.lines
        }

    left, right = map(seen, panels(figure)[:2])
    assert left.items() <= right.items() and len(right) == 12
    assert len(set(right.values())) == 12


def kinds(labels):
    """How many ways of drawing these systems have."""
    options = [look.options for look in looks(labels).values()]
    keys = ("color", "linestyle", "marker", "markerfacecolor")
    return len({tuple(str(o[key]) for key in keys) for o in options})


def test_all_systems_look_different_whether_they_have_a_colour_of_their_own_or_not():
    paper, ablation = (
        [row.label for row in paper_tables()[number].rows] for number in (1, 5)
    )
    others = ["classical", "dear-lite", *(f"another {i}" for i in range(8))]
    assert kinds(paper) == len(paper) >= 18
    assert kinds(ablation + others) == len(ablation + others)
    colours = [x.options["color"] for x in looks(ablation + others).values()]
    assert colours.count(looks(["dear-lite"])["dear-lite"].options["color"]) == 1


def test_looks_go_by_the_way_not_by_how_it_is_written():
    found = looks(["MISF→BI", "misf+bilinear", "LTE", "lte-fast", "LTE (untrained)"])
    assert found["MISF→BI"] == found["misf+bilinear"]
    assert found["LTE"] == found["lte-fast"] == found["LTE (untrained)"]
    assert found["MISF→BI"].family != found["LTE"].family


def test_means_are_those_of_the_scores_bin_by_bin_and_lie_in_their_bands():
    given = scores(photos=6)
    figure = plots.draw_ratio_curves({"a": given})
    drawn = curve(panels(figure)[0], "a")
    for place, name in enumerate(BINS):
        values = [score.psnr for score in given if score.bin == name]
        assert drawn[place] == pytest.approx(math.fsum(values) / len(values))
    for axes in panels(figure):
        (band,) = bands(axes)
        outline = band.get_paths()[0].vertices
        for x, mean in curve(axes, "a").items():
            there = outline[outline[:, 0] == x, 1]
            assert there.min() < mean < there.max()


def test_lpips_has_a_panel_only_where_it_was_measured():
    def headings(**given):
        figure = plots.draw_ratio_curves({"a": scores(**given)})
        return [axes.get_ylabel().split()[0].strip(",") for axes in panels(figure)]

    assert headings() == ["PSNR", "SSIM", "L1"]
    assert headings(lpips=0.2) == ["PSNR", "SSIM", "L1", "LPIPS"]
    figure = plots.draw_ratio_curves({"a": scores(lpips=0.2)})
    assert ["↑" in a.get_ylabel() for a in panels(figure)] == [True, True, False, False]


def test_one_photo_has_no_band_and_a_perfect_result_no_point():
    given = scores(photos=1)
    given[0] = Score("a", "0.png", "m", BINS[0], 4.0, math.inf, 1.0, 0.0)
    axes = panels(plots.draw_ratio_curves({"a": given}))[0]
    assert not bands(axes) and list(curve(axes, "a")) == [1, 2]


def test_legend_names_every_system_once_under_its_family(tmp_path):
    labels = [row.label for row in paper_tables()[1].rows]
    labels += [
        "Telea→bicubic",
        "DEAR (best.safetensors)",
        "DEAR, trained at scales 1 to 4",
    ]
    figure = plots.draw_ratio_curves({x: scores(x, 2) for x in labels}, ["2 photos"])
    (legend,) = figure.legends
    named = [text.get_text() for text in legend.get_texts() if text.get_text()]
    families = by_family(labels)
    assert len(families) == 6 and sorted(named) == sorted([*labels, *families])
    for family, systems in families.items():
        at = named.index(family)
        assert named[at + 1 : at + 1 + len(systems)] == systems
    plots.save(tmp_path / "many.png", figure)
    width, height = figure.get_size_inches() * figure.dpi
    box = legend.get_window_extent()
    assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
    assert not any(box.overlaps(axes.get_tightbbox()) for axes in panels(figure))


def test_the_same_numbers_give_the_same_bytes_whatever_the_users_settings(tmp_path):
    import matplotlib

    plots.save(tmp_path / "a.png", plots.draw_ratio_curves({"a": scores()}))
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red"}):
        plots.save(tmp_path / "b.png", plots.draw_ratio_curves({"a": scores()}))
    first, second = ((tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    assert first == second and first.startswith(b"\x89PNG")


def test_no_scores_and_several_scales_are_refused():
    with pytest.raises(ValueError, match="no scores"):
        plots.draw_ratio_curves({"a": []})
    with pytest.raises(ValueError):
        other = Score("a", "9.png", "m", BINS[0], 2.0, 1.0, 1.0, 1.0)
        plots.draw_ratio_curves({"a": [*scores(), other]})


def test_a_table_of_which_nothing_was_measured_still_shows_the_paper():
    table = paper_tables()[3]
    figure = plots.draw_scale_curves(Filled(table, {}, (), {}, {}, ()))
    left, right = panels(figure)[:2]
    assert len(left.lines) == 3 and not right.lines and "no numbers" in texts(figure)


# Runs


def draw_run(workdir):
    return run_plots.draw_run(workdir, read_metrics(workdir))


def report(step, **values):
    usual = {"loss": 1 / step, "query_l1": 0.8 / step, "reconstruction_l1": 0.2 / step}
    usual |= {"learning_rate": 1e-3, "gradient_norm": 0.1, "images_per_second": 1600.0}
    return {"step": step, "kind": "train", **usual, **values}


def score(step, psnr):
    return {"step": step, "kind": "evaluate", "psnr": psnr, "ssim": 0.5}


def panels_runs(figure):
    return {
        axes.get_title(loc="left"): axes
        for axes in figure.axes
        if axes.get_title(loc="left")
    }


def write(workdir, reports):
    workdir.mkdir(exist_ok=True)
    text = "".join(json.dumps(report) + "\n" for report in reports)
    (workdir / "metrics.jsonl").write_text(text)


def test_a_run_is_drawn_in_its_folder_and_always_alike(tmp_path):
    assert draw_run(tmp_path) is None
    write(tmp_path, [])
    assert draw_run(tmp_path) is None and not (tmp_path / "curves.png").exists()
    write(tmp_path, [report(step) for step in range(1, 60)] + [score(0, 20.0)])
    assert draw_run(tmp_path) == tmp_path / "curves.png"
    first = (tmp_path / "curves.png").read_bytes()
    draw_run(tmp_path)
    assert (tmp_path / "curves.png").read_bytes() == first
    assert Image.open(tmp_path / "curves.png").width == 1600


@pytest.mark.parametrize(
    "reports",
    [
        [report(2)],
        [score(0, 20.0)],
        [report(2, loss="nan", skipped=2.0)],
        [report(step, loss=0.0, learning_rate=0.0) for step in range(1, 50)],
        [{"step": 1, "kind": "train"}],
        [{"step": 0, "kind": "other"}],
        [report(step, loss=1e9 ** (step / 300)) for step in range(1, 300)],
    ],
)
def test_any_run_can_be_drawn(reports, tmp_path, monkeypatch):
    monkeypatch.setattr(plots, "RESOLUTION", 40)
    write(tmp_path, reports)
    assert draw_run(tmp_path).stat().st_size > 1000


def test_every_panel_holds_what_was_told():
    reports = [report(step) for step in range(1, 11)] + [score(5, 20.0), score(10, 22)]
    found = panels_runs(draw_reports(reports, "run"))
    assert list(found) == [
        "loss",
        "PSNR of held-out photos, dB",
        "parts of the loss",
        "norm of the gradient",
        "learning rate",
        "images/s",
    ]
    (line,) = found["loss"].lines
    np.testing.assert_array_equal(line.get_xdata(), np.arange(1, 11))
    np.testing.assert_allclose(line.get_ydata(), 1 / np.arange(1, 11))
    scores = found["PSNR of held-out photos, dB"]
    assert scores.lines[0].get_xydata().tolist() == [[5, 20], [10, 22]]
    assert "best: 22.00" in [text.get_text() for text in scores.get_legend().texts]
    parts = found["parts of the loss"].get_legend().texts
    assert [text.get_text() for text in parts] == ["query L1", "reconstruction L1"]


def test_parts_of_the_loss_are_no_rates_no_memory_and_no_discriminators():
    theirs = {"discriminator_loss": 0.5, "discriminator_r1": 9.0}
    extra = {"step_seconds": 1.0, "data_wait_share": 0.1, "host_memory_gib": 1.0}
    extra |= {"tflops_per_second": 1.0, "peak_share": 0.1, "device_memory_gib": 1.0}
    reports = [report(step, **theirs, **extra) for step in (1, 2)]
    found = panels_runs(draw_reports(reports, "run"))
    shown = found["discriminator"].get_legend().texts
    assert [text.get_text() for text in shown] == ["loss", "r1"]
    assert len(found["parts of the loss"].lines) == 2


def test_a_loss_that_falls_far_has_a_logarithmic_axis():
    near = [report(step, loss=1.0 + step / 100) for step in range(1, 30)]
    for reports, scale in ((near, "linear"), ([*near, report(31, loss=0.01)], "log")):
        assert panels_runs(draw_reports(reports, "run"))["loss"].get_yscale() == scale


def test_skipped_steps_are_marked_and_counted():
    reports = [report(step, skipped=3.0 * (step == 7)) for step in range(1, 10)]
    axes = panels_runs(draw_reports(reports, "run"))["loss"]
    marks = axes.lines[-1]
    assert marks.get_xdata().tolist() == [7] and marks.get_label() == "3 steps skipped"
    assert len(axes.lines) == 2


def test_many_reports_are_drawn_faint_under_their_running_mean():
    rng = np.random.default_rng(0)
    reports = [report(s, loss=2 + rng.normal()) for s in range(1, 1001)]
    told, mean = panels_runs(draw_reports(reports, "run"))["loss"].lines
    assert told.get_alpha() < 0.5 and np.std(told.get_ydata()) > 0.9
    assert np.std(mean.get_ydata()[30:-30]) < 0.3


def test_a_running_mean_keeps_lines_straight_and_ends_in_place():
    line = 3 + 0.5 * np.arange(50)
    np.testing.assert_allclose(running_mean(line, 7), line)
    values = np.random.default_rng(0).normal(size=50)
    expected = [values[max(0, i - 2) : i + 3].mean() for i in range(2, 48)]
    np.testing.assert_allclose(running_mean(values, 2)[2:-2], expected)


def test_the_head_tells_the_run_in_a_few_numbers():
    reports = [report(s, peak_share=0.1, data_wait_share=0.02) for s in range(1, 9)]
    told = list(facts([*reports, score(4, 21.5), score(8, 21.25)]))
    assert told == [
        "8 steps",
        "loss 0.125 at the end",
        "best PSNR 21.50 dB, step 4",
        "1,600 images/s",
        "10 % of the devices' peak",
        "2 % of the time waiting for data",
    ]


def test_a_picture_that_cannot_be_written_is_told(tmp_path):
    write(tmp_path, [report(1)])
    (tmp_path / "curves.png").mkdir()
    with pytest.raises(InputError, match="curves.png: cannot be written"):
        draw_run(tmp_path)
