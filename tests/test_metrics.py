"""Laws of the image metrics, and parity with independent implementations."""

import functools
import json
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rounding import assert_close
from skimage.metrics import structural_similarity

from dear_jax import metrics
from dear_jax.errors import InputError

GOLDEN = Path(__file__).parents[2] / "shared" / "golden" / "metrics_0.npz"
MEASURES = [metrics.psnr, metrics.ssim, metrics.l1]
# Moments, their quotients and the mean of those.
LAYERS = 3


def _pair(noise=0.1, shape=(2, 24, 31, 3)):
    """A smooth photo-like batch and a noisy copy, float32 in [0, 1]."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: shape[1], : shape[2]]
    waves = 0.5 + 0.4 * np.sin(y / 5 + rng.uniform(0, 6, (shape[0], shape[3], 1, 1)))
    truth = np.moveaxis(waves * np.cos(x / 9), 1, -1).clip(0, 1)
    noisy = (truth + noise * rng.standard_normal(shape)).clip(0, 1)
    return noisy.astype(np.float32), truth.astype(np.float32)


def test_psnr_and_l1_equal_their_formulas_in_double_precision():
    noisy, truth = _pair()
    difference = noisy.astype(float) - truth
    psnr = [-10 * np.log10((d**2).mean()) for d in difference]
    np.testing.assert_allclose(metrics.psnr(noisy, truth), psnr, atol=1e-4)
    l1 = [np.abs(d).mean() for d in difference]
    np.testing.assert_allclose(metrics.l1(noisy, truth), l1, atol=1e-6)


@pytest.mark.parametrize("noise", [0.02, 0.3])
@pytest.mark.parametrize("channels", ["rgb", "luma"])
def test_ssim_equals_scikit_image_on_the_valid_region(noise, channels):
    noisy, truth = shown = _pair(noise)
    if channels == "luma":
        weights = np.array([65.481, 128.553, 24.966]) / 255
        shown = ((x @ weights)[..., None] + 16 / 255 for x in shown)
    expected = []
    for a, b in zip(*(x.astype(float) for x in shown), strict=True):
        _, full = structural_similarity(
            a,
            b,
            win_size=11,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
            data_range=1,
            channel_axis=-1,
            full=True,
        )
        expected.append(full[5:-5, 5:-5].mean())
    ours = metrics.ssim(noisy, truth, channels=channels)
    np.testing.assert_allclose(ours, expected, atol=1e-5)


@pytest.mark.skipif(not GOLDEN.exists(), reason="reference values are not here")
def test_psnr_equals_the_plain_convention_of_the_sr_repositories():
    with np.load(GOLDEN) as stored:
        truth = np.moveaxis(stored["input/hr"], 1, -1)
        output = np.moveaxis(stored["input/sr_unclamped"], 1, -1).clip(0, 1)
        expected = json.loads(str(stored["meta_json"]))["values"]["liif_plain"]
    np.testing.assert_allclose(metrics.psnr(output, truth), [expected], atol=1e-4)


def test_psnr_of_identical_images_is_infinite_ssim_one_l1_zero():
    _, truth = _pair()
    assert np.isposinf(metrics.psnr(truth, truth)).all()
    np.testing.assert_allclose(metrics.ssim(truth, truth), 1, atol=1e-6)
    np.testing.assert_array_equal(metrics.l1(truth, truth), 0)


@pytest.mark.parametrize("measure", MEASURES)
def test_metrics_are_symmetric(measure):
    noisy, truth = _pair()
    assert_close(measure(noisy, truth), measure(truth, noisy), LAYERS)


@pytest.mark.parametrize("measure", MEASURES)
def test_each_image_of_a_batch_is_measured_by_itself(measure):
    noisy, truth = _pair()
    alone = [measure(noisy[i : i + 1], truth[i : i + 1])[0] for i in range(2)]
    together = measure(noisy, truth)
    assert together.shape == (2,)
    assert_close(together, jnp.stack(alone), LAYERS)


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize("channels", ["rgb", "luma"])
def test_scaling_images_and_data_range_together_changes_nothing(measure, channels):
    noisy, truth = _pair()
    scaled = measure(255 * noisy, 255 * truth, data_range=255, channels=channels)
    expected = measure(noisy, truth, channels=channels)
    np.testing.assert_allclose(scaled, expected, rtol=1e-4)


@pytest.mark.parametrize("measure", MEASURES)
def test_grey_levels_may_be_given_as_integers(measure):
    noisy, truth = (np.round(255 * x).astype(np.uint8) for x in _pair())
    ours = measure(noisy, truth, data_range=255)
    expected = measure(np.float32(noisy) / 255, np.float32(truth) / 255)
    np.testing.assert_allclose(ours, expected, rtol=1e-5)


@pytest.mark.parametrize("measure", MEASURES)
def test_rounded_compares_what_an_image_file_would_hold(measure):
    noisy, truth = _pair()
    levels = (np.round(255 * x) / 255 for x in (noisy, truth))
    ours = measure(noisy, truth, rounded=True)
    np.testing.assert_allclose(ours, measure(*levels), rtol=1e-5)
    assert (ours != measure(noisy, truth)).all()


@functools.cache
def _gradient(measure):
    return jax.jit(jax.grad(lambda x, y: measure(x, y).sum()))


@pytest.mark.parametrize("measure", MEASURES)
def test_gradients_tell_how_a_measure_changes(measure):
    _, truth = _pair()
    rng = np.random.default_rng(1)
    # Off by 0.05 at least: the slope of L1 turns where both are equal.
    off = rng.uniform(0.05, 0.1, truth.shape) * rng.choice([-1, 1], truth.shape)
    prediction = np.float32(truth + off)
    way = np.float32(rng.standard_normal(truth.shape))
    gradient = _gradient(measure)(prediction, truth)
    assert np.isfinite(gradient).all()
    ahead, back = (measure(prediction + s * way, truth).sum() for s in (1e-3, -1e-3))
    change = float(ahead - back) / 2e-3
    np.testing.assert_allclose(np.sum(gradient * way), change, rtol=0.02)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_perfect_image_moves_nothing_in_a_batch(measure):
    noisy, truth = _pair()
    others = _gradient(measure)(noisy, truth)[1]
    noisy[0] = truth[0]
    gradient = _gradient(measure)(noisy, truth)
    assert_close(gradient[0], 0, LAYERS, size=1)
    np.testing.assert_array_equal(gradient[1], others)
    assert np.any(others)


def test_psnr_of_one_pixel_off_by_one_bit_has_a_gradient():
    truth = np.full((1, 64, 64, 3), 0.9, np.float32)
    off = truth.copy()
    off[0, 5, 5, 0] = np.nextafter(off[0, 5, 5, 0], 1, dtype=np.float32)
    gradient = jax.jit(jax.grad(lambda x: metrics.psnr(x, truth).sum()))(off)
    assert np.isfinite(gradient).all() and gradient[0, 5, 5, 0] < 0


def test_psnr_of_what_is_no_number_is_none():
    _, truth = _pair()
    assert np.isnan(metrics.psnr(np.full_like(truth, np.nan), truth)).all()


def test_ssim_takes_exactly_one_window_and_refuses_less():
    noisy, truth = _pair(shape=(1, 11, 11, 3))
    assert metrics.ssim(noisy, truth).shape == (1,)
    with pytest.raises(InputError, match="11 x 10 pixels.*at least 11 x 11"):
        metrics.ssim(noisy[:, :10], truth[:, :10])


@pytest.mark.parametrize("measure", MEASURES)
def test_differing_shapes_are_refused_not_broadcast(measure):
    noisy, truth = _pair()
    with pytest.raises(InputError, match="same size"):
        measure(noisy[:1], truth)


@pytest.mark.skipif(not GOLDEN.exists(), reason="reference values are not here")
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_luma_and_borders_follow_the_conventions_of_the_sr_repositories(scale):
    with np.load(GOLDEN) as stored:
        truth = np.moveaxis(stored["input/hr"], 1, -1)
        output = np.moveaxis(stored["input/sr_unclamped"], 1, -1).clip(0, 1)
        expected = json.loads(str(stored["meta_json"]))["values"]
    benchmark = {"channels": "luma", "border": scale}
    for name, ours in {
        "liif_benchmark": metrics.psnr(output, truth, **benchmark),
        "liif_div2k": metrics.psnr(output, truth, border=scale + 6),
        "elan_psnr": metrics.psnr(output, truth, **benchmark),
        "elan_ssim": metrics.ssim(output, truth, **benchmark),
    }.items():
        np.testing.assert_allclose(ours, [expected[f"{name}_x{scale}"]], atol=1e-4)


@pytest.mark.skipif(not GOLDEN.exists(), reason="reference values are not here")
def test_rounding_first_is_edsrs_convention():
    with np.load(GOLDEN) as stored:
        truth = np.moveaxis(stored["input/hr"], 1, -1)
        output = np.moveaxis(stored["input/sr_unclamped"], 1, -1).clip(0, 1)
        values = json.loads(str(stored["meta_json"]))["values"]
    expected = values["edsr_style_quantised_benchmark_x4"]
    ours = metrics.psnr(output, truth, channels="luma", border=4, rounded=True)
    np.testing.assert_allclose(ours, [expected], atol=1e-4)


def test_luma_spans_16_to_235_and_of_grey_is_linear():
    grey = jnp.linspace(0, 1, 5).reshape(1, 1, 5, 1) * jnp.ones((1, 1, 1, 3))
    expected = np.linspace(16, 235, 5).reshape(1, 1, 5, 1)
    np.testing.assert_allclose(255 * metrics.luma(grey), expected, rtol=1e-6)


@pytest.mark.parametrize("measure", MEASURES)
def test_what_lies_in_the_border_does_not_count(measure):
    noisy, truth = _pair()
    changed = noisy.copy()
    changed[:, :3], changed[:, :, -3:] = 0, 1
    np.testing.assert_array_equal(
        measure(changed, truth, border=3), measure(noisy, truth, border=3)
    )
    assert (measure(changed, truth) != measure(noisy, truth)).all()


@pytest.mark.parametrize("measure", MEASURES)
@pytest.mark.parametrize(
    "options, says",
    [
        ({"border": 12}, "nothing is left"),
        ({"border": -1}, "at least 0"),
        ({"channels": "y"}, "'y'"),
        ({"data_range": 0}, "data_range 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(measure, options, says):
    noisy, truth = _pair()
    with pytest.raises(InputError, match=says):
        measure(noisy, truth, **options)


@pytest.mark.parametrize(
    "options, says",
    [
        ({"window": 0}, "window 0; give an odd whole number"),
        ({"window": -3}, "window -3; give an odd"),
        ({"window": 10}, "window 10; give an odd"),
        ({"window": 3.0}, "window 3.0; give an odd"),
        ({"window": "11"}, "window '11'; give an odd"),
        ({"window": True}, "window True; give an odd"),
        ({"window": 25}, "at least 25 x 25; .*smaller window"),
        ({"sigma": 0}, "sigma 0; give pixels above 0"),
        ({"sigma": -1.5}, "sigma -1.5; give"),
        ({"sigma": float("nan")}, "sigma nan; give"),
    ],
)
def test_windows_that_make_no_sense_are_refused(options, says):
    noisy, truth = _pair()
    with pytest.raises(InputError, match=says):
        metrics.ssim(noisy, truth, **options)


@pytest.mark.parametrize("measure", MEASURES)
def test_images_without_three_channels_are_refused(measure):
    noisy, truth = _pair()
    with pytest.raises(InputError, match="images of 1 channels"):
        measure(noisy[..., :1], truth[..., :1])


def test_metrics_are_imported_on_first_use():
    program = (
        "import sys, dear_jax; assert 'jax' not in sys.modules; "
        "assert dear_jax.metrics.psnr and 'flax' not in sys.modules"
    )
    root = Path(__file__).parents[1]
    subprocess.run([sys.executable, "-c", program], cwd=root, check=True)
