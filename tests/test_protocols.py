"""Laws of protocols v2 (old photographs) and sr (enlargement alone)."""

import json

import numpy as np
import pytest
from eval_folders import write_photos
from skimage.metrics import structural_similarity

import run_eval
from dear_jax.errors import InputError
from dear_jax.evaluation import (
    by_scale,
    gallery,
    old_photos,
    protocol,
    protocol_sr,
    protocol_v2,
)
from dear_jax.evaluation.evaluate import evaluate
from dear_jax.evaluation.measuring import Measuring
from dear_jax.evaluation.scores import METRICS, PARTS
from dear_jax.images import resize
from dear_jax.images.io import read_photo, write_photo
from dear_jax.inference.loading import open_system
from dear_jax.inference.restorer import Restorer

NAMES = [f"p{i}" for i in range(6)]


class Told(Restorer):
    """Enlarges by bicubic, and adds the level it was given to every pixel."""

    takes_denoise = True

    def __init__(self):
        super().__init__("model")
        self.levels = []

    def batch(self, images, masks=None, size=None, denoise=0.0):
        levels = np.broadcast_to(denoise, len(images))
        self.levels += list(levels)
        return np.stack(
            [
                self(image, None, size, d)
                for image, d in zip(images, levels, strict=True)
            ]
        )

    def __call__(self, image, mask=None, size=None, denoise=0.0):
        return resize.bicubic(image, size) // 2 + np.uint8(100 * denoise)

    def fingerprint(self):
        return "model"


class Bar:
    """A progress bar that shows nothing."""

    total = 0

    def update(self, count): ...
    def set_description(self, text): ...


@pytest.fixture
def photos(tmp_path):
    return write_photos(tmp_path / "photos", NAMES)


def assert_equal(one, other):
    for part in ("truth", "image", "mask"):
        np.testing.assert_array_equal(getattr(one, part), getattr(other, part))
    assert (one.place, one.level) == (other.place, other.level)


def test_an_old_photograph_does_not_depend_on_the_folders_other_photos(photos):
    every = list(protocol_v2.cases(photos, 2))
    assert [case.photo for case in every] == [f"{name}.png" for name in NAMES]
    for name in NAMES[:-1]:
        (photos / f"{name}.png").unlink()
    (alone,) = protocol_v2.cases(photos, 2)
    assert_equal(alone, every[-1])
    (photos / "p5.png").rename(photos / "other.png")
    (renamed,) = protocol_v2.cases(photos, 2)
    assert (renamed.image != alone.image).any() and renamed.place != alone.place


def test_cases_of_v2_are_old_photos_black_where_masked(photos):
    cases = protocol_v2.cases(photos, 2)
    assert len(cases) == len(NAMES) and cases.per_photo == 1
    for index, case in enumerate(cases):
        made = old_photos.old_photo(read_photo(photos / case.photo), 2, case.photo)
        np.testing.assert_array_equal(case.truth, made.truth)
        np.testing.assert_array_equal(case.mask, made.mask)
        np.testing.assert_array_equal(case.image[~made.mask], made.image[~made.mask])
        assert not case.image[case.mask].any()
        assert (case.bin, case.level) == (made.draw.tone, made.level)
        assert [case.place] == cases.places(index)


@pytest.mark.parametrize("scale", [1, 2])
def test_scores_inside_and_outside_of_holes_are_those_of_their_pixels(photos, scale):
    cases = protocol_v2.cases(photos, scale)
    system = open_system("classical")
    for score, case in zip(
        evaluate(system, cases, perceptual=False), cases, strict=True
    ):
        output = system(case.image, case.mask, size=case.truth.shape[:2])
        hole = resize.nearest(case.mask, case.truth.shape[:2])
        error = (output.astype(float) - case.truth) / 255
        for part, chosen in (("inside", hole), ("outside", ~hole)):
            mse = np.mean(error[chosen] ** 2)
            psnr, l1 = (getattr(score, f"{m}_{part}") for m in ("psnr", "l1"))
            assert psnr == pytest.approx(-10 * np.log10(mse), rel=1e-5)
            assert l1 == pytest.approx(np.abs(error[chosen]).mean(), rel=1e-5)
        if scale == 1:
            kept = np.where(case.mask[..., None], output, case.image)
            expected = np.abs(kept.astype(float) - case.truth).mean() / 255
            assert score.l1_pasted == pytest.approx(expected, rel=1e-4)


def test_who_is_told_gets_the_level_of_each_photo_and_others_get_none(photos):
    cases, system = protocol_v2.cases(photos, 2), Told()
    plain = evaluate(system, cases, perceptual=False)
    assert set(system.levels) == {0.0}
    system.levels.clear()
    told = evaluate(system, cases, perceptual=False, told=True)
    levels = [case.level for case in cases]
    assert set(system.levels) == set(levels) and min(levels) > 0
    assert all(a.psnr != b.psnr for a, b in zip(plain, told, strict=True))


def test_kept_scores_and_pictures_never_mix_protocols_or_levels(photos, tmp_path):
    (photos / "p5.png").unlink()  # Of another size: more to compile.
    measuring, system = Measuring(tmp_path / "out", Bar()), Told()
    runs = {
        "v1": protocol.cases(photos, "none", 2),
        "v2": protocol_v2.cases(photos, 2),
        "sr": protocol_sr.cases(photos, 2),
    }
    wanted = [("v1", False), ("sr", False), ("v2", False), ("v2", True)]
    found = {}
    for again in range(2):
        for name, told in wanted:
            shown = gallery.shown_cases(runs[name])
            before = len(system.levels)
            got = measuring.measure(system, runs[name], shown, "model", told)
            assert (len(system.levels) == before) == bool(again)
            if again:
                assert got.scores == found[name, told].scores
            for case, picture in zip(shown, got.pictures, strict=True):
                denoise = case.level if told else 0.0
                expected = system(
                    case.image, size=case.truth.shape[:2], denoise=denoise
                )
                np.testing.assert_array_equal(picture, expected)
            found[name, told] = got
    assert len(list((tmp_path / "out" / "scores").iterdir())) == len(wanted)


def test_sr_is_what_brute_force_finds_on_luma_without_a_border(tmp_path):
    photos = tmp_path / "photos"
    for i, size in enumerate([(35, 34), (34, 44)]):
        coarse = np.random.default_rng(i).integers(0, 256, (5, 5, 3), np.uint8)
        write_photo(photos / f"{i}.png", resize.bicubic(coarse, size))
    cases = protocol_sr.cases(photos, 3)
    assert [case.truth.shape[:2] for case in cases] == [(33, 33), (33, 42)]
    scores = evaluate(open_system("bicubic"), cases, perceptual=False)
    for score, case in zip(scores, cases, strict=True):
        whole = read_photo(photos / case.photo)
        height, width = (3 * (side // 3) for side in whole.shape[:2])
        truth = whole[:height, :width]
        np.testing.assert_array_equal(case.truth, truth)
        image = resize.bicubic(truth, (height // 3, width // 3))
        np.testing.assert_array_equal(case.image, image)
        assert not case.mask.any()
        pair = [
            (16 + x[3:-3, 3:-3] @ np.array([65.481, 128.553, 24.966]) / 255) / 255
            for x in (resize.bicubic(image, (height, width)).astype(float), truth)
        ]
        psnr = -10 * np.log10(np.mean((pair[0] - pair[1]) ** 2))
        assert score.psnr == pytest.approx(psnr, rel=1e-5)
        options = {"gaussian_weights": True, "use_sample_covariance": False}
        ssim = structural_similarity(*pair, data_range=1.0, **options)
        assert score.ssim == pytest.approx(ssim, abs=1e-4)
        assert score.psnr_inside is None


@pytest.mark.parametrize("scale", [1, 1.5, 0.5])
def test_sr_wants_whole_scales(photos, scale):
    with pytest.raises(InputError, match="whole scales from 2|at least 1"):
        protocol_sr.cases(photos, scale)


def test_sr_refuses_photos_of_which_the_border_leaves_too_little(photos):
    with pytest.raises(InputError, match="30 pixels|at least 31"):
        protocol_sr.cases(photos, 15)


# The command


@pytest.fixture
def command(tmp_path):
    write_photos(tmp_path / "photos")
    (tmp_path / "photos" / "c.png").unlink()  # Of another size: more to compile.
    usual = ["--data", tmp_path / "photos", "--out", tmp_path / "out"]
    return lambda *flags: run_eval.main([*map(str, (*usual, *flags))])


@pytest.mark.parametrize("name, baseline", [("v2", "classical"), ("sr", "bicubic")])
def test_tables_and_files_name_their_protocol(
    command, tmp_path, monkeypatch, capsys, name, baseline
):
    monkeypatch.setattr(by_scale, "load", _load)
    assert command("--protocol", name, "--model", "model", "--scale", "2") == 0
    table = capsys.readouterr().out
    assert table.startswith(f"protocol {name}:") and f"vs {baseline}" in table
    assert ("model, told" in table) == (name == "v2")
    names = {path.name for path in (tmp_path / "out").glob("*.*")}
    assert names == {
        f"{name}-{end}" for end in ("table.txt", "scale-2.json", "scale-2.png")
    }
    found = json.loads((tmp_path / "out" / f"{name}-scale-2.json").read_text())
    assert found["protocol"] == f"protocol {name}"
    metrics = set(METRICS + PARTS) if name == "v2" else set(METRICS)
    assert set(found["estimates"]["2"][baseline]["pooled"]) == metrics
    systems = {row["system"] for row in found["rows"]}
    assert systems == {baseline, "model"} | ({"model, told"} if name == "v2" else set())


def _load(name, weights):
    return Told() if name == "model" else open_system(name)


@pytest.mark.parametrize(
    "flags, words",
    [
        (["--protocol", "v3"], "choose from v1, v2, sr"),
        (["--protocol", "v2", "--masks", "none"], "draws its own damage"),
        (["--protocol", "sr", "--masks", "generated"], "has nothing missing"),
        (["--protocol", "sr", "--scale", "1.5"], "whole scales"),
        (["--protocol", "v2", "--table", "1"], "goes with --scale"),
    ],
)
def test_protocols_that_make_no_sense_are_refused_in_one_line(
    command, capsys, flags, words
):
    assert command(*flags) == 2
    told = capsys.readouterr().err
    assert words in told and told.count("\n") == 1
