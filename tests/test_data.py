"""Laws of training batches: their order, and where they come from."""

import ml_collections
import numpy as np
import pytest
from prepared import assert_equal_batches, first, write_set

from dear_jax.data import pipeline
from dear_jax.errors import InputError
from dear_jax.images.io import write_photo


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five PNG photos of different sizes."""
    path = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(5):
        size = (20 + 3 * i, 30 - 2 * i, 3)
        write_photo(path / f"{i}.png", rng.integers(0, 256, size, np.uint8))
    return path


def settings(folder, mask_folder, **changes):
    return ml_collections.ConfigDict(
        {
            "photos": (str(folder),),
            "masks": str(mask_folder),
            "skip_unreadable": False,
            "side": 8,
            "scale": (1.0, 3.0),
            "queries": 10,
            "threads": 0,
            "workers": 0,
        }
        | changes
    )


def first_batches(count, *arguments, **keywords):
    return first(count, pipeline.training_batches(*arguments, **keywords))


def test_prepared_sets_give_the_batches_of_their_folders(folder, mask_folder, tmp_path):
    photos = write_set(tmp_path / "photos", folder, {"train": ""}, shards=3)
    bins = {"train/01-10": "01-10", "train/10-20": "10-20"}
    masks = write_set(tmp_path / "masks", mask_folder, bins, shards=1)
    plain = settings(folder, mask_folder)
    packed = settings(photos / "train", masks / "train", threads=2)
    assert_equal_batches(first_batches(3, plain, 4, 0), first_batches(3, packed, 4, 0))
    # Nothing was changed in packing, so a run may even go on with the other.
    assert pipeline.fingerprint(plain, 0, 4) == pipeline.fingerprint(packed, 0, 4)
    resumed = first_batches(1, packed, 4, 0, start=2)
    assert_equal_batches(first_batches(3, plain, 4, 0)[2:], resumed)


def test_batches_repeat_for_a_seed_and_differ_for_another(folder, mask_folder):
    data = settings(folder, mask_folder)
    first = first_batches(3, data, 4, 0)
    assert_equal_batches(first, first_batches(3, data, 4, 0))
    other = first_batches(1, data, 4, 1)
    assert not np.array_equal(first[0]["image"], other[0]["image"])


def test_threads_do_not_change_the_batches(folder, mask_folder):
    alone = first_batches(6, settings(folder, mask_folder, threads=0), 4, 0)
    four = first_batches(6, settings(folder, mask_folder, threads=4), 4, 0)
    assert_equal_batches(alone, four)


@pytest.mark.parametrize("start", [0, 2])
def test_parts_of_processes_side_by_side_are_the_batch_of_one(
    folder, mask_folder, start
):
    data = settings(folder, mask_folder)
    whole = first_batches(3, data, 6, 0, start)
    thirds = [first_batches(3, data, 6, 0, start, (i, 3)) for i in range(3)]
    together = [
        {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
        for parts in zip(*thirds, strict=True)
    ]
    assert_equal_batches(together, whole)


def test_resuming_equals_never_having_stopped(folder, mask_folder):
    data = settings(folder, mask_folder)
    whole = first_batches(7, data, 3, 0)
    assert_equal_batches(whole[4:], first_batches(3, data, 3, 0, start=4))


def test_fewer_photos_than_a_batch_are_repeated_with_new_crops(folder, mask_folder):
    (batch,) = first_batches(1, settings(folder, mask_folder), 20, 0)
    assert batch["image"].shape == (20, 8, 8, 3)
    assert len({image.tobytes() for image in batch["image"]}) == 20


def test_each_photo_comes_once_an_epoch(tmp_path):
    for i in range(6):
        write_photo(tmp_path / f"{i}.png", np.full((9, 9, 3), i, np.uint8))
    data = settings(tmp_path, "generated", side=4)
    for batch in first_batches(3, data, 6, 0):
        grey = np.rint(batch["image"][:, 0, 0, 0] * 255)
        assert sorted(grey) == [0, 1, 2, 3, 4, 5]


def test_an_unreadable_photo_stops_the_iterator_by_name(folder, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    batches = pipeline.training_batches(settings(tmp_path, "generated"), 1, 0)
    with pytest.raises(InputError, match=r"bad\.png"):
        next(batches)


def test_a_photo_that_vanishes_is_named_by_a_reading_process_too(folder, tmp_path):
    for name in ("0.png", "1.png"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    data = settings(tmp_path, "none", workers=1, queries=0, scale=(1.0, 1.0))
    batches = pipeline.training_batches(data, 2, 0)
    (tmp_path / "1.png").unlink()
    with pytest.raises(InputError, match=r"1\.png: no such file"):
        next(batches)
    batches.close()


def test_whole_crops_are_batched_at_their_one_scale(folder, mask_folder):
    for scale, side in ((1.0, 8), (2.5, 20)):
        data = settings(folder, mask_folder, queries=0, scale=(scale, scale))
        (batch,) = first_batches(1, data, 3, 0)
        assert batch["target"].shape == (3, side, side, 3)
        assert batch["image"].shape == (3, 8, 8, 3)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"side": 0}, r"config\.data\.side=0"),
        ({"queries": -1}, r"config\.data\.queries=-1"),
        ({"queries": 0}, r"config\.data\.scale=\(1\.0, 3\.0\).*queries=0"),
        ({"augment": "turn"}, r"config\.data\.augment='turn'.*'dihedral'"),
        (
            {"render": "gpu"},
            r"config\.data\.render='gpu'.*'host', 'resident'",
        ),
        ({"scale": (0.5, 2.0)}, r"config\.data\.scale=\(0\.5, 2\.0\): .*1 <= low"),
        ({"scale": (3.0, 2.0)}, r"config\.data\.scale"),
        ({"scale": (3.0,)}, r"config\.data\.scale=\(3\.0,\): give two numbers"),
        ({"scale": ("1", "4")}, r"config\.data\.scale=\('1', '4'\): give two"),
        ({"scale": (1.0, float("nan"))}, r"config\.data\.scale"),
        ({"threads": -1}, r"config\.data\.threads=-1"),
        ({"clean": 2.0}, r"config\.data\.clean=2"),
        ({"side": (8, 0)}, r"config\.data\.side=.*at least 1"),
        ({"side": ()}, r"config\.data\.side=.*at least 1"),
        ({"side": (8, 9, 8)}, r"config\.data\.side=.*each side once"),
        ({"side": (8, 9), "side_weights": (1.0,)}, r"side_weights=\(1\.0,\): .* 2 "),
        ({"side": (8, 9), "side_weights": (1.0, 0.0)}, r"side_weights=.*positive"),
    ],
)
def test_unusable_values_are_named(folder, changes, named):
    data = settings(folder, "generated", **changes)
    with pytest.raises(InputError, match=named):
        pipeline.training_batches(data, 4, 0)


@pytest.mark.parametrize(
    "keywords",
    [{"batch_size": 3, "process": (0, 2)}, {"batch_size": 0}, {"start": -1},
     {"seed": -1}, {"process": (2, 2)}],
)  # fmt: skip
def test_unusable_arguments_are_refused(folder, keywords):
    keywords = {"batch_size": 4, "seed": 0} | keywords
    with pytest.raises(InputError, match="batch size|start|seed|process"):
        pipeline.training_batches(settings(folder, "generated"), **keywords)


def test_fingerprint_changes_with_the_batches_and_only_then(
    folder, mask_folder, tmp_path
):
    data = settings(folder, mask_folder)
    own = pipeline.fingerprint(data, 0, 4)
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in folder.iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    for same in ({"threads": 3}, {"workers": 1}, {"photos": (str(moved),)},
                 {"skip_unreadable": True}, {"clean": 0.0},
                 {"augment": "flip"}, {"side": (8,)},
                 {"degrade": {"share": 0.0}}, {"damage": {"share": 0.0}},
                 {"render": "resident"}):  # fmt: skip
        changed = settings(folder, mask_folder, **same)
        assert pipeline.fingerprint(changed, 0, 4) == own, same
    for other in ({"side": 9}, {"scale": (1.0, 2.0)}, {"queries": 11}, {"clean": 0.5},
                  {"masks": "generated"}, {"masks": "lama"}, {"augment": "dihedral"},
                  {"side": (8, 9)}, {"photos": (str(folder),) * 2}):  # fmt: skip
        changed = settings(folder, mask_folder, **other)
        assert pipeline.fingerprint(changed, 0, 4) != own, other
    assert own not in {pipeline.fingerprint(data, *p) for p in [(1, 4), (0, 8)]}
