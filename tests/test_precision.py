"""A model computes in the dtype of its parameters: bfloat16 inside, float32 outside."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend import core
from tiny import SMALLEST, TINY, draw_like, example

from dear_jax.models.layers import BatchNorm, Conv, Dense, cast, compute_dtype, product
from dear_jax.models.registry import build, fields_of, init_shapes, role_of

# Model -> what it may differ by in bfloat16, of its outputs' root mean square.
ERRORS = {
    "dear": 0.02,
    "dear-lite": 0.03,
    "liif": 0.02,
    # Errors of frequencies are multiplied by the distance to the pixel.
    "lte": 0.08,
    "edsr-baseline": 0.02,
    # The logits of its attention have no bound.
    "elan-light": 0.05,
    "misf": 0.04,
    "lama-fourier": 0.01,
}
# Multiply-adds of a product that is not worth a tensor core, in the tiny models; and
# of one that is to have all its digits.
TRIVIAL, PRECISE = 2000, 6000


def prepared(name: str):
    """Variables in float32, and a function of variables: the tiny model's results."""
    fields = fields_of(name)
    fields |= TINY.get(name) or SMALLEST[fields["architecture"]]
    model = build(fields)
    image, mask, *queries = example((12, 16))
    inputs = {
        "query": (image, mask, *queries),
        "upscaler": (image * 255,),
        "inpainter": (np.tile(image, (1, 2, 1, 1))[:, :16], np.zeros((1, 16, 16, 1))),
    }[role_of(fields)]
    inputs = [jnp.asarray(x, jnp.float32) for x in inputs]
    variables = jax.tree.map(jnp.asarray, draw_like(init_shapes(model)))
    return variables, lambda variables: model.apply(variables, *inputs)


def equations(jaxpr: core.Jaxpr):
    """Every equation of a program, those inside others too."""
    for equation in jaxpr.eqns:
        yield equation
        for leaf in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns")
        ):
            inner = getattr(leaf, "jaxpr", leaf)
            if isinstance(inner, core.Jaxpr):
                yield from equations(inner)


def work(equation) -> int:
    """Multiply-adds of a dot_general."""
    (contracted, _), _ = equation.params["dimension_numbers"]
    left, out = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    return math.prod(out) * math.prod(left[axis] for axis in contracted)


def is_small(equation) -> bool:
    """Whether a dot_general may be float32: of two or four numbers a query."""
    precise = lax.Precision.HIGHEST in (equation.params["precision"] or ())
    return work(equation) <= (PRECISE if precise else TRIVIAL)


@pytest.mark.parametrize("name", ERRORS)
def test_products_and_convolutions_are_bfloat16_in_the_gradient_too(name):
    variables, run = prepared(name)

    def loss(params):
        results = run({**variables, "params": cast(params, "bfloat16")})
        leaves = (leaf.astype(jnp.float32) for leaf in jax.tree.leaves(results))
        return sum(jnp.sum(leaf**2) for leaf in leaves)

    gradient = jax.make_jaxpr(jax.grad(loss))(variables["params"])
    products = [
        equation
        for equation in equations(gradient.jaxpr)
        if equation.primitive.name == "conv_general_dilated"
        or (equation.primitive.name == "dot_general" and not is_small(equation))
    ]
    assert len(products) > 10
    for equation in products:
        for operand in equation.invars:
            assert operand.aval.dtype == jnp.bfloat16, equation
    assert {leaf.dtype for leaf in gradient.out_avals} == {jnp.dtype("float32")}


@pytest.mark.parametrize("name", ERRORS)
def test_in_bfloat16_results_are_nearly_those_in_float32(name):
    variables, run = prepared(name)
    run = jax.jit(run)
    exact, found = (run(cast(variables, d)) for d in ("float32", "bfloat16"))
    if isinstance(exact, tuple):
        assert found[0].dtype == jnp.float32
        for part in ("importance", "reconstruction", "base"):
            value = getattr(found[1], part, None)
            assert value is None or value.dtype == jnp.float32
    else:
        assert found.dtype == jnp.float32
    for ours, theirs in zip(
        jax.tree.leaves(found), jax.tree.leaves(exact), strict=True
    ):
        error = ours.astype(jnp.float32) - theirs
        relative = jnp.sqrt(jnp.mean(error**2) / jnp.mean(theirs**2))
        assert relative < ERRORS[name]


def test_cast_leaves_integers_and_running_statistics():
    variables = {
        "params": {"kernel": jnp.ones(3), "count": jnp.arange(3)},
        "batch_stats": {"mean": jnp.ones(3)},
    }
    dtypes = jax.tree.map(lambda x: str(x.dtype), cast(variables, "bfloat16"))
    assert dtypes == {
        "params": {"kernel": "bfloat16", "count": "int32"},
        "batch_stats": {"mean": "float32"},
    }


def test_the_dtype_of_a_module_is_that_of_its_parameters():
    layer = Dense(2)
    x = jnp.ones((1, 3))
    assert layer.init_with_output(jax.random.key(0), x)[0].dtype == jnp.float32
    params = layer.init(jax.random.key(0), x)
    for dtype in ("float32", "bfloat16"):
        assert compute_dtype(layer.bind(cast(params, dtype))) == dtype
    assert compute_dtype(layer.bind({})) == "float32"
    mixed = {"params": {**params["params"], "bias": jnp.ones(2, jnp.bfloat16)}}
    with pytest.raises(TypeError, match="bfloat16, float32"):
        compute_dtype(layer.bind(mixed))


@pytest.mark.parametrize("layer", [Dense(4), Conv(4, (1, 1))])
def test_the_gradient_of_a_bias_is_summed_in_float32(layer):
    x = jnp.zeros((1, 70, 70, 3), jnp.bfloat16)
    params = cast(layer.init(jax.random.key(0), jnp.zeros((1, 1, 1, 3))), "bfloat16")

    def total(params):
        return layer.apply(params, x).astype(jnp.float32).sum()

    sums = [
        equation
        for equation in equations(jax.make_jaxpr(jax.grad(total))(params).jaxpr)
        if equation.primitive.name == "reduce_sum"
    ]
    assert sums and all(e.invars[0].aval.dtype == jnp.float32 for e in sums)
    bias = jax.grad(total)(params)["params"]["bias"]
    np.testing.assert_allclose(bias.astype(jnp.float32), 70 * 70, rtol=2**-8)


def test_a_product_of_halves_is_summed_in_float32_forwards_and_back():
    rng = np.random.default_rng(0)
    a, b = (jnp.asarray(rng.normal(size=(5, 300)), jnp.bfloat16) for _ in range(2))
    dimensions = (((1,), (1,)), ((), ()))
    found = product(a, b, dimensions)
    assert found.dtype == jnp.float32
    wide = [x.astype(jnp.float32) for x in (a, b)]
    np.testing.assert_allclose(found, product(*wide, dimensions), rtol=1e-5, atol=1e-5)

    def gradient(*operands):
        def total(*operands):
            return (product(*operands, dimensions) ** 2).sum()

        return jax.grad(total, argnums=(0, 1))(*operands)

    for ours, exact in zip(gradient(a, b), gradient(*wide), strict=True):
        assert ours.dtype == jnp.bfloat16
        largest = jnp.abs(exact).max()
        assert jnp.abs(ours.astype(jnp.float32) - exact).max() < 0.02 * largest


def test_batch_norm_is_float32_within():
    norm = BatchNorm(use_running_average=False, momentum=0.9)
    x = jnp.asarray(np.random.default_rng(0).normal(100, 1, (2, 8, 8, 3)), jnp.float32)
    variables = norm.init(jax.random.key(0), x)
    exact, _ = norm.apply(variables, x, mutable="batch_stats")
    halved = cast(variables, "bfloat16")
    found, stats = norm.apply(halved, x, mutable="batch_stats")
    np.testing.assert_array_equal(found, exact)
    assert {leaf.dtype for leaf in jax.tree.leaves(stats)} == {jnp.dtype("float32")}
