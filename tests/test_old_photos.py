"""Old photographs of protocol v2: tone, damage of film and prints, blur and noise."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from dear_jax import bundled
from dear_jax.errors import InputError
from dear_jax.evaluation import film_damage
from dear_jax.evaluation import protocol_v2 as old_photos
from dear_jax.images.io import read_photo

FROZEN = Path(__file__).parent / "goldens" / "old_photos.txt"
NAMES = sorted(path.name for path in bundled.PHOTOS.glob("*.png"))[:6]


@pytest.fixture(scope="module")
def photos():
    return {name: read_photo(bundled.PHOTOS / name) for name in NAMES}


@pytest.fixture(scope="module")
def small():
    return np.random.default_rng(0).integers(0, 256, (30, 41, 3), np.uint8)


def digest(made):
    parts = (made.truth, made.image, made.mask)
    return hashlib.sha256(b"".join(part.tobytes() for part in parts)).hexdigest()


def frozen():
    return [line.split() for line in FROZEN.read_text().splitlines()]


def test_thirty_six_inputs_are_what_they_were_when_the_protocol_was_made(photos):
    rows = frozen()
    assert len(rows) == 36
    for name, scale, seed, expected in rows:
        made = old_photos.before_jpeg(photos[name], float(scale), name, int(seed))
        assert digest(made) == expected, (name, scale, seed)


@pytest.mark.parametrize("scale", [1, 1.7, 4])
def test_the_same_name_and_seed_give_the_same_bytes(small, scale):
    once, again = (old_photos.old_photo(small, scale, "a/b.png", 3) for _ in range(2))
    assert digest(once) == digest(again)
    assert (once.draw, once.pieces) == (again.draw, again.pieces)
    others = [("a/c.png", 3), ("a/b.png", 4)]
    others = [old_photos.old_photo(small, scale, *other) for other in others]
    assert len({digest(made) for made in (once, *others)}) == 3


def test_sizes_are_those_of_the_scale_and_tiny_photos_can_be_made_old(small):
    assert old_photos.old_photo(small, 4, "a").image.shape == (8, 10, 3)
    assert old_photos.old_photo(small, 1, "a").image.shape == small.shape
    for size in ((1, 1), (1, 50), (3, 2)):
        made = old_photos.old_photo(np.zeros((*size, 3), np.uint8), 1, "a")
        assert made.image.shape[:2] == made.mask.shape == size and made.mask.any()
    with pytest.raises(InputError, match="a.png: scale 99 leaves less"):
        old_photos.old_photo(small, 99, "a.png")


def test_tone_is_the_same_at_every_scale_and_the_inputs_is_the_truths():
    grey = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    coloured = np.random.default_rng(1).integers(0, 256, (40, 40, 3), np.uint8)
    for i in range(20):
        draw = old_photos.draw_degradation(f"{i}")
        ramp = old_photos.toned(grey, draw)[0].astype(int)
        assert (np.diff(ramp, axis=0) >= 0).all()
        made = [old_photos.old_photo(coloured, s, f"{i}") for s in (1, 3)]
        np.testing.assert_array_equal(made[0].truth, made[1].truth)
        np.testing.assert_array_equal(made[0].truth, old_photos.toned(coloured, draw))
        if draw.tone == "colour" and draw.white == 255:
            np.testing.assert_array_equal(made[0].truth, coloured)
        if draw.tone == "grey":
            for picture in (made[0].truth, made[0].image, made[1].image):
                assert (picture == picture[..., :1]).all()


def test_tones_and_degradations_come_as_often_as_the_protocol_says():
    draws = [old_photos.draw_degradation(f"photo {i}") for i in range(2000)]

    def share(condition):
        return np.mean([condition(draw) for draw in draws])

    assert share(lambda d: d.tone == "grey") == pytest.approx(0.35, abs=0.03)
    assert share(lambda d: d.tone == "sepia") == pytest.approx(0.2, abs=0.03)
    assert share(lambda d: (d.black, d.white) != (0, 255)) == pytest.approx(
        0.5, abs=0.04
    )
    assert share(lambda d: d.quality < 100) == pytest.approx(0.8, abs=0.03)
    assert {d.kernel for d in draws} == {"box", "bilinear", "bicubic"}
    assert all(0.1 <= d.blur <= 1.3 and 1 <= d.noise <= 12 for d in draws)
    assert all(45 <= d.quality <= 95 or d.quality == 100 for d in draws)
    assert all(0 < d.level < 0.5 for d in draws)


@pytest.mark.parametrize("side", [24, 64, 200])
def test_the_mask_is_the_damage_one_pixel_wider_and_covers_all_of_it(side):
    clean = np.full((side, side, 3), 128, np.uint8)
    for seed in range(10):
        damaged = film_damage.add_damage(np.random.default_rng(seed), clean, True)
        changed = (damaged.image != clean).any(axis=-1)
        assert changed.any() and not (changed & ~damaged.mask).any()
        padded = np.pad(damaged.coverage >= 64, 1)
        wider = np.zeros_like(changed)
        for y in range(3):
            for x in range(3):
                wider |= padded[y : y + side, x : x + side]
        np.testing.assert_array_equal(damaged.mask, wider | (damaged.coverage > 0))


@pytest.mark.parametrize("side", [64, 256])
def test_damage_covers_as_much_and_its_kinds_are_as_frequent_as_on_film(side):
    clean = np.full((side, side, 3), 128, np.uint8)
    drawn = [
        film_damage.add_damage(np.random.default_rng(seed), clean, False)
        for seed in range(80)
    ]
    shares = np.array([damaged.area / side**2 for damaged in drawn])
    assert 0.0005 < shares.min() and shares.max() < 0.024
    assert 0.008 < np.median(shares) < 0.015
    pieces = [p for damaged in drawn for p in damaged.pieces if p.kind != "crack"]
    total = sum(kind.count for kind in film_damage.KINDS.values())
    for name, kind in film_damage.KINDS.items():
        found = [piece for piece in pieces if piece.kind == name]
        assert len(found) / len(pieces) == pytest.approx(kind.count / total, abs=0.04)
        for piece in found:
            assert 1 <= piece.width <= piece.extent <= kind.most
    assert any(p.kind == "crack" for damaged in drawn for p in damaged.pieces)
    for share in ([p.light for p in pieces], [p.opacity == 1 for p in pieces]):
        assert 0.3 < np.mean(share) < 0.7


def test_a_piece_covers_the_pixels_that_a_brute_force_finds():
    damaged = film_damage.Damaged(np.zeros((20, 30, 3), np.uint8))
    capsule = np.array([[4.3, 5.1, 22.7, 13.2, 2.4]])
    damaged.add(capsule, np.array([255, 255, 255]), 1.0)
    y, x = np.mgrid[:20, :30] + 0.5
    along = np.linspace(0, 1, 2001)[:, None, None]
    away = np.hypot(x - (4.3 + 18.4 * along), y - (5.1 + 8.1 * along)).min(0)
    expected = np.clip(2.9 - away, 0, 1) * 255
    np.testing.assert_allclose(damaged.coverage, expected, atol=1)
    np.testing.assert_array_equal(damaged.image[..., 0], damaged.coverage)


def test_noise_is_as_strong_as_drawn_white_or_grain():
    grey = np.full((120, 120, 3), 128, np.uint8)
    for i in range(12):
        made = old_photos.before_jpeg(grey, 1, f"{i}")
        known = made.image[~made.mask].astype(float)
        assert known[:, 0].std() == pytest.approx(made.draw.noise, rel=0.06, abs=0.2)
        if made.draw.tone == "colour":
            assert (known != known[:, :1]).any() == made.draw.coloured


def test_blur_is_the_gaussians_of_the_drawn_sigma(small):
    found = old_photos._blurred(small, 1.3).astype(float)
    offsets = np.arange(-4, 5)
    weights = np.exp(-(offsets**2) / (2 * 1.3**2))
    weights /= weights.sum()
    padded = np.pad(small.astype(float), ((4, 4), (4, 4), (0, 0)), "edge")
    rows = sum(w * padded[i : i + 30] for i, w in enumerate(weights))
    expected = sum(w * rows[:, i : i + 41] for i, w in enumerate(weights))
    np.testing.assert_allclose(found, expected, atol=0.6)
