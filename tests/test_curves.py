"""Laws of the curves: what is drawn is what was measured."""

import itertools
import math

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.collections import PolyCollection

from dear_jax.evaluation import curves
from dear_jax.evaluation.estimates import Estimate
from dear_jax.evaluation.looks import looks
from dear_jax.evaluation.scores import Score
from dear_jax.evaluation.table_filled import Filled
from dear_jax.evaluation.table_paper import Row, paper_tables

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
    return Filled(table, cells, tuple(extra), (), **given)


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
    figure = curves.draw_scale_curves(drawn)
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
    figure = curves.draw_scale_curves(filled())
    headings = [axes.get_ylabel() for axes in panels(figure)]
    assert len(headings) == 4 and all("↑ better" in text for text in headings)
    assert headings[0].startswith("PSNR, dB") and headings[2].startswith("SSIM")
    titles = [axes.get_title() for axes in panels(figure)]
    assert "paper" in titles[0] and "other photos" in titles[1]
    assert "2 photos of bundled" in texts(figure)
    own = curves.draw_scale_curves(filled(paper_photos=("CelebAHQ",)))
    assert "other photos" not in texts(own)


def test_a_system_has_one_look_in_both_panels_and_no_two_share_it():
    extra = (Row("Telea→bicubic", "telea+bicubic"), Row("mystery", "mystery"))
    figure = curves.draw_scale_curves(filled(extra))

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


def test_all_systems_of_the_paper_look_different():
    labels = [row.label for row in paper_tables()[1].rows]
    options = [look.options for look in looks(labels).values()]
    kinds = {
        (o["color"], str(o["linestyle"]), o["marker"], o["markerfacecolor"])
        for o in options
    }
    assert len(kinds) == len(labels) >= 18


def test_systems_without_a_colour_of_their_own_take_free_ones():
    labels = [row.label for row in paper_tables()[5].rows]
    labels += ["classical", "dear-lite", *(f"another {i}" for i in range(8))]
    options = [look.options for look in looks(labels).values()]
    kinds = {(o["color"], str(o["linestyle"]), o["marker"]) for o in options}
    assert len(kinds) == len(labels)
    colours = [o["color"] for o in options]
    assert colours.count(looks(labels)["dear-lite"].options["color"]) == 1


def test_looks_go_by_the_way_not_by_how_it_is_written():
    found = looks(["MISF→BI", "misf+bilinear", "LTE", "lte-fast", "LTE (untrained)"])
    assert found["MISF→BI"] == found["misf+bilinear"]
    assert found["LTE"] == found["lte-fast"] == found["LTE (untrained)"]
    assert found["MISF→BI"].family != found["LTE"].family


def test_bands_hold_the_means():
    figure = curves.draw_ratio_curves({"a": scores(photos=6)})
    for axes in panels(figure):
        (band,) = bands(axes)
        outline = band.get_paths()[0].vertices
        for x, mean in curve(axes, "a").items():
            there = outline[outline[:, 0] == x, 1]
            assert there.min() < mean < there.max()


def test_means_are_those_of_the_scores_bin_by_bin():
    given = scores(photos=3)
    figure = curves.draw_ratio_curves({"a": given})
    drawn = curve(panels(figure)[0], "a")
    for place, name in enumerate(BINS):
        values = [score.psnr for score in given if score.bin == name]
        assert drawn[place] == pytest.approx(math.fsum(values) / len(values))


def test_lpips_has_a_panel_only_where_it_was_measured():
    def headings(**given):
        figure = curves.draw_ratio_curves({"a": scores(**given)})
        return [axes.get_ylabel().split()[0].strip(",") for axes in panels(figure)]

    assert headings() == ["PSNR", "SSIM", "L1"]
    assert headings(lpips=0.2) == ["PSNR", "SSIM", "L1", "LPIPS"]
    figure = curves.draw_ratio_curves({"a": scores(lpips=0.2)})
    assert ["↑" in a.get_ylabel() for a in panels(figure)] == [True, True, False, False]


def test_one_photo_has_no_band_and_a_perfect_result_no_point():
    given = scores(photos=1)
    given[0] = Score("a", "0.png", "m", BINS[0], 4.0, math.inf, 1.0, 0.0)
    axes = panels(curves.draw_ratio_curves({"a": given}))[0]
    assert not bands(axes) and list(curve(axes, "a")) == [1, 2]


def test_legend_names_every_system_once_under_its_family(tmp_path):
    labels = [row.label for row in paper_tables()[1].rows]
    labels += [
        "Telea→bicubic",
        "DEAR (best.safetensors)",
        "DEAR, trained at scales 1 to 4",
    ]
    figure = curves.draw_ratio_curves({x: scores(x, 2) for x in labels}, ["2 photos"])
    legends = figure.findobj(lambda o: type(o).__name__ == "Legend")
    named = [text.get_text() for legend in legends for text in legend.get_texts()]
    assert sorted(named) == sorted(labels)
    assert len({legend.get_title().get_text() for legend in legends}) == 6
    curves.save(tmp_path / "many.png", figure)
    width, height = figure.get_size_inches() * figure.dpi
    boxes = [legend.get_window_extent() for legend in legends]
    for box in boxes:
        assert box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height
    assert not any(a.overlaps(b) for a, b in itertools.combinations(boxes, 2))


def test_the_same_numbers_give_the_same_bytes_whatever_the_users_settings(tmp_path):
    import matplotlib

    curves.save(tmp_path / "a.png", curves.draw_ratio_curves({"a": scores()}))
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "red"}):
        curves.save(tmp_path / "b.png", curves.draw_ratio_curves({"a": scores()}))
    first, second = ((tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
    assert first == second and first.startswith(b"\x89PNG")


def test_no_scores_and_several_scales_are_refused():
    with pytest.raises(ValueError, match="no scores"):
        curves.draw_ratio_curves({"a": []})
    with pytest.raises(ValueError):
        other = Score("a", "9.png", "m", BINS[0], 2.0, 1.0, 1.0, 1.0)
        curves.draw_ratio_curves({"a": [*scores(), other]})


def test_a_table_of_which_nothing_was_measured_still_shows_the_paper():
    table = paper_tables()[3]
    figure = curves.draw_scale_curves(Filled(table, {}, (), (), {}, ()))
    left, right = panels(figure)[:2]
    assert len(left.lines) == 3 and not right.lines and "no numbers" in texts(figure)
