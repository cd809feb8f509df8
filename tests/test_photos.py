"""Photos are the same sequence wherever they lie: in folders or in prepared sets."""

import contextlib
import functools
import hashlib
import os
import pickle
import resource
import shutil

import numpy as np
import pytest
from prepared import write_records, write_set

from dear_jax import bundled
from dear_jax.data import shards, sources
from dear_jax.data.sources import open_images, open_photos
from dear_jax.errors import InputError
from dear_jax.images.io import read_bytes, read_photo, write_photo


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five PNG photos of different sizes, two of them in a subfolder."""
    path = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i, name in enumerate(["0", "b/1", "b/2", "b-c", "d"]):
        size = (20 + 3 * i, 30 - 2 * i, 3)
        write_photo(path / f"{name}.png", rng.integers(0, 256, size, np.uint8))
    return path


@pytest.fixture(scope="module")
def prepared(folder, tmp_path_factory):
    """The same photos as a prepared set, once more as its test split."""
    root = tmp_path_factory.mktemp("sets") / "faces"
    return write_set(root, folder, {"train": "", "test": ""}, shards=3)


@pytest.fixture
def copy(prepared, tmp_path):
    """A copy of the prepared set that a test may damage."""
    for path in prepared.rglob("*.*"):
        new = tmp_path / "copy" / path.relative_to(prepared)
        new.parent.mkdir(parents=True, exist_ok=True)
        new.write_bytes(path.read_bytes())
    return tmp_path / "copy"


def test_bundled_photos_are_those_of_the_package():
    assert open_photos("bundled").names == open_photos(str(bundled.PHOTOS)).names


def test_a_prepared_set_is_its_folder(folder, prepared):
    plain, packed = open_photos(str(folder)), open_photos(str(prepared / "train"))
    assert plain.names == packed.names == ["0.png", "b/1.png", "b/2.png", "b-c.png",
                                           "d.png"]  # fmt: skip
    assert plain.facts() == packed.facts()
    for one, other in zip(plain, packed, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_digest_is_of_the_content_wherever_it_lies(folder, prepared, tmp_path):
    plain, packed = open_photos(str(folder)), open_photos(str(prepared / "train"))
    contents = [(folder / name).read_bytes() for name in plain.names]
    expected = [hashlib.sha256(content).hexdigest()[:16] for content in contents]
    for photos in (plain, packed):
        assert [photos.digest(i) for i in range(5)] == expected
    bare = open_photos(str(write_records(tmp_path / "p.array_record", contents)))
    assert [bare.digest(i) for i in range(5)] == expected
    assert plain.select([3, 1]).digest(0) == expected[3]


def test_a_file_is_hashed_again_only_when_it_changed(tmp_path, monkeypatch):
    path, reads = tmp_path / "a.png", []

    def counted(path):
        reads.append(path)
        return read_bytes(path)

    monkeypatch.setattr(sources, "read_bytes", counted)

    def digest_after(content=None, seconds=None):
        if content:
            path.write_bytes(content)
            os.utime(path, (seconds, seconds) if seconds else None)
        return open_photos(str(tmp_path)).digest(0)

    first = digest_after(b"abc", 1e9)
    assert digest_after() == first and len(reads) == 1
    assert digest_after(b"xyz", 1e9 + 1) != first and len(reads) == 2
    assert digest_after(b"abc", 1e9 + 2) == first and len(reads) == 3
    # Within the tick of a file system's clock a time says nothing.
    now = digest_after(b"xyz")
    status = path.stat()
    path.write_bytes(b"uvw")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert digest_after() != now


def test_a_file_that_is_gone_has_no_digest(tmp_path):
    (tmp_path / "a.png").write_bytes(b"abc")
    photos = open_photos(str(tmp_path))
    (tmp_path / "a.png").unlink()
    with pytest.raises(InputError, match=r"a\.png: cannot be read .*put it back"):
        photos.digest(0)


def test_one_shard_is_a_run_of_the_set(folder, prepared):
    shard = open_photos(str(prepared / "train" / "faces-00001-of-00003.array_record"))
    assert shard.names == ["b/2.png", "b-c.png"]
    np.testing.assert_array_equal(shard[1], open_photos(str(folder))[3])


def test_records_without_a_manifest_are_named_by_file_and_number(folder, tmp_path):
    records = [(folder / name).read_bytes() for name in ("0.png", "d.png")]
    path = write_records(tmp_path / "in" / "p.array_record", records)
    for where in (tmp_path, path.parent, path):
        photos = open_photos(str(where))
        below = "in/" if where == tmp_path else ""
        assert photos.names == [f"{below}p.array_record record {i}" for i in (0, 1)]
        np.testing.assert_array_equal(photos[1], read_photo(folder / "d.png"))
    assert photos.facts()[1] == f"p.array_record {path.stat().st_size} record 1"


def test_parts_follow_each_other_and_one_named_twice_counts_twice(folder, prepared):
    train = str(prepared / "train")
    shard = str(prepared / "test" / "faces-00002-of-00003.array_record")
    several = open_photos([str(folder), train, shard, str(folder)])
    assert len(several) == 16
    assert several.names[10] == "d.png"
    for i, j in ((1, 6), (4, 10), (1, 12)):
        np.testing.assert_array_equal(several[i], several[j])
    with pytest.raises(IndexError):
        several[16]


def test_chosen_photos_keep_their_names(folder, prepared):
    photos = open_photos([str(folder), str(prepared / "train")]).select([7, 0])
    assert photos.names == ["b/2.png", "0.png"] and len(photos) == 2
    again = photos.select([1])
    np.testing.assert_array_equal(again[0], read_photo(folder / "0.png"))


def test_photos_can_be_sent_to_other_processes(folder, prepared):
    photos = open_photos([str(folder), str(prepared / "train")])
    photos[7]  # Opens the shard.
    sent = pickle.loads(pickle.dumps(photos))
    assert sent.names == photos.names and sent.facts() == photos.facts()
    np.testing.assert_array_equal(sent[7], photos[7])
    # The manifest stays behind.
    assert b"c.png" not in pickle.dumps(open_photos(str(prepared / "train")))


# What cannot be opened


@pytest.mark.parametrize("name", ["nowhere", "nowhere.array_record", __file__])
def test_a_part_that_is_none_is_named_with_the_callers_remedy(name):
    with pytest.raises(InputError, match=rf"{name}: .*; set config\.data\.photos to"):
        open_photos(name)
    with pytest.raises(InputError, match=rf"{name}: .*; set --data right$"):
        open_images(name, "set --data right")


def test_nothing_at_all_is_refused(tmp_path):
    write_records(tmp_path / "p.array_record", [])
    (tmp_path / "empty").mkdir()
    for where, words in (
        (tmp_path / "empty", "holds no image"),
        ((), "no folder is named"),
        (tmp_path / "p.array_record", "holds no record"),
    ):
        with pytest.raises(InputError, match=rf"{words}.*config\.data\.photos"):
            open_photos(where)


def test_images_beside_shards_are_refused(copy):
    write_photo(copy / "train" / "x.png", np.zeros((2, 2), np.uint8))
    with pytest.raises(InputError, match="train: holds images and ArrayRecord files"):
        open_photos(str(copy / "train"))


def test_of_a_whole_set_a_part_must_be_chosen(prepared):
    with pytest.raises(InputError, match=r"whole prepared set.*faces/test or .*/train"):
        open_photos(str(prepared))


PARTS = "test", "train"


def test_missing_shards_are_named_and_counted(copy):
    (copy / "train" / "faces-00001-of-00003.array_record").unlink()
    missing = r"train: faces-00001-of-00003\.array_record is missing; copy it"
    with pytest.raises(InputError, match=missing):
        open_photos(str(copy / "train"))
    assert len(open_photos(str(copy / "test"))) == 5
    (copy / "train" / "faces-00000-of-00003.array_record").unlink()
    with pytest.raises(InputError, match="00000-of-00003.* is missing and 1 more"):
        open_photos(str(copy / "train"))
    shutil.copy(*(copy / x / "faces-00000-of-00003.array_record" for x in PARTS))
    (copy / "manifest.json").unlink()
    with pytest.raises(InputError, match=missing):
        open_photos(str(copy / "train"))


def test_a_shard_of_another_size_than_the_manifests_is_refused(copy):
    shard = copy / "train" / "faces-00001-of-00003.array_record"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(InputError, match=rf"{shard.name}: .* bytes, not the .*copy"):
        open_photos(str(copy / "train"))


def test_a_shard_the_manifest_does_not_know_is_refused(folder, copy):
    records = [(folder / "0.png").read_bytes()]
    write_records(copy / "train" / "more.array_record", records)
    with pytest.raises(InputError, match=r"more\.array_record: .* does not know"):
        open_photos(str(copy / "train"))


@pytest.mark.parametrize("content", [b"", b"hello", b"x" * 100_000])
def test_a_file_that_is_no_array_record_is_named_in_one_line(content, tmp_path):
    (tmp_path / "p.array_record").write_bytes(content)
    with pytest.raises(InputError, match=r"p\.array_record: not an ArrayRec") as caught:
        open_photos(str(tmp_path))
    assert "\n" not in str(caught.value)


# What cannot be read


def test_unreadable_image_is_named_with_the_remedy(folder, tmp_path):
    (tmp_path / "torn.png").write_bytes((folder / "0.png").read_bytes()[:200])
    photos = open_photos(str(tmp_path))
    with pytest.raises(InputError, match=r"torn\.png.*config\.data\.skip_unreadable"):
        photos[0]


def test_unreadable_record_is_named_with_the_remedy(folder, tmp_path):
    records = [(folder / "0.png").read_bytes(), b"no image"]
    path = write_records(tmp_path / "p.array_record", records)
    with pytest.raises(InputError, match=r"p\.array_record, record 1: .*remove it or"):
        open_photos(str(path))[1]
    assert len(open_photos(str(path), skip_unreadable=True)) == 1


def test_a_damaged_record_is_named_as_its_image(copy):
    shard = copy / "train" / "faces-00001-of-00003.array_record"
    content = bytearray(shard.read_bytes())
    at = content.index(b"IHDR")
    content[at : at + 2000] = bytes(2000)
    shard.write_bytes(content)  # As large as the manifest says.
    with pytest.raises(InputError, match=r"00001.*, record 0 \(b/2\.png\): damaged"):
        open_photos(str(copy / "train"))[2]


def test_a_photo_that_went_away_is_named(folder, tmp_path):
    (tmp_path / "gone.png").write_bytes((folder / "0.png").read_bytes())
    photos = open_photos(str(tmp_path))
    (tmp_path / "gone.png").unlink()
    for ask in (lambda: photos[0], photos.facts):
        with pytest.raises(InputError, match=r"gone\.png: "):
            ask()


def test_unreadable_images_are_left_out_on_request_and_logged(folder, tmp_path, caplog):
    good = [(folder / name).read_bytes() for name in ("0.png", "d.png")]
    contents = {"a.png": good[0], "b.png": b"", "c.png": good[1]}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    with caplog.at_level("WARNING", logger="absl"):
        kept = open_photos(str(tmp_path), skip_unreadable=True)
    assert kept.names == ["a.png", "c.png"]
    np.testing.assert_array_equal(kept[1], read_photo(folder / "d.png"))
    assert "b.png" in caplog.text and "a.png" not in caplog.text
    (tmp_path / "b.png").write_bytes(good[0])  # A mended photo is noticed.
    assert len(open_photos(str(tmp_path), skip_unreadable=True)) == 3
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "b.png").touch()
    with pytest.raises(InputError, match="no readable photo"):
        open_photos(str(tmp_path / "none"), skip_unreadable=True)


def test_too_many_open_files_are_no_damage(folder, prepared, tmp_path):
    shutil.copytree(prepared, tmp_path / "faces")
    for where in (folder, tmp_path / "faces" / "train"):
        photos = open_photos(str(where))
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        with contextlib.ExitStack() as held:
            held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, limits)
            shards._reader.cache_clear()
            resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
            with pytest.raises(OSError, match="Too many"):
                while True:
                    held.enter_context(open(os.devnull))
            for index in range(2):
                with pytest.raises(InputError, match="too many files.*ulimit"):
                    photos[index]
        assert photos[0].ndim == 3


def test_more_shards_than_may_be_open_at_once_are_read(prepared, monkeypatch):
    reader = functools.lru_cache(maxsize=1)(shards._reader.__wrapped__)
    monkeypatch.setattr(shards, "_reader", reader)
    photos = open_photos(str(prepared / "train"))
    before = len(os.listdir("/proc/self/fd"))
    for photo_ in photos:
        assert photo_.ndim == 3
    assert len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.parametrize("error", [MemoryError("no room"), ImportError("gone")])
def test_what_is_no_damage_leaves_no_photo_out(prepared, monkeypatch, error):
    class Failing:
        def num_records(self):
            return 2

        def read(self, numbers):
            raise error

    photos = open_photos(str(prepared / "train"))
    monkeypatch.setattr(shards, "_reader", lambda *_: Failing())
    with pytest.raises(type(error)):
        photos[0]
