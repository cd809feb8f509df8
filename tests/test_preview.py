"""Laws of previews: pictures of one height, holes magenta, results as they are."""

import numpy as np
import pytest

from dear_jax.errors import InputError
from dear_jax.evaluation import sheet
from dear_jax.evaluation.preview import draw_preview, preview_sheet
from dear_jax.images.io import read_photo

GREEN, BLUE = (0, 200, 0), (0, 0, 200)


def plain(size, colour):
    return np.full((*size, 3), colour, np.uint8)


def extent(drawn, colour):
    """First and last row, first and last column, of pixels of a colour."""
    rows, columns = np.nonzero((drawn == colour).all(-1))
    return rows.min(), rows.max(), columns.min(), columns.max()


@pytest.mark.parametrize(
    ("target", "height"), [((40, 60), 256), ((300, 450), 300), ((1000, 1500), 768)]
)
def test_photo_and_result_have_one_height(target, height):
    drawn = preview_sheet(plain((20, 30), GREEN), None, plain(target, BLUE))
    top, bottom, left, right = extent(drawn, GREEN)
    assert (bottom - top + 1, right - left + 1) == (height, round(1.5 * height))
    top_of_result, bottom_of_result, begin, end = extent(drawn, BLUE)
    assert (top_of_result, bottom_of_result) == (top, bottom)
    assert end - begin == right - left and begin > right


def test_holes_are_magenta_and_nothing_else_is():
    mask = np.zeros((8, 8), bool)
    mask[:2, :4] = True
    result = plain((256, 256), BLUE)
    drawn = preview_sheet(plain((8, 8), GREEN), mask, result)
    top, bottom, left, right = extent(drawn, sheet.HOLE_COLOUR)
    assert (bottom - top + 1, right - left + 1) == (64, 128)
    assert (drawn == sheet.HOLE_COLOUR).all(-1).sum() == 64 * 128
    without = preview_sheet(plain((8, 8), GREEN), np.zeros((8, 8), bool), result)
    assert not (without == sheet.HOLE_COLOUR).all(-1).any()


def test_a_result_of_usual_size_is_shown_pixel_by_pixel():
    result = np.random.default_rng(0).integers(0, 256, (260, 300, 3), np.uint8)
    drawn = preview_sheet(plain((26, 30), GREEN), None, result)
    top, _, left, right = extent(drawn, GREEN)
    begin = right + 1 + left  # The gap between pictures is the margin.
    shown = drawn[top : top + 260, begin : begin + 300]
    np.testing.assert_array_equal(shown, result)


def test_floats_look_as_their_bytes():
    rng = np.random.default_rng(0)
    image, result = (rng.integers(0, 256, (n, n, 3), np.uint8) for n in (8, 16))
    floats = [a / np.float32(255) for a in (image, result)]
    mask = rng.random((8, 8)) < 0.3
    floats[0][mask] = np.nan  # Nobody knows what is in holes.
    expected = preview_sheet(image, mask, result)
    found = preview_sheet(floats[0], mask, floats[1])
    np.testing.assert_array_equal(found, expected)


def test_importance_is_one_more_picture():
    image, result = plain((8, 8), GREEN), plain((16, 16), BLUE)
    two = preview_sheet(image, None, result)
    three = preview_sheet(image, None, result, np.ones((8, 8), np.float32))
    assert three.shape[1] - two.shape[1] == 256 + 8
    light = sheet.heat(np.ones((1, 1)))[0, 0]
    assert (three == light).all(-1).sum() == 256 * 256


def test_panoramas_stand_below_each_other():
    drawn = preview_sheet(plain((10, 80), GREEN), None, plain((40, 320), BLUE))
    assert extent(drawn, GREEN)[1] < extent(drawn, BLUE)[0]
    assert extent(drawn, GREEN)[2:] == extent(drawn, BLUE)[2:]


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (2, 3)])
def test_any_shape_can_be_drawn(size):
    mask = np.ones(size, bool)
    result = plain((size[0] * 2, size[1] * 2), BLUE)
    importance = np.full(size, np.nan)
    drawn = preview_sheet(plain(size, GREEN), mask, result, importance)
    assert drawn.dtype == np.uint8 and max(drawn.shape) < 6000


def test_previews_are_written_whole(tmp_path):
    pictures = plain((8, 8), GREEN), None, plain((16, 16), BLUE)
    draw_preview(tmp_path / "new" / "p.png", *pictures)
    read = read_photo(tmp_path / "new" / "p.png")
    np.testing.assert_array_equal(read, preview_sheet(*pictures))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        draw_preview(tmp_path / "file" / "p.png", *pictures)
