"""Laws of the spectral layers, against their definition in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rounding import assert_close
from tiny import draw_like

from dear_jax.models.lama import (
    FourierUnit,
    SpectralTransform,
    inverse,
    join_complex,
    split_complex,
)

SIZES = [(4, 6), (4, 7), (5, 6), (5, 7), (1, 1), (2, 1), (1, 2)]


def photos(size, channels=3, batch=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(batch, *size, channels)).astype(np.float32)


def spectra(size, channels=3, seed=0):
    """Half spectra [2, H, W // 2 + 1, C] that belong to no real photo."""
    parts = photos((size[0], size[1] // 2 + 1), 2 * channels, seed=seed)
    return parts[..., :channels] + 1j * parts[..., channels:]


def waves(size, sign):
    """[N, N] e^(sign 2 pi i j k / N) / sqrt(N)."""
    steps = np.outer(np.arange(size), np.arange(size))
    return np.exp(sign * 2j * np.pi * steps / size) / size**0.5


def transform_by_sums(x):
    """rfftn over [B, H, W, C]'s H and W, as sums of waves."""
    half = waves(x.shape[2], -1)[:, : x.shape[2] // 2 + 1]
    return np.einsum("yu,xv,byxc->buvc", waves(x.shape[1], -1), half, x)


def inverse_by_sums(spectrum, width):
    """Sums waves along H, then real parts along W; a column stands for its mirror."""
    columns = np.einsum("yu,buvc->byvc", waves(spectrum.shape[1], 1), spectrum)
    count = np.full(spectrum.shape[2], 2.0)
    count[0] = 1
    if width % 2 == 0:
        count[-1] = 1
    along = waves(width, 1)[: spectrum.shape[2]] * count[:, None]
    return np.einsum("vx,byvc->byxc", along, columns).real


def norm(x, params, statistics):
    scale = params["scale"] / np.sqrt(statistics["var"] + 1e-5)
    return (x - statistics["mean"]) * scale + params["bias"]


def unit_by_sums(variables, x):
    """`FourierUnit` in NumPy, from one tree of variables."""
    params, statistics = variables["params"], variables["batch_stats"]
    spectrum = transform_by_sums(x)
    y = np.empty((*spectrum.shape[:3], 2 * x.shape[-1]))
    y[..., 0::2], y[..., 1::2] = spectrum.real, spectrum.imag
    y = y @ params["conv"]["kernel"][0, 0]
    y = np.maximum(norm(y, params["norm"], statistics["norm"]), 0)
    return inverse_by_sums(y[..., 0::2] + 1j * y[..., 1::2], x.shape[2])


def drawn(module, x):
    shapes = jax.eval_shape(module.init, jax.random.key(0), x)
    return draw_like(shapes)


@pytest.mark.parametrize("size", SIZES)
def test_the_inverse_returns_a_photo_from_its_spectrum(size):
    x = photos(size)
    found = inverse(jnp.fft.rfftn(x, axes=(1, 2), norm="ortho"), size[1])
    assert_close(found, x, layers=2)


@pytest.mark.parametrize("size", SIZES)
def test_the_inverse_of_no_photos_spectrum_is_the_sum_of_real_parts(size):
    spectrum = spectra(size)
    found = inverse(spectrum.astype(np.complex64), size[1])
    np.testing.assert_allclose(found, inverse_by_sums(spectrum, size[1]), atol=1e-5)


@pytest.mark.parametrize("width", [6, 7])
def test_the_inverse_is_linear(width):
    a, b = (spectra((5, width), seed=i).astype(np.complex64) for i in (0, 1))
    whole = inverse(2 * a - 3 * b, width)
    parts = 2 * inverse(a, width) - 3 * inverse(b, width)
    np.testing.assert_allclose(whole, parts, atol=1e-5)


def test_real_and_imaginary_parts_are_channels_in_turn_and_come_back():
    x = spectra((4, 6)).astype(np.complex64)
    parts = split_complex(jnp.asarray(x))
    np.testing.assert_array_equal(parts[..., 2], x[..., 1].real)
    np.testing.assert_array_equal(parts[..., 3], x[..., 1].imag)
    np.testing.assert_array_equal(join_complex(parts), x)


@pytest.mark.parametrize("size", SIZES)
def test_the_fourier_unit_equals_its_definition(size):
    module, x = FourierUnit(5), photos(size)
    variables = drawn(module, x)
    found = module.apply(variables, x)
    expected = unit_by_sums(variables, x)
    assert found.shape == (2, *size, 5)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_spectral_transform_equals_its_definition():
    module, x = SpectralTransform(6), photos((5, 8), channels=4)
    variables = drawn(module, x)
    params, statistics = variables["params"], variables["batch_stats"]
    y = x @ params["narrow"]["kernel"][0, 0]
    y = np.maximum(norm(y, params["norm"], statistics["norm"]), 0)
    inner = {kind: tree["fourier"] for kind, tree in variables.items()}
    expected = (y + unit_by_sums(inner, y)) @ params["widen"]["kernel"][0, 0]
    np.testing.assert_allclose(module.apply(variables, x), expected, atol=1e-5)


def test_every_pixel_sees_every_pixel():
    module, x = FourierUnit(2), photos((6, 7), channels=2, batch=1)
    variables = drawn(module, x)
    first = jax.jit(jax.grad(lambda x: module.apply(variables, x)[0, 0, 0, 0]))(x)
    assert (np.abs(first) > 0).all()


def test_training_takes_the_statistics_of_the_batch_and_moves_its_own():
    module, x = FourierUnit(2), photos((4, 6))
    variables = drawn(module, x)
    apply = functools.partial(module.apply, mutable=["batch_stats"])
    trained, changed = apply(variables, x, train=True)
    same, unchanged = apply(variables, x)
    assert np.abs(trained - same).max() > 1e-2
    before, after, idle = (
        tree["batch_stats"]["norm"]["mean"] for tree in (variables, changed, unchanged)
    )
    y = split_complex(jnp.fft.rfftn(x, axes=(1, 2), norm="ortho"))
    y = y @ variables["params"]["conv"]["kernel"][0, 0]
    expected = 0.9 * before + 0.1 * y.mean((0, 1, 2))
    assert_close(after, expected, layers=2, size=np.abs(y).max())
    np.testing.assert_array_equal(idle, before)
