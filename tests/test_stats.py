"""Laws of intervals and tests over photos."""

import itertools

import numpy as np
import pytest
from scipy import stats

from dear_jax.evaluation import stats as estimates
from dear_jax.evaluation.stats import bootstrap, sign_flip


def _draw(photos=30, columns=1, seed=0):
    return np.random.default_rng(seed).normal(2, 3, (photos, columns))


def _ones(values):
    return np.ones(values.shape, int)


def test_interval_agrees_with_scipy_to_monte_carlo_error():
    values = np.random.default_rng(1).exponential(2, (40, 1))
    low, high = bootstrap(values, _ones(values))
    result = stats.bootstrap(
        (values[:, 0],), np.mean, method="percentile", n_resamples=10_000, rng=2
    )
    error = values.std() / np.sqrt(len(values))
    np.testing.assert_allclose(
        [low[0], high[0]], result.confidence_interval, atol=0.15 * error
    )


def test_interval_equals_drawing_whole_photos_one_by_one():
    rng = np.random.default_rng(3)
    photos = [rng.normal(size=rng.integers(1, 7)) for _ in range(9)]
    sums = np.array([[sum(results)] for results in photos])
    numbers = np.array([[len(results)] for results in photos])
    low, high = bootstrap(sums, numbers, resamples=200, seed=5)
    draws = np.random.default_rng(5).integers(9, size=(200, 9))
    means = sorted(np.concatenate([photos[i] for i in d]).mean() for d in draws)
    np.testing.assert_allclose([low[0], high[0]], [means[5], means[194]], rtol=1e-12)


@pytest.mark.parametrize(
    ("photos", "interval", "p"),
    [
        (8, (20.919823189536, 25.801125351703956), 0.28125),
        (40, (23.842100318853355, 25.48114566033996), 0.0537),
    ],
)
def test_intervals_and_exact_tests_stay_what_was_published(photos, interval, p):
    rng = np.random.default_rng(photos)
    sums = 6 * rng.normal(25, 3, (photos, 2))
    ends = bootstrap(sums, np.full((photos, 2), 6))
    np.testing.assert_allclose([end[0] for end in ends], interval, atol=1e-4)
    found = sign_flip(rng.normal(0.3, 1, (photos, 2)))[0]
    # All signs of 8 photos are gone through; 10,000 of 40 photos are drawn.
    assert found == p if photos == 8 else abs(found - p) < 0.01


def test_results_of_a_photo_do_not_count_as_independent():
    values = _draw()
    six = bootstrap(6 * values, 6 * _ones(values))
    np.testing.assert_allclose(six, bootstrap(values, _ones(values)), rtol=1e-12)


def test_interval_mirrors_shifts_and_scales_with_the_numbers():
    values = _draw(columns=3)
    low, high = bootstrap(values, _ones(values))
    mirrored = bootstrap(-values, _ones(values))
    np.testing.assert_allclose(mirrored, (-high, -low), rtol=1e-12)
    moved = bootstrap(5 + 2 * values, _ones(values))
    np.testing.assert_allclose(moved, (5 + 2 * low, 5 + 2 * high), rtol=1e-12)


def test_all_columns_see_the_same_draws():
    values = _draw(columns=2)
    values[:, 1] = values[:, 0]
    together = np.array(bootstrap(values, _ones(values)))
    # Columns of one product of matrices may be added up in different orders.
    np.testing.assert_allclose(together[:, 0], together[:, 1], rtol=1e-12)
    alone = np.array(bootstrap(values[:, :1], _ones(values[:, :1])))
    np.testing.assert_allclose(alone[:, 0], together[:, 0], rtol=1e-12)


def test_blocks_of_draws_make_no_difference(monkeypatch):
    values = _draw(columns=2)
    whole = bootstrap(values, _ones(values), resamples=500)
    monkeypatch.setattr(estimates, "BLOCK", 7 * len(values))
    parts = bootstrap(values, _ones(values), resamples=500)
    np.testing.assert_allclose(parts, whole, rtol=1e-12)


def test_interval_covers_the_true_mean_in_about_95_of_100_cases():
    values = np.random.default_rng(7).normal(1, 2, (60, 2000))
    low, high = bootstrap(values, _ones(values), resamples=2000)
    assert 0.92 < np.mean((low < 1) & (high > 1)) < 0.965


def test_interval_of_one_photo_is_undefined():
    assert np.isnan(bootstrap(np.ones((1, 2)), np.ones((1, 2), int))).all()


def test_what_is_not_finite_stays_in_its_column():
    values = _draw(columns=5)
    expected = np.array(bootstrap(values, _ones(values)))
    values[4, 1], values[0, 2], values[7, 3] = np.inf, -np.inf, np.nan
    values[2:4, 4] = np.inf, -np.inf
    low, high = bootstrap(values, _ones(values))
    np.testing.assert_allclose((low[0], high[0]), expected[:, 0], rtol=1e-12)
    assert high[1] == np.inf and np.isfinite(low[1])
    assert low[2] == -np.inf and np.isfinite(high[2])
    assert np.isnan([low[3:], high[3:]]).all()
    perfect = np.full((5, 1), np.inf)
    assert bootstrap(perfect, _ones(perfect)) == (np.inf, np.inf)


@pytest.mark.parametrize("photos", [1, 2, 5, 11])
def test_p_of_few_photos_equals_scipys_exact_test(photos):
    ours, theirs = _draw(photos), _draw(photos, seed=1)
    expected = 1.0
    if photos > 1:
        expected = stats.permutation_test(
            (ours[:, 0], theirs[:, 0]),
            lambda x, y, axis: np.mean(x - y, axis=axis),
            permutation_type="samples",
            n_resamples=np.inf,
        ).pvalue
    np.testing.assert_allclose(sign_flip(ours - theirs), [expected], rtol=1e-12)


def test_p_of_more_photos_is_near_the_exact_one():
    values = _draw(14) - 0.5
    signs = np.array(list(itertools.product((1, -1), repeat=14)))
    exact = np.mean(np.abs(signs @ values) >= np.abs(values.sum()) - 1e-9)
    # Five standard errors of 10,000 flips.
    allowed = 5 * np.sqrt(exact * (1 - exact) / 10_000)
    assert abs(sign_flip(values)[0] - exact) < allowed + 1e-4


@pytest.mark.parametrize("photos", [8, 40])
def test_p_does_not_ask_which_system_is_called_first(photos):
    values = _draw(photos, 4) - 1.5
    np.testing.assert_array_equal(sign_flip(values), sign_flip(-values))


@pytest.mark.parametrize("photos", [6, 40])
def test_p_of_identical_systems_is_one(photos):
    values = np.zeros((photos, 1))
    assert sign_flip(values) == 1
    assert bootstrap(values, _ones(values)) == (0, 0)


def test_p_is_never_less_than_what_the_flips_can_tell():
    assert sign_flip(np.ones((13, 1))) == 2 / 2**13
    assert sign_flip(np.ones((100, 1)), flips=999) == 1 / 1000


@pytest.mark.parametrize("photos", [12, 20])
def test_p_below_5_percent_comes_up_in_5_of_100_cases_without_a_difference(photos):
    values = np.random.default_rng(3).standard_t(3, (photos, 2000))
    p = sign_flip(values, flips=999)
    assert 0.035 < np.mean(p <= 0.05) < 0.065


def test_p_of_an_infinite_difference_is_undefined_and_spoils_no_other():
    values = _draw(20, 3)
    expected = sign_flip(values)
    values[0, 1] = np.inf
    p = sign_flip(values)
    assert np.isnan(p[1])
    np.testing.assert_array_equal(p[[0, 2]], expected[[0, 2]])
