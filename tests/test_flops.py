"""The count of a model's arithmetic: as by hand, and as the paper's sizes have it."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, PartitionSpec

from configs import celebahq
from dear_jax.models.dear.gathering import gather_rows
from dear_jax.models.registry import build, fields_of, init_shapes
from dear_jax.training.flops import count_flops, step_flops
from dear_jax.training.objectives import QueryObjective
from dear_jax.training.step import make_mesh


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


A, B = shape(5, 7), shape(7, 3)


def test_a_product_is_two_operations_for_each_of_its_multiply_adds():
    assert count_flops(jnp.matmul, A, B) == 2 * 5 * 7 * 3
    batched = count_flops(
        lambda a, b: jnp.einsum("bnc,bmc->bnm", a, b), shape(2, 4, 6), shape(2, 5, 6)
    )
    assert batched == 2 * 2 * 4 * 5 * 6


def test_what_is_no_product_counts_nothing():
    assert count_flops(lambda a: jnp.sort(jnp.tanh(a) + a.sum()), A) == 0


def by_hand(image, kernel, stride, padding, dilated, spread, groups, batch_groups):
    """Counts multiply-adds pixel by pixel; [N, H, C] and [K, C/groups, O]."""
    (count, pixels, channels), (weights, inner, out) = image, kernel
    spread_pixels = {pixel * dilated for pixel in range(pixels)}
    length = (pixels - 1) * dilated + 1 + sum(padding)
    reach = (weights - 1) * spread + 1
    starts = range(0, length - reach + 1, stride)
    met = sum(
        start + tap * spread - padding[0] in spread_pixels
        for start, tap in itertools.product(starts, range(weights))
    )
    assert channels == inner * groups
    return 2 * met * inner * out * (count // batch_groups)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"stride": 2, "padding": (2, 0)},
        {"dilated": 2, "padding": (3, 2)},
        {"spread": 3, "padding": (2, 3), "stride": 2},
        {"groups": 2},
        {"batch_groups": 2},
        {"padding": (-1, 1)},
    ],
)
def test_a_convolution_counts_the_products_with_pixels_that_there_are(changes):
    usual = {"stride": 1, "padding": (0, 0), "dilated": 1, "spread": 1}
    given = {**usual, "groups": 1, "batch_groups": 1, **changes}
    image, kernel = (4, 9, 6), (3, 6 // given["groups"], 8)

    def convolve(x, w):
        return lax.conv_general_dilated(
            x,
            w,
            (given["stride"],),
            [given["padding"]],
            (given["dilated"],),
            (given["spread"],),
            ("NHC", "HIO", "NHC"),
            given["groups"],
            given["batch_groups"],
        )

    counted = count_flops(convolve, shape(*image), shape(*kernel))
    assert counted == by_hand(image, kernel, **given)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("operation", ["plain", "transposed", "grouped"])
def test_each_gradient_of_a_convolution_is_as_much_work_as_itself(
    operation, stride, padding
):
    numbers = ("NHWC", "HWIO", "NHWC")

    def convolve(x, w):
        if operation == "transposed":
            return lax.conv_transpose(x, w, (stride,) * 2, padding)
        groups = 2 if operation == "grouped" else 1
        return lax.conv_general_dilated(
            x,
            w,
            (stride,) * 2,
            padding,
            dimension_numbers=numbers,
            feature_group_count=groups,
        )

    x = shape(2, 9, 8, 4)
    w = shape(3, 3, 2 if operation == "grouped" else 4, 6)
    forward = count_flops(convolve, x, w)
    # Squared, so that the forward pass is needed.
    both = jax.grad(lambda x, w: jnp.sum(convolve(x, w) ** 2), argnums=(0, 1))
    assert count_flops(both, x, w) == 3 * forward > 0


def test_a_scan_counts_as_its_turns_written_out():
    w = shape(6, 6)

    def scanned(w, x):
        return lax.scan(lambda x, _: (jnp.tanh(x @ w), None), x, length=5)[0].sum()

    def unrolled(w, x):
        for _ in range(5):
            x = jnp.tanh(x @ w)
        return x.sum()

    # To both: the first turn's gradient to x is work that a scan always does.
    both = functools.partial(jax.grad, argnums=(0, 1))
    for function in (lambda f: f, both, jax.jit, lambda f: jax.jit(both(f))):
        counts = [count_flops(function(f), w, shape(2, 6)) for f in (scanned, unrolled)]
        assert counts[0] == counts[1] > 0
    turns = lax.fori_loop  # With constant bounds it is a scan.
    assert count_flops(lambda w: turns(0, 4, lambda i, x: x @ w, w), w) == 4 * 2 * 6**3


def test_products_in_a_loop_of_unknown_length_are_refused():
    def loop(body, x):
        return lax.while_loop(lambda x: x.sum() < 9, body, x)

    with pytest.raises(ValueError, match="number of turns"):
        count_flops(lambda x: loop(lambda x: x @ x, x), shape(3, 3))
    assert count_flops(lambda x: loop(lambda x: x + 1, x), shape(3, 3)) == 0


def test_of_branches_the_one_with_the_most_work_counts():
    def either(x):
        branches = (lambda x: x, lambda x: x @ x, lambda x: x @ x @ x)
        return lax.switch(x[0, 0].astype(int), branches, x)

    assert count_flops(either, shape(3, 3)) == 2 * 2 * 3**3


def test_of_what_platforms_do_their_own_way_the_usual_one_counts():
    def square(x, **others):
        return lax.platform_dependent(x, default=lambda x: x @ x, **others)

    others = {"cuda": lambda x: x @ x @ x, "tpu": lambda x: x}
    assert count_flops(functools.partial(square, **others), shape(3, 3)) == 2 * 3**3
    rows = jnp.zeros((2, 5), jnp.int32)
    gradient = jax.grad(lambda table: gather_rows(table, rows).sum())
    assert count_flops(gradient, shape(2, 9, 4)) == 0


def test_custom_derivatives_and_checkpoints_are_looked_into():
    square = jax.custom_vjp(lambda x: x @ x)
    square.defvjp(lambda x: (x @ x, x), lambda x, g: (g @ x.T + x.T @ g,))
    one = 2 * 4**3
    assert count_flops(square, shape(4, 4)) == one
    assert count_flops(jax.grad(lambda x: square(x).sum()), shape(4, 4)) == 3 * one

    def checkpointed(x):
        return jax.checkpoint(lambda x: jnp.sin(x @ x))(x).sum()

    assert count_flops(checkpointed, shape(4, 4)) == one
    assert count_flops(jax.grad(checkpointed), shape(4, 4)) == 4 * one  # Once again.


def test_work_split_over_devices_counts_as_on_one():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(AxisType.Auto,))
    rows = PartitionSpec("data")
    split = jax.shard_map(
        jnp.matmul, mesh=mesh, in_specs=(rows, PartitionSpec()), out_specs=rows
    )
    arguments = shape(8, 5), shape(5, 3)
    assert count_flops(split, *arguments) == count_flops(jnp.matmul, *arguments)


def test_a_kernel_counts_once_for_each_cell_of_its_grid():
    pallas = pytest.importorskip("jax.experimental.pallas")

    def kernel(a, b, out):
        out[...] = a[...] @ b[...]

    blocks = pallas.BlockSpec((2, 5), lambda i: (i, 0))
    whole = pallas.BlockSpec((5, 3), lambda i: (0, 0))
    out = pallas.BlockSpec((2, 3), lambda i: (i, 0))
    product = pallas.pallas_call(
        kernel,
        shape(8, 3),
        grid=(4,),
        in_specs=[blocks, whole],
        out_specs=out,
    )
    arguments = shape(8, 5), shape(5, 3)
    assert count_flops(product, *arguments) == count_flops(jnp.matmul, *arguments)


@pytest.mark.parametrize("layout", ["BTNH", "BNTH"])
def test_fused_attention_counts_as_its_products(layout, monkeypatch):
    fused = pytest.importorskip("jax._src.cudnn.fused_attention_stablehlo")
    monkeypatch.setattr(fused, "check_cudnn_version", lambda: 90000)
    monkeypatch.setattr(fused, "check_is_flash_attention", lambda *_: None)
    queries, keys = (2, 12, 1, 16), (2, 20, 1, 16)
    if layout == "BNTH":
        queries, keys = (2, 1, 12, 16), (2, 1, 20, 16)
    half = [jax.ShapeDtypeStruct(s, jnp.bfloat16) for s in (queries, keys, keys)]

    def attend(*arguments):
        return fused.dot_product_attention(*arguments, qkv_layout=layout)

    def gradient(*arguments):
        return jax.grad(lambda *a: attend(*a).astype(float).sum(), (0, 1, 2))(
            *arguments
        )

    product = 2 * 2 * 12 * 20 * 16
    assert count_flops(attend, *half) == 2 * product
    assert count_flops(gradient, *half) == 6 * product


def test_dear_at_the_papers_widths_is_21_gflop_a_photo_and_62_with_its_gradient():
    model = build(fields_of("dear"))
    variables = init_shapes(model)
    batch = {
        "image": shape(1, 64, 64, 3),
        "mask": shape(1, 64, 64, 1),
        "coordinates": shape(1, 2304, 2),
        "cell": shape(1, 2304, 2),
        "colours": shape(1, 2304, 3),
        "clean": shape(1, 64, 64, 3),
    }

    def loss(params, batch):
        return QueryObjective().loss(model, {"params": params}, batch)[0]

    forward = count_flops(loss, variables["params"], batch)
    step = count_flops(jax.grad(loss), variables["params"], batch)
    np.testing.assert_allclose([forward, step], [20.6e9, 61.6e9], rtol=0.03)


@pytest.mark.usefixtures("optax_promotion")
def test_a_step_of_the_paper_is_62_gflop_a_photo():
    config = celebahq.get_config()
    model = build(config.model.to_dict())
    mesh = make_mesh(16, jax.devices()[:1])
    flops = step_flops(model, config, mesh) / config.train.batch_size
    assert 61e9 < flops < 63e9
