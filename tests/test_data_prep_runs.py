"""Laws of making a set: what a stopped run leaves, and what is refused."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from preparing import run, tree, write_mask, write_masks, write_photos

from data_prep import writing
from data_prep.plan import Options
from data_prep.prepare import prepare
from data_prep.workspace import workspace
from dear_jax.data.manifest import Manifest, read_manifest, shard_of, write_manifest
from dear_jax.data.mask_bins import open_test_masks
from dear_jax.data.masks import open_masks
from dear_jax.data.sources import open_photos
from dear_jax.errors import InputError
from dear_jax.images import decode
from dear_jax.images.io import write_photo

ROOT = Path(__file__).parents[1]


@pytest.fixture
def source(tmp_path):
    return write_photos(tmp_path / "photos")


@pytest.fixture
def mask_folder(tmp_path):
    return write_masks(tmp_path / "masks")


# Stopping and going on


@pytest.fixture
def stopped(monkeypatch):
    """A function that runs a command, stopped as by Ctrl-C after so many records."""

    def run_and_stop(count, *command):
        original, made = writing.make, []

        def make(*arguments):
            if len(made) == count:
                raise KeyboardInterrupt
            made.append(None)
            return original(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(writing, "make", make)
            assert run(*command) == 130

    return run_and_stop


def assert_as_fresh(tmp_path, *command):
    """Checks that tmp_path / "a" is what the command makes anew in tmp_path / "b"."""
    kind, source, *options = command
    assert run(kind, source, tmp_path / "b" / "set", *options) == 0
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


@pytest.mark.parametrize("kind", ["folder", "masks"])
@pytest.mark.parametrize("count", [0, 5, 11, 15])
def test_stopped_run_continues_to_the_same_bytes(
    kind, count, source, mask_folder, tmp_path, stopped, capsys
):
    source = mask_folder if kind == "masks" else source
    out, options = tmp_path / "a" / "set", ["--per-shard", 2, "--test", 0.5]
    stopped(min(count, 11) if kind == "folder" else count, kind, source, out, *options)
    assert "the same command continues" in capsys.readouterr().err
    before = {path: path.stat().st_ino for path in out.rglob("*.array_record")}
    assert not (out / "manifest.json").exists()
    assert run(kind, source, out, *options) == 0
    assert all(path.stat().st_ino == inode for path, inode in before.items())
    assert_as_fresh(tmp_path, kind, source, *options)


@pytest.mark.parametrize(
    "first, then",
    [
        (["--raw", "--per-shard", 2], ["--raw", "--per-shard", 2]),
        (["--test", 0.5, "--per-shard", 2], ["--per-shard", 6]),
    ],
)
def test_stopped_run_goes_on_raw_and_with_other_settings(
    first, then, source, tmp_path, stopped
):
    command = "folder", source, tmp_path / "a" / "set"
    stopped(5, *command, *first)
    assert run(*command, *then) == run(*command, *then) == 0
    assert_as_fresh(tmp_path, "folder", source, *then)


def test_shard_damaged_while_the_run_was_stopped_is_written_again(
    source, tmp_path, stopped
):
    command = ["folder", source, tmp_path / "a" / "set", "--per-shard", 3]
    stopped(8, *command)
    (damaged, *_) = sorted((tmp_path / "a" / "set").rglob("*.array_record"))
    data = bytearray(damaged.read_bytes())
    data[-100] ^= 1
    damaged.write_bytes(data)
    run(*command)
    assert_as_fresh(tmp_path, "folder", source, "--per-shard", 3)


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
        write_photo(tmp_path / "in" / f"{i}.png", pixels)
    options = ["--side", "200", "--quality", "0", "--per-shard", "9", "--workers", "2"]

    def start(out):
        words = [sys.executable, "-m", "data_prep", "folder", tmp_path / "in", out]
        return subprocess.Popen([*words, *options], cwd=ROOT, stderr=subprocess.DEVNULL)

    assert start(tmp_path / "fresh" / "set").wait() == 0
    out = tmp_path / "killed" / "set"
    for shards_there in (0, 2, 5, 9):
        process = start(out)
        deadline = time.monotonic() + 300
        while len(list(out.rglob("*.array_record"))) < shards_there:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (out / "manifest.json").exists()
    assert start(out).wait() == 0
    assert tree(tmp_path / "killed") == tree(tmp_path / "fresh")


def test_source_that_goes_away_ends_the_run_and_loses_nothing(
    source, tmp_path, monkeypatch
):
    original, made = writing.make, []

    def make(*arguments):
        made.append(None)
        if len(made) == 5:
            source.rename(tmp_path / "away")
        return original(*arguments)

    command = ["folder", source, tmp_path / "set", "--skip-unreadable"]
    with monkeypatch.context() as patch:
        patch.setattr(writing, "make", make)
        assert run(*command) == 2
    assert not (tmp_path / "set" / "manifest.json").exists()
    (tmp_path / "away").rename(source)
    assert run(*command) == 0
    (shard,) = read_manifest(tmp_path / "set").shards
    assert len(shard.records) == 12


def test_want_of_memory_is_no_damage(source, tmp_path, monkeypatch, capsys):
    def fail(*arguments):
        raise MemoryError

    monkeypatch.setattr(decode, "_by_mode", fail)
    assert run("folder", source, tmp_path / "set", "--skip-unreadable") == 2
    assert "too little memory" in capsys.readouterr().err
    assert not (tmp_path / "set" / "manifest.json").exists()


@pytest.mark.parametrize("kind", ["folder", "masks"])
def test_file_changed_while_the_run_was_stopped_is_read_again(kind, tmp_path, stopped):
    def write(share):
        for i in range(6):
            path = tmp_path / "in" / f"{i}.bmp"
            write_mask(path, share)
            os.utime(path, (1e9 + share, 1e9 + share))

    command, options = (kind, tmp_path / "in"), ["--per-shard", 2, "--test", 0]
    write(0.25)
    out = tmp_path / "a" / "set"
    stopped(4 if kind == "folder" else 9, *command, out, *options)
    write(0.55)
    assert run(*command, out, *options) == 0
    assert_as_fresh(tmp_path, *command, *options)


def test_unfinished_set_is_not_read_as_if_complete(mask_folder, tmp_path, stopped):
    command = ["masks", mask_folder, tmp_path / "set", "--test", 1]
    stopped(12 + 4, *command)
    part = tmp_path / "set" / "test"
    (shard, *_) = sorted(part.rglob("*.array_record"))
    for where in (part, shard.parent, shard):
        for opened in (open_test_masks, open_masks):
            with pytest.raises(InputError, match="unfinished; run the data_prep"):
                opened(where)
    assert run(*command) == 0
    assert len(open_masks(part)) == 8
    shutil.rmtree(shard.parent)
    with pytest.raises(InputError, match="is missing"):
        open_test_masks(part)


def test_other_sets_below_an_unfinished_one_are_left_alone(source, tmp_path, stopped):
    stopped(0, "folder", source, tmp_path / "data")
    run("folder", source, tmp_path / "data" / "faces")
    before = tree(tmp_path / "data" / "faces")
    assert run("folder", source, tmp_path / "data") == 0
    assert tree(tmp_path / "data" / "faces") == before


def test_damaged_manifest_comes_with_a_remedy_that_works(source, tmp_path, capsys):
    out = tmp_path / ".faces"
    assert run("folder", source, out) == 0
    assert len(open_photos(str(out / "train"))) == 12
    (out / "manifest.json").write_text("")
    assert run("folder", source, out) == 2
    assert f"remove {out}" in capsys.readouterr().err
    shutil.rmtree(out)
    assert run("folder", source, out) == 0


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
        (["--test", 0.5], "with --test 0.0, now asked for with --test 0.5"),
        (["--side", 8], "made without --side, now asked for with --side 8"),
        (["--raw"], "made without --raw, now asked for with --raw"),
    ],
)
def test_finished_set_with_other_settings_is_refused(
    change, complaint, source, tmp_path, capsys
):
    run("folder", source, tmp_path / "out", "--per-shard", 5)
    before = tree(tmp_path / "out")
    assert run("folder", source, tmp_path / "out", *change) == 2
    message = capsys.readouterr().err
    assert complaint in message
    assert f"remove {tmp_path / 'out'} or choose another" in message
    assert tree(tmp_path / "out") == before


def test_finished_set_that_was_damaged_or_is_of_other_images_is_refused(
    source, tmp_path, capsys
):
    out = tmp_path / "out"
    run("folder", source, out, "--per-shard", 5)
    (damaged, *_) = sorted(out.rglob("*.array_record"))
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    for _ in range(2):
        assert run("folder", source, out, "--per-shard", 5) == 2
        assert f"{damaged}: missing or damaged" in capsys.readouterr().err
        damaged.unlink(missing_ok=True)
    (source / "a" / "0.jpg").rename(source / "a" / "00.jpg")
    assert run("folder", source, out, "--per-shard", 5) == 2
    assert "made of other images than there are now" in capsys.readouterr().err


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
    writing.check_records(path, shard.records)
    data = path.read_bytes()
    first = (source / shard.records[0].name).read_bytes()
    at = data.index(first[8:40])  # Records of this size are stored as they are.
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    with pytest.raises(InputError, match="holds other bytes than were written"):
        writing.check_records(path, shard.records)
    path.write_bytes(data)
    with pytest.raises(InputError, match="holds other bytes than were written"):
        writing.check_records(path, shard.records[::-1])


def test_shard_that_reads_back_otherwise_gets_no_place_in_the_set(
    source, tmp_path, monkeypatch, capsys
):
    original = writing._write

    def write(path, data, options):
        original(path, list(data)[::-1], options)

    monkeypatch.setattr(writing, "_write", write)
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
    def write(path, data, options):
        next(iter(data))
        original(Path("/dev/full"), data, options)

    original = writing._write
    monkeypatch.setattr(writing, "_write", write)
    assert run("folder", source, tmp_path / "out") == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert "cannot be written" in last and "No space left" in last
    assert not (tmp_path / "out" / "train").exists()


@pytest.mark.parametrize(
    "where, complaint",
    [
        *(("nowhere", "no such source"), ("text.txt", "neither")),
        *(("empty", "no image"), ("a.tar", "unpack it first")),
    ],
)
def test_source_that_cannot_be_used_is_named(where, complaint, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "a.tar").touch()
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
    "options, words",
    [
        (["--side", 0], "--side 0: must be"),
        (["--quality", 101], "--quality 101: must be"),
        (["--test", 1.5], "--test 1.5: must be"),
        (["--quality", 90], "add --side"),
        (["--side", 8, "--quality", 90, "--raw"], "--raw does not compress"),
    ],
)
def test_options_that_cannot_be_used_are_named(
    options, words, source, tmp_path, capsys
):
    assert run("folder", source, tmp_path / "out", *options) == 2
    assert words in capsys.readouterr().err


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
