"""Laws of the training data: photos, masks, examples and batches."""

import io
import itertools
import pickle

import ml_collections
import numpy as np
import pytest
from PIL import Image

from dear_jax import photo
from dear_jax.data import examples, lama_masks, pipeline
from dear_jax.data.examples import MakeExample
from dear_jax.data.masks import open_masks
from dear_jax.data.photos import open_photos
from dear_jax.errors import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Five PNG photos of different sizes."""
    path = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for i in range(5):
        size = (20 + 3 * i, 30 - 2 * i, 3)
        photo.write_photo(path / f"{i}.png", rng.integers(0, 256, size, np.uint8))
    return path


@pytest.fixture(scope="module")
def mask_folder(tmp_path_factory):
    """Three masks in two subfolders."""
    path = tmp_path_factory.mktemp("masks")
    rng = np.random.default_rng(1)
    for i, part in enumerate(["01-10", "01-10", "10-20"]):
        mask = rng.random((24, 32)) < 0.1 * (i + 1)
        photo.write_photo(path / part / f"{i}.png", mask.astype(np.uint8) * 255)
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
    batches = pipeline.training_batches(*arguments, **keywords)
    return list(itertools.islice(batches, count))


def assert_equal_batches(some, others):
    assert len(some) == len(others) > 0
    for one, other in zip(some, others, strict=True):
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


def write_records(path, records):
    from array_record.python import array_record_module

    writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
    for record in records:
        writer.write(record)
    writer.close()


# Photos


def test_photos_of_any_mode_are_read_as_rgb(tmp_path):
    picture = Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3))
    for mode, suffix in [
        ("L", "png"), ("P", "png"), ("RGBA", "png"), ("CMYK", "jpg"), ("1", "bmp"),
        ("RGB", "webp"), ("LA", "png"),
    ]:  # fmt: skip
        picture.convert(mode).save(tmp_path / f"{mode}.{suffix}")
    photos = open_photos(str(tmp_path))
    assert len(photos) == 7
    for i in range(7):
        assert photos[i].shape == (10, 10, 3) and photos[i].dtype == np.uint8


def test_array_record_and_folder_of_the_same_images_give_the_same_pixels(
    folder, tmp_path
):
    files = sorted(folder.iterdir())
    write_records(
        tmp_path / "p-00000-of-00002.array_record", [f.read_bytes() for f in files[:2]]
    )
    write_records(
        tmp_path / "p-00001-of-00002.array_record", [f.read_bytes() for f in files[2:]]
    )
    plain, packed = open_photos(str(folder)), open_photos(str(tmp_path))
    one_file = open_photos(str(tmp_path / "p-00001-of-00002.array_record"))
    assert len(plain) == len(packed) == 5 and len(one_file) == 3
    for i in range(5):
        np.testing.assert_array_equal(plain[i], packed[i])
    np.testing.assert_array_equal(plain[4], pickle.loads(pickle.dumps(one_file))[2])


def test_a_part_named_twice_counts_twice(folder):
    twice = open_photos([str(folder), str(folder)])
    assert len(twice) == 10
    np.testing.assert_array_equal(twice[1], twice[6])


def test_a_missing_shard_is_noticed(folder, tmp_path):
    record = (folder / "0.png").read_bytes()
    write_records(tmp_path / "p-00001-of-00002.array_record", [record])
    with pytest.raises(InputError, match="1 of the 2 shards"):
        open_photos(str(tmp_path))


@pytest.mark.parametrize("name", ["nowhere", "nowhere.array_record"])
def test_a_missing_part_names_itself_and_the_configuration_key(name):
    with pytest.raises(InputError, match=rf"{name}.*config\.data\.photos"):
        open_photos(name)


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="holds no image"):
        open_photos(str(tmp_path))
    with pytest.raises(InputError, match=r"config\.data\.photos is empty"):
        open_photos(())


def test_unreadable_image_is_named_with_the_remedy(folder, tmp_path):
    (tmp_path / "torn.png").write_bytes((folder / "0.png").read_bytes()[:200])
    photos = open_photos(str(tmp_path))
    with pytest.raises(InputError, match=r"torn\.png.*config\.data\.skip_unreadable"):
        photos[0]


def test_unreadable_record_is_named_with_the_remedy(folder, tmp_path):
    path = tmp_path / "p.array_record"
    write_records(path, [(folder / "0.png").read_bytes(), b"no image"])
    photos = open_photos(str(path))
    with pytest.raises(InputError, match=r"p\.array_record, record 1: .*remove it"):
        photos[1]
    assert len(open_photos(str(path), skip_unreadable=True)) == 1


def test_a_file_that_is_no_array_record_is_named(tmp_path):
    (tmp_path / "p.array_record").write_bytes(b"hello")
    with pytest.raises(InputError, match=r"p\.array_record: not an ArrayRecord"):
        open_photos(str(tmp_path))


def test_unreadable_images_are_left_out_on_request_and_logged(folder, tmp_path, caplog):
    photos = sorted(folder.iterdir())[:2]
    for name, content in {
        "a.png": photos[0].read_bytes(), "b.png": b"", "c.png": photos[1].read_bytes()
    }.items():  # fmt: skip
        (tmp_path / name).write_bytes(content)
    with caplog.at_level("WARNING", logger="absl"):
        kept = open_photos(str(tmp_path), skip_unreadable=True)
    assert [name.split()[0] for name in kept.names()] == ["a.png", "c.png"]
    np.testing.assert_array_equal(kept[1], photo.read_photo(photos[1]))
    assert "b.png" in caplog.text and "a.png" not in caplog.text


# Masks


def test_drawn_masks_are_flips_and_turns_of_the_files(mask_folder):
    files = [photo.read_mask(p) for p in sorted(mask_folder.rglob("*.png"))]
    masks = open_masks(str(mask_folder))
    assert len(masks) == 3
    counts = {int(f.sum()) for f in files}
    seen = set()
    for seed in range(60):
        rng = np.random.default_rng(seed)
        mask = masks.draw(rng, (24, 32))
        assert mask.shape == (24, 32) and mask.dtype == bool
        for number, file in enumerate(files):
            for turned, name in [
                (file, "as it is"), (file[::-1], "up"), (file[:, ::-1], "left"),
                (file[::-1, ::-1], "both"),
            ]:  # fmt: skip
                if np.array_equal(mask, turned):
                    assert int(mask.sum()) in counts
                    seen.add((number, name))
    assert len(seen) == 12  # three files, each in all four ways that keep its shape


def test_square_masks_come_in_all_eight_orientations(tmp_path):
    corner = np.zeros((8, 8), np.uint8)
    corner[0, :3] = 255
    photo.write_photo(tmp_path / "m.png", corner)
    masks = open_masks(str(tmp_path))
    drawn = {masks.draw(np.random.default_rng(s), (8, 8)).tobytes() for s in range(100)}
    assert len(drawn) == 8


def test_remembered_masks_equal_fresh_ones(mask_folder):
    used = open_masks(str(mask_folder))
    for seed in range(20):
        first = used.draw(np.random.default_rng(seed), (9, 13))
        fresh = open_masks(str(mask_folder)).draw(np.random.default_rng(seed), (9, 13))
        np.testing.assert_array_equal(first, fresh)
    assert len(pickle.dumps(used)) == len(pickle.dumps(open_masks(str(mask_folder))))


def test_generated_masks_use_all_six_bins():
    masks = open_masks("generated")
    ratios = [masks.draw(np.random.default_rng(s), (32, 32)).mean() for s in range(120)]
    edges = (0.01, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
    assert np.histogram(ratios, edges)[0].min() > 5
    assert 0.01 <= min(ratios) and max(ratios) <= 0.6


def test_lama_masks_come_as_a_folder_of_masks_does():
    masks = open_masks("lama")
    rng, copy = np.random.default_rng(3), np.random.default_rng(3)
    mask = masks.draw(rng, (24, 32))
    assert mask.shape == (24, 32) and mask.dtype == bool
    np.testing.assert_array_equal(lama_masks.draw_lama_mask(copy, (24, 32)), mask)
    assert masks.names() != open_masks("generated").names()


def test_boxes_keep_off_the_border_and_within_their_sizes():
    smallest, largest = np.inf, 0
    for seed in range(60):
        mask = lama_masks.draw_boxes(np.random.default_rng(seed), (256, 256))
        assert not mask[:10].any() and not mask[-10:].any()
        assert not mask[:, :10].any() and not mask[:, -10:].any()
        smallest = min(smallest, mask.any(0).sum(), mask.any(1).sum())
        largest = max(largest, mask.sum())
    assert 30 <= smallest < 60
    assert 150**2 / 2 < largest <= 4 * 150**2


def test_chains_are_thick_and_differ():
    ratios = [
        lama_masks.draw_chains(np.random.default_rng(s), (256, 256)).mean()
        for s in range(60)
    ]
    assert min(ratios) > 0 and max(ratios) <= 1
    assert len(set(ratios)) == 60
    assert 0.1 < np.mean(ratios) < 0.5


@pytest.mark.parametrize("draw", [lama_masks.draw_chains, lama_masks.draw_boxes])
def test_lama_masks_miss_the_same_share_at_any_size(draw):
    shares = [
        np.mean(
            [draw(np.random.default_rng(s), (side, side)).mean() for s in range(80)]
        )
        for side in (48, 256)
    ]
    np.testing.assert_allclose(*shares, rtol=0.15)


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (5, 200), (200, 5)])
def test_lama_masks_of_any_size_miss_some_pixel(size):
    for seed in range(20):
        mask = lama_masks.draw_lama_mask(np.random.default_rng(seed), size)
        assert mask.shape == size and mask.any()


def test_lama_masks_of_no_size_are_refused():
    with pytest.raises(InputError, match="at least 1"):
        lama_masks.draw_lama_mask(np.random.default_rng(0), (0, 4))


def test_masks_that_cannot_be_opened_name_the_configuration_key(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.*config\.data\.masks"):
        open_masks("nowhere")
    with pytest.raises(InputError, match=r"no mask image.*config\.data\.masks"):
        open_masks(str(tmp_path))


# Examples


def example(picture, seed=0, **changes):
    options = {"side": 8, "scale": (2.0, 2.0), "queries": 256} | changes
    make = MakeExample(open_masks("generated"), **options)
    return make.random_map(picture, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def picture():
    return np.random.default_rng(5).integers(0, 256, (16, 16, 3), np.uint8)


def full_grid(made, side):
    """Puts queried colours back where their coordinates say, [side, side, 3]."""
    at = (made["coordinates"] + 1) * side / 2 - 0.5
    index = np.rint(at).astype(int)
    np.testing.assert_allclose(at, index, atol=1e-4)
    grid = np.full((side, side, 3), np.nan, np.float32)
    grid[index[:, 0], index[:, 1]] = made["colours"]
    return grid


def test_colours_of_all_queries_are_the_photo_or_its_mirror_image(picture):
    seen = set()
    for seed in range(8):
        grid = np.rint(full_grid(example(picture, seed), 16) * 255)
        mirrored = not np.array_equal(grid, picture)
        np.testing.assert_array_equal(grid, picture[:, ::-1] if mirrored else picture)
        seen.add(mirrored)
    assert seen == {False, True}


def test_low_resolution_image_is_pillows_bicubic_of_the_crop(picture):
    made = example(picture)
    crop = np.rint(full_grid(made, 16) * 255).astype(np.uint8)
    reduced = Image.fromarray(crop).resize((8, 8), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(np.rint(made["image"] * 255), np.asarray(reduced))


def test_arrays_have_the_promised_shapes_types_and_ranges(picture):
    made = example(picture, scale=(1.0, 2.0), queries=7)
    shapes = {
        "image": (8, 8, 3), "mask": (8, 8, 1), "coordinates": (7, 2), "cell": (7, 2),
        "colours": (7, 3),
    }  # fmt: skip
    assert {key: value.shape for key, value in made.items()} == shapes
    assert all(value.dtype == np.float32 for value in made.values())
    for key in ("image", "colours", "mask"):
        assert made[key].min() >= 0 and made[key].max() <= 1
    assert set(np.unique(made["mask"])) == {0, 1}
    assert np.abs(made["coordinates"]).max() < 1


def test_target_sides_cover_the_scale_range(picture):
    sides = {
        round(2 / float(example(picture, s, scale=(1.0, 2.0), queries=1)["cell"][0, 0]))
        for s in range(200)
    }
    assert sides == set(range(8, 17))


def test_more_queries_than_pixels_are_drawn_with_repeats(picture):
    made = example(picture, scale=(1.0, 1.0), queries=100)
    assert made["colours"].shape == (100, 3)


def test_queries_never_repeat_a_pixel_while_there_are_enough():
    rows, columns = examples.random_pixels(12, 144, np.random.default_rng(0))
    assert len(set(zip(rows.tolist(), columns.tolist(), strict=True))) == 144


def test_crops_reach_every_corner_of_the_photo():
    where = np.stack(np.mgrid[:5, :6, :1].squeeze(-1), -1)
    where = np.concatenate([where, where[..., :1]], -1).astype(np.uint8)
    corners = {
        tuple(examples.random_crop(where, 4, np.random.default_rng(s))[0, 0, :2])
        for s in range(100)
    }
    assert corners == set(itertools.product(range(2), range(3)))


def test_a_small_photo_is_enlarged_to_just_fit():
    small = np.full((5, 10, 3), 77, np.uint8)
    crop = examples.random_crop(small, 16, np.random.default_rng(0))
    assert crop.shape == (16, 16, 3) and (crop == 77).all()


def test_clean_examples_have_an_empty_mask(picture):
    assert not example(picture, clean=1.0)["mask"].any()
    assert example(picture, clean=0.0)["mask"].any()


def orientations(picture):
    """The eight flips and turns of a square picture, by what they hold."""
    turned = [np.rot90(p, k) for p in (picture, picture[::-1]) for k in range(4)]
    return {t.tobytes(): n for n, t in enumerate(turned)}


@pytest.mark.parametrize(("augment", "count"), [("flip", 2), ("dihedral", 8)])
def test_augmentation_gives_each_of_its_orientations(picture, augment, count):
    known, seen = orientations(picture), set()
    for seed in range(100):
        rng = np.random.default_rng(seed)
        seen.add(known[examples.augmented(picture, augment, rng).tobytes()])
    assert len(seen) == count


def test_flip_takes_one_random_number_as_it_always_did(picture):
    used, fresh = np.random.default_rng(0), np.random.default_rng(0)
    examples.augmented(picture, "flip", used)
    fresh.random()
    assert used.random() == fresh.random()


def test_without_queries_the_whole_crop_is_the_target(picture):
    made = example(picture, queries=0, augment="dihedral")
    assert made.keys() == {"image", "mask", "target"}
    target = np.rint(made["target"] * 255).astype(np.uint8)
    assert target.tobytes() in orientations(picture)
    assert made["target"].dtype == np.float32 and made["target"].max() <= 1
    reduced = Image.fromarray(target).resize((8, 8), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(np.rint(made["image"] * 255), np.asarray(reduced))


def test_the_target_is_what_queries_would_ask_about(picture):
    queried, whole = example(picture), example(picture, queries=0)
    np.testing.assert_array_equal(whole["image"], queried["image"])
    np.testing.assert_array_equal(whole["mask"], queried["mask"])
    np.testing.assert_array_equal(whole["target"], full_grid(queried, 16))


def test_at_scale_one_the_target_is_the_image(picture):
    made = example(picture, queries=0, scale=(1.0, 1.0), side=16)
    np.testing.assert_array_equal(made["target"], made["image"])


# Batches


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


def test_processes_together_hold_the_examples_of_one(folder, mask_folder):
    data = settings(folder, mask_folder)
    whole = first_batches(3, data, 4, 0)
    halves = [first_batches(3, data, 4, 0, process=(i, 2)) for i in range(2)]
    for batch, *parts in zip(whole, *halves, strict=True):
        for key in batch:
            dealt = np.stack([part[key] for part in parts], 1).reshape(batch[key].shape)
            np.testing.assert_array_equal(dealt, batch[key])


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
        photo.write_photo(tmp_path / f"{i}.png", np.full((9, 9, 3), i, np.uint8))
    data = settings(tmp_path, "generated", side=4)
    for batch in first_batches(3, data, 6, 0):
        grey = np.rint(batch["image"][:, 0, 0, 0] * 255)
        assert sorted(grey) == [0, 1, 2, 3, 4, 5]


def test_an_unreadable_photo_stops_the_iterator_by_name(folder, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no image")
    batches = pipeline.training_batches(settings(tmp_path, "generated"), 1, 0)
    with pytest.raises(InputError, match=r"bad\.png"):
        next(batches)


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
        ({"scale": (0.5, 2.0)}, r"config\.data\.scale"),
        ({"scale": (3.0, 2.0)}, r"config\.data\.scale"),
        ({"scale": (3.0,)}, r"config\.data\.scale"),
        ({"threads": -1}, r"config\.data\.threads=-1"),
        ({"clean": 2.0}, r"config\.data\.clean=2"),
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
                 {"augment": "flip"}):  # fmt: skip
        changed = settings(folder, mask_folder, **same)
        assert pipeline.fingerprint(changed, 0, 4) == own, same
    for other in ({"side": 9}, {"scale": (1.0, 2.0)}, {"queries": 11}, {"clean": 0.5},
                  {"masks": "generated"}, {"masks": "lama"}, {"augment": "dihedral"},
                  {"photos": (str(folder),) * 2}):  # fmt: skip
        changed = settings(folder, mask_folder, **other)
        assert pipeline.fingerprint(changed, 0, 4) != own, other
    assert own not in {pipeline.fingerprint(data, *p) for p in [(1, 4), (0, 8)]}


# Packing


def test_packed_folder_gives_the_pixels_of_the_folder(folder, tmp_path, packing):
    out = tmp_path / "new" / "faces"
    assert packing.main([str(folder), str(out), "--shards", "2"]) == 0
    names = sorted(path.name for path in out.iterdir())
    assert names == [
        "faces-00000-of-00002.array_record",
        "faces-00001-of-00002.array_record",
        "manifest.json",
    ]
    plain, packed = open_photos(str(folder)), open_photos(str(out))
    expected = sorted(plain[i].tobytes() for i in range(5))
    assert sorted(packed[i].tobytes() for i in range(len(packed))) == expected


def test_packing_reduces_the_centre_square(folder, tmp_path, packing):
    out = tmp_path / "small"
    packing.pack(folder, out, shards=1, side=16, quality=0)
    square = open_photos(str(folder))[0][:, 5:25]
    expected = Image.fromarray(square).resize((16, 16), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(open_photos(str(out))[0], np.asarray(expected))


def test_packing_refuses_what_exists_and_what_it_cannot_read(
    folder, tmp_path, packing, capsys
):
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    (source / "good.png").write_bytes((folder / "0.png").read_bytes())
    (source / "bad.png").write_bytes(b"no image")
    assert packing.main([str(source), str(out)]) == 2
    assert "bad.png" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["source"]
    assert packing.main([str(source), str(out), "--skip-unreadable"]) == 0
    assert "bad.png" in capsys.readouterr().err
    assert len(open_photos(str(out))) == 1
    assert packing.main([str(source), str(out)]) == 2
    assert "exists" in capsys.readouterr().err


def test_packed_jpeg_stays_close_to_the_photo(tmp_path, packing):
    ramp = np.linspace(0, 255, 32).astype(np.uint8)
    smooth = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(90)), -1)
    photo.write_photo(tmp_path / "in" / "a.png", smooth)
    packing.pack(tmp_path / "in", tmp_path / "out", shards=1, side=32, quality=95)
    packed = open_photos(str(tmp_path / "out"))[0]
    assert np.abs(packed.astype(int) - smooth).mean() < 3


@pytest.fixture(scope="module")
def packing():
    """The command, loaded from its file: data_prep is no package."""
    import importlib.util
    from pathlib import Path

    path = Path(__file__).parents[1] / "data_prep" / "images_to_array_record.py"
    spec = importlib.util.spec_from_file_location("images_to_array_record", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_jpeg_bytes_are_packed_unchanged(tmp_path, packing):
    file = io.BytesIO()
    Image.new("RGB", (9, 7), (10, 200, 30)).save(file, "JPEG")
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(file.getvalue())
    manifest, _ = packing.pack(tmp_path / "in", tmp_path / "out", shards=1)
    assert manifest["images"][0]["bytes"] == len(file.getvalue())
