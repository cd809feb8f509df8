"""The command run_eval.py: reports by scale, and the tables of the paper."""

import csv
import gc
import json
import os
import shutil
import subprocess
import sys
import weakref
from pathlib import Path

import numpy as np
import pytest
from eval_folders import (
    BINS,
    command_on,
    write_masks,
    write_photos,
    write_random_weights,
)
from tiny import SMALLEST, TINY

import run_eval
from dear_jax import bundled
from dear_jax.errors import InputError
from dear_jax.evaluation import figures, plots, protocol, report, score_table
from dear_jax.evaluation.evaluate import evaluate
from dear_jax.evaluation.scores import METRICS, PASTED, Score
from dear_jax.evaluation.tables import paper_tables
from dear_jax.inference import loading
from dear_jax.inference.loading import open_system
from dear_jax.models import registry
from dear_jax.models.registry import VARIANTS

ROOT = Path(__file__).parents[1]


@pytest.fixture
def command(tmp_path):
    return command_on(tmp_path)


@pytest.fixture
def folders(tmp_path):
    return write_photos(tmp_path / "photos"), write_masks(tmp_path / "masks")


def _run(*flags):
    command = [sys.executable, str(ROOT / "run_eval.py"), *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def _scores(path):
    return [Score.from_row(row) for row in json.loads(path.read_text())["rows"]]


def test_all_are_the_papers_baselines_beside_ours(command, tmp_path, monkeypatch):
    monkeypatch.setattr(report, "BASELINES", ("telea+edsr", "bilinear+misf"))
    small = {**VARIANTS, "edsr-baseline": {"architecture": "edsr", **SMALLEST["edsr"]}}
    small["misf"] = {"architecture": "misf", **SMALLEST["misf"]}
    small["dear"] = {"architecture": "dear", **TINY["dear"]}
    monkeypatch.setattr(registry, "VARIANTS", small)
    assert command("--model", "all", "--limit", "1") == 0
    rows = _scores(tmp_path / "out" / "scale-4.json")
    assert list(dict.fromkeys(row.system for row in rows)) == [
        "classical",
        "dear-lite",
        "telea+edsr (untrained)",
        "bilinear+misf (untrained)",
        "dear (untrained)",
    ]


def test_of_all_systems_only_one_is_open_at_a_time(command, monkeypatch):
    opened, names = weakref.WeakSet(), []

    def open_one(name, weights, scale):
        gc.collect()
        assert not opened, "the one before is still there"
        system = open_system("classical")
        system.name = name
        system.fingerprint = lambda: name
        opened.add(system)
        names.append(name)
        return system

    monkeypatch.setattr(report, "DEFAULT", "bicubic")
    monkeypatch.setattr(report, "BASELINES", ("lte", "liif"))
    monkeypatch.setattr(report, "open_system", open_one)
    assert command("--model", "all", "--limit", "1", "--scale", "2,4") == 0
    assert set(names) == {"lte", "liif", "dear"}


def test_a_named_system_is_never_run_untrained(command, capsys, tmp_path):
    flags = ["--weights", str(tmp_path / "none"), "--limit", "1"]
    assert command("--model", "misf+bicubic", *flags) == 2
    assert "no weights of misf" in capsys.readouterr().err


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


def test_command_writes_table_json_and_sheet(folders, tmp_path):
    data, masks = folders
    out = tmp_path / "new" / "results"
    flags = ["--data", data, "--masks", masks, "--out", out, "--limit", 2]
    done = _run("--model", "classical", "--scale", "3,1.5", *flags)
    assert done.returncode == 0, done.stderr
    table = (out / "table.txt").read_text()
    assert table in done.stdout and str(out / "scale-3.png") in done.stdout
    names = {"scale-1.5.json", "scale-1.5.png", "scale-3.json", "scale-3.png"}
    others = {"table.txt", "scores", "pictures"}
    assert {p.name for p in out.iterdir()} == names | others
    again = evaluate(open_system("classical"), protocol.samples(data, masks, 3, 2))
    for found, expected in zip(_scores(out / "scale-3.json"), again, strict=True):
        assert (found.photo, found.bin) == (expected.photo, expected.bin)
        assert found.psnr == pytest.approx(expected.psnr, rel=1e-5)


def test_the_ends_are_drawn_for_every_model_beside_the_classical_row(command, tmp_path):
    path = tmp_path / "mine.safetensors"
    write_random_weights(path, "dear-lite", **TINY["dear-lite"])
    assert command("--model", path, "--scale", "2", "--ends", "2") == 0
    drawn = {p.name for p in (tmp_path / "out").glob("*.png")}
    ends = {"scale-2-mine-worst.png", "scale-2-mine-median.png"}
    assert drawn == {"scale-2.png"} | ends


def test_bad_input_ends_in_one_line_and_status_2(folders, tmp_path):
    done = _run("--data", "no/such", "--masks", folders[1], "--out", tmp_path / "out")
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
        (["--table", "1", "--ends", "2"], "goes with --scale"),
        (["--out", __file__], "cannot be a folder"),
    ],
)
def test_bad_flags_are_named_with_a_remedy(command, capsys, flags, words):
    assert command(*flags) == 2
    assert words in capsys.readouterr().err


def test_models_that_call_themselves_the_same_are_called_as_asked_for(
    command, tmp_path, monkeypatch
):
    own, loaded = {"one": "dear", "two": "dear", "x/one": "one"}, []

    def load(name, weights):
        loaded.append(name)
        found = open_system("classical")
        found.name = own.get(name, name)
        found.fingerprint = lambda: name
        return found

    monkeypatch.setattr(report, "load", load)
    assert command("--model", "one,two,x/one", "--limit", "1", "--scale", "2,4") == 0
    assert loaded == ["classical", *own]  # Each once for all scales.
    rows = _scores(tmp_path / "out" / "scale-4.json")
    systems = ["classical", *own]
    assert [row.system for row in rows] == [name for name in systems for _ in range(2)]


def test_a_label_means_the_same_weights_at_every_scale(command, tmp_path):
    files = [tmp_path / f"w{scale}" / "edsr.safetensors" for scale in (2, 3)]
    for scale, file in zip((2, 3), files, strict=True):
        write_random_weights(file, "edsr", **SMALLEST["edsr"], scale=scale)
    flags = ["--limit", "1", "--scale", "2,3", "--model"]
    assert command(*flags, f"{files[0]},{files[1]}") == 0
    for scale, file in zip((2, 3), files, strict=True):
        rows = _scores(tmp_path / "out" / f"scale-{scale}.json")
        assert {row.system for row in rows} == {"classical", str(file)}
    table = (tmp_path / "out" / "table.txt").read_text()
    second = table.split("\nx3:")[1]
    dashes = [line for line in second.splitlines() if line.endswith("| -")]
    assert len(dashes) == 4 and all(line.startswith(str(files[0])) for line in dashes)


def test_a_file_is_called_by_its_stem_where_that_is_clear(command, tmp_path):
    file = tmp_path / "w" / "edsr.safetensors"
    write_random_weights(file, "edsr", **SMALLEST["edsr"], scale=2)
    out = tmp_path / "out" / "scale-2.json"
    flags = ["--limit", "1", "--scale", "2", "--weights", str(file.parent)]
    assert command(*flags, "--model", str(file)) == 0
    assert {row.system for row in _scores(out)} == {"classical", "edsr"}
    assert command(*flags, "--model", f"{file},edsr") == 0
    assert {row.system for row in _scores(out)} == {"classical", "edsr", str(file)}


def test_names_that_are_not_utf8_are_measured_and_said(command, tmp_path, capsys):
    strange = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        write_photos(strange, [os.fsdecode(b"caf\xe9")])
    except OSError:
        pytest.skip("this file system has names in UTF-8 only")
    flags = ["--data", strange, "--out", strange / "out", "--model", "classical"]
    assert command(*flags) == 0
    assert r"caf\udce9" in capsys.readouterr().out
    rows = _scores(strange / "out" / "scale-4.json")
    assert {os.fsencode(row.photo) for row in rows} == {b"caf\xe9.png"}


def test_a_stopped_command_goes_on_and_ends_the_same(
    command, tmp_path, monkeypatch, capsys
):
    write = report.write_json

    def write_then_stop(path, *rest):
        if path.name == "scale-3.json":
            raise KeyboardInterrupt
        write(path, *rest)

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


# Report


PASTED_SCORES = {"psnr_pasted": 33.25, "ssim_pasted": 0.9, "l1_pasted": 0.01}


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
    assert max(map(len, table.splitlines())) <= score_table.WIDTH


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
    table = report.format_table([_score(scale=1.0, **PASTED_SCORES)])
    before, after = table.split("known pixels pasted back:")
    assert "33.25" in after and "33.25" not in before


def test_perfect_results_are_shown_and_their_difference_is_a_dash():
    perfect = [_score(psnr=float("inf"), i=i) for i in range(3)]
    ours = [_score("ours", psnr=float("inf"), i=i) for i in range(2)]
    table = report.format_table([*perfect, *ours, _score("ours", i=2)])
    assert "inf" in table and "nan" not in table


def test_a_system_without_scores_has_a_row_of_dashes_and_the_reason():
    scores = [_score(), _score("misf+elan"), _score("elan" + score_table.UNTRAINED)]
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
    scores = [_score(psnr=float("inf"), scale=1.0, **PASTED_SCORES), _score("b", 2.5)]
    path = tmp_path / "scale-1.json"
    path.write_text("old")
    report.write_json(path, scores, {"masks": "mine"})
    found = json.loads(path.read_text(), parse_constant=pytest.fail)
    assert [Score.from_row(row) for row in found["rows"]] == scores
    assert found["estimates"]["2.5"]["b"]["pooled"]["ssim"][0] == 0.5
    assert [p.name for p in tmp_path.iterdir()] == ["scale-1.json"]


# Tables


SETUP = (
    '[systems]\nDEAR = "classical"\n"+PIM" = "classical"\n[extra]\nmine = "bicubic"\n'
)


@pytest.fixture
def table(tmp_path):
    """Fills a table from a setup and the small folders; returns the status."""
    command = command_on(tmp_path)

    def fill(number, *flags, setup=SETUP):
        (tmp_path / "setup.toml").write_text(setup)
        named = ["--setup", tmp_path / "setup.toml", "--weights", tmp_path / "weights"]
        return command("--table", number, *named, *flags)

    return fill


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


@pytest.fixture
def seen(monkeypatch):
    """The arguments of what was drawn, by the name of the function that drew it."""
    calls = {}

    def watch(module, name):
        real = getattr(module, name)

        def wrapped(*arguments):
            calls.setdefault(name, []).append(arguments)
            return real(*arguments)

        monkeypatch.setattr(module, name, wrapped)

    watch(figures, "comparison_sheet")
    watch(plots, "draw_ratio_curves")
    watch(figures, "stages_sheet")
    return calls


def _json(out, number):
    return json.loads((out / f"table-{number}.json").read_text())


def _csv(out, number):
    with (out / f"table-{number}.csv").open() as file:
        return list(csv.DictReader(file))


def _restored(sample, name="classical"):
    return open_system(name)(sample.image, sample.mask, size=sample.truth.shape[:2])


def _psnr(output, truth):
    error = (output.astype(float) - truth.astype(float)) / 255
    return -10 * np.log10(np.mean(error**2))


@pytest.mark.parametrize("number", paper_tables())
def test_every_table_is_filled_with_what_there_is(number, table, out, capsys):
    masks = () if paper_tables()[number].masked else ("--masks", "none")
    assert table(number, "--limit", "1", *masks) == 0
    shown = capsys.readouterr().out
    assert (out / f"table-{number}.txt").read_text() in shown
    assert shown.startswith(f"Table {number}") and "protocol v1" in shown
    labels = {row.label for row in paper_tables()[number].rows}
    filled = {"DEAR", "+PIM"} & labels | {"mine"}
    assert {image["row"] for image in _json(out, number)["images"]} == filled
    assert {line["row"] for line in _csv(out, number) if line["mean"]} == filled
    made = sorted(out.glob(f"table-{number}*"))
    assert {path.suffix for path in made} == {".txt", ".md", ".csv", ".json", ".png"}
    assert sorted(shown.splitlines()[-len(made) :]) == list(map(str, made))


@pytest.mark.parametrize("number", [2, 4])
def test_means_are_those_of_the_images(number, table, out):
    assert table(number) == 0
    images = _json(out, number)["images"]
    found = set()
    for line in _csv(out, number):
        values = [
            float(image[line["metric"]])
            for image in images
            if (image["row"], image["dataset"]) == (line["row"], line["dataset"])
            and image["scale"] == float(line["scale"])
        ]
        assert bool(line["mean"]) == bool(values)
        if values:
            found.add((line["row"], line["scale"], line["metric"]))
            assert len(values) == int(line["results"]) == 3 * len(BINS)
            assert int(line["photos"]) == 3
            assert float(line["mean"]) == pytest.approx(np.mean(values), rel=1e-9)
    paper = paper_tables()[number]
    metrics = [*paper.metrics, *(m + PASTED for m in METRICS * (number == 4))]
    assert len(found) == 2 * len(paper.scales) * len(metrics)


def test_data_masks_and_limit_reach_the_samples(table, out):
    assert table(6, "--limit", "2") == 0
    images = _json(out, 6)["images"]
    assert {image["photo"] for image in images} == {"a.png", "b.png"}
    assert {image["bin"] for image in images} == set(BINS)
    assert table(6) == 0
    photos = {image["photo"] for image in _json(out, 6)["images"]}
    assert photos == {"a.png", "b.png", "c.png"}
    assert table(6, "--masks", "none", "--limit", "1") == 0
    assert {image["bin"] for image in _json(out, 6)["images"]} == {"none"}
    assert "masks none" in (out / "table-6.txt").read_text()


@pytest.mark.parametrize("number, clean", [(3, True), (6, False)])
def test_a_table_without_holes_has_none_and_asks_for_clean_weights(
    number, clean, table, out, monkeypatch
):
    asked = {}

    def load(name, weights, clean):
        asked[name] = clean
        return open_system("classical")

    monkeypatch.setattr(loading, "load", load)
    masks = ["--masks", "none"] if clean else []
    assert table(number, "--limit", "1", *masks, setup="") == 0
    assert set(asked.values()) == {clean} and {"dear", "lte", "liif"} <= set(asked)
    bins = {image["bin"] for image in _json(out, number)["images"]}
    assert bins == ({"none"} if clean else set(BINS))


def test_a_table_without_holes_ignores_a_setups_masks_and_refuses_the_flags(
    table, tmp_path, out, capsys
):
    photos, masks = tmp_path / "photos", tmp_path / "masks"
    assert table(3, "--limit", "1") == 2
    message = capsys.readouterr().err
    assert "in table 3 nothing is missing" in message and message.count("\n") == 1
    setup = f'{SETUP}[data.FFHQ]\nphotos = "{photos}"\nmasks = "{masks}"\n'
    (tmp_path / "own.toml").write_text(setup)
    flags = ["--table", "3", "--setup", tmp_path / "own.toml", "--out", out]
    assert run_eval.main([*map(str, flags), "--limit", "1"]) == 0
    assert {image["bin"] for image in _json(out, 3)["images"]} == {"none"}
    assert "; masks" not in (out / "table-3.txt").read_text()


@pytest.mark.parametrize(
    "own, limit, said",
    [
        ("", None, "not the paper's photos"),
        ("of_the_paper = false", None, "not the paper's photos"),
        ("of_the_paper = true", None, None),
        ("of_the_paper = true", 3, None),
        ("of_the_paper = true", 2, "not all of the paper's photos"),
        ("", 2, "not the paper's photos"),
    ],
)
def test_numbers_compare_only_on_all_photos_of_the_paper(
    own, limit, said, table, tmp_path, out
):
    photos = f'[data.Places365]\nphotos = "{tmp_path / "photos"}"\n'
    (tmp_path / "own.toml").write_text(f"{SETUP}{photos}{own}\n")
    flags = ["--table", "6", "--setup", tmp_path / "own.toml", "--out", out]
    flags += ["--limit", limit] if limit else []
    assert run_eval.main(list(map(str, flags))) == 0
    text = " ".join((out / "table-6.txt").read_text().split())
    assert ("do not compare" in text) == bool(said)
    assert _json(out, 6)["paper_photos"] == ([] if said else ["Places365"])
    about = text.split("Places365: ours on ")[1].split("Cells:")[0]
    assert about.startswith(f"{limit or 3} photos, ")
    found = [x for x in about.split(";") if "the paper's" in x]
    assert [x.split(" rows ")[0].strip() for x in found] == ([said] if said else [])


def test_one_photo_is_not_called_photos(table, out):
    assert table(6, "--limit", "1") == 0
    text = (out / "table-6.txt").read_text()
    assert "ours on 1 photo, " in text and "1 photos" not in text


def test_a_row_filled_by_another_system_is_named(table, out):
    assert table(6, "--limit", "1") == 0
    about = _json(out, 6)["about"]
    assert "rows filled by another system: DEAR (classical)" in about
    weights = bundled.WEIGHTS / "dear-lite.safetensors"
    setup = f'[extra]\nmine = "bicubic"\nanother = "{weights}"\n'
    assert table(6, "--limit", "1", setup=setup) == 0
    assert "another system" not in (out / "table-6.txt").read_text()


def test_weights_files_and_remarks_are_in_the_notes(table, out, monkeypatch, capsys):
    real = loading.load

    def load(name, **options):
        found = real(name, **options)
        found.files = ("one.safetensors", "two.safetensors")
        found.remark = lambda source, target: f"x{round(target[0] / source[0])} is odd"
        return found

    monkeypatch.setattr(loading, "load", load)
    assert table(2, "--limit", "1") == 0
    shown = capsys.readouterr().out
    notes = _json(out, 2)["notes"]
    said = notes["DEAR"].splitlines()
    assert said[0] == "weights one.safetensors, two.safetensors"
    # Each once: several scales round to one.
    rounded = [round(32 / round(32 / scale)) for scale in paper_tables()[2].scales]
    assert said[1:] == [f"x{i} is odd" for i in dict.fromkeys(rounded)]
    assert len(said[1:]) < len(rounded)
    assert all(line in shown for line in said)
    assert "no weights of lte trained on damaged photos" in notes["LTE"]


@pytest.mark.parametrize("number, scale", [(1, 4), (2, 4), (4, 1)])
def test_examples_are_each_systems_own_pictures_with_their_own_psnr(
    number, scale, table, seen
):
    assert table(number) == 0
    ((examples,),) = seen["comparison_sheet"]
    assert [x.sample.photo for x in examples] == ["a.png", "b.png", "c.png"]
    systems = {"DEAR (classical)": "classical", "mine": "bicubic"}
    for example in examples:
        assert example.sample.scale == scale and list(example.outputs) == list(systems)
        for label, output in example.outputs.items():
            expected = _restored(example.sample, systems[label])
            np.testing.assert_array_equal(output, expected)
            psnr = _psnr(output, example.sample.truth)
            assert example.psnr[label] == pytest.approx(psnr, rel=1e-4)


def test_curves_are_of_the_scores_of_their_own_set(table, tmp_path, seen, out):
    other = write_photos(tmp_path / "others", ("x", "y", "z"), seed=1)
    sets = {"CelebAHQ": tmp_path / "photos", "Places365": other}
    data = "".join(f'[data.{name}]\nphotos = "{at}"\n' for name, at in sets.items())
    (tmp_path / "own.toml").write_text(SETUP + data)
    flags = ["--table", "1", "--setup", tmp_path / "own.toml", "--out", out]
    assert run_eval.main([*map(str, flags), "--limit", "2"]) == 0
    names = [{"a.png", "b.png"}, {"x.png", "y.png"}]
    for (scores, about), dataset, photos in zip(
        seen["draw_ratio_curves"], sets, names, strict=True
    ):
        assert list(scores) == ["DEAR (classical)", "mine"]
        assert all({s.photo for s in found} == photos for found in scores.values())
        assert len(about) == 1 and about[0].startswith(f"{dataset}: ours on 2 photos")
    assert len(seen["stages_sheet"]) == 1


def test_figure_1_is_the_photo_that_misses_most_stage_by_stage(table, seen):
    assert table(1) == 0
    ((sample, ways),) = seen["stages_sheet"]
    assert (sample.photo, sample.bin) == ("b.png", "20-30")  # The others miss less.
    fill, enlarge, ours = ways
    labels = ["telea→bicubic", "bicubic→telea", "DEAR (classical)"]
    assert [way.label for way in ways] == labels
    small, large = sample.image.shape, sample.truth.shape
    assert (fill.intermediate.shape, enlarge.intermediate.shape) == (small, large)
    assert ours.intermediate is None
    for way, name in zip(
        ways, ("telea+bicubic", "bicubic+telea", "classical"), strict=1
    ):
        np.testing.assert_array_equal(way.result, _restored(sample, name))


def test_weights_that_cannot_be_told_apart_leave_dashes_and_another_way(
    table, tmp_path, capsys, seen
):
    file = tmp_path / "weights" / "a.safetensors"
    write_random_weights(file, "misf", **SMALLEST["misf"])
    shutil.copy(file, file.with_name("b.safetensors"))
    assert table(1, "--limit", "1") == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "a.safetensors and b.safetensors are both weights of misf" in shown
    ((_, ways),) = seen["stages_sheet"]
    assert ways[0].label == "telea→bicubic"


def test_the_table_is_shown_and_written_before_anything_is_drawn(
    table, out, capsys, monkeypatch
):
    def draw(*arguments):
        raise InputError("no room for pictures")

    monkeypatch.setattr(figures, "comparison_sheet", draw)
    assert table(6, "--limit", "1") == 2
    shown = capsys.readouterr()
    text = (out / "table-6.txt").read_text()
    assert shown.out.startswith(text) and "no room" in shown.err
    # Then where the time went, then the files.
    time, *files = shown.out.removeprefix(text).split("\n", 2)[1:]
    assert "results in" in time
    written = [str(out / f"table-6{x}") for x in (".txt", ".md", ".csv", ".json")]
    assert files[0].splitlines()[: len(written)] == written


def test_tables_share_what_they_measured(table, capsys):
    assert table(6, "--limit", "1") == 0
    assert "every result was there already" not in capsys.readouterr().out
    assert table(5, "--limit", "1") == 0
    assert "every result was there already" in capsys.readouterr().out


def test_a_table_of_which_nothing_could_be_measured_says_so(table, capsys):
    assert table(6, "--limit", "1", setup="") == 0
    shown = capsys.readouterr().out
    assert "nothing was measured" in shown and "there already" not in shown


def test_photos_whose_names_are_not_utf8_are_measured_and_written(
    table, tmp_path, out, capsys
):
    strange = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        write_photos(strange, [os.fsdecode(b"caf\xe9")])
    except OSError:
        pytest.skip("this file system has names in UTF-8 only")
    assert table(1, "--data", os.fspath(strange)) == 0
    assert r"caf\udce9; masks" in " ".join(capsys.readouterr().out.split())
    names = {image["photo"] for image in _json(out, 1)["images"]}
    assert set(map(os.fsencode, names)) == {b"caf\xe9.png"}
    assert (out / "table-1-CelebAHQ.png").exists()


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--table", "7"], "tables 1 to 6"),
        (["--table", "1", "--setup", "no.toml"], "no.toml: no such setup"),
        (["--table", "1", "--model", "lte"], "--model goes with --scale"),
        (["--table", "1", "--masks", "none"], "--masks none: goes with --data"),
        (["--scale", "4", "--setup", "x"], "goes with --table"),
    ],
)
def test_flags_that_do_not_go_together_are_named(tmp_path, capsys, flags, words):
    assert run_eval.main([*flags, "--out", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err
