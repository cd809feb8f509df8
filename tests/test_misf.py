"""Laws of MISF: what it depends on, its filters and where official tensors go."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rounding import assert_close
from tiny import draw_like, example

from dear_jax.convert import misf, rules
from dear_jax.errors import InputError
from dear_jax.models.dear.filtering import filter_pixels, shifted_windows
from dear_jax.models.layers import ColourHead, Upsample, reflect_pad
from dear_jax.models.misf import MISF, FilterPredictor, double, halve, stretch
from dear_jax.models.registry import build, fields_of, init_shapes

TINY = {"architecture": "misf", "width": 4, "blocks": 1}


@functools.cache
def tiny():
    """(Variables none of which is zero, compiled apply) of the smallest MISF."""
    model = build(TINY)
    return draw_like(init_shapes(model)), jax.jit(model.apply)


def photo(size=(16, 20), batch=1):
    image, mask, _, _ = example(size, 0.4, batch)
    return image, mask


def random(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def stretch_by_loops(raw):
    """[..., 9 w] -> [..., 9, 4 w], by the definition."""
    channels = raw.shape[-1] // 9 * 4
    stretched = np.zeros((*raw.shape[:-1], 9, channels), raw.dtype)
    for channel, tap in np.ndindex(channels, 9):
        stretched[..., tap, channel] = raw[..., (9 * channel + tap) // 4]
    return stretched


def test_the_released_model_has_its_parameters_but_those_never_used():
    shapes = init_shapes(build(fields_of("misf")))
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert count == 23_059_493 - 327
    assert len(misf.mapping(fields_of("misf"))) == 92


def test_a_fresh_model_starts_as_its_authors_do_and_paints_grey():
    """Kernels have a deviation of 0.02 and biases are zero."""
    model, inputs = build({**TINY, "width": 8}), photo((8, 8))
    output, variables = jax.jit(model.init_with_output)(jax.random.key(0), *inputs)
    np.testing.assert_allclose(output, 0.5, atol=1e-3)
    for path, leaf in jax.tree.leaves_with_path(variables):
        if leaf.ndim == 1:
            np.testing.assert_array_equal(leaf, 0, str(path))
        elif leaf.size > 2000:
            np.testing.assert_allclose(leaf.std(), 0.02, rtol=0.1, err_msg=str(path))


def test_what_is_under_the_mask_cannot_change_a_bit():
    variables, apply = tiny()
    image, mask = photo()
    other = np.where(mask > 0, np.nan, image).astype(np.float32)
    found, expected = apply(variables, other, mask), apply(variables, image, mask)
    assert np.isfinite(expected).all() and np.std(expected) > 1e-3
    np.testing.assert_array_equal(found, expected)


def test_known_pixels_and_the_mask_matter():
    variables, apply = tiny()
    image, mask = photo()
    expected = apply(variables, image, mask)
    for change in ((image * 0.9, mask), (image * (1 - mask), np.zeros_like(mask))):
        assert np.abs(apply(variables, *change) - expected).max() > 1e-4


def test_photos_of_a_batch_do_not_see_each_other():
    variables, apply = tiny()
    image, mask = photo(batch=2)
    together = apply(variables, image, mask)
    for i in range(2):
        alone = apply(variables, image[i : i + 1], mask[i : i + 1])
        assert_close(together[i : i + 1], alone, layers=30)


@pytest.mark.parametrize("size", [(8, 8), (12, 12), (8, 16), (4, 4)])
def test_small_and_oblong_photos_stay_their_size(size):
    variables, apply = tiny()
    found = apply(variables, *photo(size))
    assert found.shape == (1, *size, 3)
    assert ((found >= 0) & (found <= 1)).all()


def test_filters_are_stretched_through_all_the_channels():
    raw = random(2, 3, 2, 18)
    np.testing.assert_array_equal(stretch(raw), stretch_by_loops(raw))


def test_gradients_reach_the_values_that_were_stretched():
    x, raw, cotangent = random(1, 3, 4, 8), random(1, 3, 4, 18), random(1, 3, 4, 8)

    def filtered(raw):
        return jnp.sum(filter_pixels(x, stretch(raw)) * cotangent)

    expected = np.zeros_like(raw)
    windows = shifted_windows(x, 3, "zero")
    for channel, tap in np.ndindex(8, 9):
        part = windows[tap][..., channel] * cotangent[..., channel]
        expected[..., (9 * channel + tap) // 4] += part
    np.testing.assert_allclose(jax.grad(filtered)(raw), expected, atol=1e-5)


def test_filters_of_oblong_photos_belong_to_their_pixels():
    module = FilterPredictor(4)
    x, encoded = random(1, 8, 64, 4), random(1, 4, 32, 8)
    params = draw_like(jax.eval_shape(module.init, jax.random.key(0), x, encoded))
    other = x.copy()
    other[:, :, 0] += 1
    apply = jax.jit(module.apply)
    before, after = (apply(params, photo, encoded) for photo in (x, other))
    for old, new, scale, reach in zip(before, after, (4, 1), (24, 62), strict=True):
        changed = np.nonzero(np.abs(new - old).max((0, 1, 3, 4)))[0] * scale
        assert 0 < changed.max() < reach


def test_windows_with_gaps_are_those_of_the_definition():
    x, kernels = random(1, 5, 6, 2), random(1, 5, 6, 9, 1, seed=1)
    expected = np.zeros(x.shape)
    for y, column, i, j in np.ndindex(5, 6, 3, 3):
        row, place = y + 2 * (i - 1), column + 2 * (j - 1)
        if 0 <= row < 5 and 0 <= place < 6:
            expected[0, y, column] += (
                kernels[0, y, column, 3 * i + j] * x[0, row, place]
            )
    found = filter_pixels(x, kernels, dilation=2)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_doubling_is_bilinear_with_pixel_centres():
    x = random(2, 3, 5, 4)
    expected = jax.image.resize(x, (2, 6, 10, 4), "linear")
    assert_close(double(x), expected)


def test_halving_takes_means():
    x = random(2, 4, 6, 3)
    expected = x.reshape(2, 2, 2, 3, 2, 3).mean((2, 4))
    assert_close(halve(x), expected, size=np.abs(x).max())


def test_upsampling_spreads_pixels_as_pytorchs_transposed_convolution_does():
    """Official kernels [I, O, 4, 4]: out[2 y - 1 + i] += kernel[i] x[y]."""
    x, official = random(1, 3, 4, 2), random(2, 5, 4, 4)
    expected = np.zeros((1, 6, 8, 5))
    for y, column, i, j in np.ndindex(3, 4, 4, 4):
        row, place = 2 * y - 1 + i, 2 * column - 1 + j
        if 0 <= row < 6 and 0 <= place < 8:
            expected[:, row, place] += x[:, y, column] @ official[:, :, i, j]
    kernel = rules.transposed_conv(official)
    params = {"conv": {"kernel": kernel, "bias": np.zeros(5, np.float32)}}
    found = Upsample(5).apply({"params": params}, x)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_colour_head_is_a_reflect_padded_convolution():
    x, module = random(2, 5, 6, 4), ColourHead(jax.nn.initializers.normal())
    params = draw_like(jax.eval_shape(module.init, jax.random.key(0), x))
    expected = jax.lax.conv_general_dilated(
        reflect_pad(jnp.asarray(x), 3),
        params["params"]["kernel"],
        (1, 1),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    found = module.apply(params, x) - params["params"]["bias"].reshape(1, 1, 1, 3)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_tensors_tell_every_field_and_the_dead_ones_are_left():
    fields = {"width": 6, "blocks": 3}
    shapes = init_shapes(build({"architecture": "misf", **fields}))
    state = {}
    for key, rule in misf.mapping(fields).items():
        if isinstance(rule, str):
            state[key] = np.zeros(3, np.float32)
            continue
        ((path, layout),) = rule
        leaf = functools.reduce(lambda tree, part: tree[part], path.split("/"), shapes)
        axes = {rules.conv: (3, 2, 0, 1), rules.transposed_conv: (2, 3, 0, 1)}
        state[key] = np.zeros(leaf.shape, np.float32)
        if layout in axes:
            state[key] = state[key].transpose(axes[layout])
    assert misf.fields_from(state) == fields
    made = rules.convert(state, misf.mapping(fields), shapes)
    assert jax.tree.map(np.shape, made) == jax.tree.map(np.shape, shapes)
    del state["encoder0.1.weight"]
    with pytest.raises(InputError, match="encoder0.1.weight is missing"):
        misf.fields_from(state)


def test_sizes_are_multiples_of_four():
    assert MISF.multiple == 4
