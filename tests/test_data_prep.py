"""Laws of prepared sets: their splits, their bytes, and what a stopped run leaves."""

import hashlib
import io
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data_prep import __main__ as command
from data_prep import images, shards, splits
from data_prep.kinds import members
from data_prep.plan import Options
from data_prep.prepare import prepare
from data_prep.sources import File
from data_prep.workspace import workspace
from dear_jax import photo, resize
from dear_jax.data import strokes
from dear_jax.data.manifest import Manifest, read_manifest, shard_of, write_manifest
from dear_jax.data.masks_by_bin import nearest_bin
from dear_jax.data.photos import open_photos
from dear_jax.errors import InputError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def source(tmp_path):
    """Twelve small photos in two subfolders, PNG and JPEG, of several sizes."""
    folder, rng = tmp_path / "photos", np.random.default_rng(0)
    for i in range(12):
        pixels = rng.integers(0, 256, (9 + i % 3, 12 - i % 4, 3), np.uint8)
        name = f"{'ab'[i % 2]}/{i}.{'png' if i % 3 else 'jpg'}"
        photo.write_photo(folder / name, pixels)
    return folder


def run(*arguments):
    """Runs the command here, in this process."""
    return command.main([*map(str, arguments), "--workers", "1"])


def tree(folder):
    """Returns path -> content of all files below a folder."""
    paths = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in paths}


def listed(*names):
    return [File(name, 1, name) for name in names]


def write_mask(path, share, side=20):
    """A mask of which the first `share` of the pixels is missing."""
    mask = np.arange(side * side) < round(share * side * side)
    photo.write_photo(path, mask.reshape(side, side).astype(np.uint8) * 255)


# Splits


def test_published_celebahq_list_follows_its_law():
    numbers = splits.celebahq_test_numbers()
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
def test_number_in_a_name_is_found_in_the_usual_namings(name):
    assert splits.number_of(name) == 0
    assert splits.number_of(name.replace("0.", "12.")) == 12


@pytest.mark.parametrize("name", ["face.png", "12-crop2.png"])
def test_name_without_one_number_is_refused(name):
    with pytest.raises(InputError, match=rf"{name}: .*number.*rename"):
        splits.number_of(name)


# Kinds


@pytest.mark.parametrize(
    "pattern", ["{}.jpg", "{:05d}.png", "imgHQ{:05d}.png", "CelebA-HQ-img/{}.jpg"]
)
def test_celebahq_has_28000_and_2000_by_number(pattern):
    found = members("celebahq", listed(*map(pattern.format, range(30_000))))
    test = {splits.number_of(m.name) for m in found if m.split == "test"}
    assert test == set(splits.celebahq_test_numbers())
    assert [m.split for m in found] == ["train"] * 28_000 + ["test"] * 2_000


def test_celebahq_counted_from_one_has_the_same_split():
    found = members("celebahq", listed(*(f"{i + 1:05d}.jpg" for i in range(30_000))))
    test = {splits.number_of(m.name) - 1 for m in found if m.split == "test"}
    assert test == set(splits.celebahq_test_numbers())


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
        (("30001.png",), "30001.png: numbers end at 29999"),
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
    assert found[0].name == "airfield/1.jpg" or found[0].name == "a/airfield/1.jpg"


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
    assert run("folder", source, tmp_path / "new" / "out", "--shards", 3) == 0
    manifest = read_manifest(tmp_path / "new" / "out")
    assert [shard.path for shard in manifest.shards] == [
        f"train/out-0000{i}-of-00003.array_record" for i in range(3)
    ]
    paths = photo.list_photos(source)
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
        np.testing.assert_array_equal(packed[i], photo.read_photo(path))


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
    photo.write_photo(tmp_path / "in" / "a.png", wide)
    photo.write_photo(tmp_path / "in" / "b.jpg", wide[:16, :16])
    run("folder", tmp_path / "in", tmp_path / "out", "--side", 16, "--quality", 0)
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
    made = images.make(file.getvalue(), "a.png", images.Recipe(side=32, quality=95))
    pixels = photo.decode_photo(made.data, "record")
    expected = resize.bicubic(smooth, (32, 32))
    assert made.data[:2] == b"\xff\xd8"
    assert np.abs(pixels.astype(int) - expected).mean() < 3


@pytest.fixture
def mask_folder(tmp_path):
    """Masks of known hole ratios, some outside all bins."""
    folder = tmp_path / "masks"
    shares = (0, 0.005, 0.01, 0.05, 0.1, 0.25, 0.35, 0.45, 0.55, 0.6, 0.61, 1)
    for i, share in enumerate(shares):
        write_mask(folder / "mask" / f"{i:05d}.png", share)
    return folder


def test_masks_are_sorted_into_bins_by_their_measured_ratio(mask_folder, tmp_path):
    out = tmp_path / "out"
    run("masks", mask_folder, out, "--test", 1)
    manifest = read_manifest(out)
    bins = [strokes.bin_name(limits) for limits in strokes.RATIO_BINS]
    assert [s.path.split("/")[:2] for s in manifest.shards] == [
        ["test", name] for name in bins
    ]
    for shard, (low, high) in zip(manifest.shards, strokes.RATIO_BINS, strict=True):
        for record in shard.records:
            ratio = photo.read_mask(mask_folder / record.name).mean()
            assert low <= ratio <= high and record.missing == ratio
    left_out = (out / "left_out.txt").read_text().splitlines()
    assert [Path(line.split(":")[0]).stem for line in left_out] == [
        "00000",
        "00001",
        "00010",
        "00011",
    ]


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
        black = ~photo.read_mask(tmp_path / "white" / f"{i}.png")
        path = tmp_path / "black" / f"{i}.png"
        photo.write_photo(path, black.astype(np.uint8) * 255)
    recipe = images.Recipe(masks=True, invert=True)
    for path in (tmp_path / "black").iterdir():
        made = images.make(path.read_bytes(), path.name, recipe)
        white = photo.read_mask(tmp_path / "white" / path.name)
        np.testing.assert_array_equal(photo.decode_mask(made.data, "record"), white)
        assert made.missing == white.mean()


def test_split_of_a_mask_does_not_depend_on_how_the_archive_was_unpacked():
    names = [f"{i:05d}.png" for i in range(50)]
    flat = members("masks", listed(*names), share=0.3)
    deep = members("masks", listed(*(f"x/mask/{n}" for n in names)), share=0.3)
    assert [m.split for m in flat] == [m.split for m in deep]


# Stopping and going on


def stopped_after(monkeypatch, count):
    """Makes the run stop as by Ctrl-C once `count` records are made."""
    original, made = shards.make, []

    def make(*arguments):
        if len(made) == count:
            raise KeyboardInterrupt
        made.append(None)
        return original(*arguments)

    monkeypatch.setattr(shards, "make", make)


@pytest.mark.parametrize("kind", ["folder", "masks"])
@pytest.mark.parametrize("count", [0, 5, 11, 15])
def test_stopped_run_continues_to_the_same_bytes(
    kind, count, source, mask_folder, tmp_path, monkeypatch, capsys
):
    source = mask_folder if kind == "masks" else source
    command = [kind, source, tmp_path / "stopped" / "set", "--per-shard", 2]
    command += ["--test", 0.5]
    with monkeypatch.context() as patch:
        stopped_after(patch, min(count, 11) if kind == "folder" else count)
        assert run(*command) == 130
    assert "the same command continues" in capsys.readouterr().err
    before = {
        path: path.stat().st_ino
        for path in (tmp_path / "stopped" / "set").rglob("*.array_record")
    }
    assert not (tmp_path / "stopped" / "set" / "manifest.json").exists()
    assert run(*command) == 0
    assert all(path.stat().st_ino == inode for path, inode in before.items())
    run(kind, source, tmp_path / "fresh" / "set", "--per-shard", 2, "--test", 0.5)
    assert tree(tmp_path / "stopped") == tree(tmp_path / "fresh")


def test_run_that_was_stopped_may_go_on_with_other_settings(
    source, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        stopped_after(patch, 9)
        run("folder", source, tmp_path / "a" / "set", "--shards", 5, "--test", 0.5)
    assert run("folder", source, tmp_path / "a" / "set", "--shards", 2) == 0
    run("folder", source, tmp_path / "b" / "set", "--shards", 2)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_shard_damaged_while_the_run_was_stopped_is_written_again(
    source, tmp_path, monkeypatch
):
    command = ["folder", source, tmp_path / "a" / "set", "--per-shard", 3]
    with monkeypatch.context() as patch:
        stopped_after(patch, 8)
        run(*command)
    (damaged, *_) = sorted((tmp_path / "a" / "set").rglob("*.array_record"))
    data = bytearray(damaged.read_bytes())
    data[-100] ^= 1
    damaged.write_bytes(data)
    run(*command)
    run("folder", source, tmp_path / "b" / "set", "--per-shard", 3)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_several_processes_give_the_same_bytes_as_one(source, tmp_path):
    one, two = (Options(per_shard=3, workers=n, side=8) for n in (1, 2))
    prepare("folder", source, tmp_path / "a" / "set", one)
    prepare("folder", source, tmp_path / "b" / "set", two)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


@pytest.mark.slow
def test_killed_run_continues_to_the_same_bytes(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(200):
        pixels = rng.integers(0, 256, (300, 300, 3), np.uint8)
        photo.write_photo(tmp_path / "in" / f"{i}.png", pixels)
    options = ["--side", "200", "--quality", "0", "--per-shard", "9", "--workers", "2"]

    def start(out):
        words = [sys.executable, "-m", "data_prep", "folder", tmp_path / "in", out]
        return subprocess.Popen([*words, *options], cwd=ROOT, stderr=subprocess.DEVNULL)

    assert start(tmp_path / "fresh" / "set").wait() == 0
    out = tmp_path / "killed" / "set"
    for shards_there in (0, 2, 5, 9):
        process = start(out)
        deadline = time.monotonic() + 60
        while len(list(out.rglob("*.array_record"))) < shards_there:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (out / "manifest.json").exists()
    assert start(out).wait() == 0
    assert tree(tmp_path / "killed") == tree(tmp_path / "fresh")


# A finished set


def test_finished_set_is_checked_and_left_as_it_is(source, tmp_path, capsys):
    command = ["folder", source, tmp_path / "out", "--per-shard", 5]
    run(*command)
    before = tree(tmp_path / "out")
    assert run(*command) == 0
    assert "was finished before" in capsys.readouterr().err
    assert tree(tmp_path / "out") == before


@pytest.mark.parametrize(
    "change, complaint",
    [
        (["--per-shard", 4], "with --per-shard 5, now asked for with --per-shard 4"),
        (["--shards", 3], "made without --shards, now asked for with --shards 3"),
        (["--side", 8], "made without --side, now asked for with --side 8"),
    ],
)
def test_finished_set_with_other_settings_is_refused(
    change, complaint, source, tmp_path, capsys
):
    run("folder", source, tmp_path / "out", "--per-shard", 5)
    before = tree(tmp_path / "out")
    assert run("folder", source, tmp_path / "out", *change) == 2
    message = capsys.readouterr().err
    assert complaint in message and "remove it or choose another" in message
    assert tree(tmp_path / "out") == before


def test_finished_set_of_other_images_is_refused(source, tmp_path, capsys):
    run("folder", source, tmp_path / "out")
    (source / "a" / "0.jpg").rename(source / "a" / "00.jpg")
    assert run("folder", source, tmp_path / "out") == 2
    assert "made of other images than there are now" in capsys.readouterr().err


def test_finished_set_with_a_damaged_shard_is_refused(source, tmp_path, capsys):
    out = tmp_path / "out"
    run("folder", source, out, "--per-shard", 5)
    (damaged, *_) = sorted(out.rglob("*.array_record"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    assert run("folder", source, out, "--per-shard", 5) == 2
    assert f"{damaged}: missing or damaged" in capsys.readouterr().err
    damaged.unlink()
    assert run("folder", source, out, "--per-shard", 5) == 2
    assert f"{damaged}: missing or damaged" in capsys.readouterr().err


# Refused


def test_unreadable_files_are_all_named_and_nothing_is_finished_without_them(
    source, tmp_path, capsys
):
    for name in ("a/x.png", "b/y.jpg"):
        (source / name).write_bytes(b"no image")
    out = tmp_path / "out"
    command = ["folder", source, out, "--per-shard", 3]
    assert run(*command) == 2
    message = capsys.readouterr().err
    assert all(name in message for name in ("a/x.png", "b/y.jpg"))
    assert "--skip-unreadable" in message
    assert not (out / "manifest.json").exists()
    kept = {path: path.stat().st_ino for path in out.rglob("*.array_record")}
    assert kept
    assert run(*command, "--skip-unreadable") == 0
    assert all(path.stat().st_ino == inode for path, inode in kept.items())
    records = [r.name for s in read_manifest(out).shards for r in s.records]
    assert len(records) == 12
    left_out = (out / "left_out.txt").read_text().splitlines()
    assert ["x.png" in left_out[0], "y.jpg" in left_out[1]] == [True, True]


def test_file_mended_after_a_refusal_is_packed(source, tmp_path):
    broken, good = source / "a" / "0.jpg", (source / "a" / "0.jpg").read_bytes()
    broken.write_bytes(bytes(len(good)))
    command = ["folder", source, tmp_path / "a" / "set", "--per-shard", 3]
    assert run(*command) == 2
    broken.write_bytes(good)
    assert run(*command) == 0
    run("folder", source, tmp_path / "b" / "set", "--per-shard", 3)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_unreadable_masks_are_named_or_left_out(mask_folder, tmp_path, capsys):
    (mask_folder / "mask" / "broken.png").write_bytes(b"")
    assert run("masks", mask_folder, tmp_path / "out") == 2
    assert "broken.png" in capsys.readouterr().err
    assert run("masks", mask_folder, tmp_path / "out", "--skip-unreadable") == 0
    assert "broken.png" in (tmp_path / "out" / "left_out.txt").read_text()


def test_reading_back_finds_every_damaged_byte_of_a_record(source, tmp_path):
    run("folder", source, tmp_path / "out")
    (shard,) = read_manifest(tmp_path / "out").shards
    path = tmp_path / "out" / shard.path
    shards.check_records(path, shard.records)
    data = path.read_bytes()
    first = (source / shard.records[0].name).read_bytes()
    at = data.index(first[8:40])  # Records of this size are stored as they are.
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(InputError, match="holds other bytes than were written"):
        shards.check_records(path, shard.records)
    path.write_bytes(data)
    with pytest.raises(InputError, match="holds other bytes than were written"):
        shards.check_records(path, shard.records[::-1])


def test_shard_that_reads_back_otherwise_gets_no_place_in_the_set(
    source, tmp_path, monkeypatch, capsys
):
    original = shards._write

    def write(path, data):
        original(path, list(data)[::-1])

    monkeypatch.setattr(shards, "_write", write)
    assert run("folder", source, tmp_path / "out") == 2
    assert "holds other bytes than were written" in capsys.readouterr().err
    assert not (tmp_path / "out" / "train").exists()


def test_second_run_into_the_same_folder_is_refused(source, tmp_path, capsys):
    with workspace(tmp_path / "out"):
        assert run("folder", source, tmp_path / "out") == 2
    assert "another run is writing here" in capsys.readouterr().err
    assert run("folder", source, tmp_path / "out") == 0


def test_folder_with_other_files_is_refused(source, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert run("folder", source, tmp_path / "out") == 2
    assert "holds other files" in capsys.readouterr().err
    assert tree(tmp_path / "out") == {"notes.txt": b"mine"}


def test_full_disk_is_said_in_one_line(source, tmp_path, capsys, monkeypatch):
    def write(path, data):
        next(iter(data))
        original(Path("/dev/full"), data)

    original = shards._write
    monkeypatch.setattr(shards, "_write", write)
    assert run("folder", source, tmp_path / "out") == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "cannot be written" in last and "No space left" in last
    assert not (tmp_path / "out" / "train").exists()


@pytest.mark.parametrize(
    "where, complaint",
    [("nowhere", "no such source"), ("text.txt", "neither"), ("empty", "no image")],
)
def test_source_that_cannot_be_used_is_named(where, complaint, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("hello")
    assert run("folder", tmp_path / where, tmp_path / "out") == 2
    message = capsys.readouterr().err
    assert str(tmp_path / where) in message and complaint in message
    assert not (tmp_path / "out").exists()


def test_folder_that_cannot_be_written_is_named(source, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert run("folder", source, tmp_path / "file" / "out") == 2
    message = capsys.readouterr().err
    assert str(tmp_path / "file") in message and "cannot be written" in message


@pytest.mark.parametrize(
    "option, value", [("--side", 0), ("--quality", 101), ("--test", 1.5)]
)
def test_option_out_of_range_is_named(option, value, source, tmp_path, capsys):
    assert run("folder", source, tmp_path / "out", option, value) == 2
    assert f"{option} {value}: must be" in capsys.readouterr().err


# TFDS


@pytest.fixture(scope="module")
def celeb_a_hq(tmp_path_factory):
    """The TFDS dataset celeb_a_hq with four images, and the images by name."""
    tfds = pytest.importorskip("tensorflow_datasets")
    rng, files = np.random.default_rng(0), {}
    for number in (splits.celebahq_test_numbers()[0], 7, 3, 29_999):
        file = io.BytesIO()
        pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(file, "PNG")
        files[f"imgHQ{number:05d}.png"] = file.getvalue()

    class CelebAHq(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("2.0.0")

        def _info(self):
            features = {
                "image": tfds.features.Image(shape=(8, 8, 3), encoding_format="png"),
                "image/filename": tfds.features.Text(),
            }
            features = tfds.features.FeaturesDict(features)
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for name, data in files.items():
                yield name, {"image": data, "image/filename": name}

    folder = tmp_path_factory.mktemp("tfds")
    CelebAHq(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder / "celeb_a_hq", files


def test_tfds_dataset_gives_the_same_set_as_the_folder(celeb_a_hq, tmp_path):
    dataset, files = celeb_a_hq
    (tmp_path / "folder").mkdir()
    for name, data in files.items():
        (tmp_path / "folder" / name).write_bytes(data)
    run("celebahq", tmp_path / "folder", tmp_path / "a" / "set", "--incomplete")
    out = tmp_path / "b" / "set"
    assert run("celebahq", dataset, out, "--incomplete", "--tfds") == 0
    plain, packed = read_manifest(tmp_path / "a" / "set"), read_manifest(out)
    assert (plain.settings, plain.shards) == (packed.settings, packed.shards)
    assert {shard.path.split("/")[0] for shard in plain.shards} == {"train", "test"}


def test_tfds_dataset_is_read_in_several_processes(celeb_a_hq, tmp_path):
    one, two = (
        Options(per_shard=1, workers=n, tfds=True, incomplete=True) for n in (1, 2)
    )
    prepare("celebahq", celeb_a_hq[0], tmp_path / "a" / "set", one)
    prepare("celebahq", celeb_a_hq[0], tmp_path / "b" / "set", two)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_another_tfds_dataset_is_refused(celeb_a_hq, tmp_path, capsys):
    assert run("places365", celeb_a_hq[0], tmp_path / "out", "--tfds") == 2
    assert "celeb_a_hq, not places365_small" in capsys.readouterr().err
    assert run("celebahq", tmp_path, tmp_path / "out", "--tfds") == 2
    assert "holds no dataset_info.json" in capsys.readouterr().err


def test_missing_tensorflow_datasets_is_said_with_the_remedy(
    tmp_path, monkeypatch, capsys
):
    (tmp_path / "dataset_info.json").write_text("{}")
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    assert run("celebahq", tmp_path, tmp_path / "out", "--tfds") == 2
    assert "pip install 'tensorflow-datasets" in capsys.readouterr().err


# Manifests


def test_manifest_reads_back_as_it_was_written(source, tmp_path):
    run("folder", source, tmp_path / "out")
    manifest = read_manifest(tmp_path / "out")
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    write_manifest(tmp_path, Manifest("é", {}, ()))
    assert read_manifest(tmp_path) == Manifest("é", {}, ())


@pytest.mark.parametrize("text", ["", "{}", '{"format": "dear_jax prepared set 1"}'])
def test_what_is_no_manifest_is_refused(text, tmp_path):
    with pytest.raises(InputError, match="holds no manifest.json"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=r"manifest\.json: .*python -m data_prep"):
        read_manifest(tmp_path)


def test_shard_without_a_manifest_of_ours_has_no_entry(tmp_path):
    (tmp_path / "a.array_record").write_bytes(b"12")
    assert shard_of(tmp_path / "a.array_record") is None
    (tmp_path / "manifest.json").write_text('{"name": "another tool"}')
    assert shard_of(tmp_path / "a.array_record") is None
