"""Laws of training examples: what one photo becomes."""

import itertools
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from dear_jax.data import examples
from dear_jax.data.examples import (
    Choices,
    Chooser,
    MakeExample,
    NumberExample,
)
from dear_jax.data.masks import open_masks
from dear_jax.images import resize


def chooser_of(**changes):
    options = {"side": 8, "scale": (2.0, 2.0), "queries": 256} | changes
    return Chooser(open_masks("generated"), **options)


def example(picture, seed=0, **changes):
    make = MakeExample(chooser_of(**changes))
    return make.random_map(picture, np.random.default_rng(seed))


def random_crop(photo, side, seed):
    """A crop and nothing else."""
    size, corner = examples.place_crop(
        photo.shape[:2], side, np.random.default_rng(seed)
    )
    nothing = np.zeros((0, 0), bool), np.zeros(0, np.int32)
    return examples.cut(photo, Choices(side, size, corner, 0, *nothing))


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
        "colours": (7, 3), "clean": (8, 8, 3), "level": (),
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
    pixels = examples.draw_pixels(12, 144, np.random.default_rng(0))
    assert sorted(pixels) == list(range(144))


def test_crops_reach_every_corner_of_the_photo():
    where = np.stack(np.mgrid[:5, :6, :1].squeeze(-1), -1)
    where = np.concatenate([where, where[..., :1]], -1).astype(np.uint8)
    corners = {tuple(random_crop(where, 4, seed)[0, 0, :2]) for seed in range(100)}
    assert corners == set(itertools.product(range(2), range(3)))


def test_a_small_photo_is_enlarged_to_just_fit():
    small = np.full((5, 10, 3), 77, np.uint8)
    crop = random_crop(small, 16, 0)
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
        flips = examples.draw_flips(augment, np.random.default_rng(seed))
        seen.add(known[examples.flipped(picture, flips).tobytes()])
    assert len(seen) == count


def test_random_numbers_are_drawn_in_the_order_they_always_were(picture):
    """Or runs could not go on with the examples that they began with."""
    chooser = chooser_of(scale=(1.0, 2.0), augment="dihedral", clean=0.5, queries=7)
    for seed in range(20):
        chosen = chooser.choose((16, 19), np.random.default_rng(seed))
        rng = np.random.default_rng(seed)
        side = round(8 * rng.uniform(1.0, 2.0))
        corner = rng.integers(16 - side + 1), rng.integers(19 - side + 1)
        crop = np.zeros((16, 19, 3), np.uint8)
        crop[...] = np.arange(16 * 19).reshape(16, 19, 1) % 251
        crop = crop[corner[0] : corner[0] + side, corner[1] : corner[1] + side]
        made = examples.flipped(crop, chosen.flips)
        crop = crop[:, ::-1] if rng.random() < 0.5 else crop
        crop = crop[::-1] if rng.random() < 0.5 else crop
        crop = crop.swapaxes(0, 1) if rng.random() < 0.5 else crop
        np.testing.assert_array_equal(made, crop)
        mask = chooser.masks.draw(rng, (8, 8))
        mask &= rng.random() >= 0.5
        np.testing.assert_array_equal(chosen.mask, mask)
        pixels = rng.choice(side * side, 7, replace=False, shuffle=False)
        np.testing.assert_array_equal(chosen.pixels, pixels)
        assert (chosen.side, chosen.corner) == (side, corner)


def test_flip_takes_one_random_number():
    used, fresh = np.random.default_rng(0), np.random.default_rng(0)
    examples.draw_flips("flip", used)
    fresh.random()
    assert used.random() == fresh.random()


def test_numbers_that_are_sent_make_the_example(picture):
    options = {"scale": (1.0, 2.0), "augment": "dihedral", "queries": 7}
    number = NumberExample(chooser_of(**options), (16, 16))
    for seed in range(10):
        sent = number.random_map(5, np.random.default_rng(seed))
        made = example(picture, seed, **options)
        assert sent["photo"] == 5
        side, (top, left) = int(sent["side"]), sent["corner"]
        crop = picture[top : top + side, left : left + side]
        crop = examples.flipped(crop, int(sent["flips"]))
        reduced = resize.bicubic(crop, (8, 8))
        np.testing.assert_array_equal(reduced, np.rint(made["image"] * 255))
        np.testing.assert_array_equal(sent["mask"], made["mask"][..., 0] == 1)
        colours = crop.reshape(-1, 3)[sent["pixels"]]
        np.testing.assert_array_equal(colours, np.rint(made["colours"] * 255))


def test_without_queries_the_whole_crop_is_the_target(picture):
    made = example(picture, queries=0, augment="dihedral")
    assert made.keys() == {"image", "clean", "level", "mask", "target"}
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


def test_crop_of_a_photo_too_long_to_enlarge_is_that_of_the_enlarged(monkeypatch):
    for size in ((5, 90), (90, 5), (7, 33), (1, 40)):
        photo = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        for seed in range(5):
            crops = []
            for limit in (1 << 24, 0):
                monkeypatch.setattr(examples, "_ENLARGED_WHOLE", limit)
                crops.append(random_crop(photo, 16, seed).astype(int))
            assert crops[0].shape == (16, 16, 3)
            assert np.abs(crops[0] - crops[1]).max() <= 1


def test_crop_of_the_longest_photo_takes_little_memory():
    tracemalloc.start()
    photo = np.zeros((1, 20_000, 3), np.uint8)
    crop = random_crop(photo, 256, 0)
    assert crop.shape == (256, 256, 3)
    assert tracemalloc.get_traced_memory()[1] < 1e8
    tracemalloc.stop()


@pytest.mark.parametrize("size", [(40, 30), (20, 70), (8, 9)])
def test_without_enlarging_no_crop_exceeds_its_photo(size):
    chooser = chooser_of(side=10, scale=(1.5, 6.0), queries=4, enlarge=False)
    rng = np.random.default_rng(0)
    chosen = [chooser.choose(size, rng) for _ in range(200)]
    sides = {c.side for c in chosen}
    assert max(sides) == max(10, min(min(size), 60))
    assert sides <= set(chooser.sides)
    if min(size) >= 10:
        assert all(c.size == size for c in chosen)
