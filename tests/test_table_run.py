"""run_eval.py --table: the paper's tables, measured with what there is, and drawn."""

import contextlib
import csv
import functools
import io
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from eval_folders import BINS, command_on, write_photos, write_random_weights
from tiny import SMALLEST

import run_eval
from dear_jax import bundled
from dear_jax.errors import InputError
from dear_jax.evaluation import figures, plots
from dear_jax.evaluation.scores import METRICS, PASTED
from dear_jax.evaluation.tables import paper_tables
from dear_jax.inference import loading
from dear_jax.inference.loading import open_system

SETUP = (
    '[systems]\nDEAR = "classical"\n"+PIM" = "classical"\n[extra]\nmine = "bicubic"\n'
)
DRAWING = (
    (figures, "comparison_sheet"),
    (figures, "stages_sheet"),
    (plots, "draw_ratio_curves"),
)


@pytest.fixture(scope="module")
def room(tmp_path_factory):
    """Photos and masks; all tables share what they measured of them."""
    folder = tmp_path_factory.mktemp("room")
    command_on(folder)
    return folder


@pytest.fixture(scope="module")
def table(room):
    """A function that fills a table of a setup; what it said, wrote and drew.

    Drawn are the arguments of what draws, by the name of the function.
    """

    def fill(number, *flags, setup=SETUP, data=True, status=0):
        (room / "setup.toml").write_text(setup)
        named = ["--setup", room / "setup.toml", "--weights", room / "weights"]
        if data:
            flags = ("--data", room / "photos", "--masks", room / "masks", *flags)
        said, errors, drawn = io.StringIO(), io.StringIO(), {}
        given = ["--table", number, *named, "--out", room / "out", *flags]
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(errors),
        ):
            for module, name in DRAWING:
                calls = drawn.setdefault(name, [])
                patch.setattr(module, name, watched(getattr(module, name), calls))
            assert run_eval.main(list(map(str, given))) == status, errors.getvalue()
        out = room / "out"
        ran = SimpleNamespace(
            shown=said.getvalue(), error=errors.getvalue(), drawn=drawn
        )
        if not status:
            ran.text = (out / f"table-{number}.txt").read_text()
            ran.json = json.loads((out / f"table-{number}.json").read_text())
            ran.csv = list(csv.DictReader((out / f"table-{number}.csv").open()))
        return ran

    return fill


@pytest.fixture(scope="module")
def whole(table):
    """Tables of all photos, each filled once."""
    return functools.cache(table)


def watched(function, calls):
    """The function, which notes its arguments."""

    def wrapped(*arguments):
        calls.append(arguments)
        return function(*arguments)

    return wrapped


def restored(sample, name="classical"):
    return open_system(name)(sample.image, sample.mask, size=sample.truth.shape[:2])


def column(ran, key):
    return {image[key] for image in ran.json["images"]}


@pytest.mark.parametrize("number", paper_tables())
def test_every_table_is_filled_with_what_there_is(number, table, room):
    for path in (room / "out").glob("table-*"):
        path.unlink()
    masked = paper_tables()[number].masked
    ran = table(number, "--limit", "1", *([] if masked else ["--masks", "none"]))
    assert ran.text in ran.shown
    assert ran.shown.startswith(f"Table {number}") and "protocol v1" in ran.shown
    labels = {row.label for row in paper_tables()[number].rows}
    filled = {"DEAR", "+PIM"} & labels | {"mine"}
    assert column(ran, "row") == filled
    assert {line["row"] for line in ran.csv if line["mean"]} == filled
    made = sorted((room / "out").glob(f"table-{number}*"))
    assert {path.suffix for path in made} == {".txt", ".md", ".csv", ".json", ".png"}
    assert sorted(ran.shown.splitlines()[-len(made) :]) == list(map(str, made))
    assert "ours on 1 photo" in ran.text and "1 photos" not in ran.text
    others = [x for x in ran.json["about"] if "filled by another system" in x]
    # Of Table 5 it is "+PIM".
    assert len(others) == 1 and " (classical)" in others[0]


@pytest.mark.parametrize("number", [2, 4])
def test_means_are_those_of_the_images(number, whole):
    ran, found = whole(number), set()
    for line in ran.csv:
        values = [
            float(image[line["metric"]])
            for image in ran.json["images"]
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


def test_data_masks_and_limit_reach_the_samples(table):
    two, three = table(6, "--limit", "2"), table(6)
    assert column(two, "photo") == {"a.png", "b.png"} and column(two, "bin") == set(
        BINS
    )
    assert column(three, "photo") == {"a.png", "b.png", "c.png"}
    none = table(6, "--masks", "none", "--limit", "1")
    assert column(none, "bin") == {"none"} and "masks none" in none.text


@pytest.mark.parametrize("number, clean", [(3, True), (6, False)])
def test_a_table_without_holes_has_none_and_wants_clean_weights(
    number, clean, table, monkeypatch
):
    wanted = {}

    def load(name, weights, clean):
        wanted[name] = clean
        return open_system("classical")

    monkeypatch.setattr(loading, "load", load)
    masks = ["--masks", "none"] if clean else []
    ran = table(number, "--limit", "1", *masks, setup="")
    assert set(wanted.values()) == {clean} and {"dear", "lte", "liif"} <= set(wanted)
    assert column(ran, "bin") == ({"none"} if clean else set(BINS))


def test_a_table_without_holes_ignores_a_setups_masks_and_refuses_the_flags(
    table, room
):
    ran = table(3, "--limit", "1", status=2)
    assert "in table 3 nothing is missing" in ran.error and ran.error.count("\n") == 1
    own = (
        f'{SETUP}[data.FFHQ]\nphotos = "{room / "photos"}"\nmasks = "{room / "masks"}"'
    )
    ran = table(3, "--limit", "1", setup=own, data=False)
    assert column(ran, "bin") == {"none"} and "; masks" not in ran.text


@pytest.mark.parametrize(
    "own, limit, said",
    [
        ("", None, "not the paper's photos"),
        ("of_the_paper = false", 2, "not the paper's photos"),
        ("of_the_paper = true", None, None),
        ("of_the_paper = true", 3, None),
        ("of_the_paper = true", 2, "not all of the paper's photos"),
    ],
)
def test_numbers_compare_only_on_all_photos_of_the_paper(own, limit, said, table, room):
    photos = f'[data.Places365]\nphotos = "{room / "photos"}"\n'
    flags = ["--limit", limit] if limit else []
    ran = table(6, *flags, setup=f"{SETUP}{photos}{own}\n", data=False)
    text = " ".join(ran.text.split())
    assert ("do not compare" in text) == bool(said)
    assert ran.json["paper_photos"] == ([] if said else ["Places365"])
    about = text.split("Places365: ours on ")[1].split("Cells:")[0]
    assert about.startswith(f"{limit or 3} photos, ")
    found = [x for x in about.split(";") if "the paper's" in x]
    assert [x.split(" rows ")[0].strip() for x in found] == ([said] if said else [])


def test_a_row_of_ours_is_never_filled_by_another_system(table):
    weights = bundled.WEIGHTS / "dear-lite.safetensors"
    setup = f'[extra]\nmine = "bicubic"\nanother = "{weights}"\n'
    assert "another system" not in table(6, "--limit", "1", setup=setup).text


def test_weights_files_and_remarks_are_in_the_notes(table, monkeypatch):
    real = loading.load

    def load(name, **options):
        found = real(name, **options)
        found.files = ("one.safetensors", "two.safetensors")
        found.remark = lambda source, target: f"x{round(target[0] / source[0])} is odd"
        return found

    monkeypatch.setattr(loading, "load", load)
    ran = table(2, "--limit", "1")
    said = ran.json["notes"]["DEAR"].splitlines()
    assert said[0] == "weights one.safetensors, two.safetensors"
    # Each once: several scales round to one.
    rounded = [round(32 / round(32 / scale)) for scale in paper_tables()[2].scales]
    assert said[1:] == [f"x{i} is odd" for i in dict.fromkeys(rounded)]
    assert len(said[1:]) < len(rounded)
    assert all(line in ran.shown for line in said)
    assert "no weights of lte trained on damaged photos" in ran.json["notes"]["LTE"]


@pytest.mark.parametrize("number, scale", [(1, 4), (2, 4), (4, 1)])
def test_examples_are_each_systems_own_pictures_with_their_own_psnr(
    number, scale, whole
):
    ((examples,),) = whole(number).drawn["comparison_sheet"]
    assert [x.sample.photo for x in examples] == ["a.png", "b.png", "c.png"]
    systems = {"DEAR (classical)": "classical", "mine": "bicubic"}
    for example in examples:
        assert example.sample.scale == scale and list(example.outputs) == list(systems)
        for label, output in example.outputs.items():
            expected = restored(example.sample, systems[label])
            np.testing.assert_array_equal(output, expected)
            error = (output.astype(float) - example.sample.truth) / 255
            psnr = -10 * np.log10(np.mean(error**2))
            assert example.psnr[label] == pytest.approx(psnr, rel=1e-4)


def test_curves_are_of_the_scores_of_their_own_set(table, room):
    other = write_photos(room / "others", ("x", "y", "z"), seed=1)
    sets = {"CelebAHQ": room / "photos", "Places365": other}
    data = "".join(f'[data.{name}]\nphotos = "{at}"\n' for name, at in sets.items())
    ran = table(1, "--limit", "2", setup=SETUP + data, data=False)
    names = [{"a.png", "b.png"}, {"x.png", "y.png"}]
    for (scores, about), dataset, photos in zip(
        ran.drawn["draw_ratio_curves"], sets, names, strict=True
    ):
        assert list(scores) == ["DEAR (classical)", "mine"]
        assert all({s.photo for s in found} == photos for found in scores.values())
        assert len(about) == 1 and about[0].startswith(f"{dataset}: ours on 2 photos")
    assert len(ran.drawn["stages_sheet"]) == 1


def test_figure_1_is_the_photo_that_misses_most_stage_by_stage(whole):
    ((sample, ways),) = whole(1).drawn["stages_sheet"]
    assert (sample.photo, sample.bin) == ("b.png", "20-30")  # The others miss less.
    fill, enlarge, ours = ways
    labels = ["telea→bicubic", "bicubic→telea", "DEAR (classical)"]
    assert [way.label for way in ways] == labels
    small, large = sample.image.shape, sample.truth.shape
    assert (fill.intermediate.shape, enlarge.intermediate.shape) == (small, large)
    assert ours.intermediate is None
    for way, name in zip(
        ways, ("telea+bicubic", "bicubic+telea", "classical"), strict=True
    ):
        np.testing.assert_array_equal(way.result, restored(sample, name))


def test_weights_that_cannot_be_told_apart_leave_dashes_and_another_way(table, room):
    file = room / "weights" / "a.safetensors"
    write_random_weights(file, "misf", **SMALLEST["misf"])
    shutil.copy(file, file.with_name("b.safetensors"))
    try:
        ran = table(1, "--limit", "1")
    finally:
        shutil.rmtree(room / "weights")
    shown = " ".join(ran.shown.split())
    assert "a.safetensors and b.safetensors are both weights of misf" in shown
    ((_, ways),) = ran.drawn["stages_sheet"]
    assert ways[0].label == "telea→bicubic"


def test_the_table_is_shown_and_written_before_anything_is_drawn(
    table, room, monkeypatch
):
    def draw(*arguments):
        raise InputError("no room for pictures")

    monkeypatch.setattr(figures, "comparison_sheet", draw)
    ran = table(6, "--limit", "1", status=2)
    text = (room / "out" / "table-6.txt").read_text()
    assert ran.shown.startswith(text) and "no room" in ran.error
    # Then where the time went, then the files.
    _, time, files = ran.shown.removeprefix(text).split("\n", 2)
    assert "results in" in time or "there already" in time
    stem = room / "out" / "table-6"
    written = [str(stem.with_suffix(x)) for x in (".txt", ".md", ".csv", ".json")]
    assert files.splitlines()[: len(written)] == written


def test_tables_share_what_they_measured(table, room):
    shutil.rmtree(room / "out", ignore_errors=True)
    said = "every result was there already"
    assert said not in table(6, "--limit", "1").shown
    assert said in table(5, "--limit", "1").shown


def test_a_table_of_which_nothing_could_be_measured_says_so(table):
    shown = table(6, "--limit", "1", setup="").shown
    assert "nothing was measured" in shown and "there already" not in shown
