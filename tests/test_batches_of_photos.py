"""Photos restored together are the photos restored one by one, on however many devices.

There are four CPU devices here (see conftest.py), so batches of four are dealt out.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rounding import assert_close
from tiny import SMALLEST, draw_like, tiny_restorer

import dear_jax
from dear_jax.errors import InputError
from dear_jax.inference import devices, fixed_scale, rendering
from dear_jax.inference import devices as levels
from dear_jax.inference.classical import Interpolation
from dear_jax.inference.loading import from_weights, open_system
from dear_jax.inference.two_stage import TwoStage
from dear_jax.models.registry import build, fields_of, init_shapes
from dear_jax.weights import Weights, freeze, write_weights

SIZE = (9, 11)
# Of the deepest of the small models.
LAYERS = 30


def model(name: str, seed: int = 0, **changes):
    """A system of one small model with random weights."""
    if name.startswith("dear"):
        return tiny_restorer(name, seed)
    return from_weights(weights_of(name, seed, **changes), name)


def weights_of(name: str, seed: int = 0, facts: dict | None = None, **changes):
    fields = {**fields_of(name), **SMALLEST[name], **changes}
    return Weights(
        draw_like(init_shapes(build(fields)), seed=seed), fields, facts or {}
    )


def system(name: str):
    stages = name.split("+")
    if len(stages) == 1:
        return model(name) if name not in ("bicubic", "telea") else open_system(name)
    first, second = map(system, stages)
    return TwoStage(name, first, second, stages[0] in ("misf", "lama", "telea"))


def photos_of(count: int, size=SIZE, seed: int = 0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *size, 3), dtype=np.uint8)
    return images, rng.random((count, *size)) < 0.4


def target_of(name: str) -> tuple[int, int]:
    alone = name in ("misf", "lama", "telea")
    return SIZE if alone else (4 * SIZE[0], 4 * SIZE[1])


def assert_as_good_as_equal(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype and found.shape == expected.shape
    if found.dtype == np.uint8:
        gaps = np.abs(found.astype(int) - expected)
        assert gaps.max() <= 1 and (gaps > 0).mean() < 1e-3
    else:
        assert_close(found, expected, LAYERS)


@pytest.mark.parametrize(
    "name, kind",
    [(name, np.float32) for name in ("dear", "dear-lite", *SMALLEST, "telea+lte")]
    + [(name, np.uint8) for name in ("lte", "telea", "bicubic", "misf+edsr")]
    + [("edsr+lama", np.uint8)],
)
def test_together_as_one_by_one_on_one_device_or_four(name, kind):
    restorer, target = system(name), target_of(name)
    images, masks = photos_of(4)
    if kind == np.float32:
        images = images / np.float32(255)
        images[masks] = np.nan
    pairs = zip(images, masks, strict=True)
    singles = np.stack([restorer(*pair, size=target) for pair in pairs])
    assert_as_good_as_equal(restorer.batch(images, masks, target), singles)
    three = slice(2, None, -1)
    found = restorer.batch(images[three], masks[three], target)
    assert_as_good_as_equal(found, singles[three])


def test_each_of_four_devices_takes_one_of_four_photos():
    images, _ = photos_of(4)
    dealt = devices.spread(images)
    assert {shard.data.shape for shard in dealt.addressable_shards} == {(1, *SIZE, 3)}
    assert len({shard.device for shard in dealt.addressable_shards}) == 4
    assert devices.share_of(8) == 2 and devices.share_of(6) == 6
    assert devices.spread(images[:3]) is not dealt and devices.mesh_for(3) is None


def test_a_default_device_of_the_users_choice_works_alone():
    with jax.default_device(jax.devices()[2]):
        assert devices.mesh_for(4) is None
        placed = model("lte")._placed
    assert jax.tree.leaves(placed.variables)[0].devices() == {jax.devices()[2]}


@pytest.mark.parametrize("name", ["lama", "misf"])
def test_devices_exchange_nothing(name):
    """A Fourier transform would be, if the compiler were left to itself."""
    placed = next(iter(model(name)._choices.values()))
    images, masks = photos_of(4, (8, 8))
    apply, _ = fixed_scale._compiled_inpainter(
        freeze(placed.model), devices.mesh_for(4)
    )
    arguments = map(devices.spread, (images, masks))
    program = apply.lower(placed.variables_for(4), *arguments).compile().as_text()
    assert "num_partitions=4" in program
    for exchange in ("all-gather", "all-reduce", "all-to-all", "collective-permute"):
        assert exchange not in program


def test_weights_are_on_every_device_once():
    weights = devices.on_devices(weights_of("edsr"))
    first, second = devices.Placed(weights), devices.Placed(weights)

    def places(variables) -> list[list[int]]:
        return [
            [shard.data.unsafe_buffer_pointer() for shard in leaf.addressable_shards]
            for leaf in jax.tree.leaves(variables)
        ]

    everywhere = places(first.variables_for(4))
    assert everywhere == places(second.variables_for(4))
    assert [[place[0]] for place in everywhere] == places(first.variables_for(1))
    assert {len(place) for place in everywhere} == {4}


@pytest.mark.parametrize("at_once", [1, 2, 6])
def test_how_many_at_once_does_not_matter(at_once, monkeypatch):
    restorer, (images, masks) = model("dear-lite"), photos_of(6)
    whole = restorer.batch(images, masks, (20, 20))
    monkeypatch.setattr(devices, "PIXELS", {"cpu": at_once * SIZE[0] * SIZE[1]})
    assert len(list(devices._portions(6, *SIZE))) == 6 // at_once
    assert_as_good_as_equal(restorer.batch(images, masks, (20, 20)), whole)


def test_portions_are_equal_and_dealt_out_as_the_whole(monkeypatch):
    monkeypatch.setattr(devices, "PIXELS", {"cpu": 4 * SIZE[0] * SIZE[1]})
    for photos in (*range(1, 30), 48):
        portions = list(devices._portions(photos, *SIZE))
        covered = [i for portion in portions for i in range(photos)[portion]]
        assert covered == list(range(photos))
        sizes = {portion.stop - portion.start for portion in portions}
        assert len(sizes) == 1
        share = devices.share_of(sizes.pop())
        assert share <= 4
        assert (share < 4) or photos % 4 == 0


def test_memory_of_decoding_does_not_grow_with_the_photos():
    for photos in (1, 2, 3, 4):
        assert photos * rendering.chunk_of(photos, 256**2) <= rendering.CHUNK["cpu"]
    assert rendering.chunk_of(100, 256**2) == rendering.LEAST_CHUNK
    assert rendering.chunk_of(1, 4) == 4
    for photos, size in ((1, (256, 256)), (3, (256, 3)), (100, (2, 256))):
        tile = rendering.output_tile(photos, size)
        assert math.prod(tile) <= rendering.chunk_of(photos, 256**2)
        assert all(a < 2 * b for a, b in zip(tile, size, strict=True))


@pytest.mark.parametrize("name", ["misf", "lama"])
@pytest.mark.parametrize("count", [3, 4])
def test_a_photo_without_holes_comes_back_as_it_is(name, count):
    images, masks = photos_of(count)
    masks[1] = False
    result = model(name).batch(images, masks)
    np.testing.assert_array_equal(result[1], images[1])
    np.testing.assert_array_equal(result[~masks], images[~masks])
    assert (result[0] != images[0]).any()
    whole = model(name).batch(images, None)
    np.testing.assert_array_equal(whole, images)
    assert not np.shares_memory(whole, images)


def test_stages_are_those_of_single_photos():
    both, (images, masks) = system("edsr+misf"), photos_of(3)
    between, result = both.stages(images, masks, (36, 44))
    for i in range(3):
        alone = both.stages(images[i : i + 1], masks[i : i + 1], (36, 44))
        assert_as_good_as_equal(between[i], alone[0][0])
        assert_as_good_as_equal(result[i], alone[1][0])


def test_bytes_are_numpys_to_the_last_bit():
    grey = np.arange(256, dtype=np.uint8)
    floats = jax.jit(lambda x: 2 * levels.to_floats(x) - 1)(grey)
    np.testing.assert_array_equal(floats, 2 * (grey / np.float32(255)) - 1)
    halves = ((np.arange(255) + 0.5) / 255).astype(np.float32).view(np.int32)
    near = (halves[:, None] + np.arange(-500, 500, dtype=np.int32)).view(np.float32)
    colours = np.concatenate([near.ravel(), np.float32([-1, 0, 1, 2])])
    expected = np.floor(np.clip(colours, 0, 1) * 255 + np.float32(0.5))
    found = jax.jit(lambda x: levels.to_kind(x, jnp.uint8.dtype))(colours)
    np.testing.assert_array_equal(found, expected.astype(np.uint8))


@pytest.mark.parametrize(
    "images, masks, message",
    [
        (photos_of(1)[0][0], None, r"shape \(9, 11, 3\); give \[B, H, W, 3\]"),
        (photos_of(2)[0][:0], None, "not empty"),
        (photos_of(2)[0], photos_of(1)[1], r"masks \(1, 9, 11\)"),
        (photos_of(2)[0], photos_of(2, (9, 9))[1], r"mask has shape \(9, 9\)"),
        ([np.zeros((4, 4, 3)), np.zeros((5, 4, 3))], None, "several sizes"),
        (np.stack([np.zeros((4, 4, 3)), np.full((4, 4, 3), 9.0)]), None, "divide by"),
        (np.zeros((2, 4, 4, 3), int), None, "image is int64"),
    ],
)
def test_batches_that_cannot_be_are_refused(images, masks, message):
    with pytest.raises(InputError, match=message):
        open_system("bicubic").batch(images, masks)


def test_a_batch_is_checked_for_its_target():
    images, masks = photos_of(2)
    with pytest.raises(InputError, match="smaller than the photo"):
        model("lte").batch(images, masks, (4, 4))
    with pytest.raises(InputError, match="misf fills holes"):
        model("misf").batch(images, masks, (18, 22))


def test_a_fingerprint_is_that_of_the_weights_file(tmp_path):
    for name in ("a", "b"):
        write_weights(tmp_path / f"{name}.safetensors", weights_of("lte"))
    first, again = (dear_jax.load(tmp_path / f"{n}.safetensors") for n in "ab")
    assert first.fingerprint() == again.fingerprint()
    assert len(first.fingerprint()) == 16 and int(first.fingerprint(), 16)


def test_a_fingerprint_changes_with_whatever_changes_results():
    systems = [
        model("lte"),
        model("lte", seed=1),
        model("lte", layout="halves"),
        model("edsr"),
        model("edsr", residual_scale=0.5),
        model("misf"),
        from_weights(weights_of("misf", facts={"config": {"data": {"side": 9}}}), "m"),
        *map(system, ["telea", "bicubic", "misf+edsr", "edsr+misf", "telea+edsr"]),
        Interpolation("bilinear"),
    ]
    marks = [system.fingerprint() for system in systems]
    assert len(set(marks)) == len(marks)
    assert system("misf+edsr").fingerprint() == marks[-4]


@pytest.mark.parametrize("name", ["dear", "edsr", "misf"])
def test_one_other_weight_is_another_fingerprint(name):
    restorer = model(name)
    before = restorer.fingerprint()
    leaves, tree = jax.tree.flatten(jax.device_get(restorer.variables))
    leaves[-1] = leaves[-1].copy()
    leaves[-1].ravel()[0] += 1e-6
    restorer.variables = jax.tree.unflatten(tree, leaves)
    assert restorer.fingerprint() != before


def test_replaced_variables_are_used_on_every_device():
    images, masks = photos_of(4)
    restorer, other = tiny_restorer("dear-lite"), tiny_restorer("dear-lite", seed=1)
    before = restorer.batch(images, masks)
    restorer.variables = jax.device_get(other.variables)
    after = restorer.batch(images, masks)
    np.testing.assert_array_equal(after, other.batch(images, masks))
    assert (after != before).any()


def test_models_alone_can_be_those_of_clean_photos(tmp_path):
    for seed, clean in enumerate((0.0, 1.0)):
        facts = {"config": {"data": {"clean": clean}}}
        weights = weights_of("lte", seed, facts)
        write_weights(tmp_path / f"{seed}.safetensors", weights)
    assert dear_jax.load("lte", weights=tmp_path).files == ("0.safetensors",)
    clean = dear_jax.load("lte", weights=tmp_path, clean=True)
    assert clean.files == ("1.safetensors",)
    assert open_system("lte", tmp_path, damaged=False).files == clean.files
    with pytest.raises(InputError, match="liif trained on clean.*:liif,input=clean"):
        dear_jax.load("liif", weights=tmp_path, clean=True)
