"""Laws of EDSR: sizes, shuffles, parameter counts."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rounding import assert_close
from tiny import draw_like

from dear_jax.convert import convert_state, edsr, rules
from dear_jax.errors import InputError
from dear_jax.models.edsr import EDSR, MEAN, EDSRTrunk, upscaling_steps
from dear_jax.models.layers import pixel_shuffle
from dear_jax.models.registry import build, fields_of, init_shapes

TINY = {"width": 4, "blocks": 1}
# Head, two of the block, end of the body, two that enlarge at most, tail.
LAYERS = 7


def tiny(**fields):
    model = EDSR(**{**TINY, **fields})
    return model, draw_like(init_shapes(model))


def image(*size, batch=1, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (batch, *size, 3)).astype(np.float32)


def official_state(fields, seed=0):
    """A state_dict that converts to a model of these fields, and its variables."""
    model = build(fields)
    variables = draw_like(init_shapes(model), seed=seed)
    state = {}
    for key, rule in edsr.mapping(fields).items():
        if not isinstance(rule, tuple):
            state |= {key: rule} if isinstance(rule, np.ndarray) else {}
            continue
        ((path, layout),) = rule
        array = variables
        for part in path.split("/"):
            array = array[part]
        state[key] = array.transpose(3, 2, 0, 1) if layout is rules.conv else array
    return state, variables


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_pixel_shuffle_is_the_inverse_of_space_to_depth(scale):
    y = np.random.default_rng(0).random((2, 3 * scale, 4 * scale, 5), np.float32)
    x = np.stack(
        [
            y[:, dy::scale, dx::scale, c]
            for c in range(5)
            for dy in range(scale)
            for dx in range(scale)
        ],
        axis=-1,
    )
    np.testing.assert_array_equal(pixel_shuffle(jnp.asarray(x), scale), y)


@pytest.mark.parametrize(
    "scale, steps",
    [(1, ()), (2, (2,)), (3, (3,)), (4, (2, 2)), (5, (5,)), (6, (2, 3)), (8, (2,) * 3)],
)
def test_every_whole_scale_is_reached_by_its_prime_factors(scale, steps):
    assert upscaling_steps(scale) == steps
    model, variables = tiny(scale=scale)
    x = image(2, 3)
    assert model.apply(variables, x).shape == (1, 2 * scale, 3 * scale, 3)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 1), (3, 7)])
def test_an_image_may_have_any_size(size):
    model, variables = tiny(scale=2)
    y = model.apply(variables, image(*size))
    assert y.shape == (1, 2 * size[0], 2 * size[1], 3)
    assert np.isfinite(y).all()


def test_images_of_a_batch_do_not_meet():
    model, variables = tiny()
    x = image(5, 4, batch=2)
    both = model.apply(variables, x)
    for i in range(2):
        alone = model.apply(variables, x[i : i + 1])
        assert_close(both[i : i + 1], alone, LAYERS)


def test_mean_shift_moves_input_and_output_by_the_mean_colour():
    model, variables = tiny(scale=2)
    shifted, _ = tiny(scale=2, mean_shift=True)
    assert model.value_range == (-1, 1) and shifted.value_range == (0, 255)
    x = 100 * image(5, 4)
    mean = 255 * np.asarray(MEAN, np.float32).reshape(1, 1, 1, 3)
    assert_close(
        shifted.apply(variables, x + mean), model.apply(variables, x) + mean, LAYERS
    )


def test_residual_scale_zero_leaves_the_blocks_out():
    _, variables = tiny(blocks=2)
    without = EDSRTrunk(4, 0).apply(
        {"params": variables["params"]["trunk"]}, image(4, 5)
    )
    scaled = EDSRTrunk(4, 2, residual_scale=0.0)
    scaled = scaled.apply({"params": variables["params"]["trunk"]}, image(4, 5))
    np.testing.assert_array_equal(scaled, without)


def test_a_body_that_adds_nothing_leaves_the_head():
    _, variables = tiny(blocks=2)
    trunk = variables["params"]["trunk"]
    trunk["body_end"] = jax.tree.map(np.zeros_like, trunk["body_end"])
    features = EDSRTrunk(4, 2).apply({"params": trunk}, image(4, 5))
    head = nn.Conv(4, (3, 3)).apply({"params": trunk["head"]}, image(4, 5))
    assert_close(features, head)


@pytest.mark.parametrize(
    "variant, scale, count",
    [
        ("edsr-baseline", 2, 1_369_859),
        ("edsr-baseline", 3, 1_554_499),
        ("edsr-baseline", 4, 1_517_571),
        ("edsr-full", 4, 43_089_923),
    ],
)
def test_parameters_are_as_many_as_published(variant, scale, count):
    shapes = init_shapes(build({**fields_of(variant), "scale": scale}))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == count


def test_the_encoder_has_as_many_parameters_as_the_official_one():
    shapes = jax.eval_shape(EDSRTrunk().init, jax.random.key(0), image(1, 1))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == 1_220_416


def test_gradients_reach_every_parameter():
    model, variables = tiny(scale=6)
    loss = lambda v: jnp.square(model.apply(v, image(4, 5))).mean()  # noqa: E731
    grads = jax.tree.leaves_with_path(jax.grad(loss)(variables))
    assert [path for path, grad in grads if not np.abs(grad).max() > 0] == []


@pytest.mark.parametrize("scale", [1, 3, 4, 6])
@pytest.mark.parametrize("mean_shift", [False, True])
def test_fields_and_weights_come_back_from_a_state_dict(scale, mean_shift):
    fields = {**fields_of("edsr"), **TINY, "scale": scale, "mean_shift": mean_shift}
    state, variables = official_state(fields)
    told = edsr.fields_from(state)
    assert told == {**TINY, "scale": scale, "mean_shift": mean_shift}
    made = convert(state, {**fields_of("edsr"), **told})
    jax.tree.map(np.testing.assert_array_equal, made, variables)


def test_another_mean_shift_is_refused():
    fields = {**fields_of("edsr"), **TINY, "mean_shift": True}
    state, _ = official_state(fields)
    state["add_mean.bias"] = state["sub_mean.bias"]
    with pytest.raises(InputError, match="add_mean.bias differs"):
        convert(state, fields)


@pytest.mark.parametrize("key", ["head.0.weight", "tail.1.weight"])
def test_a_state_dict_without_head_or_tail_is_refused(key):
    state, _ = official_state({**fields_of("edsr"), **TINY})
    del state[key]
    with pytest.raises(InputError, match=f"{key} is missing"):
        edsr.fields_from(state)


def convert(state, fields):
    return convert_state(state, fields)[0]
