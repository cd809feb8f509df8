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


def stopped_after(monkeypatch, count):
    """Makes the run stop as by Ctrl-C once `count` records are made."""
    original, made = writing.make, []

    def make(*arguments):
        if len(made) == count:
            raise KeyboardInterrupt
        made.append(None)
        return original(*arguments)

    monkeypatch.setattr(writing, "make", make)


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


def test_stopped_raw_set_continues_to_the_same_bytes(source, tmp_path, monkeypatch):
    command = ["folder", source, tmp_path / "a" / "set", "--raw", "--per-shard", 2]
    with monkeypatch.context() as patch:
        stopped_after(patch, 5)
        assert run(*command) == 130
    assert run(*command) == run(*command) == 0
    run("folder", source, tmp_path / "b" / "set", "--raw", "--per-shard", 2)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_run_that_was_stopped_may_go_on_with_other_settings(
    source, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        stopped_after(patch, 9)
        run("folder", source, tmp_path / "a" / "set", "--per-shard", 2, "--test", 0.5)
    assert run("folder", source, tmp_path / "a" / "set", "--per-shard", 6) == 0
    run("folder", source, tmp_path / "b" / "set", "--per-shard", 6)
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
def test_file_changed_while_the_run_was_stopped_is_read_again(
    kind, tmp_path, monkeypatch
):
    def write(share):
        for i in range(6):
            path = tmp_path / "in" / f"{i}.bmp"
            write_mask(path, share)
            os.utime(path, (1e9 + share, 1e9 + share))

    command = [kind, tmp_path / "in", tmp_path / "a" / "set", "--per-shard", 2]
    write(0.25)
    with monkeypatch.context() as patch:
        stopped_after(patch, 4 if kind == "folder" else 9)
        assert run(*command, "--test", 0) == 130
    write(0.55)
    assert run(*command, "--test", 0) == 0
    run(kind, tmp_path / "in", tmp_path / "b" / "set", "--per-shard", 2, "--test", 0)
    assert tree(tmp_path / "a") == tree(tmp_path / "b")


def test_unfinished_set_is_not_read_as_if_complete(mask_folder, tmp_path, monkeypatch):
    command = ["masks", mask_folder, tmp_path / "set", "--test", 1]
    with monkeypatch.context() as patch:
        stopped_after(patch, 12 + 4)
        assert run(*command) == 130
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


def test_other_sets_below_an_unfinished_one_are_left_alone(
    source, tmp_path, monkeypatch
):
    with monkeypatch.context() as patch:
        stopped_after(patch, 0)
        run("folder", source, tmp_path / "data")
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


def test_tar_archive_is_to_be_unpacked_first(tmp_path, capsys):
    (tmp_path / "a.tar").touch()
    assert run("folder", tmp_path / "a.tar", tmp_path / "out") == 2
    assert "a.tar: unpack it first" in capsys.readouterr().err


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
