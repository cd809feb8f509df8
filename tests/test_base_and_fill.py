"""Laws of what colours are added to: enlarging as Pillow does, filling of holes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from rounding import allowance, assert_close

from dear_jax.models.dear.coordinates import pixel_centres
from dear_jax.models.dear.residual import fill_holes, sample_bicubic, sample_bilinear

# Compiled once per size; few sizes keep the tests quick.
fill = jax.jit(fill_holes)
# Means of cells, from the photo down to one cell and up again.
LEVELS = 8

SAMPLERS = [
    pytest.param(jax.jit(sample_bicubic), Image.Resampling.BICUBIC, id="bicubic"),
    pytest.param(jax.jit(sample_bilinear), Image.Resampling.BILINEAR, id="bilinear"),
]


def grid(size):
    """Queries [2, h w, 2] at the centres of h x w pixels."""
    return jnp.asarray(np.stack([pixel_centres(size).reshape(-1, 2)] * 2))


def noise(height, width, ratio=0.4, seed=0):
    """Images [2, H, W, 3] and masks [2, H, W, 1] with the top left pixel known."""
    rng = np.random.default_rng(seed)
    image = rng.random((2, height, width, 3)).astype(np.float32)
    mask = (rng.random((2, height, width, 1)) < ratio).astype(np.float32)
    mask[:, 0, 0] = 0
    return image, mask


@pytest.mark.parametrize(("sample", "resampling"), SAMPLERS)
@pytest.mark.parametrize("size", [(18, 21), (12, 28), (15, 7), (7, 25)])
def test_enlarging_equals_pillow(sample, resampling, size):
    image, _ = noise(6, 7)
    found = np.asarray(sample(image, grid(size))).reshape(2, *size, 3)
    for b, c in np.ndindex(2, 3):
        channel = Image.fromarray(image[b, :, :, c])
        expected = np.asarray(channel.resize(size[::-1], resampling))
        np.testing.assert_allclose(found[b, :, :, c], expected, atol=1e-4)


@pytest.mark.parametrize(("sample", "resampling"), SAMPLERS)
@pytest.mark.parametrize("size", [(6, 7), (1, 5), (1, 1)])
def test_sampling_at_the_pixel_centres_returns_the_pixels(sample, resampling, size):
    image, _ = noise(*size)
    found = np.asarray(sample(image, grid(size)))
    np.testing.assert_allclose(found.reshape(image.shape), image, atol=1e-5)


@pytest.mark.parametrize(("sample", "resampling"), SAMPLERS)
def test_sampling_in_a_larger_array_is_alike(sample, resampling):
    image, _ = noise(6, 7)
    larger = np.pad(image, ((0, 0), (0, 2), (0, 3), (0, 0)), constant_values=9)
    found = sample(larger, grid((14, 17)), jnp.asarray((6, 7)))
    assert_close(found, sample(image, grid((14, 17))))


@pytest.mark.parametrize("size", [(11, 6), (1, 9)])
def test_known_pixels_stay_and_holes_get_values_between_them(size):
    image, mask = noise(*size)
    filled = np.asarray(fill(image, mask))
    known = np.broadcast_to(mask == 0, image.shape)
    np.testing.assert_array_equal(filled[known], image[known])
    for b, c in np.ndindex(2, 3):
        values = image[b, :, :, c][mask[b, ..., 0] == 0]
        assert filled[b, :, :, c].min() >= values.min() - allowance(1, LEVELS)
        assert filled[b, :, :, c].max() <= values.max() + allowance(1, LEVELS)


def test_one_known_pixel_fills_the_whole_photo():
    image, _ = noise(11, 6)
    mask = np.ones((2, 11, 6, 1), np.float32)
    mask[:, 7, 2] = 0
    filled = fill(image, mask)
    colour = np.broadcast_to(image[:, 7:8, 2:3], image.shape)
    assert_close(filled, colour, LEVELS)


def test_a_constant_photo_gets_a_constant_fill():
    _, mask = noise(11, 6, ratio=0.8)
    image = np.broadcast_to(np.float32([0.2, -0.5, 0.9]), (2, 11, 6, 3))
    assert_close(fill(image, mask), image, LEVELS)


@pytest.mark.parametrize("junk", [np.nan, np.inf, 100.0])
def test_what_is_under_the_mask_has_no_effect_on_the_fill(junk):
    image, mask = noise(11, 6)
    spoilt = np.where(mask > 0, junk, image).astype(np.float32)
    np.testing.assert_array_equal(fill(spoilt, mask), fill(image, mask))


@pytest.mark.parametrize("size", [(1, 1), (4, 8), (11, 6), (1, 9)])
def test_a_photo_in_a_larger_array_is_filled_alike(size):
    image, mask = noise(*size, ratio=0.7)
    rows, columns = 14 - size[0], 10 - size[1]
    pads = ((0, 0), (0, rows), (0, columns), (0, 0))
    valid = np.pad(np.ones_like(mask), pads)
    larger = np.pad(image, pads, constant_values=9)
    found = fill(larger, np.pad(mask, pads, constant_values=1), valid)
    alone = fill(image, mask)
    assert_close(found[:, : size[0], : size[1]], alone, LEVELS)


@pytest.mark.parametrize("size", [(1, 1), (11, 6)])
def test_where_nothing_is_known_the_fill_is_zero(size):
    image, mask = noise(*size)
    assert not np.any(fill(image, np.ones_like(mask)))


def test_a_photo_of_one_pixel_is_its_own_fill():
    image, mask = noise(1, 1)
    np.testing.assert_array_equal(fill(image, np.zeros_like(mask)), image)


@pytest.mark.parametrize("axis", [1, 2])
def test_filling_a_flipped_photo_flips_the_fill(axis):
    image, mask = noise(4, 8)
    found = fill(np.flip(image, axis), np.flip(mask, axis))
    expected = np.flip(fill(image, mask), axis)
    assert_close(found, expected, LEVELS)


def test_a_linear_ramp_is_filled_smoothly():
    """The fill is near the harmonic one, which a ramp is: far from a flat mean."""
    ramp = np.broadcast_to(np.linspace(0, 1, 8, dtype=np.float32), (1, 8, 8))[..., None]
    mask = np.zeros_like(ramp)
    mask[:, 3:6, 3:6] = 1
    assert np.abs(fill(ramp, mask) - ramp).max() < 0.05
