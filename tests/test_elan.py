"""Laws of ELAN: shifts, windows, shared attention, parity with the authors' code."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rounding import assert_close
from tiny import draw_like

from dear_jax.convert import convert_state, elan, rules
from dear_jax.errors import InputError
from dear_jax.models.edsr import MEAN
from dear_jax.models.elan import (
    ELAN,
    LocalFeatures,
    WindowAttention,
    attention_matrix,
    from_windows,
    reflect_to_multiple,
    shift,
    to_windows,
)
from dear_jax.models.registry import build, fields_of, init_shapes

TINY = {"channels": 6, "blocks": 4, "windows": (2, 4, 8), "scale": 2}
# Head, in each block two of local features and four of attention, tail.
LAYERS = 26


@functools.cache
def tiny(**fields):
    """Model, variables with no trivial value and the compiled apply."""
    model = ELAN(**{**TINY, **fields})
    return model, draw_variables(model), jax.jit(model.apply)


def draw_variables(model):
    variables = draw_like(init_shapes(model))
    # Variances are positive.
    variables["batch_stats"] = jax.tree.map(
        lambda x: 0.5 + np.abs(x), variables["batch_stats"]
    )
    return variables


def image(*size, batch=1, channels=3):
    rng = np.random.default_rng(0)
    return rng.random((batch, *size, channels), np.float32)


def near_the_mean(*size, batch=1):
    """Colours that leave scores of attention small.

    Where scores are thousands, and so known to a thousandth at best, a softmax makes
    errors of rounding as large as its values.
    """
    mean = 255 * np.asarray(MEAN, np.float32).reshape(1, 1, 1, 3)
    return mean + image(*size, batch=batch) - np.float32(0.5)


def attend(variables, x, attention=None, shifted=False, windows=(4,)):
    module = WindowAttention(windows, shifted)
    return module.apply(variables, jnp.asarray(x), attention, False)


def attention_variables(channels, windows=(4,)):
    init = functools.partial(WindowAttention(windows).init, jax.random.key(0))
    return init(jnp.zeros((1, 8, 8, channels)), None, False)


def convert(state, fields):
    return convert_state(state, fields)[0]


def official_state(fields):
    """A state_dict that converts to a model of these fields, and its variables."""
    variables = draw_variables(build(fields))
    state = {}
    for key, rule in elan.mapping(fields).items():
        if not isinstance(rule, tuple):
            state |= {key: rule} if isinstance(rule, np.ndarray) else {}
            continue
        ((path, layout),) = rule
        array = variables
        for part in path.split("/"):
            array = array[part]
        if layout is rules.conv:
            array = array.transpose(3, 2, 0, 1)
        elif layout is rules.pointwise:
            array = array.T[:, :, None, None]
        state[key] = array
    return state, variables


@pytest.mark.parametrize("channels", [5, 8, 24])
def test_an_impulse_moves_by_its_group_and_leaves_at_the_border(channels):
    fifth = channels // 5
    moves = ((0, -1), (0, 1), (-1, 0), (1, 0))
    for y, x in ((1, 1), (0, 0), (2, 2)):
        impulse = np.zeros((1, 3, 3, channels), np.float32)
        impulse[0, y, x] = 1
        moved = shift(jnp.asarray(impulse))
        for c in range(channels):
            dy, dx = moves[c // fifth] if c < 4 * fifth else (0, 0)
            inside = 0 <= y + dy < 3 and 0 <= x + dx < 3
            expected = [[y + dy, x + dx]] if inside else np.zeros((0, 2))
            np.testing.assert_array_equal(np.argwhere(moved[0, :, :, c]), expected)


@pytest.mark.parametrize("channels", [5, 12, 23])
def test_the_shift_is_the_depthwise_convolution_that_checkpoints_hold(channels):
    x = image(4, 5, batch=2, channels=channels)
    kernels = elan.shift_kernels(channels).transpose(2, 3, 1, 0)
    expected = jax.lax.conv_general_dilated(
        x,
        kernels,
        (1, 1),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=channels,
    )
    np.testing.assert_array_equal(shift(jnp.asarray(x)), expected)


def test_windows_come_apart_and_together_again():
    x = image(8, 12, batch=2)
    windows = to_windows(jnp.asarray(x), 4)
    assert windows.shape == (2, 6, 16, 3)
    np.testing.assert_array_equal(windows[1, 4, 6], x[1, 5, 6])
    np.testing.assert_array_equal(from_windows(windows, 4, (8, 12)), x)


@pytest.mark.parametrize("size", [(9, 5), (4, 8), (3, 2), (1, 1), (1, 7)])
def test_padding_mirrors_again_and_again(size):
    padded = reflect_to_multiple(jnp.asarray(image(*size)), 8)
    rows, columns = (
        np.abs((np.arange(-n % 8 + n) + n - 1) % max(2 * n - 2, 1) - (n - 1))
        for n in size
    )
    expected = image(*size)[:, rows][:, :, columns]
    np.testing.assert_array_equal(padded, expected)


def test_attention_is_softmax_of_all_products_even_when_they_are_large():
    queries = 100 * image(3, 4, channels=5)[0]
    logits = np.einsum("wic,wjc->wij", queries, queries).astype(np.float64)
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    expected = weights / weights.sum(-1, keepdims=True)
    matrix = attention_matrix(jnp.asarray(queries))
    # Logits of 1e4 are known to 1e-3 in float32.
    np.testing.assert_allclose(matrix, expected, atol=1e-2)
    np.testing.assert_allclose(matrix.sum(-1), 1, atol=1e-6)


@pytest.mark.parametrize("shifted", [False, True])
def test_a_pixel_is_seen_in_its_window_only(shifted):
    x = image(8, 12, channels=6)
    variables = attention_variables(6)
    changed = x.copy()
    changed[0, 5, 6] += 1
    before, _ = attend(variables, x, shifted=shifted)
    after, _ = attend(variables, changed, shifted=shifted)
    seen = np.argwhere(np.abs(after - before).max((0, -1)) > 1e-7)
    window = slice(2, 6) if shifted else slice(4, 8)
    columns = slice(6, 10) if shifted else slice(4, 8)
    expected = np.zeros((8, 12), bool)
    expected[window, columns] = True
    np.testing.assert_array_equal(seen, np.argwhere(expected))


def test_shifted_windows_are_windows_of_the_rolled_image():
    x = image(8, 12, channels=6)
    variables = attention_variables(6)
    rolled, _ = attend(variables, np.roll(x, (-2, -2), (1, 2)))
    shifted, _ = attend(variables, x, shifted=True)
    assert_close(shifted, np.roll(rolled, (2, 2), (1, 2)), layers=4)


def test_attention_given_is_used_and_handed_on():
    x = image(8, 8, channels=6)
    module = WindowAttention((4, 8))
    given = [
        jnp.broadcast_to(jnp.eye(w * w), (1, 64 // w**2, w**2, w**2)) for w in (4, 8)
    ]
    variables = module.init(jax.random.key(0), jnp.asarray(x), given, False)
    # With the identity for attention, two dense layers and a trivial norm are left.
    made, used = module.apply(variables, jnp.asarray(x), given, False)
    params = variables["params"]
    y = x @ params["project_in"]["kernel"] + bias(params["project_in"])
    y = y / np.float32(1 + 1e-5) ** 0.5 @ params["project_out"]["kernel"]
    np.testing.assert_allclose(made, y + bias(params["project_out"]), atol=1e-5)
    assert all(a is b for a, b in zip(used, given, strict=True))


def bias(params):
    return params["bias"].reshape(1, 1, 1, -1)


def test_every_group_computes_attention_once_and_shares_it():
    model, variables, _ = tiny()
    widths = {
        name: module["project_in"]["kernel"].shape[1]
        for name, module in variables["params"].items()
        if "attention" in name
    }
    assert widths == {
        f"group_{i}_attention_{j}": 6 if j else 12 for i in range(2) for j in range(2)
    }


def test_every_second_group_shifts_its_windows():
    shifted = {}

    def watch(call, arguments, options, context):
        if isinstance(context.module, WindowAttention):
            shifted[context.module.name] = context.module.shifted
        return call(*arguments, **options)

    with nn.intercept_methods(watch):
        init_shapes(ELAN(**{**TINY, "blocks": 6}))
    assert shifted == {
        f"group_{i}_attention_{j}": i == 1 for i in range(3) for j in range(2)
    }


def test_local_features_are_two_products_of_shifted_channels():
    x = jnp.asarray(image(4, 5, channels=6) - 0.5)
    variables = draw_like(jax.eval_shape(LocalFeatures().init, jax.random.key(0), x))
    made = LocalFeatures().apply(variables, x)
    expand, reduce = (variables["params"][name] for name in ("expand", "reduce"))
    hidden = np.maximum(shift(x) @ expand["kernel"] + bias(expand), 0)
    expected = shift(jnp.asarray(hidden)) @ reduce["kernel"] + bias(reduce)
    assert expand["kernel"].shape == (6, 12)
    assert_close(made, expected, layers=2)


def test_a_body_that_adds_nothing_leaves_twice_the_head():
    _, variables, apply = tiny(scale=1)
    params = {
        group: {
            name: jax.tree.map(np.zeros_like, layer)
            if name in ("reduce", "project_out")
            else layer
            for name, layer in module.items()
        }
        for group, module in variables["params"].items()
    }
    x = 255 * image(8, 8)
    mean = 255 * np.asarray(MEAN, np.float32).reshape(1, 1, 1, 3)
    head = nn.Conv(6, (3, 3)).apply({"params": params["head"]}, x - mean)
    expected = nn.Conv(3, (3, 3)).apply({"params": params["tail"]}, 2 * head) + mean
    made = apply({**variables, "params": params}, x)
    assert_close(made, expected, layers=2)


def test_images_of_a_batch_do_not_meet():
    _, variables, apply = tiny()
    x = near_the_mean(7, 9, batch=2)
    both = apply(variables, x)
    for i in range(2):
        alone = apply(variables, x[i : i + 1])
        assert_close(both[i : i + 1], alone, LAYERS)


@pytest.mark.parametrize(
    "scale, size", [(1, (8, 8)), (2, (9, 5)), (3, (1, 1)), (4, (3, 17))]
)
def test_output_is_scale_times_as_large_for_any_size(scale, size):
    model, variables, apply = tiny(scale=scale, blocks=2)
    y = apply(variables, 255 * image(*size))
    assert y.shape == (1, scale * size[0], scale * size[1], 3)
    assert np.isfinite(y).all()


def test_a_cropped_border_does_not_change_a_mirrored_image():
    """Padding is inside: an image already mirrored to 8 x 8 gives the same pixels."""
    _, variables, apply = tiny()
    x = near_the_mean(7, 6)
    y = apply(variables, np.asarray(reflect_to_multiple(jnp.asarray(x), 8)))
    assert_close(apply(variables, x), y[:, :14, :12], LAYERS)


def test_training_normalises_with_the_batch_and_keeps_its_statistics():
    model, variables, _ = tiny()
    x = 255 * image(8, 8, batch=2)
    train = jax.jit(lambda v: model.apply(v, x, train=True, mutable=["batch_stats"]))
    y, update = train(variables)
    other = {
        **variables,
        "batch_stats": jax.tree.map(np.ones_like, update["batch_stats"]),
    }
    np.testing.assert_array_equal(train(other)[0], y)
    old, new = (
        v["batch_stats"]["group_0_attention_0"]["norm"] for v in (variables, update)
    )
    assert np.abs(new["mean"] - old["mean"]).min() > 0


@pytest.mark.parametrize("shared", [0, 1])
def test_gradients_reach_every_parameter(shared):
    model, variables, _ = tiny(shared=shared, blocks=2 + shared * 2)
    x = image(8, 8) * 255

    @jax.jit
    def gradient(params):
        def loss(params):
            # Batch statistics, or the softmax would be saturated.
            v = {**variables, "params": params}
            y, _ = model.apply(v, x, train=True, mutable=["batch_stats"])
            return jnp.square(y).mean()

        return jax.grad(loss)(params)

    grads = jax.tree.leaves_with_path(gradient(variables["params"]))
    assert [path for path, grad in grads if not np.abs(grad).max() > 0] == []


@pytest.mark.parametrize(
    "variant, count", [("elan-light", 601_488), ("elan-full", 8_312_448)]
)
def test_parameters_are_as_many_as_published(variant, count):
    params = init_shapes(build(fields_of(variant)))["params"]
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count


@pytest.mark.parametrize("wrong", [{"windows": (4, 5, 8)}, {"channels": 7}])
def test_windows_and_channels_that_do_not_fit_are_refused(wrong):
    with pytest.raises(InputError, match=f"{next(iter(wrong))} .* of ELAN"):
        ELAN(**{**TINY, **wrong}).check()


@pytest.mark.parametrize("shared, blocks", [(0, 3), (1, 4), (2, 6)])
def test_fields_and_weights_come_back_from_a_state_dict(shared, blocks):
    fields = {**fields_of("elan"), **TINY, "shared": shared, "blocks": blocks}
    state, variables = official_state(fields)
    told = elan.fields_from(state)
    assert {**fields, **told} == fields
    assert told.keys() == {"channels", "blocks", "shared", "expansion", "scale"}
    jax.tree.map(np.testing.assert_array_equal, convert(state, fields), variables)


def test_other_shifts_are_refused():
    fields = {**fields_of("elan"), **TINY}
    state, _ = official_state(fields)
    key = "body.1.modules_lfe.lfe_0.conv1.shift_conv.weight"
    state[key] = state[key][..., ::-1]
    with pytest.raises(InputError, match=f"{key} differs"):
        convert(state, fields)


def test_a_state_dict_without_tail_is_refused():
    state, _ = official_state({**fields_of("elan"), **TINY})
    del state["tail.0.weight"]
    with pytest.raises(InputError, match="tail.0.weight is missing"):
        elan.fields_from(state)
