"""Laws of a run's curves: what is drawn is what was told."""

import json

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from PIL import Image

from dear_jax.errors import InputError
from dear_jax.evaluation import curves
from dear_jax.evaluation.run import draw_reports, draw_run
from dear_jax.evaluation.series import facts, running_mean


def report(step, **values):
    usual = {"loss": 1 / step, "query_l1": 0.8 / step, "reconstruction_l1": 0.2 / step}
    usual |= {"learning_rate": 1e-3, "gradient_norm": 0.1, "images_per_second": 1600.0}
    return {"step": step, "kind": "train", **usual, **values}


def score(step, psnr):
    return {"step": step, "kind": "evaluate", "psnr": psnr, "ssim": 0.5}


def panels(figure):
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
    write(tmp_path, [report(step) for step in range(1, 60)] + [score(0, 20.0)])
    assert draw_run(tmp_path) == tmp_path / "curves.png"
    first = (tmp_path / "curves.png").read_bytes()
    draw_run(tmp_path)
    assert (tmp_path / "curves.png").read_bytes() == first
    assert Image.open(tmp_path / "curves.png").width == 1600


def test_a_run_that_told_nothing_is_not_drawn(tmp_path):
    assert draw_run(tmp_path) is None
    write(tmp_path, [])
    assert draw_run(tmp_path) is None and not (tmp_path / "curves.png").exists()


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
    monkeypatch.setattr(curves, "RESOLUTION", 40)
    write(tmp_path, reports)
    assert draw_run(tmp_path).stat().st_size > 1000


def test_every_panel_holds_what_was_told():
    reports = [report(step) for step in range(1, 11)] + [score(5, 20.0), score(10, 22)]
    found = panels(draw_reports(reports, "run"))
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


def test_parts_of_a_discriminator_have_a_panel_of_their_own():
    theirs = {"discriminator_loss": 0.5, "discriminator_r1": 9.0}
    found = panels(draw_reports([report(1, **theirs), report(2, **theirs)], "run"))
    shown = found["discriminator"].get_legend().texts
    assert [text.get_text() for text in shown] == ["loss", "r1"]
    assert len(found["parts of the loss"].lines) == 2


def test_rates_and_memory_are_no_parts_of_the_loss():
    extra = {"step_seconds": 1.0, "data_wait_share": 0.1, "host_memory_gib": 1.0}
    extra |= {"tflops_per_second": 1.0, "peak_share": 0.1, "device_memory_gib": 1.0}
    drawn = panels(draw_reports([report(1, **extra), report(2, **extra)], "run"))
    assert len(drawn["parts of the loss"].lines) == 2


def test_a_loss_that_falls_far_has_a_logarithmic_axis():
    near = [report(step, loss=1.0 + step / 100) for step in range(1, 30)]
    for reports, scale in ((near, "linear"), ([*near, report(31, loss=0.01)], "log")):
        assert panels(draw_reports(reports, "run"))["loss"].get_yscale() == scale


def test_skipped_steps_are_marked_and_counted():
    reports = [report(step, skipped=3.0 * (step == 7)) for step in range(1, 10)]
    axes = panels(draw_reports(reports, "run"))["loss"]
    marks = axes.lines[-1]
    assert marks.get_xdata().tolist() == [7] and marks.get_label() == "3 steps skipped"
    assert len(axes.lines) == 2


def test_many_reports_are_drawn_faint_under_their_running_mean():
    rng = np.random.default_rng(0)
    reports = [report(s, loss=2 + rng.normal()) for s in range(1, 1001)]
    told, mean = panels(draw_reports(reports, "run"))["loss"].lines
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
