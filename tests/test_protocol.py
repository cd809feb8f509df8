"""Laws of the protocols: which damaged photos there are to restore, and how made."""

import json
import os
from dataclasses import replace

import numpy as np
import pytest
from eval_folders import write_photos
from prepared import write_set
from skimage.metrics import structural_similarity

import run_eval
from dear_jax.data import mask_bins, sources
from dear_jax.errors import InputError
from dear_jax.evaluation import (
    protocol,
    protocol_sr,
    protocol_v2,
    report,
    score_cache,
)
from dear_jax.evaluation.evaluate import evaluate
from dear_jax.evaluation.score_cache import Evaluator
from dear_jax.evaluation.scores import METRICS, PARTS
from dear_jax.images import resize
from dear_jax.images.io import read_photo, write_photo
from dear_jax.images.masks import read_mask
from dear_jax.inference.loading import open_system
from dear_jax.inference.restorer import Restorer


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Three photos of two sizes, and two bins of two and one masks."""
    root = tmp_path_factory.mktemp("protocol")
    rng = np.random.default_rng(0)
    for name, size in (("a", (36, 36)), ("b", (36, 36)), ("c/d", (36, 45))):
        coarse = rng.integers(0, 256, (4, 4, 3), np.uint8)
        write_photo(root / f"photos/{name}.png", resize.bicubic(coarse, size))
    for name, ratio in (("01-10/x", 0.1), ("01-10/y", 0.05), ("20-30/z", 0.25)):
        mask = np.zeros((40, 40), np.uint8)
        mask[: round(40 * ratio)] = 255
        write_photo(root / f"masks/{name}.png", mask)
    return root / "photos", root / "masks"


@pytest.fixture(scope="module")
def prepared(folders, tmp_path_factory):
    """The same photos and masks as prepared sets."""
    root = tmp_path_factory.mktemp("sets")
    photos, masks = folders
    write_set(root / "photos", photos, {"test": ""})
    write_set(root / "masks", masks, {f"test/{b}": b for b in ("01-10", "20-30")}, 1)
    return root / "photos" / "test", root / "masks" / "test"


def assert_equal_samples(some, others):
    some, others = list(some), list(others)
    assert len(some) == len(others) > 0
    for one, other in zip(some, others, strict=True):
        assert (one.index, one.photo, one.bin) == (other.index, other.photo, other.bin)
        for part in ("truth", "image", "mask"):
            np.testing.assert_array_equal(getattr(one, part), getattr(other, part))


def test_photo_i_takes_mask_i_mod_n_in_every_bin(folders):
    samples = protocol.samples(*folders, 2)
    assert samples.names == ["a.png", "b.png", "c/d.png"] and len(samples) == 6
    assert [(c.photo, c.bin, c.mask_name) for c in samples] == [
        ("a.png", "01-10", "x.png"),
        ("a.png", "20-30", "z.png"),
        ("b.png", "01-10", "y.png"),
        ("b.png", "20-30", "z.png"),
        ("c/d.png", "01-10", "x.png"),
        ("c/d.png", "20-30", "z.png"),
    ]


def test_prepared_sets_give_the_samples_of_their_folders(folders, prepared):
    plain, packed = protocol.samples(*folders, 1.5), protocol.samples(*prepared, 1.5)
    assert plain.names == packed.names and _keys(plain) == _keys(packed)
    assert_equal_samples(plain, packed)
    one = next(prepared[0].glob("*-00001-of-00002.array_record"))
    assert protocol.samples(one, "none", 1).names == ["c/d.png"]


def test_names_and_keys_need_no_photo_to_be_decoded(folders, prepared, monkeypatch):
    for found in (folders, prepared):
        samples = protocol.samples(*found, 2)
        with monkeypatch.context() as patched:
            for room, name in ((sources, "decode_photo"), (mask_bins, "decode_mask")):
                patched.setattr(room, name, lambda *_: pytest.fail("decoded"))
            assert len(samples.names) == 3 and samples.keys(2)


def test_input_is_the_reduced_photo_black_where_missing(folders):
    sample = protocol.samples(*folders, 2.5).of_photo(2)[1]
    assert sample.truth.shape == (36, 45, 3) and sample.mask.shape == (14, 18)
    expected = resize.bicubic(sample.truth, (14, 18))
    np.testing.assert_array_equal(sample.image[~sample.mask], expected[~sample.mask])
    assert sample.mask.any() and not sample.image[sample.mask].any()
    mask = read_mask(folders[1] / "20-30" / "z.png")  # Of another size.
    np.testing.assert_array_equal(sample.mask, resize.nearest(mask, (14, 18)))
    assert protocol.input_size((256, 256), 6) == (43, 43)


def test_limit_takes_the_first_photos_and_changes_nothing_else(folders):
    few, every = (protocol.samples(*folders, 2, n) for n in (2, None))
    assert few.names == every.names[:2] and len(few) == 4
    assert_equal_samples(few, list(every)[:4])
    assert _keys(few) == _keys(every)[:4]
    assert protocol.samples(*folders, 2, 99).names == every.names


def test_without_masks_nothing_is_missing(folders):
    (sample, *rest) = protocol.samples(folders[0], "none", 2)
    assert len(rest) == 2 and sample.bin == "none"
    assert sample.mask.shape == (18, 18) and not sample.mask.any()
    np.testing.assert_array_equal(sample.image, resize.bicubic(sample.truth, (18, 18)))


def test_reduced_photos_are_the_truth(folders):
    whole, reduced = (
        protocol.samples(*folders, 1, reduce=r).of_photo(0)[0] for r in (1, 36 / 32)
    )
    expected = resize.bicubic(whole.truth, (32, 32))
    np.testing.assert_array_equal(reduced.truth, expected)
    assert reduced.image.shape == (32, 32, 3)
    with pytest.raises(InputError, match="9 x 9 pixels, reduced by 4; .*at least 31"):
        protocol.samples(*folders, 1, reduce=4)


# Places


def _keys(samples):
    return [key for i in range(len(samples.names)) for key in samples.keys(i)]


@pytest.mark.parametrize("kind", ["bmp", "ppm", "tif"])
@pytest.mark.parametrize("part", ["photos", "masks/10-20"])
def test_other_pixels_in_as_many_bytes_are_another_key(tmp_path, kind, part):
    rng = np.random.default_rng(0)

    def keys(seconds):
        path = tmp_path / part / f"a.{kind}"
        write_photo(path, rng.integers(0, 256, shape[part], np.uint8))
        os.utime(path, (seconds, seconds))
        sizes.add(path.stat().st_size)
        samples = protocol.samples(tmp_path / "photos", tmp_path / "masks", 2)
        return _keys(samples)

    shape, sizes = {"photos": (36, 36, 3), "masks/10-20": (36, 36)}, set()
    for name, size in shape.items():
        write_photo(tmp_path / name / f"a.{kind}", np.zeros(size, np.uint8))
    assert keys(1e9) != keys(1e9 + 1) and len(sizes) == 1


@pytest.mark.parametrize("masks", ["folder", "generated", "none"])
def test_keys_are_those_of_the_samples(folders, masks):
    samples = protocol.samples(
        folders[0], folders[1] if masks == "folder" else masks, 2
    )
    keys = _keys(samples)
    assert keys == [(c.photo, c.photo_digest, c.bin, c.mask_digest) for c in samples]
    assert len(set(keys)) == len(samples)
    assert all(len(d) == 16 and int(d, 16) for p in keys for d in (p[1], p[3]))


# Refusals


@pytest.mark.parametrize("scale", [0, -2, 0.5, float("nan"), float("inf")])
def test_bad_scales_and_limits_are_refused(folders, scale):
    with pytest.raises(InputError, match="finite number of at least 1"):
        protocol.samples(*folders, scale)
    with pytest.raises(InputError, match="limit 0: give at least 1 photo"):
        protocol.samples(*folders, 2, 0)


def test_scale_that_leaves_no_pixel_names_photo_and_largest_scale(folders):
    with pytest.raises(InputError, match="a.png: scale 90 .* at most 36"):
        protocol.samples(*folders, 90)


def test_photos_too_small_for_the_metrics_are_refused_at_the_first(folders, tmp_path):
    small = tmp_path / "small"
    write_photo(small / "t.png", np.zeros((30, 40, 3), np.uint8))
    words = "small/t.png: 40 x 30 pixels; the metrics need at least 31 x 31"
    with pytest.raises(InputError, match=words):
        protocol.samples(small, folders[1], 2)
    write_photo(small / "a.png", np.zeros((31, 31, 3), np.uint8))
    samples = protocol.samples(small, folders[1], 2)
    assert samples.of_photo(0)[0].truth.shape == (31, 31, 3)
    with pytest.raises(InputError, match=words):
        samples.of_photo(1)


def test_absent_photos_and_masks_say_what_to_set(folders, tmp_path):
    absent, settings = tmp_path / "absent", ("--data", "--masks")
    with pytest.raises(InputError, match="absent: no such folder .*; set --data to"):
        protocol.samples(absent, folders[1], 2, settings=settings)
    with pytest.raises(InputError, match="absent: no such folder .*; set --masks to"):
        protocol.samples(folders[0], absent, 2, settings=settings)
    with pytest.raises(InputError, match="no such folder .*; set photos to a folder"):
        protocol.samples(absent, folders[1], 2)


def test_a_photo_that_cannot_be_read_is_named_when_its_turn_comes(folders, tmp_path):
    write_photo(tmp_path / "a.png", np.zeros((36, 36, 3), np.uint8))
    (tmp_path / "b.png").write_text("no image")
    samples = protocol.samples(tmp_path, folders[1], 2)
    assert len(samples.of_photo(0)) == 2
    with pytest.raises(InputError, match=r"b\.png: .*or remove it"):
        samples.of_photo(1)


# Others


NAMES = [f"p{i}" for i in range(6)]


class Told(Restorer):
    """Enlarges by bicubic, and adds the level it was given to every pixel."""

    takes_denoise = True

    def __init__(self):
        super().__init__("model")
        self.levels = []

    def batch(self, images, masks=None, size=None, denoise=0.0, keep_known=False):
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


def test_an_old_photograph_does_not_depend_on_the_folders_other_photos(photos):
    every = list(protocol_v2.samples(photos, 2))
    assert [sample.photo for sample in every] == [f"{name}.png" for name in NAMES]
    for name in NAMES[:-1]:
        (photos / f"{name}.png").unlink()
    (alone,) = protocol_v2.samples(photos, 2)
    assert_equal_samples([replace(alone, index=5)], every[-1:])
    assert (alone.key, alone.level) == (every[-1].key, every[-1].level)
    (photos / "p5.png").rename(photos / "other.png")
    (renamed,) = protocol_v2.samples(photos, 2)
    assert (renamed.image != alone.image).any() and renamed.key != alone.key


def test_samples_of_v2_are_old_photos_black_where_masked(photos):
    samples = protocol_v2.samples(photos, 2)
    assert len(samples) == len(NAMES) and samples.per_photo == 1
    for index, sample in enumerate(samples):
        made = protocol_v2.old_photo(read_photo(photos / sample.photo), 2, sample.photo)
        np.testing.assert_array_equal(sample.truth, made.truth)
        np.testing.assert_array_equal(sample.mask, made.mask)
        np.testing.assert_array_equal(sample.image[~made.mask], made.image[~made.mask])
        assert not sample.image[sample.mask].any()
        assert (sample.bin, sample.level) == (made.draw.tone, made.level)
        assert [sample.key] == samples.keys(index)


@pytest.mark.parametrize("scale", [1, 2])
def test_scores_inside_and_outside_of_holes_are_those_of_their_pixels(photos, scale):
    samples = protocol_v2.samples(photos, scale)
    system = open_system("classical")
    for score, sample in zip(
        evaluate(system, samples, perceptual=False), samples, strict=True
    ):
        output = system(sample.image, sample.mask, size=sample.truth.shape[:2])
        hole = resize.nearest(sample.mask, sample.truth.shape[:2])
        error = (output.astype(float) - sample.truth) / 255
        for part, chosen in (("inside", hole), ("outside", ~hole)):
            mse = np.mean(error[chosen] ** 2)
            psnr, l1 = (getattr(score, f"{m}_{part}") for m in ("psnr", "l1"))
            assert psnr == pytest.approx(-10 * np.log10(mse), rel=1e-5)
            assert l1 == pytest.approx(np.abs(error[chosen]).mean(), rel=1e-5)
        if scale == 1:
            kept = np.where(sample.mask[..., None], output, sample.image)
            expected = np.abs(kept.astype(float) - sample.truth).mean() / 255
            assert score.l1_pasted == pytest.approx(expected, rel=1e-4)


def test_who_is_told_gets_the_level_of_each_photo_and_others_get_none(photos):
    samples, system = protocol_v2.samples(photos, 2), Told()
    plain = evaluate(system, samples, perceptual=False)
    assert set(system.levels) == {0.0}
    system.levels.clear()
    given_level = evaluate(system, samples, perceptual=False, given_level=True)
    levels = [sample.level for sample in samples]
    assert set(system.levels) == set(levels) and min(levels) > 0
    assert all(a.psnr != b.psnr for a, b in zip(plain, given_level, strict=True))


def test_kept_scores_and_pictures_never_mix_protocols_or_levels(photos, tmp_path):
    (photos / "p5.png").unlink()  # Of another size: more to compile.
    evaluator, system = Evaluator(tmp_path / "out", Bar()), Told()
    runs = {
        "v1": protocol.samples(photos, "none", 2),
        "v2": protocol_v2.samples(photos, 2),
        "sr": protocol_sr.samples(photos, 2),
    }
    wanted = [("v1", False), ("sr", False), ("v2", False), ("v2", True)]
    found = {}
    for again in range(2):
        for name, given_level in wanted:
            shown = score_cache.shown_samples(runs[name])
            before = len(system.levels)
            got = evaluator.evaluate(system, runs[name], shown, "model", given_level)
            assert (len(system.levels) == before) == bool(again)
            if again:
                assert got.scores == found[name, given_level].scores
            for sample, picture in zip(shown, got.pictures, strict=True):
                denoise = sample.level if given_level else 0.0
                expected = system(
                    sample.image, size=sample.truth.shape[:2], denoise=denoise
                )
                np.testing.assert_array_equal(picture, expected)
            found[name, given_level] = got
    assert len(list((tmp_path / "out" / "scores").iterdir())) == len(wanted)


def test_sr_is_what_brute_force_finds_on_luma_without_a_border(tmp_path):
    photos = tmp_path / "photos"
    for i, size in enumerate([(35, 34), (34, 44)]):
        coarse = np.random.default_rng(i).integers(0, 256, (5, 5, 3), np.uint8)
        write_photo(photos / f"{i}.png", resize.bicubic(coarse, size))
    samples = protocol_sr.samples(photos, 3)
    assert [sample.truth.shape[:2] for sample in samples] == [(33, 33), (33, 42)]
    scores = evaluate(open_system("bicubic"), samples, perceptual=False)
    for score, sample in zip(scores, samples, strict=True):
        whole = read_photo(photos / sample.photo)
        height, width = (3 * (side // 3) for side in whole.shape[:2])
        truth = whole[:height, :width]
        np.testing.assert_array_equal(sample.truth, truth)
        image = resize.bicubic(truth, (height // 3, width // 3))
        np.testing.assert_array_equal(sample.image, image)
        assert not sample.mask.any()
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
        protocol_sr.samples(photos, scale)
    # A border that leaves too little of a photo.
    with pytest.raises(InputError, match="30 pixels|at least 31"):
        protocol_sr.samples(photos, 15)


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
    monkeypatch.setattr(report, "load", _load)
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
    given_level = capsys.readouterr().err
    assert words in given_level and given_level.count("\n") == 1
