"""Laws of unmask attention: Eq. 6 and 7, chunks, padding and pooling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from rounding import assert_close

from dear_jax.models.dear import attention as attention_module
from dear_jax.models.dear.attention import (
    attend,
    fused_attention_does,
    unmask_attention,
)

SHAPE = (2, 5, 7, 6)
# Scores, weights and their sums, and the mean.
LAYERS = 4
attention = jax.jit(unmask_attention, static_argnames=("keys", "pool", "chunk"))


@pytest.fixture(scope="module")
def photo():
    """F [B, H, W, C], and a mask [B, H, W, 1] of known and missing pixels."""
    rng = np.random.default_rng(0)
    embedding = rng.normal(size=SHAPE).astype(np.float32)
    mask = (rng.random((*SHAPE[:3], 1)) < 0.4).astype(np.float32)
    return embedding, mask


def attend_by_equations(embedding, mask):
    """softmax((1 - M) F F^T / sqrt(C)) F in float64, one photo at a time."""
    out = np.zeros(embedding.shape)
    for b in range(len(embedding)):
        f = embedding[b].reshape(-1, SHAPE[-1]).astype(np.float64)
        scores = (1 - mask[b].reshape(-1, 1)) * f @ f.T / SHAPE[-1] ** 0.5
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        out[b] = (weights @ f).reshape(out[b].shape)
    return out


def test_attention_is_equations_6_and_7(photo):
    found = attention(*photo)
    assert_close(found, attend_by_equations(*photo), LAYERS)


@pytest.mark.parametrize("chunk", [8, 34])
def test_chunks_equal_the_whole_in_value_and_gradient(photo, chunk):
    embedding, mask = photo
    weight = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)

    def loss(embedding, chunk):
        attended = attention(embedding, mask, chunk=chunk)
        return (attended * weight).sum(), attended

    found, expected = (jax.grad(loss, has_aux=True)(embedding, c) for c in (chunk, 0))
    for ours, whole in zip(found, expected, strict=True):
        assert_close(ours, whole, LAYERS)


@pytest.mark.parametrize("gradient", [False, True])
def test_chunks_never_hold_all_the_weights(gradient):
    count = 1024
    keys = jax.ShapeDtypeStruct((1, count, 8), jnp.float32)
    usable = jax.ShapeDtypeStruct((1, count), bool)

    def temporary_bytes(chunk):
        def run(keys, usable):
            return attend(keys, keys, usable, chunk).sum()

        function = jax.jit(jax.grad(run) if gradient else run)
        compiled = function.lower(keys, usable).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary_bytes(0) >= 4 * count**2
    assert temporary_bytes(32) < 4 * count**2 / 4


def test_without_a_chunk_the_weights_stay_within_their_bound(monkeypatch):
    monkeypatch.setattr(attention_module, "WEIGHTS", 3 * 2 * 35)
    queries = np.random.default_rng(3).normal(size=(2, 35, 4)).astype(np.float32)
    program = jax.make_jaxpr(lambda q: attend(q, q))(queries)
    (loop,) = (e for e in program.eqns if e.primitive.name == "scan")
    assert loop.params["length"] == 12  # Three queries at a time.
    monkeypatch.setattr(attention_module, "WEIGHTS", 35 * 2 * 35)
    whole = jax.make_jaxpr(lambda q: attend(q, q))(queries)
    assert not [e for e in whole.eqns if e.primitive.name == "scan"]
    found, expected = (
        jax.jit(lambda q, c=c: attend(q, q, chunk=c))(queries) for c in (3, 35)
    )
    assert_close(found, expected, LAYERS)


def test_sizes_may_be_left_open():
    batch, count = export.symbolic_shape("batch, count")
    queries = jax.ShapeDtypeStruct((batch, count, 4), jnp.float32)
    exported = export.export(jax.jit(lambda q: attend(q, q)))(queries)
    queries = np.random.default_rng(3).normal(size=(2, 35, 4)).astype(np.float32)
    assert_close(exported.call(queries), attend(queries, queries), LAYERS)


def test_attention_is_that_of_the_device_the_user_chose():
    usual, *_, last = jax.devices()
    assert attention_module._device() == usual
    for chosen, found in ((last, last), ("cpu", usual)):
        with jax.default_device(chosen):
            assert attention_module._device() == found


def test_where_every_key_counts_there_is_no_mask(photo):
    def selects(**options):
        program = jax.make_jaxpr(lambda f, m: unmask_attention(f, m, **options))(*photo)
        return str(program).count("select_n")

    assert selects() == 0
    assert selects(valid=np.ones_like(photo[1])) > 0
    assert selects(keys="known") > 0


@pytest.mark.parametrize(
    ("changes", "fused"),
    [
        ({}, True),
        ({"capability": "8.0", "dtype": jnp.float16}, True),
        ({"capability": "12.0", "channels": 128}, True),
        ({"capability": "7.5"}, False),
        ({"capability": "gfx942"}, False),
        ({"platform": "cpu", "capability": None}, False),
        ({"platform": "tpu", "capability": None}, False),
        ({"dtype": jnp.float32}, False),
        ({"channels": 4}, False),
        ({"channels": 256}, False),
        ({"masked": True}, False),
    ],
)
def test_fused_attention_is_for_halves_without_a_mask_on_recent_gpus(changes, fused):
    h100 = {"platform": "gpu", "capability": "9.0", "dtype": jnp.dtype("bfloat16")}
    case = {**h100, "channels": 64, "masked": False, **changes}
    assert fused_attention_does(**case) is fused


def test_a_masked_query_gets_the_mean_embedding(photo):
    embedding, mask = photo
    attended = np.asarray(attention(embedding, mask))
    for b in range(SHAPE[0]):
        rows = attended[b][mask[b, ..., 0] > 0]
        mean = np.broadcast_to(embedding[b].mean(axis=(0, 1)), rows.shape)
        assert_close(rows, mean, size=np.abs(embedding).max())


def test_a_masked_query_gets_the_mean_of_the_known_keys(photo):
    embedding, mask = photo
    attended = np.asarray(attention(embedding, mask, keys="known"))
    for b in range(SHAPE[0]):
        hole = mask[b, ..., 0] > 0
        mean = np.broadcast_to(
            embedding[b][~hole].mean(axis=0), attended[b][hole].shape
        )
        assert_close(attended[b][hole], mean, size=np.abs(embedding).max())


@pytest.mark.parametrize("keys", ["all", "known"])
def test_permuting_the_pixels_permutes_the_answer(photo, keys):
    order = np.random.default_rng(2).permutation(SHAPE[1] * SHAPE[2])

    def permute(x):
        return (
            np.asarray(x).reshape(SHAPE[0], -1, x.shape[-1])[:, order].reshape(x.shape)
        )

    embedding, mask = photo
    found = attention(permute(embedding), permute(mask), keys=keys)
    expected = permute(attention(embedding, mask, keys=keys))
    assert_close(found, expected, LAYERS)


@pytest.mark.parametrize("pool", [1, 2])
def test_with_known_keys_what_is_masked_has_no_effect(photo, pool):
    embedding, mask = photo
    changed = np.where(mask > 0, 7, embedding).astype(np.float32)
    found, same = (
        attention(f, mask, keys="known", pool=pool) for f in (embedding, changed)
    )
    np.testing.assert_array_equal(found, same)
    # With all pixels as keys it has.
    assert np.abs(attention(changed, mask) - found).max() > 0.1


@pytest.mark.parametrize("keys", ["all", "known"])
@pytest.mark.parametrize("pool", [1, 3])
def test_padding_is_never_a_key(photo, pool, keys):
    alone = attention(*photo, keys=keys, pool=pool)
    pads = ((0, 0), (0, 4), (0, 3), (0, 0))
    embedding, mask = (np.pad(x, pads, constant_values=1) for x in photo)
    valid = np.pad(np.ones_like(photo[1]), pads)
    junk = np.where(valid > 0, embedding, 50).astype(np.float32)
    found, same = (
        attention(f, mask, valid, keys=keys, pool=pool) for f in (embedding, junk)
    )
    np.testing.assert_array_equal(found, same)
    assert_close(found[:, : SHAPE[1], : SHAPE[2]], alone, LAYERS)


@pytest.mark.parametrize("keys", ["all", "known"])
@pytest.mark.parametrize("pool", [2, 4, 9])
def test_pooling_reproduces_a_constant_embedding(photo, pool, keys):
    channels = np.arange(1, SHAPE[-1] + 1, dtype=np.float32)
    constant = np.broadcast_to(channels, SHAPE)
    found = attention(constant, photo[1], keys=keys, pool=pool)
    np.testing.assert_allclose(found, constant, rtol=1e-5)


def test_pooled_attention_is_attention_between_the_means_of_cells(photo):
    embedding, _ = photo
    rows, columns = (slice(0, 4), slice(4, 5)), (slice(0, 4), slice(4, 7))
    cells = np.array(
        [[embedding[:, r, c].mean(axis=(1, 2)) for c in columns] for r in rows]
    ).transpose(2, 0, 1, 3)
    none = np.zeros((SHAPE[0], 2, 2, 1), np.float32)
    expected = attend_by_equations(cells, none)
    found = attention(embedding, np.zeros_like(photo[1]), pool=4)
    for i, r in enumerate(rows):
        for j, c in enumerate(columns):
            answer = np.broadcast_to(
                expected[:, i, j, None, None], found[:, r, c].shape
            )
            assert_close(found[:, r, c], answer, LAYERS)


@pytest.mark.parametrize("keys", ["all", "known"])
def test_a_photo_with_nothing_known_stays_finite(photo, keys):
    embedding, mask = photo
    found = attention(embedding, np.ones_like(mask), keys=keys)
    assert np.isfinite(found).all()
