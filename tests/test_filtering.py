"""Laws of per-pixel filtering: three ways to compute it agree, gradients too."""

import functools
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dear_jax.models.dear.filtering import (
    filter_pixels,
    filter_pixels_by_unfold,
    shifted_windows,
)

GOLDEN = Path(__file__).parents[2] / "shared" / "golden"


def example(kernel_size=3, groups=6, shape=(2, 4, 5, 6), seed=0):
    """Photos [B, H, W, C], kernels [B, H, W, K^2, G] and a gradient like the photos."""
    rng = np.random.default_rng(seed)
    kernels = (*shape[:3], kernel_size**2, groups)
    return tuple(rng.normal(size=s).astype(np.float32) for s in (shape, kernels, shape))


def filter_by_loops(x, kernels, padding):
    """The definition, pixel by pixel and tap by tap, in float64."""
    batch, height, width, channels = x.shape
    size = round(kernels.shape[3] ** 0.5)
    share = channels // kernels.shape[4]
    out = np.zeros(x.shape)
    for b, y, col, c in np.ndindex(batch, height, width, channels):
        for i, j in np.ndindex(size, size):
            row, column = y + i - size // 2, col + j - size // 2
            if padding == "edge":
                row, column = np.clip((row, column), 0, (height - 1, width - 1))
            elif not (0 <= row < height and 0 <= column < width):
                continue
            tap = kernels[b, y, col, i * size + j, c // share]
            out[b, y, col, c] += float(tap) * float(x[b, row, column, c])
    return out


@functools.partial(jax.jit, static_argnames=("function", "padding"))
def gradients(function, x, kernels, cotangent, padding):
    """The gradients by x and by the kernels."""
    _, back = jax.vjp(lambda x, k: function(x, k, padding), x, kernels)
    return back(cotangent)


@pytest.mark.parametrize("padding", ["zero", "edge"])
@pytest.mark.parametrize("groups", [1, 3, 6])
def test_both_ways_equal_the_loops_over_pixels_and_taps(groups, padding):
    x, kernels, _ = example(groups=groups)
    expected = filter_by_loops(x, kernels, padding)
    for function in (filter_pixels, filter_pixels_by_unfold):
        found = jax.jit(function, static_argnames="padding")(x, kernels, padding)
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_window_of_five_equals_the_loops():
    x, kernels, _ = example(kernel_size=5, groups=3, shape=(1, 3, 4, 3))
    expected = filter_by_loops(x, kernels, "edge")
    np.testing.assert_allclose(filter_pixels(x, kernels, "edge"), expected, atol=1e-5)


@pytest.mark.parametrize("padding", ["zero", "edge"])
@pytest.mark.parametrize("groups", [1, 3, 6])
def test_both_ways_have_the_same_gradients(groups, padding):
    arrays = example(groups=groups, seed=1)
    ours = gradients(filter_pixels, *arrays, padding)
    defined = gradients(filter_pixels_by_unfold, *arrays, padding)
    for found, expected in zip(ours, defined, strict=True):
        assert np.abs(expected).max() > 0.1
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_gradients_are_those_of_the_loops():
    x, kernels, cotangent = example(groups=2, shape=(1, 3, 3, 4), seed=2)
    by_x, by_kernels = gradients(filter_pixels, x, kernels, cotangent, "zero")
    # The filter is linear in each argument, so a unit step measures a derivative.
    for array, gradient, position in (
        (x, by_x, (0, 0, 1, 3)),
        (x, by_x, (0, 1, 1, 0)),
        (kernels, by_kernels, (0, 2, 1, 4, 1)),
        (kernels, by_kernels, (0, 0, 0, 8, 0)),
    ):
        step = np.zeros_like(array)
        step[position] = 1
        change = (step, kernels) if array is x else (x, step)
        expected = (filter_by_loops(*change, "zero") * cotangent).sum()
        np.testing.assert_allclose(gradient[position], expected, atol=1e-5)


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_an_impulse_at_the_middle_tap_changes_nothing(kernel_size):
    x, _, _ = example()
    taps = kernel_size**2
    kernels = np.zeros((*x.shape[:3], taps, 1), np.float32)
    kernels[..., taps // 2, :] = 1
    np.testing.assert_array_equal(filter_pixels(x, kernels, "zero"), x)


def test_an_unknown_padding_is_refused():
    with pytest.raises(KeyError, match="reflect"):
        shifted_windows(jnp.zeros((1, 2, 2, 1)), 3, "reflect")


@pytest.mark.parametrize("kernel_size", [3, 5])
def test_filter_and_gradients_equal_misf(kernel_size):
    """What the official MISF computes (NCHW there), see shared/golden/README.md."""
    path = GOLDEN / f"pixelfilter_k{kernel_size}_0.npz"
    if not path.exists():
        pytest.skip(f"{path.name} is not here")
    golden = np.load(path, allow_pickle=False)

    def photo(name):
        return golden[name].transpose(0, 2, 3, 1)

    def kernels(name):
        batch, _, height, width = golden[name].shape
        split = golden[name].reshape(batch, -1, kernel_size**2, height, width)
        return split.transpose(0, 3, 4, 2, 1)

    x, taps = photo("input/feature"), kernels("input/kernels")
    np.testing.assert_allclose(filter_pixels(x, taps), photo("output"), atol=1e-5)
    found = gradients(filter_pixels, x, taps, photo("grad/output"), "zero")
    np.testing.assert_allclose(found[0], photo("grad/feature"), atol=1e-5)
    np.testing.assert_allclose(found[1], kernels("grad/kernels"), atol=1e-5)
