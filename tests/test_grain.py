"""Grain of fills: as strong, coarse and colourful as around, and nowhere else."""

import numpy as np
import pytest
from scipy import ndimage

from dear_jax.images.masks import dilated
from dear_jax.inference.grain import with_grain

SIZE = (120, 140)
MASK = np.zeros(SIZE, bool)
MASK[40:75, 50:95] = True
SMOOTH = (
    np.full((*SIZE, 3), 120.0) + np.mgrid[: SIZE[0], : SIZE[1]].sum(0)[..., None] / 4
)


def noise(strength: float, size: float, coloured: bool, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    made = rng.standard_normal((*SIZE, 3 if coloured else 1))
    if size:
        made = ndimage.gaussian_filter(made, (size, size, 0))
    return strength * made / made.std() * np.ones(3)


@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("strength", [5, 12])
@pytest.mark.parametrize("size", [0, 0.6, 1.0])
@pytest.mark.parametrize("coloured", [False, True])
def test_a_fill_gets_the_variance_the_size_and_the_colour_of_the_grain_around(
    strength, size, coloured, deep
):
    photo = (SMOOTH + noise(strength, size, coloured)).clip(0, 255)
    kind = np.float32 if deep else np.uint8
    photo = (photo / 255).astype(kind) if deep else np.rint(photo).astype(kind)
    fill = SMOOTH / (255 if deep else 1)
    filled = np.where(MASK[..., None], fill, photo).astype(kind)
    result = with_grain(filled, photo, MASK)
    assert result.dtype == kind
    np.testing.assert_array_equal(result[~MASK], photo[~MASK])
    around = dilated(MASK, 20) & ~MASK
    off = result.astype(float) - fill
    assert 0.8 < off[MASK].var() / off[around].var() < 1.25
    beside = off[:, 1:] - off[:, :-1]
    inside, outside = (m[:, 1:] & m[:, :-1] for m in (MASK, around))
    assert 0.7 < beside[inside].var() / beside[outside].var() < 1.4
    alike = [np.corrcoef(off[m].T)[0, 1] for m in (MASK, around)]
    assert abs(alike[0] - alike[1]) < 0.2


def test_a_fill_that_has_grain_gets_no_more():
    photo = np.rint(SMOOTH + noise(8, 0, True)).astype(np.uint8)
    other = np.rint(SMOOTH + noise(8, 0, True, seed=2)).astype(np.uint8)
    filled = np.where(MASK[..., None], other, photo)
    result = with_grain(filled, photo, MASK)
    change = (result.astype(float) - filled)[MASK]
    assert change.std() < 3


def test_smooth_photos_stay_smooth():
    photo = np.rint(SMOOTH).astype(np.uint8)
    assert (with_grain(photo, photo, MASK).astype(float) - photo).std() < 0.5
    everything = np.ones(SIZE, bool)
    assert with_grain(photo, photo, everything) is photo


def test_the_seed_decides_the_grain():
    photo = np.rint(SMOOTH + noise(8, 0, True)).astype(np.uint8)
    filled = np.where(MASK[..., None], SMOOTH.astype(np.uint8), photo)
    one, again, other = (with_grain(filled, photo, MASK, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
