"""Drawn damage: its area, its kinds and their proportions are the film's."""

import cv2
import numpy as np
import pytest

from dear_jax.data import damage, damage_film, damage_shapes
from dear_jax.data.damage import Damages, draw_damage, draw_mask

AREA = (0.001, 0.022, 0.08)


def drawn(seed=0, side=64, kinds=damage.KINDS, area=AREA):
    settings = Damages(1.0, 0.0, area, kinds)
    return draw_damage(np.random.default_rng(seed), (side, side), settings)


@pytest.mark.parametrize("side", [56, 96])
def test_the_damaged_share_is_mostly_the_films(side):
    shares = np.array([drawn(seed, side).mask.mean() for seed in range(250)])
    assert shares.min() > 0
    assert shares.max() < 1.5 * AREA[2]
    # Film: 0.1 to 2.2 %, median 1.1 %; training has heavier ones too.
    assert np.mean((shares > 0.8 * AREA[0]) & (shares < 1.3 * AREA[1])) > 0.8
    assert 0.004 < np.median(shares) < 0.014
    assert 0.05 < np.mean(shares > 1.3 * AREA[1]) < 0.2


def film_draws(count=400, side=400):
    """Kinds, lengths and widths in the film's own pixels of many drawings."""
    names = list(damage_film.FILM)
    for seed in range(count):
        rng = np.random.default_rng(seed)
        yield from damage_film._film_shapes(
            rng, (side, side), names, 0.01 * side * side
        )


def test_kinds_of_film_come_in_the_films_order():
    names = [name for name, _, _ in film_draws()]
    counts = {kind: names.count(kind) for kind in damage_film.FILM}
    assert list(counts) == sorted(counts, key=counts.get, reverse=True)
    film = sum(kind.count for kind in damage_film.FILM.values())
    for name, kind in damage_film.FILM.items():
        ratio = counts[name] / len(names) / (kind.count / film)
        assert 1 / 3 < ratio < 3, name


def test_lengths_at_the_films_own_pixels_are_those_counted():
    for name, kind in damage_film.FILM.items():
        rng = np.random.default_rng(1)
        lengths = [damage_film._film_size(rng, kind, 1.0)[0] for _ in range(3000)]
        median, tenth, most = kind.extent
        assert abs(np.median(lengths) / median - 1) < 0.1, name
        assert abs(np.quantile(lengths, 0.9) / tenth - 1) < 0.15, name
        assert max(lengths) <= most, name


def test_nothing_is_smaller_than_a_pixel_and_sizes_span_the_range():
    dust = [length for name, length, width in film_draws() if name == "dust"]
    assert min(dust) >= 1
    assert min(width for _, _, width in film_draws(20)) >= 1
    assert np.mean(np.array(dust) < 1.5) > 0.2 and max(dust) > 10


@pytest.mark.parametrize(
    ("kind", "low", "high"),
    [("dust", 1, 2.2), ("dirt", 1, 3.2), ("short hair", 3.5, 40), ("scratch", 25, 400)],
)
def test_shapes_are_as_long_for_their_width_as_on_film(kind, low, high):
    """Of what is painted: the longest way through it, over its area divided by that."""
    ratios = []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        length, width = damage_film._film_size(rng, damage_film.FILM[kind], 1.0)
        side = int(2 * length) + 20
        canvas = damage_shapes.Canvas((side, side))
        layer, middle = canvas.layer((255, 255, 255)), np.full(2, side / 2)
        if damage_film.FILM[kind].width is None:
            shape = damage_shapes.blob(rng, middle, length, width)
            damage_shapes.fill(layer, shape, 1)
        else:
            bend = damage_film.FILM[kind].bend
            points = damage_shapes.line(rng, middle, length, 1.0, bend)
            damage_shapes.stroke(layer, points, width, 1)
        ((_, opacity),) = canvas.layers()
        ys, xs = np.nonzero(opacity > 0.5)
        places = np.stack([xs, ys], -1).astype(np.float32)
        longest = max(cv2.minAreaRect(places)[1]) + 1
        ratios.append(longest**2 / max(len(xs) * (4 / np.pi if width > 5 else 1), 1))
    assert low <= np.median(ratios) <= high


@pytest.mark.parametrize("kind", damage.KINDS)
def test_each_kind_damages_about_the_area_asked_for(kind):
    shares = [
        drawn(seed, 96, (kind,), (0.02, 0.02, 0.02)).mask.mean() for seed in range(40)
    ]
    assert 0.008 < np.median(shares) < 0.035
    assert min(shares) > 0


def test_damage_is_soft_at_its_edges_and_changes_only_its_mask():
    photo = np.full((64, 64, 3), 128, np.float32)
    soft = 0
    for seed in range(40):
        found = drawn(seed)
        assert found.kept.dtype == found.added.dtype == np.float32
        assert 0 <= found.opacity.min() and found.opacity.max() <= 1 + 1e-6
        off = np.abs(found.on(photo) - photo).max(2)
        assert off[~found.mask].max() <= damage.VISIBLE * 160
        inside = found.opacity[found.mask]
        soft += np.mean((inside > 0.1) & (inside < 0.8)) > 0.1
    assert soft > 20


def test_what_is_to_be_found_is_the_damage_that_shows():
    photo = np.full((64, 64, 3), 128, np.float32)
    for seed in range(10):
        found = drawn(seed)
        target, change = found.to_find(photo)[..., 0], np.abs(found.on(photo) - photo)
        shows = change.max(2) >= damage.SHOWN
        np.testing.assert_array_equal(target == 1, found.mask & shows)
        np.testing.assert_array_equal(target == 0.5, found.mask & ~shows)
        assert set(np.unique(target)) <= {0, 0.5, 1}


def test_damage_of_the_photos_own_colour_does_not_show():
    found = drawn(0)
    own = found.added / np.maximum(found.opacity, 1e-3)[..., None]
    target = found.to_find(np.where(found.mask[..., None], own, 0))[..., 0]
    assert (target[found.mask] == 0.5).all() and not target[~found.mask].any()


def test_light_and_dark_opaque_and_not_all_come():
    photo = np.full((64, 64, 3), 128, np.float32)
    signs, peaks = [], []
    for seed in range(80):
        found = drawn(seed)
        signs.append(np.sign((found.on(photo) - photo)[found.mask].mean()))
        peaks.append(found.opacity.max())
    assert 0.25 < np.mean(np.array(signs) > 0) < 0.75
    assert np.mean(np.array(peaks) > 0.9) > 0.3


def test_masks_are_a_little_wider_narrower_or_exact():
    found = {"wider": 0, "narrower": 0, "exact": 0}
    for seed in range(100):
        one = drawn(seed)
        truth, mask = one.mask, draw_mask(np.random.default_rng(seed), one)
        around = cv2.dilate(truth.astype(np.uint8), np.ones((5, 5))) > 0
        assert not (mask & ~around).any() and mask.any()
        if (mask == truth).all():
            found["exact"] += 1
        else:
            wider = not (truth & ~mask).any()
            assert wider or not (mask & ~truth).any()
            found["wider" if wider else "narrower"] += 1
    assert found["wider"] > 45 and min(found.values()) > 8


def test_the_same_generator_draws_the_same_damage():
    one, other = drawn(3), drawn(3)
    np.testing.assert_array_equal(one.kept, other.kept)
    np.testing.assert_array_equal(one.added, other.added)
    assert not np.array_equal(one.kept, drawn(4).kept)


@pytest.mark.parametrize("size", [(1, 1), (5, 40), (512, 300)])
def test_any_size_can_be_damaged(size):
    for kind in damage.KINDS:
        settings = Damages(1.0, 0.0, AREA, (kind,))
        found = draw_damage(np.random.default_rng(0), size, settings)
        assert found.mask.shape == size


@pytest.mark.parametrize("kind", damage.KINDS)
def test_a_part_of_a_photo_has_its_damage(kind, monkeypatch):
    """Drawn on the part alone or on all of the photo, it is the same there."""
    settings = Damages(1.0, 0.0, AREA, (kind,), photo=4.0)
    part = draw_damage(np.random.default_rng(1), (40, 60), settings)
    canvases = []

    def whole(size, part):
        canvases.append(part)
        return damage_shapes.Canvas(size)

    monkeypatch.setattr(damage, "Canvas", whole)
    all_of_it = draw_damage(np.random.default_rng(1), (40, 60), settings)
    assert part.mask.shape == (40, 60) < all_of_it.mask.shape
    inner = tuple(slice(side.start + 8, side.stop - 8) for side in canvases[0])
    # A blurred stain sees what is outside of the part.
    np.testing.assert_allclose(
        part.kept[8:-8, 8:-8], all_of_it.kept[inner], atol=0 if kind != "stain" else 0.1
    )
