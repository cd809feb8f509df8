"""Laws of keeping known pixels: copied, or met by the reduced result if possible."""

import numpy as np
import pytest
from scipy.optimize import lsq_linear

from dear_jax import bundled
from dear_jax.errors import InputError
from dear_jax.images import resize
from dear_jax.images.io import read_photo
from dear_jax.inference import back_projection as agreement
from dear_jax.inference.back_projection import Reduction
from dear_jax.inference.known import Consistency, consistency, keep_known

SIZES = [
    ((24, 24), (48, 48)),
    ((30, 20), (75, 50)),
    ((40, 33), (52, 41)),
    ((20, 20), (20, 50)),
    ((7, 16), (7, 17)),
    ((3, 2), (27, 18)),
    ((1, 1), (5, 7)),
]


def photos(size, kind, seed=0):
    """A result uint8 [h, w, 3] that shall be possible."""
    rng = np.random.default_rng(seed)
    if kind == "noise":
        return rng.integers(0, 256, (*size, 3), np.uint8)
    blocks = rng.integers(0, 2, (*(-(-n // 5) for n in size), 3)) * 255
    return np.kron(blocks, np.ones((5, 5, 1)))[: size[0], : size[1]].astype(np.uint8)


def as_floats(image):
    return image / np.float32(255)


def holes(size, ratio=0.3):
    return np.random.default_rng(1).random(size) < ratio


def checkerboard(size, dark, light):
    board = np.where(np.indices(size).sum(0) % 2, light, dark)
    return np.repeat(board[..., None], 3, -1)


def kept_and_measured(restored, image, mask):
    kept = keep_known(restored, image, mask)
    return kept, consistency(kept, image, mask)


@pytest.mark.parametrize("floats", [False, True])
def test_at_scale_1_known_pixels_are_bit_identical(floats):
    image, restored = photos((9, 7), "noise"), photos((9, 7), "noise", seed=1)
    mask = holes((9, 7))
    if floats:
        image, restored = as_floats(image), as_floats(restored)
        image[mask] = np.nan  # Nobody knows what is in holes.
    kept, found = kept_and_measured(restored, image, mask)
    assert kept.dtype == restored.dtype
    np.testing.assert_array_equal(kept[~mask], image[~mask])
    np.testing.assert_array_equal(kept[mask], restored[mask])
    assert found == Consistency((~mask).sum(), 1.0, 0.0, 0.0)


@pytest.mark.parametrize("kind", ["noise", "blocks"])
@pytest.mark.parametrize(("source", "target"), SIZES)
def test_what_can_be_met_is_met(source, target, kind):
    possible, mask = photos(target, kind), holes(source)
    image = resize.bicubic(possible, source)
    kept, found = kept_and_measured(np.full_like(possible, 128), image, mask)
    off = np.abs(resize.bicubic(kept, source).astype(int) - image)[~mask]
    assert kept.dtype == np.uint8 and (off <= 1).all()
    assert found.share == 1 and found.worst == off.max(initial=0)
    image = resize.bicubic(as_floats(possible), source)
    kept, found = kept_and_measured(np.full(possible.shape, 0.5), image, mask)
    assert kept.dtype == np.float32 and 0 <= kept.min() and kept.max() <= 1
    assert found.share == 1 and found.worst <= 1 + 1e-4


@pytest.mark.parametrize("floats", [False, True])
def test_windows_meet_what_can_be_met(monkeypatch, floats):
    monkeypatch.setattr(agreement, "_SIDE", 32)
    possible, mask = photos((150, 135), "blocks"), holes((60, 54))
    image = resize.bicubic(possible, (60, 54))
    assert len(Reduction((150, 135), (60, 54), True).windows) == 12
    start = np.full_like(possible, 128)
    if floats:
        start = as_floats(start)
        image = resize.bicubic(as_floats(possible), (60, 54))
    assert kept_and_measured(start, image, mask)[1].share == 1


@pytest.mark.parametrize("scale", [1.5, 2, 2.5, 6])
def test_photos_agree_and_stay_near_to_the_result(scale):
    truth = read_photo(bundled.PHOTOS / "cat.png")[:96, :120]
    size = round(96 / scale), round(120 / scale)
    image, mask = resize.bicubic(truth, size), np.zeros(size, bool)
    mask[size[0] // 3 : size[0] // 2] = True
    result = resize.bilinear(np.where(mask[..., None], 90, image), (96, 120))
    kept, found = kept_and_measured(result.astype(np.uint8), image, mask)
    assert consistency(result, image, mask).share < 0.9 and found.share == 1
    errors = [np.square(a.astype(float) - truth).mean() for a in (result, kept)]
    assert errors[1] < errors[0]


@pytest.mark.parametrize("floats", [False, True])
def test_a_second_time_changes_nothing(floats):
    # The checkerboard cannot be met, the noise of the other half can.
    image = checkerboard((24, 30), 10, 240).astype(np.uint8)
    image[:, 15:] = resize.bicubic(photos((60, 75), "noise"), (24, 30))[:, 15:]
    start, mask = photos((60, 75), "noise", seed=2), holes((24, 30))
    if floats:
        image, start = as_floats(image), as_floats(start)
    kept, found = kept_and_measured(start, image, mask)
    again, same = kept_and_measured(kept, image, mask)
    assert 0 < found.share < 1 and same == found
    np.testing.assert_array_equal(again, kept)


def test_what_agrees_already_stays():
    result = photos((40, 50), "noise")
    image = resize.bicubic(result, (16, 20))
    kept, found = kept_and_measured(result, image, holes((16, 20)))
    np.testing.assert_array_equal(kept, result)
    assert found.worst == 0


def test_arguments_stay_as_they_are():
    image, result = photos((8, 8), "noise"), photos((20, 20), "noise", seed=1)
    before = image.copy(), result.copy()
    kept = keep_known(result, image, holes((8, 8)))
    assert (kept != result).any()
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(result, before[1])


@pytest.mark.parametrize("floats", [False, True])
def test_holes_far_from_known_pixels_are_untouched(floats):
    image, result = photos((20, 20), "noise"), photos((60, 60), "noise", seed=1)
    if floats:
        image, result = as_floats(image), as_floats(result)
    mask = np.zeros((20, 20), bool)
    mask[:, 8:] = True
    if floats:
        image[mask] = np.nan
    kept = keep_known(result, image, mask)
    # Pillow's bicubic reaches two pixels of the photo beyond a pixel's middle.
    np.testing.assert_array_equal(kept[:, 30:], result[:, 30:])
    assert (kept[:, :24] != result[:, :24]).any()
    everything, found = kept_and_measured(result, image, np.ones((20, 20), bool))
    np.testing.assert_array_equal(everything, result)
    assert found == Consistency(0, 1.0, 0.0, 0.0)


@pytest.mark.parametrize(("source", "target"), [((6, 5), (9, 8)), ((5, 6), (11, 12))])
def test_what_cannot_be_met_has_the_least_squared_error(source, target):
    image = (checkerboard(source, 2, 250) / 255).astype(np.float32)
    mask = holes(source, 0.2)
    matrix = reduction_matrix(target, source)[~mask.ravel()]
    wanted = image[..., 0][~mask]
    best = 2 * lsq_linear(matrix, wanted, (0, 1)).cost
    kept, found = kept_and_measured(np.full((*target, 3), 0.5), image, mask)
    error = np.square(matrix @ kept[..., 0].ravel() - wanted).sum()
    assert found.share < 1 and best <= error + 1e-6 and error < 1.02 * best


def reduction_matrix(target, source):
    """Pillow's bicubic as a matrix [H W, h w], of what it makes of single pixels."""
    axes = []
    for old, new in zip(target, source, strict=True):
        # Around mid-grey, for it clips.
        rows = np.eye(old, dtype=np.float32)[:, :, None].repeat(3, -1) / 4 + 0.5
        made = [resize.bicubic(row[None], (1, new))[0, :, 0] for row in rows]
        axes.append(4 * (np.stack(made, 1).astype(float) - 0.5))
    return np.kron(*axes)


def test_black_and_white_pixels_get_nearer_than_by_clipping():
    image = np.random.default_rng(0).integers(0, 2, (12, 12, 3)).astype(np.uint8) * 255
    mask = np.zeros((12, 12), bool)
    start = resize.bicubic(image, (30, 30))
    # The nearest colours that would meet all of it, if there were such colours.
    matrix = reduction_matrix((30, 30), (12, 12))
    off = image.reshape(-1, 3) - matrix @ start.reshape(-1, 3)
    met = start.reshape(-1, 3) + np.linalg.pinv(matrix) @ off
    clipped = np.rint(met.clip(0, 255)).astype(np.uint8).reshape(30, 30, 3)
    kept, found = kept_and_measured(start, image, mask)
    errors = [
        np.square(resize.bicubic(a, (12, 12)) - image.astype(float)).mean()
        for a in (kept, clipped, start)
    ]
    assert errors == sorted(errors) and errors[0] < 0.9 * errors[1]
    assert found.share < 1


def test_consistency_counts_pixels_with_all_their_channels():
    image = np.full((2, 3, 3), 100, np.uint8)
    result = np.repeat(image, 2, 0).repeat(2, 1)
    mask = np.zeros((2, 3), bool)
    assert consistency(result, image, mask) == Consistency(6, 1.0, 0.0, 0.0)
    image[0, 0, 1], image[1, 2] = 98, 99
    found = consistency(result, image, mask)
    assert found[:3] == (6, 5 / 6, 2.0)
    assert found.mean == pytest.approx((2 + 3) / 18)
    mask[0, 0] = True
    assert consistency(result, image, mask)[:3] == (5, 1.0, 1.0)


def test_the_line_never_rounds_up_to_all():
    line = Consistency(10**6, 1 - 1e-6, 3.0, 0.1).line()
    assert line.startswith("99.99 % of 1000000 known pixels") and "off by 3" in line
    assert "all known" in Consistency(5, 1.0, 1.0, 0.2).line()
    assert "no pixel" in Consistency(0, 1.0, 0.0, 0.0).line()


@pytest.mark.parametrize(("source", "target"), [*SIZES, ((90, 70), (333, 101))])
def test_windows_are_pillows_reduction(monkeypatch, source, target):
    monkeypatch.setattr(agreement, "_SIDE", 40)
    plane = np.random.default_rng(0).uniform(0.3, 0.7, target).astype(np.float32)
    expected = resize.bicubic(plane[..., None].repeat(3, -1), source)[..., 0]
    found, times = np.zeros(source), np.zeros(source, int)
    for window in Reduction(target, source, True).windows:
        values, _ = window(window.cut(plane))
        found[window.place][window.own] = values[window.own]
        times[window.place][window.own] += 1
    assert (times == 1).all()
    np.testing.assert_allclose(found, 255 * expected, atol=2e-3)


def test_what_windows_may_change_shows_nowhere_else(monkeypatch):
    monkeypatch.setattr(agreement, "_SIDE", 40)
    source, target = (60, 50), (110, 124)
    windows = Reduction(target, source, False).windows
    assert len(windows) == 9
    for window in windows:
        plane = np.zeros(target, np.float32)
        start = window.cut(plane)
        made = start.copy()
        made[window.free] = 255
        window.paste(plane, start, made)
        seen = np.zeros(source, bool)
        seen[window.place] = True
        assert not agreement.reduced(plane, source)[~seen].any()


def test_progress_rises_to_the_total():
    told = []
    image, result = photos((8, 8), "noise"), photos((20, 20), "noise", seed=1)
    keep_known(result, image, holes((8, 8)), lambda *pair: told.append(pair))
    done = [a / b for a, b in told]
    assert len(told) > 3 and done[-1] == 1 and sorted(done) == done


def test_arrays_that_do_not_belong_together_are_refused():
    image, mask = np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), bool)
    with pytest.raises(InputError, match="at least as large"):
        keep_known(np.zeros((4, 4, 3), np.uint8), image, mask)
    with pytest.raises(InputError, match="both as uint8"):
        keep_known(np.zeros((8, 10, 3), np.float32), image, mask)
    with pytest.raises(InputError, match=r"mask \(5, 4\)"):
        keep_known(np.zeros((8, 10, 3), np.uint8), image, mask.T)
