"""Any photo, any target: right size, finite, and the same however it is computed."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from rounding import allowance, assert_close
from tiny import tiny_restorer

import dear_jax
from dear_jax.errors import InputError
from dear_jax.inference import attending, encoding, rendering
from dear_jax.weights import freeze

PRESETS = ("dear", "dear-lite")
# Layers of the decoder, and the mean of four pixels.
DECODER = 6


@pytest.fixture(scope="module", params=PRESETS)
def restorer(request):
    return tiny_restorer(request.param)


def photo_of(height: int, width: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def mask_of(height: int, width: int, ratio: float = 0.4) -> np.ndarray:
    return np.random.default_rng(1).random((height, width)) < ratio


@pytest.mark.parametrize("ratio", [0.0, 0.4, 1.0])
@pytest.mark.parametrize(
    "source, size", [((37, 53), (101, 200)), ((1, 1), (1, 1)), ((1, 1), (5, 7))]
)
def test_any_size_any_mask_any_target(restorer, source, size, ratio):
    result = restorer(photo_of(*source), mask_of(*source, ratio), size=size)
    assert result.shape == (*size, 3) and result.dtype == np.uint8
    floats = restorer(
        photo_of(*source) / np.float32(255), mask_of(*source, ratio), size=size
    )
    assert floats.dtype == np.float32 and np.isfinite(floats).all()
    assert floats.min() >= 0 and floats.max() <= 1
    # The nearest level; of two that are as near, rounding may choose either.
    off = np.abs(floats * 255.0 - result)
    assert off.max() <= 0.5 + allowance(255, DECODER)


@pytest.mark.parametrize("scale", [1, 1.5, 6])
def test_scale_gives_rounded_sizes(restorer, scale):
    result = restorer(photo_of(7, 5), scale=scale)
    assert result.shape == (round(7 * scale), round(5 * scale), 3)


def test_no_mask_is_an_empty_mask(restorer):
    photo = photo_of(8, 7)
    with_mask = restorer(photo, np.zeros((8, 7), bool), scale=2)
    np.testing.assert_array_equal(restorer(photo, scale=2), with_mask)


def test_any_nonzero_mask_value_means_missing(restorer):
    photo, mask = photo_of(8, 7), mask_of(8, 7)
    results = [restorer(photo, mask * value, scale=2) for value in (1, 255, 0.5)]
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_hidden_pixels_cannot_matter(restorer):
    photo, mask = photo_of(8, 5) / np.float32(255), mask_of(8, 5)
    other = photo.copy()
    other[mask] = np.nan
    np.testing.assert_array_equal(
        restorer(photo, mask, scale=2), restorer(other, mask, scale=2)
    )


def test_chunked_decoding_is_whole_decoding(restorer, monkeypatch):
    photo, mask = photo_of(8, 6) / np.float32(255), mask_of(8, 6)
    whole = restorer(photo, mask, scale=3)
    monkeypatch.setattr(rendering, "CHUNK", {"cpu": 16})
    monkeypatch.setattr(rendering, "LEAST_CHUNK", 16)
    assert_close(restorer(photo, mask, scale=3), whole, DECODER)


def test_padding_to_a_shared_size_changes_nothing(restorer):
    """The model applied without any padding of ours is the measure."""
    import jax

    from dear_jax.models.dear.coordinates import pixel_centres
    from dear_jax.models.registry import build

    photo, mask = photo_of(13, 11) / np.float32(255), mask_of(13, 11)
    queries = pixel_centres((26, 22)).reshape(1, -1, 2)
    cell = np.broadcast_to(
        np.float32(2) / np.array([26, 22], np.float32), queries.shape
    )
    colours, _ = jax.jit(build(restorer.model).apply)(
        restorer.variables,
        photo[None],
        mask[None, ..., None].astype(np.float32),
        queries,
        cell,
    )
    plain = np.clip((np.asarray(colours) + 1) / 2, 0, 1).reshape(26, 22, 3)
    np.testing.assert_allclose(restorer(photo, mask, scale=2), plain, atol=2e-5)


@pytest.mark.parametrize("preset, embeddings", [("dear-lite", 1), ("dear", 3)])
def test_one_compilation_serves_many_sizes(preset, embeddings):
    restorer = tiny_restorer(preset, decoder_width=9)
    sizes = ((13, 16), (15, 16), (16, 10), (11, 9))
    window = rendering._window((16, 16), None)
    windows = window._cache_size()  # Other models' too.
    for height, width in sizes:
        restorer(photo_of(height, width), size=(16, 16))
    model = freeze(restorer.model)
    tilings = {restorer.plan(size, (16, 16)).tiling for size in sizes}
    assert len(tilings) == embeddings
    for tiling in tilings:
        assert encoding._embedding(model, *tiling, None)._cache_size() == 1
    assert encoding._joining(model, None, False, 0)._cache_size() == 1
    assert all(stage._cache_size() == 1 for stage in attending._blocks(model))
    assert window._cache_size() - windows <= 1
    assert rendering._decoder(model, np.dtype(np.uint8), None)._cache_size() == 1


def test_importance_is_a_map_of_the_photos_size(restorer):
    importance = restorer.importance(photo_of(7, 8), mask_of(7, 8))
    assert importance.shape == (7, 8)
    assert (importance >= 0).all() and (importance <= 1).all()


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf"), 0.99])
def test_scales_that_cannot_be_are_refused(scale, restorer):
    with pytest.raises(InputError, match="scale="):
        restorer(photo_of(8, 8), scale=scale)


def test_smaller_targets_are_refused(restorer):
    with pytest.raises(InputError, match="target 9 x 5 is smaller"):
        restorer(photo_of(8, 8), size=(9, 5))


def test_scale_and_size_together_are_refused(restorer):
    with pytest.raises(InputError, match="give one of them"):
        restorer(photo_of(8, 8), scale=2, size=(16, 16))


@pytest.mark.parametrize(
    "image, mask, message",
    [
        (np.zeros((8, 8), np.uint8), None, r"shape \(8, 8\)"),
        (np.zeros((0, 8, 3), np.uint8), None, "not empty"),
        (np.zeros((8, 8, 3), np.int64), None, "int64"),
        (np.full((8, 8, 3), 200.0), None, "divide by 255"),
        (np.full((8, 8, 3), np.nan), None, "values from nan"),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9)), "mask has shape"),
    ],
)
def test_photos_and_masks_that_cannot_be_are_refused(image, mask, message, restorer):
    with pytest.raises(InputError, match=message):
        restorer(image, mask)


def test_unknown_models_are_refused_naming_the_known():
    with pytest.raises(InputError, match="'nonsense'.*dear-lite"):
        dear_jax.load("nonsense")


def test_a_folder_that_is_no_workdir_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a training workdir"):
        dear_jax.load(tmp_path)


def test_the_bundled_model_fills_and_enlarges():
    restorer = dear_jax.load()
    assert restorer.name == "dear-lite"
    assert "terms" in restorer.provenance
    grey = np.full((16, 16, 3), 128, np.uint8)
    result = restorer(grey, mask_of(16, 16), scale=4)
    assert abs(result.astype(int) - 128).max() < 16


def test_importing_the_package_loads_nothing_heavy():
    heavy = ("jax", "flax", "grain", "orbax", "cv2", "tensorflow_datasets", "PIL")
    code = f"import dear_jax, sys; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


def test_loading_a_model_loads_no_training_library():
    heavy = ("grain", "orbax", "optax", "cv2", "tensorboardX")
    code = (
        "import dear_jax, sys; dear_jax.load(); "
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "[]"


# Where a restorer is called.


def test_where_jax_computes_in_64_bits_results_are_the_same():
    restorer = tiny_restorer("dear-lite")
    image = np.random.default_rng(0).integers(0, 256, (13, 11, 3), np.uint8)
    mask = np.zeros((13, 11), bool)
    mask[4:7, 3:9] = True
    expected = restorer(image, mask, scale=2)
    with jax.enable_x64(True):
        np.testing.assert_array_equal(restorer(image, mask, scale=2), expected)
        again = restorer.render(restorer.encode(image, mask), size=(26, 22))
        np.testing.assert_array_equal(again, expected)
        assert dear_jax.load("telea+bicubic")(image, mask).shape == image.shape


def test_inside_of_jit_one_is_told_what_to_call():
    restorer = tiny_restorer("dear-lite")
    with pytest.raises(InputError, match="inside of jax.jit.*call it outside.*apply"):
        jax.jit(lambda image: restorer(image))(np.zeros((8, 8, 3), np.float32))


FORKED = """
import multiprocessing, sys, time
import numpy as np, dear_jax
restorer = dear_jax.load("telea+bicubic" if len(sys.argv) < 2 else sys.argv[1])
photo = np.zeros((8, 8, 3), np.uint8)
restorer(photo, scale=2)
def work(queue):
    began = time.monotonic()
    try:
        restorer(photo, scale=2)
    except dear_jax.errors.InputError as error:
        queue.put((str(error), time.monotonic() - began))
context = multiprocessing.get_context("fork")
queue = context.Queue()
process = context.Process(target=work, args=(queue,))
process.start()
said, seconds = queue.get(timeout=20)
process.join()
assert seconds < 1, seconds
print(said)
"""


def test_in_a_forked_process_it_raises_and_does_not_hang():
    run = [sys.executable, "-W", "ignore", "-c", FORKED]
    ended = subprocess.run(run, capture_output=True, text=True, timeout=120)
    assert "get_context('spawn')" in ended.stdout, ended.stderr
