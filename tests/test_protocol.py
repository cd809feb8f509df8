"""Laws of the evaluation protocol: which damaged photos there are to restore."""

import os
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from prepared import write_set

from dear_jax.data import mask_bins, sources
from dear_jax.errors import InputError
from dear_jax.evaluation import protocol
from dear_jax.images import resize
from dear_jax.images.io import write_photo
from dear_jax.images.masks import read_mask


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


def assert_equal_cases(some, others):
    some, others = list(some), list(others)
    assert len(some) == len(others) > 0
    for one, other in zip(some, others, strict=True):
        assert (one.index, one.photo, one.bin) == (other.index, other.photo, other.bin)
        for part in ("truth", "image", "mask"):
            np.testing.assert_array_equal(getattr(one, part), getattr(other, part))


def test_photo_i_takes_mask_i_mod_n_in_every_bin(folders):
    cases = protocol.cases(*folders, 2)
    assert cases.names == ["a.png", "b.png", "c/d.png"] and len(cases) == 6
    assert [(c.photo, c.bin, c.mask_name) for c in cases] == [
        ("a.png", "01-10", "x.png"),
        ("a.png", "20-30", "z.png"),
        ("b.png", "01-10", "y.png"),
        ("b.png", "20-30", "z.png"),
        ("c/d.png", "01-10", "x.png"),
        ("c/d.png", "20-30", "z.png"),
    ]


def test_the_cases_of_a_photo_are_those_met_while_iterating(folders):
    cases = protocol.cases(*folders, 2)
    with ThreadPoolExecutor(3) as pool:
        apart = list(pool.map(cases.of_photo, range(3)))
    assert [len(found) for found in apart] == [2, 2, 2]
    assert_equal_cases((case for found in apart for case in found), cases)


def test_prepared_sets_give_the_cases_of_their_folders(folders, prepared):
    plain, packed = protocol.cases(*folders, 1.5), protocol.cases(*prepared, 1.5)
    assert plain.names == packed.names
    assert_equal_cases(plain, packed)
    one = next(prepared[0].glob("*-00001-of-00002.array_record"))
    assert protocol.cases(one, "none", 1).names == ["c/d.png"]


def test_names_need_no_photo_to_be_decoded(folders, prepared, monkeypatch):
    for found in (folders, prepared):
        cases = protocol.cases(*found, 2)
        with monkeypatch.context() as patched:
            for room, name in ((sources, "decode_photo"), (mask_bins, "decode_mask")):
                patched.setattr(room, name, lambda *_: pytest.fail("decoded"))
            assert len(cases.names) == 3 and cases.places(2)


def test_input_is_the_reduced_photo_black_where_missing(folders):
    case = protocol.cases(*folders, 2.5).of_photo(2)[1]
    assert case.truth.shape == (36, 45, 3) and case.mask.shape == (14, 18)
    expected = resize.bicubic(case.truth, (14, 18))
    np.testing.assert_array_equal(case.image[~case.mask], expected[~case.mask])
    assert case.mask.any() and not case.image[case.mask].any()


def test_masks_of_other_sizes_are_reduced_by_nearest_neighbour(folders):
    case = protocol.cases(*folders, 2).of_photo(0)[1]
    mask = read_mask(folders[1] / "20-30" / "z.png")
    np.testing.assert_array_equal(case.mask, resize.nearest(mask, (18, 18)))


def test_scale_6_of_256_is_43():
    assert protocol.input_size((256, 256), 6) == (43, 43)


def test_limit_takes_the_first_photos_and_changes_nothing_else(folders):
    few, every = (protocol.cases(*folders, 2, n) for n in (2, None))
    assert few.names == every.names[:2] and len(few) == 4
    assert_equal_cases(few, list(every)[:4])
    assert protocol.cases(*folders, 2, 99).names == every.names


def test_without_masks_nothing_is_missing(folders):
    (case, *rest) = protocol.cases(folders[0], "none", 2)
    assert len(rest) == 2 and case.bin == "none"
    assert case.mask.shape == (18, 18) and not case.mask.any()
    np.testing.assert_array_equal(case.image, resize.bicubic(case.truth, (18, 18)))


def test_reduced_photos_are_the_truth(folders):
    whole, reduced = (
        protocol.cases(*folders, 1, reduce=r).of_photo(0)[0] for r in (1, 36 / 32)
    )
    expected = resize.bicubic(whole.truth, (32, 32))
    np.testing.assert_array_equal(reduced.truth, expected)
    assert reduced.image.shape == (32, 32, 3)
    with pytest.raises(InputError, match="9 x 9 pixels, reduced by 4; .*at least 31"):
        protocol.cases(*folders, 1, reduce=4)


# Places


def _places(cases):
    return [place for i in range(len(cases.names)) for place in cases.places(i)]


def test_places_are_the_same_wherever_the_files_lie(folders, tmp_path):
    photos, _ = folders
    for name in ("a.png", "b.png", "c/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((photos / name).read_bytes())
    places = _places(protocol.cases(*folders, 2))
    assert _places(protocol.cases(tmp_path, folders[1], 2)) == places
    packed = write_set(tmp_path / "set", photos, {"test": ""}) / "test"
    assert _places(protocol.cases(packed, folders[1], 2)) == places


def test_folders_and_prepared_sets_of_the_same_files_have_the_same_places(
    folders, prepared
):
    plain, packed = protocol.cases(*folders, 2), protocol.cases(*prepared, 2)
    assert _places(plain) == _places(packed)


@pytest.mark.parametrize("kind", ["bmp", "ppm", "tif"])
@pytest.mark.parametrize("part", ["photos", "masks/10-20"])
def test_other_pixels_in_as_many_bytes_are_another_place(tmp_path, kind, part):
    rng = np.random.default_rng(0)

    def places(seconds):
        path = tmp_path / part / f"a.{kind}"
        write_photo(path, rng.integers(0, 256, shape[part], np.uint8))
        os.utime(path, (seconds, seconds))
        sizes.add(path.stat().st_size)
        cases = protocol.cases(tmp_path / "photos", tmp_path / "masks", 2)
        return _places(cases)

    shape, sizes = {"photos": (36, 36, 3), "masks/10-20": (36, 36)}, set()
    for name, size in shape.items():
        write_photo(tmp_path / name / f"a.{kind}", np.zeros(size, np.uint8))
    assert places(1e9) != places(1e9 + 1) and len(sizes) == 1


@pytest.mark.parametrize("masks", ["folder", "generated", "none"])
def test_places_are_those_of_the_cases(folders, masks):
    cases = protocol.cases(folders[0], folders[1] if masks == "folder" else masks, 2)
    places = _places(cases)
    assert places == [(c.photo, c.photo_digest, c.bin, c.mask_digest) for c in cases]
    assert len(set(places)) == len(cases)
    assert all(len(d) == 16 and int(d, 16) for p in places for d in (p[1], p[3]))


def test_a_smaller_set_has_the_first_places_of_a_larger(folders):
    every, few = (_places(protocol.cases(*folders, 2, limit)) for limit in (None, 2))
    assert few == every[: len(few)] and len(few) < len(every)


# Refusals


@pytest.mark.parametrize("scale", [0, -2, 0.5, float("nan"), float("inf")])
def test_bad_scales_are_refused(folders, scale):
    with pytest.raises(InputError, match="finite number of at least 1"):
        protocol.cases(*folders, scale)


def test_a_limit_below_one_is_refused(folders):
    with pytest.raises(InputError, match="limit 0: give at least 1 photo"):
        protocol.cases(*folders, 2, 0)


def test_scale_that_leaves_no_pixel_names_photo_and_largest_scale(folders):
    with pytest.raises(InputError, match="a.png: scale 90 .* at most 36"):
        protocol.cases(*folders, 90)


def test_photos_too_small_for_the_metrics_are_refused_at_the_first(folders, tmp_path):
    small = tmp_path / "small"
    write_photo(small / "t.png", np.zeros((30, 40, 3), np.uint8))
    words = "small/t.png: 40 x 30 pixels; the metrics need at least 31 x 31"
    with pytest.raises(InputError, match=words):
        protocol.cases(small, folders[1], 2)
    write_photo(small / "a.png", np.zeros((31, 31, 3), np.uint8))
    cases = protocol.cases(small, folders[1], 2)
    assert cases.of_photo(0)[0].truth.shape == (31, 31, 3)
    with pytest.raises(InputError, match=words):
        cases.of_photo(1)


def test_absent_photos_and_masks_say_what_to_set(folders, tmp_path):
    absent, settings = tmp_path / "absent", ("--data", "--masks")
    with pytest.raises(InputError, match="absent: no such folder .*; set --data to"):
        protocol.cases(absent, folders[1], 2, settings=settings)
    with pytest.raises(InputError, match="absent: no such folder .*; set --masks to"):
        protocol.cases(folders[0], absent, 2, settings=settings)
    with pytest.raises(InputError, match="no such folder .*; set photos to a folder"):
        protocol.cases(absent, folders[1], 2)


def test_a_photo_that_cannot_be_read_is_named_when_its_turn_comes(folders, tmp_path):
    write_photo(tmp_path / "a.png", np.zeros((36, 36, 3), np.uint8))
    (tmp_path / "b.png").write_text("no image")
    cases = protocol.cases(tmp_path, folders[1], 2)
    assert len(cases.of_photo(0)) == 2
    with pytest.raises(InputError, match=r"b\.png: .*or remove it"):
        cases.of_photo(1)
