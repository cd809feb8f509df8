"""Laws of the drawn masks."""

import itertools

import numpy as np
import pytest

from dear_jax.data.drawn_masks import RATIO_BINS, bin_name, draw_strokes
from dear_jax.errors import InputError


@pytest.mark.parametrize("ratio", RATIO_BINS)
@pytest.mark.parametrize("size", [(64, 64), (20, 90), (128, 128)])
def test_hole_ratio_lies_in_the_range_asked_for(size, ratio):
    for seed in range(10):
        mask = draw_strokes(np.random.default_rng(seed), size, ratio)
        assert mask.shape == size and mask.dtype == bool
        assert ratio[0] <= mask.mean() <= ratio[1]


def test_same_generator_gives_same_mask_and_another_one_a_different_mask():
    first, again, other = (
        draw_strokes(np.random.default_rng(s), (32, 32), (0.3, 0.4)) for s in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_hole_ratios_fill_their_range():
    ratios = [
        draw_strokes(np.random.default_rng(s), (40, 40), (0.2, 0.4)).mean()
        for s in range(200)
    ]
    assert np.histogram(ratios, 4, (0.2, 0.4))[0].min() > 30


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (1, 40), (2, 3), (3, 1)])
@pytest.mark.parametrize("ratio", [*RATIO_BINS, (0.0, 0.0), (1.0, 1.0), (0.3, 0.3)])
def test_tiny_masks_come_as_near_to_the_range_as_whole_pixels_allow(size, ratio):
    mask = draw_strokes(np.random.default_rng(0), size, ratio)
    low, high = ratio
    possible = np.arange(mask.size + 1) / mask.size
    inside = (low - 1e-9 <= possible) & (possible <= high + 1e-9)
    if inside.any():
        assert mask.mean() in possible[inside]
    else:
        assert abs(mask.mean() - (low + high) / 2) == pytest.approx(
            np.abs(possible - (low + high) / 2).min()
        )


def test_holes_are_patches_rather_than_specks():
    mask = draw_strokes(np.random.default_rng(3), (128, 128), (0.2, 0.3))
    alike = (mask[1:] == mask[:-1]).mean()
    assert alike > 0.95


def test_bins_tile_one_to_sixty_per_cent():
    assert RATIO_BINS[0][0] == 0.01 and RATIO_BINS[-1][1] == 0.6
    for before, after in itertools.pairwise(RATIO_BINS):
        assert before[1] == after[0]


def test_bin_names_are_those_of_the_mask_folders():
    assert [bin_name(b) for b in RATIO_BINS] == (
        ["01-10", "10-20", "20-30", "30-40", "40-50", "50-60"]
    )


@pytest.mark.parametrize(
    ("size", "ratio"), [((0, 4), (0.1, 0.2)), ((4, 4), (0.2, 0.1)), ((4, 4), (0, 1.1))]
)
def test_impossible_requests_are_named(size, ratio):
    with pytest.raises(InputError, match="mask size|hole ratio"):
        draw_strokes(np.random.default_rng(0), size, ratio)
