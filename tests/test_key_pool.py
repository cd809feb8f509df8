"""Laws of attention whose keys are at most so many: the same however it is computed."""

import functools

import jax
import numpy as np
import pytest
from jax import export
from tiny import tiny_fields, tiny_restorer

from dear_jax.inference import stablehlo
from dear_jax.inference.plan import make_plan
from dear_jax.models.dear import residual as fill
from dear_jax.models.dear.coordinates import pixel_centres, to_coordinates
from dear_jax.models.registry import build

# Cells of 4 pixels: 9 x 6 for this photo, 5 x 3 keys of 2 x 2 cells each.
SIZE, MOST = (33, 22), 16
TARGET = (40, 31)


@functools.cache
def restorer():
    return tiny_restorer("dear-lite", attention_most_keys=MOST)


@functools.cache
def photo():
    """A photo [H, W, 3] and a mask [H, W]."""
    rng = np.random.default_rng(0)
    return rng.random((*SIZE, 3), np.float32), rng.random(SIZE) < 0.4


@functools.cache
def by_module(key_pool=None):
    """The target as the module makes it of the photo alone, in one go."""
    image, mask = photo()
    model, variables = build(restorer().model), restorer().variables
    queries = pixel_centres(TARGET).reshape(1, -1, 2)
    cell = np.broadcast_to(np.float32([2 / n for n in TARGET]), queries.shape)

    @jax.jit
    def run(image, mask):
        features = model.apply(
            variables, image, mask, key_pool=key_pool, method="encode"
        )
        return model.apply(variables, features, queries, cell, method="decode")

    colours = run(image[None], np.float32(mask)[None, ..., None])
    return np.clip((np.asarray(colours).reshape(*TARGET, 3) + 1) / 2, 0, 1)


def test_the_module_pools_by_the_size_of_the_photo():
    model = build(restorer().model)
    assert model.key_pool(SIZE) == 2
    np.testing.assert_array_equal(by_module(), by_module(2))
    assert np.abs(by_module() - by_module(1)).max() > 1e-4


@pytest.mark.parametrize("attention", ["exact", "windowed"])
def test_the_restorer_does_what_the_module_does(attention):
    """In a larger array, and whatever attention the plan names."""
    plan = restorer().plan(SIZE, TARGET, attention=attention)
    found = restorer()(*photo(), size=TARGET, plan=plan)
    np.testing.assert_allclose(found, by_module(), atol=1e-5)


def test_a_file_with_open_sizes_does_so_too(monkeypatch):
    monkeypatch.setattr(fill, "OPEN_LEVELS", 6)
    program = export.deserialize(stablehlo.export_model(restorer()).serialize())
    image, mask = photo()
    centres = (to_coordinates(np.arange(n), n) for n in TARGET)
    found = program.call(image, np.float32(mask), *centres)
    np.testing.assert_allclose(found, by_module(), atol=1e-5)


def test_the_work_of_attention_grows_with_the_pixels_alone():
    fields = {**tiny_fields("dear-lite"), "attention_most_keys": 256}

    def work(side):
        return make_plan(fields, (side,) * 2, (side,) * 2, 2**50).work.attention

    assert work(2048) == 4 * work(1024) == 16 * work(512)
    assert work(32) < work(64) / 4
