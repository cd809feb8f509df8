"""Laws of masks: those drawn for training, and those of the bins for testing."""

import pickle

import numpy as np
import pytest
from prepared import write_set

from dear_jax import bundled
from dear_jax.data import drawn_masks
from dear_jax.data.mask_bins import nearest_bin, open_test_masks
from dear_jax.data.masks import open_masks
from dear_jax.errors import InputError
from dear_jax.files import content_hash as digest
from dear_jax.images import resize
from dear_jax.images.io import write_photo
from dear_jax.images.masks import read_mask


@pytest.fixture(scope="module")
def prepared(mask_folder, tmp_path_factory):
    """The same masks as a prepared set."""
    groups = {f"{s}/{b}": b for s in ("train", "test") for b in ("01-10", "10-20")}
    return write_set(tmp_path_factory.mktemp("sets") / "holes", mask_folder, groups)


def full_rows(folder, rows):
    """Writes masks of 40 rows, `rows` of them missing."""
    for i, count in enumerate(rows):
        mask = np.zeros((40, 40), np.uint8)
        mask[:count] = 255
        write_photo(folder / f"{i}.png", mask)
    return folder


# For training


def test_drawn_masks_are_flips_and_turns_of_the_files(mask_folder):
    files = [read_mask(p) for p in sorted(mask_folder.rglob("*.png"))]
    masks = open_masks(str(mask_folder))
    assert len(masks) == 3
    upright = [f[::u, ::v] for f in files for u in (1, -1) for v in (1, -1)]
    lying = [
        np.rot90(resize.nearest(f, (32, 24)))[::u, ::v]
        for f in files for u in (1, -1) for v in (1, -1)
    ]  # fmt: skip
    allowed = {mask.tobytes() for mask in upright + lying}
    assert len(allowed) == 24
    seen = set()
    for seed in range(200):
        mask = masks.draw(np.random.default_rng(seed), (24, 32))
        assert mask.shape == (24, 32) and mask.dtype == bool
        seen.add(mask.tobytes())
    assert seen == allowed


def test_square_masks_come_in_all_eight_orientations(tmp_path):
    corner = np.zeros((8, 8), np.uint8)
    corner[0, :3] = 255
    write_photo(tmp_path / "m.png", corner)
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


def test_masks_of_a_prepared_set_are_those_of_its_folder(mask_folder, prepared):
    plain, packed = open_masks(str(mask_folder)), open_masks(str(prepared / "train"))
    assert len(packed) == 3 and plain.facts() == packed.facts()
    packed = pickle.loads(pickle.dumps(packed))
    for seed in range(20):
        drawn = [m.draw(np.random.default_rng(seed), (9, 13)) for m in (plain, packed)]
        np.testing.assert_array_equal(*drawn)


def test_masks_that_cannot_be_opened_name_the_configuration_key(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.*config\.data\.masks"):
        open_masks("nowhere")
    with pytest.raises(InputError, match=r"holds no image.*config\.data\.masks"):
        open_masks(str(tmp_path))


def test_masks_that_cannot_be_read_are_named_with_the_remedy(tmp_path):
    write_photo(tmp_path / "red.png", np.full((4, 4, 3), (255, 0, 0), np.uint8))
    masks = open_masks(str(tmp_path))
    with pytest.raises(InputError, match=r"red\.png.*or remove it from config\.data"):
        masks.draw(np.random.default_rng(0), (4, 4))


# Drawn as LaMa's


def test_lama_masks_come_as_a_folder_of_masks_does():
    masks = open_masks("lama")
    rng, copy = np.random.default_rng(3), np.random.default_rng(3)
    mask = masks.draw(rng, (24, 32))
    assert mask.shape == (24, 32) and mask.dtype == bool
    np.testing.assert_array_equal(drawn_masks.draw_lama_mask(copy, (24, 32)), mask)
    assert masks.facts() != open_masks("generated").facts()


def test_boxes_keep_off_the_border_and_within_their_sizes():
    smallest, largest = np.inf, 0
    for seed in range(60):
        mask = drawn_masks.draw_boxes(np.random.default_rng(seed), (256, 256))
        assert not mask[:10].any() and not mask[-10:].any()
        assert not mask[:, :10].any() and not mask[:, -10:].any()
        smallest = min(smallest, mask.any(0).sum(), mask.any(1).sum())
        largest = max(largest, mask.sum())
    assert 30 <= smallest < 60
    assert 150**2 / 2 < largest <= 4 * 150**2


def test_chains_are_thick_and_differ():
    ratios = [
        drawn_masks.draw_chains(np.random.default_rng(s), (256, 256)).mean()
        for s in range(60)
    ]
    assert min(ratios) > 0 and max(ratios) <= 1
    assert len(set(ratios)) == 60
    assert 0.1 < np.mean(ratios) < 0.5


@pytest.mark.parametrize("draw", [drawn_masks.draw_chains, drawn_masks.draw_boxes])
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
        mask = drawn_masks.draw_lama_mask(np.random.default_rng(seed), size)
        assert mask.shape == size and mask.any()
    with pytest.raises(InputError, match="at least 1"):
        drawn_masks.draw_lama_mask(np.random.default_rng(0), (0, size[1]))


# For testing


def by_bin(bins):
    return {name: [mask.name for mask in masks] for name, masks in bins.items()}


def test_a_folder_of_bins_has_the_masks_of_each(mask_folder, prepared):
    plain, packed = open_test_masks(mask_folder), open_test_masks(prepared / "test")
    assert by_bin(plain) == {"01-10": ["0.png", "1.png"], "10-20": ["2.png"]}
    assert by_bin(packed) == by_bin(plain)
    for name, masks in plain.items():
        for mask, other in zip(masks, packed[name], strict=True):
            np.testing.assert_array_equal(mask.load(), other.load())
            content = (mask_folder / name / mask.name).read_bytes()
            assert mask.digest() == other.digest() == digest(content)


def test_drawn_masks_are_told_apart_and_from_none_at_all():
    masks = [mask for bin_masks in open_test_masks("generated").values()
             for mask in bin_masks] + open_test_masks("none")["none"]  # fmt: skip
    assert not masks[-1].load().any()  # Without masks nothing is missing.
    again = open_test_masks("generated")["01-10"][0]
    assert again.digest() == masks[0].digest()
    assert len({mask.digest() for mask in masks}) == len(masks) == 301


@pytest.mark.parametrize(
    "ratio, name",
    [(0, "01-10"), (0.05, "01-10"), (0.1, "10-20"), (0.59, "50-60"), (1, "50-60")],
)
def test_hole_ratio_falls_in_its_bin_or_the_nearest(ratio, name):
    assert nearest_bin(ratio) == name


def test_loose_masks_are_counted_to_bins_by_measured_ratio(tmp_path):
    folder = full_rows(tmp_path / "loose", (2, 10, 3))
    expected = {"01-10": ["0.png", "2.png"], "20-30": ["1.png"]}
    assert by_bin(open_test_masks(folder)) == expected
    write_set(tmp_path / "set", folder, {"test": ""})
    assert by_bin(open_test_masks(tmp_path / "set" / "test")) == expected


def test_bundled_masks_are_those_of_the_package_one_of_each_bin():
    masks, bins = open_masks("bundled"), open_test_masks("bundled")
    assert masks.facts() == open_masks(str(bundled.MASKS)).facts() and len(masks) == 6
    assert by_bin(bins) == {name: [f"{name}.png"] for name in bins} and len(bins) == 6


def test_generated_masks_are_always_the_same_and_lie_in_their_bins():
    bins, again = open_test_masks("generated"), open_test_masks("generated")
    assert len(bins) == 6
    for name, masks in bins.items():
        mask = masks[1].load()
        assert nearest_bin(mask.mean()) == name
        np.testing.assert_array_equal(mask, again[name][1].load())


def test_test_masks_that_cannot_be_opened_say_what_to_set(prepared, tmp_path):
    with pytest.raises(InputError, match="nowhere.*set --masks to .*'generated'"):
        open_test_masks("nowhere", "--masks")
    with pytest.raises(InputError, match="whole prepared set; name one part.*test"):
        open_test_masks(prepared)
    full_rows(tmp_path / "bins" / "01-10", (1,))
    (tmp_path / "bins" / "10-20").mkdir()
    with pytest.raises(InputError, match="10-20: holds no image"):
        open_test_masks(tmp_path / "bins")


def test_a_bin_missing_from_a_prepared_set_is_named(prepared, tmp_path):
    for path in prepared.rglob("*.*"):
        new = tmp_path / path.relative_to(prepared)
        new.parent.mkdir(parents=True, exist_ok=True)
        new.write_bytes(path.read_bytes())
    for path in (tmp_path / "test" / "10-20").iterdir():
        path.unlink()
    for opened in (open_test_masks, lambda path: open_masks(str(path))):
        with pytest.raises(InputError, match="10-20/holes-00000.* missing and 1 more"):
            opened(tmp_path / "test")


def test_test_masks_that_cannot_be_read_are_named(tmp_path):
    full_rows(tmp_path / "01-10", (1,))
    (tmp_path / "01-10" / "x.png").write_text("no image")
    with pytest.raises(InputError, match=r"x\.png: .*or remove it"):
        open_test_masks(tmp_path)["01-10"][1].load()
