"""Protocol damage: what is measured is what its words say."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from dear_jax.errors import InputError
from dear_jax.evaluation import damage
from dear_jax.evaluation.damage import measure_damage
from dear_jax.evaluation.damage_scores import count, summarise, thin_pieces
from dear_jax.evaluation.protocol_damage import Pair, open_pairs
from dear_jax.evaluation.top_hat import TopHat
from dear_jax.images.io import write_photo

GREY = np.full((40, 50, 3), 120, np.uint8)


def line(row: int = 20, width: int = 3, contrast: float | None = None) -> Pair:
    """A photo with one horizontal line."""
    mask = np.zeros((40, 50), bool)
    mask[row : row + width, 5:45] = True
    known = None if contrast is None else np.float32(contrast) * mask
    return Pair("a.png", GREY, mask, known)


def moved(mask: np.ndarray, rows: int) -> np.ndarray:
    return np.roll(mask, rows, 0)


# Counting.


def test_what_is_found_exactly_is_all_right():
    found = summarise([count(line(contrast=0.2), line().mask)])
    assert (found.f1, found.precision, found.recall, found.length) == (1, 1, 1, 1)
    assert found.wrong == 0


@pytest.mark.parametrize("rows, f1", [(2, 1.0), (3, 2 / 3), (4, 1 / 3), (5, 0.0)])
def test_a_pixel_is_right_within_two(rows, f1):
    pair = line()
    assert summarise([count(pair, moved(pair.mask, rows))]).f1 == pytest.approx(f1)


def test_nothing_found_is_zero_and_nothing_to_find_has_no_f1():
    nothing = np.zeros((40, 50), bool)
    assert summarise([count(line(), nothing)]).f1 == 0
    undamaged = Pair("a.png", GREY, nothing)
    found = summarise([count(undamaged, line().mask)])
    assert found.wrong == pytest.approx(120 / 2000) and found.precision == 0
    assert math.isnan(found.recall) and math.isnan(found.length)


def test_pixels_of_all_photos_count_together():
    pair, other = line(), line(row=5, width=9)
    both = summarise([count(pair, pair.mask), count(other, np.zeros_like(pair.mask))])
    assert both.recall == pytest.approx(120 / (120 + 360))
    assert both.precision == 1 and both.spread > 0


def test_thin_damage_is_measured_by_its_length_and_contrast():
    pair = line(contrast=0.12)
    half = pair.mask.copy()
    half[:, :23] = False
    found = summarise([count(pair, half)])
    # What lies within two pixels of the half that is found.
    assert found.length == pytest.approx((22 + 2) / 40, abs=0.06)
    assert found.lines == [0, 0, 1, 0, 0, 0]
    assert [x > 0 for x in found.by_contrast] == [i == 2 for i in range(6)]
    unknown = summarise([count(line(), half)])
    assert unknown.lines == [0, 0, 0, 0, 0, 1] and unknown.length == found.length


def test_spots_and_specks_are_no_lines():
    mask = np.zeros((40, 50), bool)
    mask[3:12, 3:14] = mask[30:33, 30:34] = True
    assert not thin_pieces(mask)


@pytest.mark.parametrize("turn", [np.transpose, np.flipud, np.fliplr])
def test_a_turned_line_is_as_long(turn):
    ((centre, _),) = thin_pieces(line().mask)
    ((turned, _),) = thin_pieces(turn(line().mask))
    assert len(centre) == len(turned)


# Pairs.


def test_drawn_damage_is_that_of_the_seed_and_the_name():
    one, other = (open_pairs("bundled", "drawn", 2, seed) for seed in (0, 1))
    again = open_pairs("bundled", "drawn", 2)
    assert (one[1].mask == again[1].mask).all() and (
        one[1].image == again[1].image
    ).all()
    assert (one[1].mask != other[1].mask).any()
    assert one[1].contrast[~one[1].mask].max() == 0 < one[1].contrast.max() <= 1


def test_undamaged_photos_are_as_they_are():
    pairs = open_pairs("bundled", "none", 1)
    assert not pairs[0].mask.any() and (pairs[0].image == pairs.photos[0]).all()


@pytest.fixture
def folders(tmp_path) -> tuple[Path, Path]:
    for name in ("a.png", "b/c.jpg"):
        write_photo(tmp_path / "photos" / name, GREY)
    white = line().mask.astype(np.uint8) * 255
    write_photo(tmp_path / "masks" / "a.png", white)
    write_photo(tmp_path / "masks" / "b" / "c.png", white)
    return tmp_path / "photos", tmp_path / "masks"


def test_a_folder_has_a_mask_of_each_photos_name(folders):
    pairs = open_pairs(*folders)
    assert [pair.name for pair in pairs] == ["a.png", "b/c.jpg"]
    assert all((pair.mask == line().mask).all() for pair in pairs)


def test_masks_that_are_missing_or_of_another_size_are_named(folders):
    photos, masks = folders
    write_photo(masks / "a.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(InputError, match="a.png: 4 x 4 pixels, its photo 50 x 40"):
        open_pairs(photos, masks)[0]
    (masks / "b" / "c.png").unlink()
    with pytest.raises(
        InputError, match=r"--masks .*no mask for 1 of 2 photos \(b/c.jpg\)"
    ):
        open_pairs(photos, masks)


# The table.


class Perfect:
    """Finds what there is."""

    variables = None

    def find(self, image) -> np.ndarray:
        return line().mask


def test_a_detector_stands_beside_the_classical_one(folders, tmp_path, monkeypatch):
    monkeypatch.setattr(damage, "open_detector", lambda name: Perfect())
    out = tmp_path / "out"
    out.mkdir()
    table = measure_damage(*map(str, folders), ["best.safetensors"], None, out)
    rows = {text.split()[0]: text.split() for text in table.splitlines() if text}
    assert rows["best"][1] == "1.000" and rows["classical"][1] == "0.000"
    content = json.loads((out / "damage.json").read_text())
    assert content["summaries"]["best"]["f1"] == 1
    assert content["photos"]["best"][1]["photo"] == "b/c.jpg"
    assert (out / "damage.png").exists() and (out / "damage.txt").exists()


def test_top_hats_find_what_is_narrow_and_stands_out():
    photo, mask = GREY.copy(), line(width=2).mask
    photo[mask] = 250
    found = summarise([count(Pair("a", photo, mask), TopHat().find(photo))])
    assert found.f1 == 1
    assert not TopHat().find(GREY).any()
