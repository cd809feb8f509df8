"""Any size in known memory: stages, tiles, blocks and windows equal the whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rounding import assert_close
from tiny import tiny_restorer

from dear_jax.errors import InputError
from dear_jax.inference import attending, plan, rendering, tiles
from dear_jax.inference.plan import Plan, make_plan
from dear_jax.models.dear import blocks
from dear_jax.models.dear.coordinates import pixel_centres
from dear_jax.models.dear.decoder import ImplicitDecoder
from dear_jax.models.dear.grid import grid_axis, grid_positions
from dear_jax.models.registry import build, fields_of

PRESETS = ("dear", "dear-lite")
EVERYTHING = {"cell_decode": True, "feature_unfold": True, "residual": "bilinear"}


# A small network of five levels that knows how degraded a photo is, and one that
# streams besides.
DEEPER = {
    "widths": (4, 4, 8, 8, 8),
    "depths": (1, 0, 1, 1, 0, 1, 1, 1),
    "level_input": True,
    "decoder_blend": "hidden",
}
BARE = {"attention": False, "detail": False, "importance": False}
STREAMING = DEEPER | BARE
OTHERS = {"deeper": DEEPER, "streaming": STREAMING}


@pytest.fixture(scope="module", params=(*PRESETS, *OTHERS))
def restorer(request):
    if request.param in OTHERS:
        return tiny_restorer("dear-lite", **OTHERS[request.param])
    return tiny_restorer(request.param)


def photo_of(height, width, ratio=0.4):
    rng = np.random.default_rng(0)
    photo = rng.random((height, width, 3), np.float32)
    return photo, rng.random((height, width)) < ratio


def decoded(restorer, photo, mask, target):
    """What the model itself answers, all at once, float64-free of our stages."""
    queries = pixel_centres(target).reshape(1, -1, 2)
    cell = np.broadcast_to(np.float32(2) / np.float32(target), queries.shape)
    arguments = photo[None], mask[None, ..., None].astype(np.float32), queries, cell
    colours, features = jax.jit(build(restorer.model).apply)(
        restorer.variables, *arguments
    )
    plain = np.clip((np.asarray(colours) + 1) / 2, 0, 1).reshape(*target, 3)
    return plain, features


@pytest.mark.parametrize(
    "changes",
    [
        {},
        EVERYTHING,
        {"attention": False},
        {"importance": False, "residual": "fill"},
        {"attention_keys": "known", "attention_pool": 2},
        {"norm": "instance", "detail": False},
    ],
)
@pytest.mark.parametrize("target", [(9, 14), (23, 31), (70, 20)])
def test_stages_are_the_model(changes, target):
    restorer = tiny_restorer("dear", **changes)
    photo, mask = photo_of(9, 14)
    plain, features = decoded(restorer, photo, mask, target)
    found = restorer(photo, mask, size=target, keep_known=False)
    # The model reads places as floats, known to eps of the photo's side in pixels.
    assert_close(found, plain, layers=4, size=max(photo.shape))
    importance = restorer.importance(photo, mask)
    if features.importance is None:
        assert importance is None
    else:
        expected = np.asarray(features.importance)[0, ..., 0]
        np.testing.assert_allclose(importance, expected, atol=1e-5)


@pytest.mark.parametrize("target", [(9, 14), (70, 20)])
def test_stages_are_the_deeper_model_at_any_level(target):
    restorer = tiny_restorer("dear-lite", **DEEPER)
    photo, mask = photo_of(9, 14)
    arguments = photo[None], mask[None, ..., None].astype(np.float32)
    queries = pixel_centres(target).reshape(1, -1, 2)
    cell = np.broadcast_to(np.float32(2) / np.float32(target), queries.shape)
    run, found = jax.jit(build(restorer.model).apply), []
    for level in (0.0, 0.7):
        told = np.float32([level])
        colours, _ = run(restorer.variables, *arguments, queries, cell, told)
        plain = np.clip((np.asarray(colours) + 1) / 2, 0, 1).reshape(*target, 3)
        found.append(
            restorer(photo, mask, size=target, denoise=level, keep_known=False)
        )
        assert_close(found[-1], plain, layers=4, size=max(photo.shape))  # As above.
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_each_photo_of_a_batch_has_its_own_level():
    restorer = tiny_restorer("dear-lite", **DEEPER)
    photo, mask = photo_of(9, 14)
    photos, masks = np.stack([photo] * 3), np.stack([mask] * 3)
    together = restorer.batch(photos, masks, (20, 30), denoise=[0, 0.4, 1])
    for level, found in zip((0, 0.4, 1), together, strict=True):
        alone = restorer(photo, mask, size=(20, 30), denoise=level)
        assert_close(found, alone, layers=30)


@pytest.mark.parametrize("level", [-0.1, 1.5, "much", [0.1, 0.2], float("nan")])
def test_levels_that_are_none_are_refused(level):
    photo, mask = photo_of(9, 14)
    with pytest.raises(InputError, match="give a number from 0"):
        tiny_restorer("dear-lite", **DEEPER)(photo, mask, denoise=level)


def test_a_model_without_the_input_refuses_a_level(restorer):
    if not restorer.takes_denoise:
        with pytest.raises(InputError, match="leave it 0"):
            restorer(*photo_of(9, 14), denoise=0.5)


def in_small_tiles(restorer, settled):
    geometry = plan.geometry_of(restorer.model)
    streams = build(restorer.model).streams
    halo = (geometry.deep if streams else geometry.embedding).halo
    extent = plan.padded_size(settled.source, geometry)
    tiling = list(tiles.tilings(extent, halo, geometry.stride))[-1]
    return settled._replace(tiling=tiling, block=128)


def test_tiles_equal_the_whole(restorer):
    photo, mask = photo_of(203, 150)
    whole = restorer.plan((203, 150), (240, 180))
    assert whole.tiling.count == 1
    tiled = in_small_tiles(restorer, whole)
    assert tiled.tiling.count >= 9
    found, expected = (
        restorer(photo, mask, size=(240, 180), plan=p) for p in (tiled, whole)
    )
    np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize("size", [1, 7, 113, 512, 1003])
@pytest.mark.parametrize(("halo", "step"), [(112, 4), (72, 8), (0, 4)])
def test_tiles_keep_every_pixel_with_its_halo(size, halo, step):
    for parts in (1, 2, 3, 7, 50):
        side = tiles.side_in(size, parts, halo, step)
        assert side.parts <= parts
        kept = np.zeros(size, bool)
        for low, keep in side.places():
            assert low % step == 0 and 0 <= low <= keep
            assert keep + side.core <= low + side.read <= size
            assert low == 0 or keep - low >= halo
            assert low + side.read == size or (
                low + side.read - keep - side.core >= halo
            )
            kept[keep : keep + side.core] = True
        assert kept.all()


def test_tilings_begin_with_the_whole_and_end_with_small_tiles():
    ways = list(tiles.tilings((1000, 700), 112, 4))
    assert ways[0].count == 1 and ways[0].cost == 1
    assert ways[-1].read < 400**2
    costs = [way.cost for way in ways]
    assert costs == sorted(costs)


@pytest.mark.parametrize(
    "fields",
    [*map(fields_of, PRESETS), fields_of("dear-lite") | BARE, fields_of("dear-base")],
)
def test_less_memory_means_smaller_tiles(fields):
    small, large = (600, 500), (2000, 1500)
    whole = make_plan(fields, small, small, max_memory=1e12)
    assert whole.tiling.count == 1 and not whole.block
    assert "whole" in " ".join(whole.lines())
    free = make_plan(fields, large, large, max_memory=1e12)
    tight = make_plan(fields, large, large, max_memory=free.bytes * 0.98)
    assert tight.tiling.count > 1
    assert tight.bytes <= free.bytes * 0.98
    assert (tight.tiling.read, tight.block or 2000) < (
        free.tiling.read,
        free.block or 2000,
    )
    assert f"{tight.tiling.count} tiles" in " ".join(tight.lines())
    with pytest.raises(InputError, match=r"needs about .* even in small tiles"):
        make_plan(fields, large, large, max_memory=1e8)


def test_plans_are_for_one_size(restorer):
    with pytest.raises(InputError, match="make another"):
        restorer.encode(*photo_of(9, 9), plan=restorer.plan((8, 8), (8, 8)))
    with pytest.raises(InputError, match="make another"):
        restorer(*photo_of(8, 8), scale=3, plan=restorer.plan((8, 8), (16, 16)))


def test_plans_are_for_one_model():
    small, deep = tiny_restorer("dear"), tiny_restorer("dear", blocks=2)
    size, lite = (300, 12), tiny_restorer("dear-lite")
    tiled = in_small_tiles(small, small.plan(size, size))
    assert tiled.tiling.count > 1
    for other, settled in (
        (deep, tiled),
        (lite, small.plan(size, size)),
        (small, Plan(size, size)),
    ):
        with pytest.raises(InputError, match="another model"):
            other.encode(*photo_of(*size), plan=settled)


@pytest.mark.parametrize("preset", PRESETS)
def test_plans_count_maps_at_the_size_that_they_are_held_at(preset):
    model = tiny_restorer(preset).model
    inside, beyond = (make_plan(model, (n, n), (n, n), 1e12).bytes for n in (512, 514))
    held = 4 * (model["widths"][0] if "lite" in preset else model["width"])
    assert beyond - inside > (640**2 - 512**2) * held


@pytest.mark.parametrize(
    "field, value", [("importance_kernel", 9), ("decoder_width", 512)]
)
def test_plans_count_what_fields_make_larger(field, value):
    model, size = fields_of("dear"), (512, 512)
    plain, larger = (
        make_plan(m, size, size, 1e12).bytes for m in (model, {**model, field: value})
    )
    assert larger > plain


def test_a_photo_that_cannot_be_in_tiles_is_not_said_to_be(restorer):
    whole = {**restorer.model, "norm": "instance"}
    with pytest.raises(InputError) as caught:
        make_plan(whole, (2000, 1500), (2000, 1500), 1e8)
    assert "tiles" not in str(caught.value)


@pytest.mark.parametrize("asking", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("usable", [0.001, 0.5, 1.0])
def test_blocks_are_the_whole_softmax(asking, usable, monkeypatch):
    monkeypatch.setattr(blocks, "BLOCK", 16)
    rng = np.random.default_rng(0)
    queries, keys = rng.normal(size=(2, 40, 6)).astype(np.float32) * 3
    queries[rng.random(40) >= asking] = 0
    allowed = rng.random(40) < usable
    allowed[7] = True
    order = np.argsort(~allowed, kind="stable")
    count = blocks.padded_to_block(40)
    padded = np.zeros((count, 6), np.float32)
    padded[:40] = keys[order]
    bias = np.where(np.arange(count) < allowed.sum(), 0, blocks.NEVER)
    found = blocks.attend_in_blocks(
        queries, padded, bias.astype(np.float32), np.int32(allowed.sum())
    )
    scores = queries.astype(float) @ keys[allowed].T / 6**0.5
    weights = np.exp(scores - scores.max(1, keepdims=True))
    expected = weights / weights.sum(1, keepdims=True) @ keys[allowed]
    assert_close(found, expected, layers=4)


def test_scores_of_any_size_stay_finite():
    keys = np.array([[1e4, 0], [-1e4, 0], [0, 1e4], [0, 0]] * 2, np.float32)
    found = blocks.attend_in_blocks(keys, keys, np.zeros(8, "f4"), np.int32(8))
    np.testing.assert_allclose(found[:3], keys[:3], rtol=1e-6)


def test_blocks_hold_no_more_for_more_keys():
    def temporary(count):
        shapes = [(blocks.BLOCK, 8), (count, 8), (count,)]
        shapes = [jax.ShapeDtypeStruct(shape, np.float32) for shape in shapes]
        number = jax.ShapeDtypeStruct((), np.int32)
        compiled = jax.jit(blocks.attend_in_blocks).lower(*shapes, number).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporary(16 * blocks.BLOCK) < 1.1 * temporary(2 * blocks.BLOCK)


def test_attention_in_small_blocks_changes_nothing(restorer, monkeypatch):
    photo, mask = photo_of(21, 18)
    whole = restorer(photo, mask, scale=1, keep_known=False)
    monkeypatch.setattr(blocks, "BLOCK", 8)
    monkeypatch.setattr(attending, "BLOCK", 8)
    attending._blocks.cache_clear()
    found = restorer(photo, mask, scale=1, keep_known=False)
    attending._blocks.cache_clear()
    np.testing.assert_allclose(found, whole, atol=1e-5)


def test_grids_answer_as_queries_do():
    target, size = (13, 29), (6, 11)
    axes = [
        grid_axis(grid_positions(0, n, t), n) for n, t in zip(size, target, strict=True)
    ]
    centres = [pixel_centres(target)[:, 0, 0], pixel_centres(target)[0, :, 1]]
    for axis, centre, n in zip(axes, centres, size, strict=True):
        position = ((centre.astype(float) + 1) * n - 1) / 2
        np.testing.assert_allclose(
            (axis.weight * axis.index).sum(0), np.clip(position, 0, n - 1), atol=1e-4
        )
        np.testing.assert_allclose(axis.weight.sum(0), 1, atol=1e-6)
        for index, relative in zip(axis.index, axis.relative, strict=True):
            np.testing.assert_allclose(2 * (position - index), relative, atol=1e-4)


def test_weights_of_neighbours_keep_their_digits_in_bfloat16():
    decoder = ImplicitDecoder(width=32, hidden_layers=1)
    rng = np.random.default_rng(0)
    params = {
        "pixel_part": {"kernel": np.zeros((1, 1, 8, 32)), "bias": np.zeros(32)},
        "relative_part": {"kernel": np.zeros((2, 32))},
        "output": {"kernel": rng.normal(size=(32, 3)), "bias": np.zeros(3)},
    }
    params = jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), params)
    row = jnp.asarray(rng.random(32), jnp.bfloat16)
    projection = jnp.broadcast_to(row, (1, 4, 4, 32))
    axis = grid_axis(grid_positions(0, 4, 37), 4)
    found = decoder.apply({"params": params}, projection, axis, axis, method="on_grid")
    # Neighbours that are alike, however they are mixed.
    assert found.dtype == jnp.float32
    assert_close(found, jnp.broadcast_to(found[:, :1, :1], found.shape))


def test_windows_put_together_are_the_picture(restorer):
    photo, mask = photo_of(12, 20)
    encoded = restorer.encode(photo, mask)
    whole = restorer.render(encoded, size=(30, 60))
    parts = [
        np.concatenate(
            [
                restorer.render(encoded, (4 * i, 5 * j, 4 * i + 4, 5 * j + 5), (10, 15))
                for j in range(4)
            ],
            axis=1,
        )
        for i in range(3)
    ]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)
    np.testing.assert_array_equal(restorer(photo, mask, size=(30, 60)), whole)


@pytest.mark.parametrize(
    ("window", "size", "message"),
    [
        ((0, 0, 9, 5), (9, 9), "within the photo"),
        ((-1, 0, 4, 4), (9, 9), "within the photo"),
        ((3, 0, 3, 4), (9, 9), "within the photo"),
        ((0, 0, float("nan"), 4), (9, 9), "within the photo"),
        ((0, 0, 8, 8), (7, 8), "smaller"),
    ],
)
def test_windows_that_cannot_be_are_refused(restorer, window, size, message):
    encoded = restorer.encode(*photo_of(8, 8))
    with pytest.raises(InputError, match=message):
        restorer.render(encoded, window, size)


def test_bytes_come_back_as_bytes(restorer):
    photo, mask = photo_of(8, 8)
    grey = (photo * 255).astype(np.uint8)
    picture = restorer.render(restorer.encode(grey, mask), size=(16, 16))
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture, restorer(grey, mask, scale=2))


@pytest.mark.parametrize("tiled", [False, True])
def test_progress_counts_up_to_all(restorer, tiled):
    told = []
    photo, mask = photo_of(200, 40)
    settled = restorer.plan((200, 40), (450, 90))
    settled = in_small_tiles(restorer, settled) if tiled else settled
    restorer(photo, mask, 2.25, plan=settled, progress=lambda *at: told.append(at))
    done, totals = zip(*told, strict=True)
    assert list(done) == sorted(done) and len(set(totals)) == 1
    assert done[-1] == pytest.approx(totals[0])
    assert len(done) > 5


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_at_its_own_size_a_photo_keeps_what_is_known(restorer, kind):
    photo, mask = photo_of(123, 90)
    mask &= np.hypot(*np.indices(mask.shape) - np.array([95, 40])[:, None, None]) < 9
    photo = (photo * (255 if kind == np.uint8 else 1)).astype(kind)
    tiled = in_small_tiles(restorer, restorer.plan(mask.shape, mask.shape))
    found = restorer(photo, mask, plan=tiled)
    own = restorer(photo, mask, keep_known=False)
    assert found.dtype == kind
    np.testing.assert_array_equal(found[~mask], photo[~mask])
    np.testing.assert_allclose(
        found[mask], own[mask], atol=1 if kind == np.uint8 else 2e-5
    )
    assert np.abs(own[~mask].astype(float) - photo[~mask]).max() > 1e-3
    together = restorer.batch(photo[None], mask[None])[0]
    np.testing.assert_array_equal(together[~mask], photo[~mask])


def test_only_what_the_holes_need_is_computed(monkeypatch):
    restorer = tiny_restorer("dear-lite", **STREAMING)
    photo, mask = photo_of(400, 300)
    mask &= np.hypot(*np.indices(mask.shape) - np.array([350, 60])[:, None, None]) < 9
    tiled = in_small_tiles(restorer, restorer.plan(mask.shape, mask.shape))
    calls = []

    def counted(*given, project=rendering.project):
        calls.append(given)
        return project(*given)

    monkeypatch.setattr(rendering, "project", counted)
    restorer(photo, mask, plan=tiled)
    assert 1 <= len(calls) <= 4
    restorer(photo, mask, plan=tiled, keep_known=False)
    assert len(calls) > 12
    calls.clear()
    told = []
    none = restorer(photo, plan=tiled, progress=lambda *at: told.append(at))
    np.testing.assert_array_equal(none, photo)
    assert not calls and told[-1][0] == told[-1][1]
