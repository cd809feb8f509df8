"""Tiles with the stated halo give the embedding of the whole photo, stage by stage."""

import functools

import jax
import numpy as np
import pytest
from rounding import assert_close
from tiny import TINY, tiny_fields, tiny_restorer

from dear_jax.inference.plan import geometry_of
from dear_jax.models.registry import build

# Layers of the deepest below.
LAYERS = 28
# Preset, what decides how far it sees, and its halo in pixels.
LOCAL = {
    "dear": ("dear", {"blocks": 8}, 112),
    "dear-lite": ("dear-lite", {"depths": (1, 1, 2, 1, 1, 1)}, 72),
    "deeper dear": ("dear", {"blocks": 10, "detail_kernel": 5}, 140),
    "dear without detail": ("dear", {"blocks": 3, "detail": False}, 48),
    "deeper dear-lite": (
        "dear-lite",
        {"depths": (2, 1, 3, 0, 2, 1), "detail_kernel": 5},
        88,
    ),
}
# What streams: halos of its two stages.
BARE = {"attention": False, "importance": False}
STREAMING = {
    "dear": ("dear", {**BARE, "blocks": 3}, (52, 12)),
    "dear-lite": ("dear-lite", {**BARE, "depths": (1, 1, 2, 1, 1, 3)}, (64, 24)),
    "unfolded dear-lite": (
        "dear-lite",
        {**BARE, "detail": False, "depths": (2, 1, 1, 0, 2, 1), "feature_unfold": True},
        (40, 24),
    ),
}


@pytest.fixture(scope="module", params=LOCAL)
def embedder(request):
    """A function (photo, mask, base) -> (F, K_p), and halo and origin multiple."""
    preset, depth, _ = LOCAL[request.param]
    restorer = tiny_restorer(preset, **depth)
    geometry = geometry_of(restorer.model)
    halo, multiple = geometry.embedding.halo, geometry.stride
    module = build(restorer.model)

    @jax.jit
    def embed(image, mask, base):
        inside = np.ones(mask.shape, np.float32)
        arguments = (image, mask, inside, base)
        return module.apply(restorer.variables, *arguments, method="embed")

    return embed, halo, multiple


def test_tiles_are_the_whole(embedder):
    embed, halo, multiple = embedder
    height = 4 * halo
    rng = np.random.default_rng(0)
    mask = (rng.random((1, height, 16, 1)) < 0.3).astype(np.float32)
    image = rng.random((1, height, 16, 3)).astype(np.float32) * (1 - mask)
    base = rng.normal(size=(1, height, 16, 3)).astype(np.float32)
    whole = embed(image, mask, base)
    top, bottom = 3 * halo // 2 // multiple * multiple, 5 * halo // 2
    for start, stop in ((0, top), (top, bottom), (bottom, height)):
        low = max(0, start - halo) // multiple * multiple
        tile = slice(low, min(height, stop + halo))
        parts = embed(image[:, tile], mask[:, tile], base[:, tile])
        for part, all_of_it in zip(parts, whole, strict=True):
            found = part[:, start - low : stop - low]
            expected = all_of_it[:, start:stop]
            assert_close(found, expected, LAYERS)


def test_the_halo_is_not_much_too_large(embedder):
    embed, halo, _ = embedder
    height = 2 * halo + 16
    rng = np.random.default_rng(0)
    mask = np.zeros((1, height, 16, 1), np.float32)
    image = rng.random((1, height, 16, 3)).astype(np.float32)
    base = 2 * image - 1
    centre = height // 2
    before = embed(image, mask, base)[0]
    reach = []
    for side in (slice(0, centre - halo), slice(0, centre - halo * 3 // 4)):
        other = image.copy()
        other[:, side] = 0
        after = embed(other, mask, np.where(other > 0, base, -1).astype(np.float32))[0]
        reach.append(bool((after[:, centre] != before[:, centre]).any()))
    assert reach == [False, True]


@pytest.mark.parametrize(("preset", "depth", "halo"), LOCAL.values(), ids=LOCAL)
def test_the_halo_is_that_of_the_depth(preset, depth, halo):
    geometry = geometry_of({**tiny_fields(preset), **depth})
    assert geometry.embedding.halo == halo


def test_every_tiny_preset_is_tested_here():
    assert set(LOCAL) >= set(TINY)


@pytest.mark.parametrize("name", STREAMING)
def test_the_two_stages_are_the_whole_in_tiles_too(name):
    preset, changes, halos = STREAMING[name]
    restorer = tiny_restorer(preset, **changes, residual="fill")
    geometry, module = geometry_of(restorer.model), build(restorer.model)
    assert (geometry.deep.halo, geometry.surface.halo) == halos
    rng, height, stride = np.random.default_rng(0), 304, geometry.stride
    mask = (rng.random((1, height, 16, 1)) < 0.3).astype(np.float32)
    image = rng.random((1, height, 16, 3)).astype(np.float32) * (1 - mask)
    base = rng.normal(size=(1, height, 16, 3)).astype(np.float32)
    inside = np.ones_like(mask)

    @functools.partial(jax.jit, static_argnums=0)
    def run(method, *arguments):
        return module.apply(restorer.variables, *arguments, method=method)

    def tiles(halo, step):
        for start in range(0, height, 152):
            low, stop = max(0, start - halo) // step * step, start + 152
            yield start, stop, low, min(height, stop + halo + -halo % step)

    photo = (image, mask, inside, base)
    whole = run("project", run("embed", *photo)[0])
    z = np.array(run("deep", *photo))
    for start, stop, low, high in tiles(geometry.deep.halo, stride):
        found = run("deep", *(x[:, low:high] for x in photo))
        found = found[:, (start - low) // 4 : (stop - low) // 4]
        assert_close(found, z[:, start // 4 : stop // 4], LAYERS)
    for start, stop, low, high in tiles(geometry.surface.halo, 4):
        part = (x[:, low:high] for x in photo)
        found = run("surface", z[:, low // 4 : high // 4], *part)
        found = found[:, start - low : stop - low]
        assert_close(found, whole[:, start:stop], LAYERS)
