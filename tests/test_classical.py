"""Laws of the classical row: Telea's fill, enlarged by bicubic."""

import numpy as np

from dear_jax.images import resize
from dear_jax.inference.loading import open_system

classical = open_system("classical")


def test_classical_row_ignores_what_stands_in_the_holes():
    rng = np.random.default_rng(1)
    image = rng.integers(0, 256, (12, 10, 3), np.uint8)
    mask = rng.random((12, 10)) < 0.3
    other = np.where(mask[..., None], 255 - image, image)
    restored = classical(image, mask, size=(30, 25))
    assert restored.shape == (30, 25, 3)
    np.testing.assert_array_equal(restored, classical(other, mask, size=(30, 25)))


def test_classical_row_without_holes_is_bicubic_and_without_photo_grey():
    image = np.random.default_rng(1).integers(0, 256, (8, 9, 3), np.uint8)
    nothing, everything = np.zeros((8, 9), bool), np.ones((8, 9), bool)
    expected = resize.bicubic(image, (20, 20))
    np.testing.assert_array_equal(classical(image, nothing, size=(20, 20)), expected)
    assert (classical(image, everything, size=(20, 20)) == 128).all()
