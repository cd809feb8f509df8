"""Laws of the evaluation protocol, its scores, reports and picture sheets."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny import SMALLEST, TINY

from dear_jax import photo, pretrained, registry, resize, sheet
from dear_jax.errors import InputError
from dear_jax.evaluation import protocol, report
from dear_jax.evaluation.evaluate import Score, evaluate
from dear_jax.registry import VARIANTS
from dear_jax.systems import catalogue
from dear_jax.systems.catalogue import open_system
from dear_jax.systems.classical import Interpolation
from dear_jax.weights import Weights, write_weights

ROOT = Path(__file__).parents[1]
classical = open_system("classical")


@pytest.fixture
def folders(tmp_path):
    """Three photos of two sizes, and two bins of two and one masks."""
    rng = np.random.default_rng(0)
    for name, size in (("a", (24, 24)), ("b", (24, 24)), ("c", (24, 30))):
        coarse = rng.integers(0, 256, (4, 4, 3), np.uint8)
        photo.write_photo(tmp_path / f"photos/{name}.png", resize.bicubic(coarse, size))
    for name, ratio in (("01-10/x", 0.1), ("01-10/y", 0.05), ("20-30/z", 0.25)):
        mask = np.zeros((40, 40), np.uint8)
        mask[: round(40 * ratio)] = 255
        photo.write_photo(tmp_path / f"masks/{name}.png", mask)
    return tmp_path / "photos", tmp_path / "masks"


@pytest.fixture
def command(folders, tmp_path):
    """Calls run_eval.main in this process on the small folders."""
    spec = importlib.util.spec_from_file_location("run_eval", ROOT / "run_eval.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    data, masks = map(str, folders)
    usual = ["--data", data, "--masks", masks, "--out", str(tmp_path / "out")]
    return lambda *flags: module.main([*usual, *flags])


def _bicubic(image, mask, size):
    return resize.bicubic(image, size)


def _score(system="classical", scale=4.0, bin_name="01-10", psnr=20.0, **rest):
    return Score(system, "a.png", "m.png", bin_name, scale, psnr, 0.5, 0.1, **rest)


def _run(*flags):
    command = [sys.executable, str(ROOT / "run_eval.py"), *map(str, flags)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_photo_i_takes_mask_i_mod_n_in_every_bin(folders):
    taken = [(c.photo, c.bin, c.mask_name) for c in protocol.cases(*folders, 2)]
    assert taken == [
        ("a.png", "01-10", "x.png"),
        ("a.png", "20-30", "z.png"),
        ("b.png", "01-10", "y.png"),
        ("b.png", "20-30", "z.png"),
        ("c.png", "01-10", "x.png"),
        ("c.png", "20-30", "z.png"),
    ]


def test_input_is_the_reduced_photo_black_where_missing(folders):
    case = list(protocol.cases(*folders, 2.5))[-1]
    assert case.truth.shape == (24, 30, 3) and case.mask.shape == (10, 12)
    expected = resize.bicubic(case.truth, (10, 12))
    np.testing.assert_array_equal(case.image[~case.mask], expected[~case.mask])
    assert case.mask.any() and not case.image[case.mask].any()


def test_scale_6_of_256_is_43():
    assert protocol.input_size((256, 256), 6) == (43, 43)


def test_limit_takes_the_first_photos_and_changes_nothing_else(folders):
    few, all_cases = (list(protocol.cases(*folders, 2, n)) for n in (2, None))
    assert len(few) == len(protocol.cases(*folders, 2, 2)) == 4
    for short, long in zip(few, all_cases, strict=False):
        assert (short.photo, short.mask_name) == (long.photo, long.mask_name)
        np.testing.assert_array_equal(short.image, long.image)


@pytest.mark.parametrize("scale", [0, -2, 0.5, float("nan"), float("inf")])
def test_bad_scales_are_refused(folders, scale):
    with pytest.raises(InputError, match="finite number of at least 1"):
        protocol.cases(*folders, scale)


def test_scale_that_leaves_no_pixel_names_photo_and_largest_scale(folders):
    with pytest.raises(InputError, match="a.png: scale 60 .* at most 24"):
        protocol.cases(*folders, 60)


def test_too_small_photo_and_absent_masks_are_refused(folders, tmp_path):
    photo.write_photo(tmp_path / "tiny/t.png", np.zeros((9, 30, 3), np.uint8))
    with pytest.raises(InputError, match="t.png: 30 x 9 pixels"):
        protocol.cases(tmp_path / "tiny", folders[1], 2)
    with pytest.raises(InputError, match="no such folder of masks"):
        protocol.cases(folders[0], tmp_path / "absent", 2)


@pytest.mark.parametrize(
    "ratio, name",
    [(0, "01-10"), (0.05, "01-10"), (0.1, "10-20"), (0.59, "50-60"), (1, "50-60")],
)
def test_hole_ratio_falls_in_its_bin_or_the_nearest(ratio, name):
    assert protocol.nearest_bin(ratio) == name


def test_loose_masks_are_counted_to_bins_by_measured_ratio(folders, tmp_path):
    for i, rows in enumerate((2, 10, 3)):
        mask = np.zeros((40, 40), np.uint8)
        mask[:rows] = 255
        photo.write_photo(tmp_path / f"loose/{i}.png", mask)
    bins = protocol.open_test_masks(tmp_path / "loose")
    names = {name: [mask.name for mask in masks] for name, masks in bins.items()}
    assert names == {"01-10": ["0.png", "2.png"], "20-30": ["1.png"]}


def test_generated_masks_are_always_the_same_and_lie_in_their_bins():
    bins = protocol.open_test_masks("generated")
    again = protocol.open_test_masks("generated")
    assert len(bins) == 6
    for name, masks in bins.items():
        mask = masks[1].load()
        assert protocol.nearest_bin(mask.mean()) == name
        np.testing.assert_array_equal(mask, again[name][1].load())


def test_without_masks_nothing_is_missing(folders):
    (case, *rest) = protocol.cases(folders[0], "none", 2)
    assert len(rest) == 2 and case.bin == "none"
    assert case.mask.shape == (12, 12) and not case.mask.any()
    np.testing.assert_array_equal(case.image, resize.bicubic(case.truth, (12, 12)))


def test_reduced_photos_are_the_truth(folders):
    whole, reduced = (
        next(iter(protocol.cases(*folders, 1, reduce=r))) for r in (1, 1.5)
    )
    expected = resize.bicubic(whole.truth, (16, 16))
    np.testing.assert_array_equal(reduced.truth, expected)
    assert reduced.image.shape == (16, 16, 3)
    with pytest.raises(InputError, match="SSIM needs at least"):
        protocol.cases(*folders, 1, reduce=4)


def test_classical_row_ignores_what_stands_in_the_holes():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (12, 10, 3), np.uint8)
    mask = rng.random((12, 10)) < 0.3
    other = np.where(mask[..., None], 255 - image, image)
    restored = classical(image, mask, size=(30, 25))
    assert restored.shape == (30, 25, 3)
    np.testing.assert_array_equal(restored, classical(other, mask, size=(30, 25)))


def test_classical_row_without_holes_is_bicubic_and_without_photo_grey():
    image = np.random.default_rng(1).integers(0, 256, (8, 9, 3), np.uint8)
    nothing, everything = np.zeros((8, 9), bool), np.ones((8, 9), bool)
    expected = resize.bicubic(image, (20, 20))
    np.testing.assert_array_equal(classical(image, nothing, size=(20, 20)), expected)
    assert (classical(image, everything, size=(20, 20)) == 128).all()


def test_every_case_and_system_is_scored_in_order(folders):
    seen = []
    scores = evaluate(
        {"bicubic": _bicubic, "classical": classical},
        protocol.cases(*folders, 2, 2),
        on_progress=lambda score, case, output: seen.append((score, output.shape)),
    )
    assert [s.system for s in scores] == ["bicubic", "classical"] * 4
    assert [score for score, _ in seen] == scores
    assert all(shape == (24, 24, 3) for _, shape in seen)
    assert all(s.psnr_pasted is None for s in scores)


def test_pasting_back_at_scale_1_leaves_only_errors_in_the_holes(folders):
    def negative_of_the_known(image, mask, size):
        return np.where(mask[..., None], image, 255 - image)

    case = next(iter(protocol.cases(*folders, 1)))
    (score,) = evaluate({"s": negative_of_the_known}, [case])
    error = np.where(case.mask[..., None], case.truth, 0)
    assert score.l1_pasted == pytest.approx(error.mean() / 255, rel=1e-5)
    assert score.l1 > score.l1_pasted


def test_a_system_cannot_spoil_the_input_of_the_next(folders):
    def vandal(image, mask, size):
        image[:], mask[:] = 0, True
        return resize.bicubic(image, size)

    case = next(iter(protocol.cases(*folders, 2)))
    alone = evaluate({"bicubic": _bicubic}, [case])
    after = evaluate({"vandal": vandal, "bicubic": _bicubic}, [case])
    assert after[1:] == alone


@pytest.mark.parametrize("change", [lambda x: x / 255.0, lambda x: x[1:]])
def test_output_of_wrong_type_or_size_is_refused(folders, change):
    systems = {"odd": lambda image, mask, size: change(resize.bicubic(image, size))}
    with pytest.raises(ValueError, match="system 'odd' returned"):
        evaluate(systems, protocol.cases(*folders, 2))


def test_pooled_is_the_plain_mean_over_all_results():
    bins = ["01-10", "01-10", "01-10", "10-20"]
    pairs = zip(bins, [10.0, 20.0, 30.0, 60.0], strict=True)
    scores = [_score(bin_name=name, psnr=psnr) for name, psnr in pairs]
    expected = {"01-10": 20.0, "10-20": 60.0, "pooled": 30.0}
    assert report.means(scores, "psnr") == {"classical": expected}


def test_table_states_protocol_scales_and_differences():
    scores = [_score(), _score("ours", psnr=21.5), _score(scale=6.0)]
    table = report.format_table(scores, {"photos": "mine"})
    assert table.startswith("protocol v1:")
    assert "photos: mine" in table and "\nx4:" in table and "\nx6:" in table
    assert table.count("+1.50") == 2  # its bin, and pooled
    assert max(map(len, table.splitlines())) <= 88


def test_table_shows_pasted_numbers_at_scale_1():
    pasted = {"psnr_pasted": 33.25, "ssim_pasted": 0.9, "l1_pasted": 0.01}
    table = report.format_table([_score(scale=1.0, **pasted)])
    before, after = table.split("known pixels pasted back:")
    assert "33.25" in after and "33.25" not in before


def test_scores_survive_json_also_infinite_ones(tmp_path):
    pasted = {"psnr_pasted": 33.0, "ssim_pasted": 0.9, "l1_pasted": 0.01}
    scores = [_score(psnr=float("inf"), scale=1.0, **pasted), _score("b", 2.5)]
    path = tmp_path / "scale-1.json"
    path.write_text("old")
    report.write_json(path, scores, {"masks": "mine"})
    assert report.read_json(path) == scores
    assert [p.name for p in tmp_path.iterdir()] == ["scale-1.json"]


def test_interrupted_write_keeps_the_old_file(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    path = tmp_path / "table.txt"
    report.write_text(path, "old")
    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        report.write_text(path, "new")
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_foreign_json_is_refused(tmp_path):
    (tmp_path / "x.json").write_text('{"rows": [{"psnr": 1}]}')
    with pytest.raises(InputError, match="x.json: not a result"):
        report.read_json(tmp_path / "x.json")


def test_sheet_grows_by_one_cell_and_gap_per_picture():
    tile, cell, gap = np.full((4, 8, 3), 200, np.uint8), 64, 2
    small = sheet.contact_sheet([[tile]], ["a"], cell=cell)
    large = sheet.contact_sheet([[tile] * 3] * 2, ["a", "b", "c"], cell=cell)
    grown = np.array(large.shape) - small.shape
    assert grown.tolist() == [cell + gap, 2 * (cell + gap), 0]
    assert large.dtype == np.uint8 and (large[0] == 255).all()
    # A 4 x 8 picture is enlarged to 32 x 64 in its cell.
    assert (small == 200).all(-1).sum() == 32 * 64


def test_sheet_enlarges_with_nearest_neighbour_only():
    board = np.indices((8, 8)).sum(0) % 2 * 200
    tile = np.repeat(board[..., None], 3, -1).astype(np.uint8)
    drawn = sheet.contact_sheet([[tile]], [""], cell=64)
    assert set(np.unique(drawn)) == {0, 200, 255}


def test_sheet_refuses_rows_that_do_not_match_titles():
    tile = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="row 0 has 1 pictures for 2 titles"):
        sheet.contact_sheet([[tile]], ["a", "b"])


def test_show_mask_paints_holes_and_nothing_else():
    image = np.random.default_rng(0).integers(0, 200, (6, 5, 3), np.uint8)
    mask = np.random.default_rng(1).random((6, 5)) < 0.5
    shown = sheet.show_mask(image, mask)
    assert (shown[mask] == sheet.HOLE_COLOUR).all()
    np.testing.assert_array_equal(shown[~mask], image[~mask])


def test_heat_gets_lighter_with_the_value():
    colours = sheet.heat(np.linspace(0, 1, 256)[None])[0].astype(float)
    luma = colours @ [0.299, 0.587, 0.114]
    assert (np.diff(luma) > -0.5).all() and luma[0] < 40 and luma[-1] > 220
    clipped = sheet.heat(np.array([[-1.0, 2.0, np.nan]]))[0]
    np.testing.assert_array_equal(clipped, colours[[0, -1, 0]])


def test_showcase_shows_each_photo_once_with_the_bins_in_turn(folders, monkeypatch):
    cases = list(protocol.cases(*folders, 2))
    showcase = report.Showcase(["01-10", "20-30"], ["s"], rows=2)
    for case in cases:
        showcase.add(case, 255 - case.truth)
    monkeypatch.setattr(report.sheet, "contact_sheet", lambda *given: given)
    rows, titles, captions = showcase.draw()
    assert titles == ["input, x2", "s", "truth"]
    assert captions == ["a\n01-10 %", "b\n20-30 %"]
    for (_, output, truth), case in zip(rows, (cases[0], cases[3]), strict=True):
        np.testing.assert_array_equal(truth, case.truth)
        np.testing.assert_array_equal(output, 255 - case.truth)


def test_a_system_without_scores_has_a_row_of_dashes_and_the_reason():
    scores = [_score(), _score("misf+elan"), _score("elan" + report.UNTRAINED)]
    notes = {4.0: {"edsr": "has weights for x2 only", "misf+elan": "trained at 64"}}
    table = report.format_table(scores, notes=notes)
    rows = [line.split() for line in table.splitlines() if line.startswith("edsr ")]
    assert rows == [["edsr", "-", "|", "-"]] * 3
    assert "edsr: has weights for x2 only" in table
    assert "misf+elan: trained at 64" in table
    assert "it is no result" in table
    # Only trained systems are compared with the classical row.
    assert table.count("vs classical") == 3


def test_many_systems_stand_below_each_other(folders):
    cases = list(protocol.cases(*folders, 2))
    names = [f"system {i}" for i in range(report.WIDEST)]
    showcase = report.Showcase(["01-10", "20-30"], names, rows=2)
    for case in cases:
        for _ in names:
            showcase.add(case, case.truth)
    height, width, _ = showcase.draw().shape
    assert height > 2 * width


def test_all_are_the_papers_baselines_beside_ours(command, tmp_path, monkeypatch):
    monkeypatch.setattr(catalogue, "BASELINES", ("telea+edsr", "bilinear+misf"))
    small = {**VARIANTS, "edsr-baseline": {"architecture": "edsr", **SMALLEST["edsr"]}}
    small["misf"] = {"architecture": "misf", **SMALLEST["misf"]}
    small["dear"] = {"architecture": "dear", **TINY["dear"]}
    monkeypatch.setattr(registry, "VARIANTS", small)
    assert command("--model", "all", "--limit", "1") == 0
    rows = report.read_json(tmp_path / "out" / "scale-4.json")
    assert list(dict.fromkeys(row.system for row in rows)) == [
        "classical",
        "dear-lite",
        "telea+edsr (untrained)",
        "bilinear+misf (untrained)",
        "dear (untrained)",
    ]


def test_a_named_system_is_never_run_untrained(command, capsys, tmp_path):
    flags = ["--weights", str(tmp_path / "none"), "--limit", "1"]
    assert command("--model", "misf+bicubic", *flags) == 2
    assert "no weights of misf" in capsys.readouterr().err


def test_a_scale_without_weights_is_dashes_if_another_has_them(
    command, tmp_path, capsys
):
    fields = {**registry.fields_of("edsr"), **SMALLEST["edsr"], "scale": 3}
    variables = registry.init_variables(registry.build(fields), 0)
    weights = Weights(variables, fields, {})
    write_weights(tmp_path / "w" / "mine.safetensors", weights)
    flags = ["--model", "edsr", "--weights", str(tmp_path / "w"), "--limit", "1"]
    assert command(*flags, "--scale", "2,3") == 0
    table = capsys.readouterr().out
    assert "edsr: edsr has weights for x3 only" in table
    assert "edsr: weights mine.safetensors" in table
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
    assert {p.name for p in out.iterdir()} == names | {"table.txt"}
    again = evaluate({"classical": classical}, protocol.cases(data, masks, 3, 2))
    assert report.read_json(out / "scale-3.json") == again


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
        (["--out", __file__], "cannot be a folder"),
    ],
)
def test_bad_flags_are_named_with_a_remedy(command, capsys, flags, words):
    assert command(*flags) == 2
    assert words in capsys.readouterr().err


def test_loaded_models_stand_beside_the_classical_row(command, tmp_path, monkeypatch):
    def load(name, weights):
        restorer = Interpolation("classical" if name == "classical" else "dear")
        restorer.restore = lambda image, mask, size: _bicubic(image, mask, size)
        return restorer

    monkeypatch.setattr(pretrained, "load", load)
    assert command("--model", "one,two", "--limit", "1") == 0
    rows = report.read_json(tmp_path / "out" / "scale-4.json")
    assert [row.system for row in rows] == ["classical", "dear", "two"] * 2


def test_interruption_keeps_finished_scales_and_ends_with_130(
    command, tmp_path, monkeypatch, capsys
):
    write = report.write_json

    def write_then_stop(path, *rest):
        if path.name == "scale-3.json":
            raise KeyboardInterrupt
        write(path, *rest)

    monkeypatch.setattr(report, "write_json", write_then_stop)
    assert command("--model", "classical", "--scale", "2,3", "--limit", "1") == 130
    assert "interrupted: " in capsys.readouterr().err
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {"scale-2.json", "scale-2.png"}
