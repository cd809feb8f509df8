"""Windows around holes give what the whole photo gives, in any company."""

import numpy as np
import pytest
from rounding import assert_close
from tiny import tiny_restorer

from dear_jax.images.masks import dilated
from dear_jax.inference.windows import hole_windows

# As `dear-lite` without attention and importance, whose reach ends.
LOCAL = {"attention": False, "importance": False, "residual": "fill"}
SIZE = (384, 448)
PHOTO = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
LAYERS = 40


def boxes(*places: tuple[int, int, int, int]) -> np.ndarray:
    """A mask of (top, left, height, width)."""
    mask = np.zeros(SIZE, bool)
    for top, left, height, width in places:
        mask[top : top + height, left : left + width] = True
    return mask


@pytest.fixture(scope="module")
def restorer():
    return tiny_restorer("dear-lite", **LOCAL)


@pytest.mark.parametrize(
    "mask",
    [
        boxes((200, 200, 7, 9)),
        boxes((0, 0, 16, 16), (380, 440, 4, 8)),  # Cells that are all hole.
        boxes((64, 64, 32, 8)),
        boxes((10, 300, 1, 60), (40, 310, 3, 3), (300, 20, 20, 2)),
    ],
)
def test_windows_are_filled_as_the_whole_photo_is(restorer, mask):
    plan = restorer.plan_holes(mask)
    assert plan.windows and plan.holes_only
    images, masks, levels = PHOTO[None], mask[None], restorer.levels(0.0, 1)
    whole = restorer.plan(SIZE, SIZE)._replace(holes_only=True)
    by_windows, at_once = (
        restorer._restore(images / np.float32(255), masks, levels, p, None)[0]
        for p in (plan, whole)
    )
    np.testing.assert_array_equal(by_windows[~mask], (PHOTO / np.float32(255))[~mask])
    assert by_windows[mask].std() > 0.01
    assert_close(by_windows[mask], at_once[mask], LAYERS)


def test_a_restorer_takes_windows_by_itself(restorer):
    mask = boxes((200, 200, 7, 9))
    result = restorer(PHOTO, mask)
    expected = restorer(PHOTO, mask, plan=restorer.plan(SIZE, SIZE))
    assert np.abs(result.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("seed", range(5))
def test_each_hole_lies_in_a_window_with_its_margin(seed):
    rng = np.random.default_rng(seed)
    size, halo = (2000, 3000), 40
    mask = np.zeros(size, bool)
    for _ in range(seed * 3 + 1):
        top, left = rng.integers(0, 1900), rng.integers(0, 2900)
        mask[top : top + rng.integers(1, 60), left : left + rng.integers(1, 60)] = True
    windows = hole_windows(mask, halo, 16)
    count = np.zeros(size, np.int8)
    for window in windows:
        count[window] += 1
        assert all(side.start % 16 == 0 for side in window)
    assert (count <= 1).all() and count[dilated(mask, halo)].all()


def test_where_holes_are_everywhere_there_are_none():
    mask = np.zeros((400, 400), bool)
    mask[::40] = True
    assert hole_windows(mask, 20, 16) is None
