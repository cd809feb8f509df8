"""Laws of prepared sets: who is in which split, and what their records hold."""

import hashlib
import io
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from preparing import listed, run, write_mask, write_masks, write_photos

from data_prep import records, splits
from data_prep.kinds import members
from dear_jax.data import drawn_masks
from dear_jax.data.manifest import read_manifest, shard_of
from dear_jax.data.mask_bins import nearest_bin, open_test_masks
from dear_jax.data.masks import open_masks
from dear_jax.data.sources import open_photos
from dear_jax.errors import InputError
from dear_jax.images import resize
from dear_jax.images.io import decode_photo, list_photos, read_photo, write_photo
from dear_jax.images.masks import decode_mask, read_mask


@pytest.fixture
def source(tmp_path):
    return write_photos(tmp_path / "photos")


@pytest.fixture
def mask_folder(tmp_path):
    return write_masks(tmp_path / "masks")


# Splits


def test_published_celebahq_list_follows_its_law():
    published = Path(splits.__file__).with_name("celebahq_test.txt").read_text()
    lines = published.splitlines()
    numbers = [int(line) for line in lines if not line.startswith("#")]
    found = [n for n in range(30_000) if splits.celebahq_split(n) == "test"]
    assert found == numbers
    assert len(numbers) == 2000

    def digest(number):
        return hashlib.sha256(b"%05d" % number).hexdigest()

    others = set(range(30_000)) - set(numbers)
    assert max(map(digest, numbers)) < min(map(digest, others))


def test_ffhq_split_is_that_of_its_owners():
    found = [splits.ffhq_split(n) for n in (0, 59_999, 60_000, 69_999)]
    assert found == ["train", "train", "test", "test"]


def test_larger_share_for_testing_only_adds_to_a_smaller_one():
    names = [f"{i}.png" for i in range(1000)]
    tests = [
        {n for n in names if splits.split_by_hash(n, share) == "test"}
        for share in (0, 0.1, 0.5, 1)
    ]
    assert tests[0] <= tests[1] <= tests[2] <= tests[3]
    assert not tests[0] and len(tests[3]) == 1000
    assert 60 < len(tests[1]) < 140


def test_split_by_hash_compares_the_digest_with_the_share():
    first = int(hashlib.sha256(b"a/b.png").hexdigest(), 16) / 2**256
    assert splits.split_by_hash("a/b.png", first + 1e-9) == "test"
    assert splits.split_by_hash("a/b.png", first - 1e-9) == "train"


def test_mask_bins_are_those_that_unsorted_masks_are_read_into():
    for ratio in np.linspace(0, 1, 1001).tolist():
        inside = 0.01 <= ratio <= 0.6
        assert splits.mask_bin(ratio) == (nearest_bin(ratio) if inside else None)


@pytest.mark.parametrize("name", ["0.jpg", "x/00000.png", "images5/imgHQ00000.png"])
def test_the_one_number_in_a_name_is_found_in_the_usual_namings(name):
    assert splits.number_of(name) == 0
    assert splits.number_of(name.replace("0.", "12.")) == 12
    for other in ("face.png", "12-crop2.png"):
        with pytest.raises(InputError, match=rf"{other}: .*number.*rename"):
            splits.number_of(other)


# Kinds


@pytest.mark.parametrize(
    "pattern, first",
    [
        *(("{}.jpg", 0), ("{:05d}.png", 0), ("imgHQ{:05d}.png", 0)),
        *(("CelebA-HQ-img/{}.jpg", 0), ("{:05d}.jpg", 1)),
    ],
)
def test_celebahq_has_28000_and_2000_by_number(pattern, first):
    names = map(pattern.format, range(first, first + 30_000))
    found = members("celebahq", listed(*names))
    test = {splits.number_of(m.name) - first for m in found if m.split == "test"}
    assert test == splits.celebahq_test_numbers()
    assert [m.split for m in found] == ["train"] * 28_000 + ["test"] * 2_000


def test_incomplete_celebahq_without_image_0_must_say_what_it_counts_from():
    files = listed(*(f"{i:05d}.jpg" for i in range(1, 30_000)))
    with pytest.raises(InputError, match="holds no image 0.*--first 0 or --first 1"):
        members("celebahq", files, incomplete=True)
    for first in (0, 1):
        found = members("celebahq", files, incomplete=True, first=first)
        test = {splits.number_of(m.name) - first for m in found if m.split == "test"}
        there = range(1 - first, 30_000 - first)
        assert test == {n for n in splits.celebahq_test_numbers() if n in there}


def test_incomplete_set_is_refused_or_keeps_the_splits_of_its_images():
    files = listed(*(f"{i}.png" for i in range(100)))
    with pytest.raises(InputError, match="of 28,000 for train.*--incomplete"):
        members("celebahq", files)
    found = members("celebahq", files, incomplete=True)
    assert {m.name for m in found if m.split == "test"} == {
        f"{n}.png" for n in splits.celebahq_test_numbers() if n < 100
    }


@pytest.mark.parametrize(
    "names, complaint",
    [
        (("0.jpg", "00000.png"), "0.jpg and 00000.png have the same number"),
        (("0.png", "30001.png"), "30001.png: numbers end at 29999"),
        ((), "holds no image"),
    ],
)
def test_celebahq_of_other_images_is_refused(names, complaint):
    with pytest.raises(InputError, match=complaint):
        members("celebahq", listed(*names), incomplete=True)


def test_ffhq_layout_is_split_by_number_and_its_other_folders_are_passed_over():
    names = [f"images1024x1024/{n - n % 1000:05d}/{n:05d}.png" for n in range(70_000)]
    others = ["thumbnails128x128/00000/00000.png", "in-the-wild-images/00000/00000.png"]
    found = members("ffhq", listed(*others, *names))
    assert [m.name for m in found] == names
    assert [m.split for m in found] == ["train"] * 60_000 + ["test"] * 10_000
    thumbnails = members("ffhq", listed(*others), incomplete=True)
    assert [m.name for m in thumbnails] == others[:1]


@pytest.mark.parametrize(
    "train, val",
    [
        ("places365standard_easyformat/places365_standard/train/airfield", "{}/val/a"),
        ("data_256/a/airfield", "val_256"),
        ("data_large/a/airfield", "val_large"),
    ],
)
def test_places365_takes_its_owners_folders_for_splits(train, val):
    val = val.format("places365standard_easyformat/places365_standard")
    files = listed(f"{train}/2.jpg", f"{val}/7.jpg", "test_256/1.jpg", f"{train}/1.jpg")
    found = members("places365", files, incomplete=True)
    assert [(m.split, m.where) for m in found] == [
        ("train", f"{train}/1.jpg"),
        ("train", f"{train}/2.jpg"),
        ("val", f"{val}/7.jpg"),
    ]
    below = "airfield/1.jpg" if "easyformat" in train else "a/airfield/1.jpg"
    assert found[0].name == below


def test_places365_refuses_two_sizes_at_once_and_other_folders():
    both = listed("data_256/a/1.jpg", "data_large/a/1.jpg")
    with pytest.raises(InputError, match="the same image; keep one size"):
        members("places365", both, incomplete=True)
    with pytest.raises(InputError, match="none of the folders train and val"):
        members("places365", listed("a/1.jpg"), incomplete=True)


def test_photo_keeps_its_split_when_others_are_added():
    few = listed(*(f"{i}.png" for i in range(0, 60, 3)))
    many = listed(*(f"{i}.png" for i in range(60)))
    before = {m.name: m.split for m in members("folder", few, share=0.4)}
    after = {m.name: m.split for m in members("folder", many, share=0.4)}
    assert before.items() <= after.items()
    assert set(after.values()) == {"train", "test"}


# Records


def test_records_are_the_files_in_the_order_of_the_folder(source, tmp_path):
    assert run("folder", source, tmp_path / "new" / "out", "--per-shard", 4) == 0
    manifest = read_manifest(tmp_path / "new" / "out")
    assert [shard.path for shard in manifest.shards] == [
        f"train/out-0000{i}-of-00003.array_record" for i in range(3)
    ]
    paths = list_photos(source)
    records = [record for shard in manifest.shards for record in shard.records]
    assert [r.name for r in records] == [
        p.relative_to(source).as_posix() for p in paths
    ]
    packed = open_photos(str(tmp_path / "new" / "out" / "train"))
    for i, (path, record) in enumerate(zip(paths, records, strict=True)):
        data = path.read_bytes()
        height, width = packed[i].shape[:2]
        assert (record.width, record.height) == (width, height)
        assert record.bytes == len(data)
        assert record.sha256 == hashlib.sha256(data).hexdigest()
        np.testing.assert_array_equal(packed[i], read_photo(path))


def test_manifest_describes_the_shards_on_disk(source, tmp_path):
    out = tmp_path / "out"
    run("folder", source, out, "--test", 0.5, "--per-shard", 4)
    for shard in read_manifest(out).shards:
        data = (out / shard.path).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (
            shard.bytes,
            shard.sha256,
        )
        assert shard_of(out / shard.path) == shard
        assert 1 <= len(shard.records) <= 4


def test_side_reduces_the_centre_square_and_leaves_squares_alone(tmp_path):
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, (20, 30, 3), np.uint8)
    write_photo(tmp_path / "in" / "a.png", wide)
    write_photo(tmp_path / "in" / "b.jpg", wide[:16, :16])
    run("folder", tmp_path / "in", tmp_path / "out", "--side", 16)
    packed = open_photos(str(tmp_path / "out" / "train"))
    expected = resize.bicubic(wide[:, 5:25], (16, 16))
    np.testing.assert_array_equal(packed[0], expected)
    kept = read_manifest(tmp_path / "out").shards[0].records[1]
    data = (tmp_path / "in" / "b.jpg").read_bytes()
    assert kept.sha256 == hashlib.sha256(data).hexdigest()


def test_reduced_jpeg_stays_close_to_the_photo():
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    smooth = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(90)), -1)
    file = io.BytesIO()
    Image.fromarray(smooth).save(file, "PNG")
    made = records.make(file.getvalue(), "a.png", records.Recipe(side=32, quality=95))
    pixels = decode_photo(made.data, "record")
    expected = resize.bicubic(smooth, (32, 32))
    assert made.data[:2] == b"\xff\xd8"
    assert np.abs(pixels.astype(int) - expected).mean() < 3


def test_masks_are_sorted_into_bins_by_their_measured_ratio(mask_folder, tmp_path):
    out = tmp_path / "out"
    run("masks", mask_folder, out, "--test", 1)
    manifest = read_manifest(out)
    bins = [drawn_masks.bin_name(limits) for limits in drawn_masks.RATIO_BINS]
    assert [s.path.split("/")[:2] for s in manifest.shards] == [
        ["test", name] for name in bins
    ]
    for shard, (low, high) in zip(manifest.shards, drawn_masks.RATIO_BINS, strict=True):
        for record in shard.records:
            ratio = read_mask(mask_folder / record.name).mean()
            assert low <= ratio <= high and record.missing == ratio
    left_out = (out / "left_out.txt").read_text().splitlines()
    assert [Path(line.split(":")[0]).stem for line in left_out] == [
        "00000",
        "00001",
        "00010",
        "00011",
    ]


def test_binned_masks_are_named_and_drawn_as_in_their_folder(tmp_path):
    folder = tmp_path / "masks"
    for name, share in (("01-10/b", 0.05), ("01-10/a", 0.02), ("20-30/a", 0.25)):
        write_mask(folder / f"{name}.png", share)
    run("masks", folder, tmp_path / "set", "--test", 0)
    packed = tmp_path / "set" / "train"
    plain, binned = open_test_masks(folder), open_test_masks(packed)
    assert plain.keys() == binned.keys()
    for name, masks in plain.items():
        for one, other in zip(masks, binned[name], strict=True):
            assert (one.name, one.digest()) == (other.name, other.digest())
    drawn, others = open_masks(str(folder)), open_masks(str(packed))
    assert drawn.facts() == others.facts()
    for seed in range(10):
        one, other = (
            masks.draw(np.random.default_rng(seed), (8, 8)) for masks in (drawn, others)
        )
        np.testing.assert_array_equal(one, other)


def test_bins_without_masks_are_named(tmp_path, capsys):
    write_mask(tmp_path / "masks" / "a.png", 0.25)
    run("masks", tmp_path / "masks", tmp_path / "set", "--test", 1)
    assert "no mask of test is in bin 01-10, 10-20, 30-40" in capsys.readouterr().err


def test_photos_smaller_than_the_side_are_named_or_left_out(tmp_path, capsys):
    for name, side in (("large", 12), ("small", 9)):
        pixels = np.zeros((side, side + 3, 3), np.uint8)
        write_photo(tmp_path / "in" / f"{name}.png", pixels)
    command = ["folder", tmp_path / "in", tmp_path / "out", "--side", 10]
    assert run(*command) == 2
    assert "small.png: 12 x 9 pixels, too small" in capsys.readouterr().err
    assert run(*command, "--skip-unreadable") == 0
    (shard,) = read_manifest(tmp_path / "out").shards
    assert [(r.name, r.width, r.height) for r in shard.records] == [
        ("large.png", 10, 10)
    ]


def test_raw_photos_are_the_pixels_themselves_and_read_like_any(source, tmp_path):
    for side in ((), ("--side", 8)):
        run("folder", source, tmp_path / "raw" / "set", "--raw", *side)
        run("folder", source, tmp_path / "png" / "set", *side)
        raw, png = (tmp_path / x / "set" for x in ("raw", "png"))
        opened, expected = open_photos(raw / "train"), open_photos(png / "train")
        assert opened.names == expected.names and len(opened) == 12
        for found, photo_ in zip(opened, expected, strict=True):
            np.testing.assert_array_equal(found, photo_)
        (shard,) = read_manifest(raw).shards
        assert read_manifest(raw).settings["raw"] is True
        for record in shard.records:
            head = len(f"P6\n{record.width} {record.height}\n255\n")
            assert record.bytes == head + 3 * record.width * record.height
        # The shard does not compress them either.
        assert shard.bytes > sum(record.bytes for record in shard.records)
        for path in (raw, png):
            shutil.rmtree(path)


def test_masks_in_an_archive_give_the_same_set_as_in_a_folder(mask_folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "masks.zip", "w") as archive:
        for path in mask_folder.rglob("*.png"):
            archive.write(path, path.relative_to(mask_folder))
        archive.writestr("__MACOSX/mask/._00003.png", b"")
    run("masks", mask_folder, tmp_path / "a" / "set")
    run("masks", tmp_path / "masks.zip", tmp_path / "b" / "set")
    plain, packed = (read_manifest(tmp_path / x / "set") for x in "ab")
    assert (plain.settings, plain.shards) == (packed.settings, packed.shards)


def test_inverted_masks_are_the_same_as_masks_of_the_other_polarity(tmp_path):
    for i, share in enumerate((0.2, 0.4)):
        write_mask(tmp_path / "white" / f"{i}.png", share)
        black = ~read_mask(tmp_path / "white" / f"{i}.png")
        path = tmp_path / "black" / f"{i}.png"
        write_photo(path, black.astype(np.uint8) * 255)
    recipe = records.Recipe(masks=True, invert=True)
    for path in (tmp_path / "black").iterdir():
        made = records.make(path.read_bytes(), path.name, recipe)
        white = read_mask(tmp_path / "white" / path.name)
        np.testing.assert_array_equal(decode_mask(made.data, "record"), white)
        assert made.missing == white.mean()


def test_split_of_a_mask_does_not_depend_on_how_the_archive_was_unpacked():
    names = [f"{i:05d}.png" for i in range(50)]
    flat = members("masks", listed(*names), share=0.3)
    deep = members("masks", listed(*(f"x/mask/{n}" for n in names)), share=0.3)
    assert [m.split for m in flat] == [m.split for m in deep]
