"""Laws of resizing: the device's bicubic is Pillow's, masks stay masks."""

import json
from pathlib import Path

import numpy as np
import pytest

from dear_jax.data.render import resampled
from dear_jax.images.resize import bicubic, bicubic_taps, nearest

GOLDEN = Path(__file__).parents[2] / "shared" / "golden"

SIZES = [
    ((96, 96), (24, 24)),
    ((101, 77), (48, 31)),
    ((64, 90), (25, 90)),
    ((24, 30), (96, 120)),
    ((31, 20), (77, 83)),
    ((130, 130), (9, 9)),
    ((1, 1), (5, 7)),
    # By thirds many means lie exactly between two grey levels, and rounding decides.
    ((60, 60), (20, 20)),
    ((64, 64), (96, 96)),
    ((40, 60), (80, 20)),
]


def bicubic_on_device(photos, size):
    """Pillow's bicubic in JAX, of photos [B, H, W, 3]; int32 [B, h, w, 3].

    Some releases of Pillow begin with the height where that is less work, as in tall
    photos; a few values then differ by one level.
    """
    rows, columns = map(_matrix, photos.shape[1:3], size)
    return np.asarray(resampled(photos, rows[None], columns[None]))


def _matrix(old, new):
    """The taps as int32 [new, old]."""
    starts, taps = bicubic_taps(old, new)
    matrix = np.zeros((new, old + taps.shape[1]), np.int32)
    places = starts[:, None] + np.arange(taps.shape[1])
    np.put_along_axis(matrix, places, taps, 1)
    assert not matrix[:, old:].any()
    return matrix[:, :old]


@pytest.mark.parametrize(("source", "target"), SIZES)
def test_bicubic_on_device_is_pillows(source, target):
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (*source, 3), np.uint8)
    photos = np.stack([noise, (noise > 127) * np.uint8(255)])
    found = bicubic_on_device(photos, target)
    expected = np.stack([bicubic(photo, target) for photo in photos])
    np.testing.assert_array_equal(found, expected)


def test_a_row_is_resized_as_pillow_does_at_any_two_lengths():
    rng = np.random.default_rng(3)
    for old, new in rng.integers(1, 300, (60, 2)).tolist():
        row = rng.integers(0, 256, (1, old, 3), np.uint8)
        sums = _matrix(old, new).astype(np.int64) @ row[0].astype(np.int64)
        levels = np.clip((sums + 2**21) >> 22, 0, 255)
        np.testing.assert_array_equal(levels, bicubic(row, (1, new))[0])


def test_beyond_exact_sums_values_differ_by_a_level_at_most():
    photo = np.random.default_rng(4).integers(0, 256, (1, 400, 400, 3), np.uint8)
    found = bicubic_on_device(photo, (4, 4))[0]
    assert np.abs(found - bicubic(photo[0], (4, 4))).max() <= 1


def test_the_same_size_changes_nothing():
    photo = np.random.default_rng(1).integers(0, 256, (1, 9, 7, 3), np.uint8)
    np.testing.assert_array_equal(bicubic(photo[0], (9, 7)), photo[0])
    np.testing.assert_array_equal(bicubic_on_device(photo, (9, 7)), photo)


def test_bicubic_equals_the_reference_files():
    paths = sorted(GOLDEN.glob("resize_pil_bicubic_*.npz"))
    if not paths:
        pytest.skip("no resize_pil_bicubic_*.npz here")
    for path in paths:
        golden = np.load(path, allow_pickle=False)
        for i, (_, target) in enumerate(json.loads(str(golden["meta_json"]))["cases"]):
            photo, expected = golden[f"input/hr{i}"], golden[f"output{i}"]
            np.testing.assert_array_equal(bicubic(photo, tuple(target)), expected)
            found = bicubic_on_device(photo[None], tuple(target))[0]
            np.testing.assert_array_equal(found, expected)


def test_nearest_keeps_a_mask_binary_and_its_blocks():
    mask = np.random.default_rng(2).random((6, 5)) < 0.5
    enlarged = nearest(mask, (18, 10))
    assert enlarged.dtype == bool
    np.testing.assert_array_equal(enlarged, mask.repeat(3, 0).repeat(2, 1))
    np.testing.assert_array_equal(nearest(enlarged, (6, 5)), mask)
