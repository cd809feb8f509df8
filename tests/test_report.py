"""run_eval.py --scale: which systems are measured, and the table of their scores."""

import gc
import json
import os
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from eval_folders import command_on, write_photos, write_random_weights
from tiny import SMALLEST, TINY

import run_eval
from dear_jax.evaluation import protocol, report
from dear_jax.evaluation.evaluate import evaluate
from dear_jax.evaluation.score_table import (
    UNTRAINED,
    WIDTH,
    format_table,
    write_json,
)
from dear_jax.evaluation.scores import METRICS, Score
from dear_jax.inference.loading import open_system
from dear_jax.models import registry
from dear_jax.models.registry import VARIANTS

ROOT = Path(__file__).parents[1]


@pytest.fixture
def command(tmp_path):
    return command_on(tmp_path)


@pytest.fixture
def rows(tmp_path):
    """A function that reads the scores of a scale."""

    def read(scale):
        path = tmp_path / "out" / f"scale-{scale}.json"
        return [Score.from_row(row) for row in json.loads(path.read_text())["rows"]]

    return read


def systems(scores):
    return list(dict.fromkeys(score.system for score in scores))


def called(system, name):
    """A system that says its name is another."""
    system.name = name
    system.fingerprint = lambda: name
    return system


def test_all_are_the_baselines_beside_ours_of_which_one_is_open_at_a_time(
    command, rows, monkeypatch
):
    opened = weakref.WeakSet()

    def open_one(name, weights, scale):
        gc.collect()
        assert not opened, "the one before is still there"
        system = open_system(name, weights, scale)
        opened.add(system)
        return system

    small = {**VARIANTS, "misf": {"architecture": "misf", **SMALLEST["misf"]}}
    small["dear"] = {"architecture": "dear", **TINY["dear"]}
    monkeypatch.setattr(registry, "VARIANTS", small)
    monkeypatch.setattr(report, "DEFAULT", "bicubic")
    monkeypatch.setattr(report, "BASELINES", ("bilinear+misf",))
    monkeypatch.setattr(report, "open_system", open_one)
    assert command("--model", "all", "--limit", "1") == 0
    untrained = ["bilinear+misf (untrained)", "dear (untrained)"]
    assert systems(rows(4)) == ["classical", "bicubic", *untrained]


def test_a_scale_without_weights_is_dashes_if_another_has_them(
    command, tmp_path, capsys
):
    mine = tmp_path / "w" / "mine.safetensors"
    write_random_weights(mine, "edsr", **SMALLEST["edsr"], scale=3)
    flags = ["--model", "edsr", "--weights", str(tmp_path / "w"), "--limit", "1"]
    assert command(*flags, "--scale", "2,3") == 0
    table = capsys.readouterr().out
    assert "edsr: edsr has weights for x3 only" in table
    assert "weights mine.safetensors" in table
    assert command(*flags, "--scale", "2") == 2
    assert "edsr has weights for x3 only" in capsys.readouterr().err


def test_the_command_writes_table_scores_and_sheets(command, rows, tmp_path, capsys):
    out, folders = tmp_path / "out", (tmp_path / "photos", tmp_path / "masks")
    flags = ["--model", "classical", "--scale", "3,1.5", "--limit", "2", "--ends", "1"]
    assert command(*flags) == 0
    shown = capsys.readouterr().out
    assert (out / "table.txt").read_text() in shown and str(
        out / "scale-3.png"
    ) in shown
    names = {
        f"scale-{scale}.{end}" for scale in ("1.5", "3") for end in ("json", "png")
    }
    # The row to beat has no sheets of its own worst results.
    assert {p.name for p in out.iterdir()} == names | {
        "table.txt",
        "scores",
        "pictures",
    }
    again = evaluate(open_system("classical"), protocol.samples(*folders, 3, 2))
    for found, expected in zip(rows(3), again, strict=True):
        assert (found.photo, found.bin) == (expected.photo, expected.bin)
        assert found.psnr == pytest.approx(expected.psnr, rel=1e-5)


def test_the_ends_are_drawn_for_every_model_beside_the_classical_row(command, tmp_path):
    assert command("--model", "bicubic", "--scale", "2", "--ends", "2") == 0
    drawn = {p.name for p in (tmp_path / "out").glob("*.png")}
    ends = ("", "-bicubic-worst", "-bicubic-median")
    assert drawn == {f"scale-2{end}.png" for end in ends}


def test_bad_input_ends_in_one_line_and_status_2(tmp_path):
    words = [sys.executable, ROOT / "run_eval.py", "--data", "no/such"]
    done = subprocess.run(
        [*words, "--out", tmp_path / "out"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 2 and not done.stdout
    assert done.stderr.startswith("error: no/such: no such folder")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--scale", "many"], "give numbers"),
        (["--scale", "0"], "at least 1"),
        (["--limit", "0"], "at least 1"),
        (["--ends", "-1"], "from 0 on"),
        (["--out", __file__], "cannot be a folder"),
        # Named systems are never run untrained.
        (["--model", "misf+bicubic", "--weights", "none"], "no weights of misf"),
        (["--table", "1", "--ends", "2"], "goes with --scale"),
        (["--table", "7"], "tables 1 to 6"),
        (["--table", "1", "--setup", "no.toml"], "no.toml: no such setup"),
        (["--table", "1", "--model", "lte"], "--model goes with --scale"),
        (["--scale", "4", "--setup", "x"], "goes with --table"),
    ],
)
def test_bad_flags_are_named_with_a_remedy(command, capsys, flags, words):
    assert command(*flags) == 2
    assert words in capsys.readouterr().err


def test_masks_of_a_table_go_with_its_photos(tmp_path, capsys):
    flags = ["--table", "1", "--masks", "none", "--out", str(tmp_path)]
    assert run_eval.main(flags) == 2
    assert "--masks none: goes with --data" in capsys.readouterr().err


def test_models_that_call_themselves_the_same_are_called_as_asked_for(
    command, rows, monkeypatch
):
    own, loaded = {"one": "dear", "two": "dear", "x/one": "one"}, []

    def load(name, weights):
        loaded.append(name)
        system = called(open_system("classical"), name)
        system.name = own.get(name, name)
        return system

    monkeypatch.setattr(report, "load", load)
    assert command("--model", "one,two,x/one", "--limit", "1", "--scale", "2,4") == 0
    assert loaded == ["classical", *own]  # Each once for all scales.
    assert systems(rows(4)) == ["classical", *own] and len(rows(4)) == 8


def test_a_label_means_the_same_weights_at_every_scale(command, rows, tmp_path):
    files = [tmp_path / f"w{scale}" / "edsr.safetensors" for scale in (2, 3)]
    for scale, file in zip((2, 3), files, strict=True):
        write_random_weights(file, "edsr", **SMALLEST["edsr"], scale=scale)
    flags = ["--limit", "1", "--model"]
    assert command(*flags, f"{files[0]},{files[1]}", "--scale", "2,3") == 0
    for scale, file in zip((2, 3), files, strict=True):
        assert systems(rows(scale)) == ["classical", str(file)]
    second = (tmp_path / "out" / "table.txt").read_text().split("\nx3:")[1]
    dashes = [line for line in second.splitlines() if line.endswith("| -")]
    assert len(dashes) == 4 and all(line.startswith(str(files[0])) for line in dashes)
    # By its stem alone where that is clear.
    flags = ["--weights", files[0].parent, "--scale", "2", *flags]
    assert command(*flags, files[0]) == 0
    assert systems(rows(2)) == ["classical", "edsr"]
    assert command(*flags, f"{files[0]},edsr") == 0
    assert set(systems(rows(2))) == {"classical", "edsr", str(files[0])}


@pytest.mark.parametrize(
    "what, file", [("--scale", "scale-4.json"), ("--table", "table-4.json")]
)
def test_names_that_are_not_utf8_are_measured_and_said(
    what, file, command, tmp_path, capsys
):
    strange = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        write_photos(strange, [os.fsdecode(b"caf\xe9")])
    except OSError:
        pytest.skip("this file system has names in UTF-8 only")
    (tmp_path / "setup.toml").write_text('[systems]\nDEAR = "classical"\n')
    more = {"--scale": ["--model", "classical"]}
    more["--table"] = ["--setup", tmp_path / "setup.toml"]
    flags = [what, "4", "--data", strange, "--out", strange / "out", *more[what]]
    flags += ["--weights", tmp_path / "none"]
    assert command(*flags) == 0
    assert r"caf\udce9" in capsys.readouterr().out
    found = json.loads((strange / "out" / file).read_text())
    names = {row["photo"] for row in found.get("rows") or found["images"]}
    assert set(map(os.fsencode, names)) == {b"caf\xe9.png"}


def test_a_stopped_command_goes_on_and_ends_the_same(
    command, tmp_path, monkeypatch, capsys
):
    def write_then_stop(path, *rest):
        if path.name == "scale-3.json":
            raise KeyboardInterrupt
        write_json(path, *rest)

    flags = ["--model", "classical", "--scale", "2,3", "--limit", "1"]
    with monkeypatch.context() as patch:
        patch.setattr(report, "write_json", write_then_stop)
        assert command(*flags) == 130
    assert "the same command goes on" in capsys.readouterr().err
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {"scale-2.json", "scale-2.png", "scores", "pictures"}
    assert command(*flags) == 0
    assert "every result was there already" in capsys.readouterr().out
    assert (tmp_path / "out" / "table.txt").exists()


# Tables of scores


PASTED_SCORES = {"psnr_pasted": 33.25, "ssim_pasted": 0.9, "l1_pasted": 0.01}


def score(system="classical", scale=4.0, bin_name="01-10", psnr=20.0, i=0, **rest):
    name = f"{i}.png"
    return Score(system, name, "m.png", bin_name, scale, psnr, 0.5, 0.1, 0.3, **rest)


def both(gain=1.5, photos=6):
    """Two systems on some photos, two bins each; the second is better by `gain`."""
    rng = np.random.default_rng(0)
    scores = []
    for i in range(photos):
        for name in ("01-10", "10-20"):
            psnr = float(rng.normal(20, 2))
            scores.append(score(psnr=psnr, bin_name=name, i=i))
            scores.append(score("ours", psnr=psnr + gain, bin_name=name, i=i))
    return scores


def rows_of(table, system):
    return [line for line in table.splitlines() if line.startswith(system + " ")]


def test_pooled_is_the_plain_mean_over_all_results():
    values = {"01-10": [10.0, 20.0, 30.0], "10-20": [60.0]}
    scores = [
        score(bin_name=name, psnr=psnr, i=i)
        for name, found in values.items()
        for i, psnr in enumerate(found)
    ]
    row = rows_of(format_table(scores), "classical")[0].split()
    assert row[1:3] == ["20.00", "60.00"] and row[4].startswith("30.00")


def test_columns_are_as_wide_as_the_names_of_their_bins():
    bins = ("random_thick_256", "thin")
    scores = [score(bin_name=name, i=i) for i in range(2) for name in bins]
    lines = format_table(scores).splitlines()
    head, *rows = [line for line in lines if "|" in line]
    ends = [head.index(name) + len(name) for name in bins]
    for row in (head, *rows):
        assert row.index("|") == head.index("|")
        assert all(row[end - 1] != " " == row[end] for end in ends)
    usual = format_table([score()]).splitlines()
    assert f"{'classical':<14}{'20.00':>9}  | 20.00" in usual


def test_table_states_protocol_scales_and_differences():
    scores = [score(), score("ours", psnr=21.5), score(scale=6.0)]
    table = format_table(scores, {"photos": "mine"})
    assert table.startswith("protocol v1:")
    assert "photos: mine" in table and "\nx4:" in table and "\nx6:" in table
    assert table.count("+1.50") == 2  # its bin, and pooled
    assert max(map(len, table.splitlines())) <= WIDTH


def test_pooled_means_have_an_interval_and_differences_a_test():
    table = format_table(both())
    assert "±" in rows_of(table, "classical")[0]
    difference = next(x for x in table.splitlines() if "vs classical" in x)
    # The same on every photo: certain, and as unlikely as six signs can be.
    assert difference.endswith("+1.50±0.00  p 0.031")


def test_a_single_photo_has_neither_interval_nor_certainty():
    table = format_table([score(), score("ours", psnr=21.5)])
    assert "±0" not in table and "p 1.000" in table and "nan" not in table


def test_every_metric_has_a_block_lpips_only_if_measured():
    assert format_table(both()).count("is better)") == len(METRICS)
    without = [Score("a", "p", "m", "01-10", 4.0, 20.0, 0.5, 0.1)]
    assert "LPIPS (" not in format_table(without)


def test_table_shows_pasted_numbers_at_scale_1():
    table = format_table([score(scale=1.0, **PASTED_SCORES)])
    before, after = table.split("known pixels pasted back:")
    assert "33.25" in after and "33.25" not in before


def test_perfect_results_are_shown_and_their_difference_is_a_dash():
    perfect = [score(psnr=float("inf"), i=i) for i in range(3)]
    ours = [score("ours", psnr=float("inf"), i=i) for i in range(2)]
    table = format_table([*perfect, *ours, score("ours", i=2)])
    assert "inf" in table and "nan" not in table


def test_a_system_without_scores_has_a_row_of_dashes_and_the_reason():
    scores = [score(), score("misf+elan"), score("elan" + UNTRAINED)]
    notes = {4.0: {"edsr": "has weights for x2 only", "misf+elan": "trained at 64"}}
    table = format_table(scores, notes=notes)
    rows = [row.split() for row in rows_of(table, "edsr")]
    assert rows == [["edsr", "-", "|", "-"]] * 4
    assert "edsr: has weights for x2 only" in table
    assert "misf+elan: trained at 64" in table
    assert "it is no result" in table
    # Only trained systems are compared with the classical row.
    assert table.count("vs classical") == 4


def test_json_has_every_score_also_infinite_ones(tmp_path):
    scores = [score(psnr=float("inf"), scale=1.0, **PASTED_SCORES), score("b", 2.5)]
    path = tmp_path / "scale-1.json"
    path.write_text("old")
    write_json(path, scores, {"masks": "mine"})
    found = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert [Score.from_row(row) for row in found["rows"]] == scores
    assert found["estimates"]["2.5"]["b"]["pooled"]["ssim"][0] == 0.5
    assert [p.name for p in tmp_path.iterdir()] == ["scale-1.json"]
