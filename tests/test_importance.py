"""Laws of pixel-wise importance: reconstruction from known pixels, values in (0, 1)."""

import jax.numpy as jnp
import numpy as np
import pytest

from dear_jax.models.dear.importance import Importance, reconstruct

SHAPE = (2, 5, 6)


@pytest.fixture(scope="module")
def photo():
    """Image [B, H, W, 3], mask [B, H, W, 1], kernels [B, H, W, 9]."""
    rng = np.random.default_rng(0)
    image = rng.random((*SHAPE, 3)).astype(np.float32)
    mask = (rng.random((*SHAPE, 1)) < 0.4).astype(np.float32)
    return image, mask, rng.normal(size=(*SHAPE, 9)).astype(np.float32)


def test_reconstruction_is_equation_8(photo):
    image, mask, kernels = photo
    expected = np.zeros(image.shape)
    for b, y, x in np.ndindex(SHAPE):
        for i, j in np.ndindex(3, 3):
            row, column = y + i - 1, x + j - 1
            inside = 0 <= row < SHAPE[1] and 0 <= column < SHAPE[2]
            if inside and mask[b, row, column, 0] == 0:
                expected[b, y, x] += kernels[b, y, x, 3 * i + j] * image[b, row, column]
    np.testing.assert_allclose(reconstruct(*photo), expected, atol=1e-5)


@pytest.mark.parametrize("junk", [np.nan, np.inf, 5.0])
def test_what_is_under_the_mask_is_never_used(photo, junk):
    image, mask, kernels = photo
    spoilt = np.where(mask > 0, junk, image).astype(np.float32)
    found = reconstruct(jnp.asarray(spoilt), mask, kernels)
    np.testing.assert_array_equal(found, reconstruct(*photo))


def test_importance_is_between_zero_and_one_and_differs_by_pixel(photo, draw_params):
    params = draw_params(Importance(), photo[2])
    importance = np.asarray(Importance().apply(params, photo[2]))
    assert importance.shape == (*SHAPE, 1)
    assert 0 < importance.min() < importance.max() < 1
