"""Laws of contact sheets, shown holes and heat maps."""

import numpy as np
import pytest

from dear_jax.evaluation import sheet


def test_sheet_grows_by_one_cell_and_gap_per_picture():
    tile, cell, gap = np.full((4, 8, 3), 200, np.uint8), 64, 2
    small = sheet.contact_sheet([[tile]], ["a"], cell=cell)
    large = sheet.contact_sheet([[tile] * 3] * 2, ["a", "b", "c"], cell=cell)
    grown = np.array(large.shape) - small.shape
    assert grown.tolist() == [cell + gap, 2 * (cell + gap), 0]
    assert large.dtype == np.uint8 and (large[0] == 255).all()
    # A 4 x 8 picture is enlarged to 32 x 64 in its cell.
    assert (small == 200).all(-1).sum() == 32 * 64


def test_sheet_enlarges_with_nearest_neighbour_only():
    board = np.indices((8, 8)).sum(0) % 2 * 200
    tile = np.repeat(board[..., None], 3, -1).astype(np.uint8)
    drawn = sheet.contact_sheet([[tile]], [""], cell=64)
    assert set(np.unique(drawn)) == {0, 200, 255}


def test_sheet_refuses_rows_that_do_not_match_titles():
    tile = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(ValueError, match="row 0 has 1 pictures for 2 titles"):
        sheet.contact_sheet([[tile]], ["a", "b"])


def test_show_mask_paints_holes_and_nothing_else():
    image = np.random.default_rng(0).integers(0, 200, (6, 5, 3), np.uint8)
    mask = np.random.default_rng(1).random((6, 5)) < 0.5
    shown = sheet.show_mask(image, mask)
    assert (shown[mask] == sheet.HOLE_COLOUR).all()
    np.testing.assert_array_equal(shown[~mask], image[~mask])


def test_heat_gets_lighter_with_the_value():
    colours = sheet.heat(np.linspace(0, 1, 256)[None])[0].astype(float)
    luma = colours @ [0.299, 0.587, 0.114]
    assert (np.diff(luma) > -0.5).all() and luma[0] < 40 and luma[-1] > 220
    clipped = sheet.heat(np.array([[-1.0, 2.0, np.nan]]))[0]
    np.testing.assert_array_equal(clipped, colours[[0, -1, 0]])
