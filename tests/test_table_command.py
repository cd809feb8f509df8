"""The command run_eval.py --table: what it measures, says, writes and draws."""

import csv
import json
import os
import shutil

import numpy as np
import pytest
from eval_folders import BINS, command_on, write_photos, write_random_weights
from tiny import SMALLEST

import run_eval
from dear_jax import bundled
from dear_jax.errors import InputError
from dear_jax.evaluation import comparison, curves, stages
from dear_jax.evaluation import table_rows as rows
from dear_jax.evaluation.scores import METRICS, PASTED
from dear_jax.evaluation.table_paper import paper_tables
from dear_jax.inference.loading import open_system

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

    watch(comparison, "comparison_sheet")
    watch(curves, "draw_ratio_curves")
    watch(stages, "stages_sheet")
    return calls


def _json(out, number):
    return json.loads((out / f"table-{number}.json").read_text())


def _csv(out, number):
    with (out / f"table-{number}.csv").open() as file:
        return list(csv.DictReader(file))


def _restored(case, name="classical"):
    return open_system(name)(case.image, case.mask, size=case.truth.shape[:2])


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


def test_data_masks_and_limit_reach_the_cases(table, out):
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

    monkeypatch.setattr(rows.pretrained, "load", load)
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
    real = rows.pretrained.load

    def load(name, **options):
        found = real(name, **options)
        found.files = ("one.safetensors", "two.safetensors")
        found.remark = lambda source, target: f"x{round(target[0] / source[0])} is odd"
        return found

    monkeypatch.setattr(rows.pretrained, "load", load)
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
    assert [x.case.photo for x in examples] == ["a.png", "b.png", "c.png"]
    systems = {"DEAR (classical)": "classical", "mine": "bicubic"}
    for example in examples:
        assert example.case.scale == scale and list(example.outputs) == list(systems)
        for label, output in example.outputs.items():
            expected = _restored(example.case, systems[label])
            np.testing.assert_array_equal(output, expected)
            psnr = _psnr(output, example.case.truth)
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
    ((case, ways),) = seen["stages_sheet"]
    assert (case.photo, case.bin) == ("b.png", "20-30")  # The others miss less.
    fill, enlarge, ours = ways
    labels = ["telea→bicubic", "bicubic→telea", "DEAR (classical)"]
    assert [way.label for way in ways] == labels
    small, large = case.image.shape, case.truth.shape
    assert (fill.intermediate.shape, enlarge.intermediate.shape) == (small, large)
    assert ours.intermediate is None
    for way, name in zip(
        ways, ("telea+bicubic", "bicubic+telea", "classical"), strict=1
    ):
        np.testing.assert_array_equal(way.result, _restored(case, name))


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

    monkeypatch.setattr(comparison, "comparison_sheet", draw)
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
