"""Metrics against closed forms and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm

from pipeline.evaluation import metrics

RNG = np.random.default_rng


def exactly(mean: np.ndarray, covariance: np.ndarray, n: int, seed: int) -> np.ndarray:
    """(n, D) rows whose sample mean and covariance are exactly these."""
    x = RNG(seed).normal(size=(n, len(mean)))
    x -= x.mean(0)
    white = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False))).T
    return white @ np.linalg.cholesky(covariance).T + mean


def test_frechet_distance_of_gaussians_in_closed_form():
    a, b = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.3], [-0.3, 3.0]])
    x, y = exactly(np.zeros(2), a, 40, 0), exactly(np.array([1.0, -2.0]), b, 60, 1)
    expected = 5 + np.trace(a + b - 2 * sqrtm(a @ b).real)
    assert metrics.frechet_distance(x, y) == pytest.approx(expected, rel=1e-9)
    assert metrics.frechet_distance(x, x) == pytest.approx(0, abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=6), st.integers(0, 10**6))
def test_moments_of_parts_are_those_of_the_whole(sizes, seed):
    rows = RNG(seed).normal(size=(sum(sizes) + 2, 3)) * [1.0, 10.0, 0.1] + [0.0, 100.0, -3.0]
    parts = np.split(rows, np.cumsum(sizes))
    moments = metrics.Moments.of(iter(parts))
    assert moments.count == len(rows)
    np.testing.assert_allclose(moments.mean, rows.mean(0), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(moments.covariance, np.cov(rows, rowvar=False), rtol=1e-9, atol=1e-9)
    assert metrics.frechet_distance(moments, rows) == pytest.approx(0, abs=1e-6)


def test_moments_of_nothing_or_nan_are_refused():
    with pytest.raises(ValueError, match="'parts' must hold a row. Got none."):
        metrics.Moments.of([np.zeros((0, 3))])
    with pytest.raises(ValueError, match="'parts' must be finite"):
        metrics.Moments.of([np.full((2, 3), np.nan)])
    with pytest.raises(ValueError, match="a covariance needs at least 2 rows. Got 1."):
        _ = metrics.Moments.of([np.zeros((1, 3))]).covariance


def test_frechet_distance_of_degenerate_features():
    """Dead features (constant zero) of a small classifier: covariances are singular."""
    x = np.concatenate([RNG(0).normal(size=(30, 2)), np.zeros((30, 3))], 1)
    assert metrics.frechet_distance(x, x + [1, 0, 0, 0, 0]) == pytest.approx(1, abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(2, 30), st.integers(2, 30), st.integers(1, 5))
def test_frechet_distance_is_a_symmetric_distance(seed, n, m, d):
    rng = RNG(seed)
    a, b = rng.normal(size=(n, d + 1)), rng.normal(size=(m, d + 1)) * rng.uniform(0.1, 3)
    forth, back = metrics.frechet_distance(a, b), metrics.frechet_distance(b, a)
    assert forth == pytest.approx(back, rel=1e-6, abs=1e-6) and forth > -1e-9


def test_kernel_distance_by_brute_force():
    a, b = RNG(0).normal(size=(7, 3)), RNG(1).normal(size=(5, 3)) + 1

    def kernel(x, y):
        return (x @ y / 3 + 1) ** 3

    aa = np.mean([kernel(a[i], a[j]) for i in range(7) for j in range(7) if i != j])
    bb = np.mean([kernel(b[i], b[j]) for i in range(5) for j in range(5) if i != j])
    ab = np.mean([kernel(x, y) for x in a for y in b])
    assert metrics.kernel_distance(a, b) == pytest.approx(aa + bb - 2 * ab)


def test_neighbourhood_scores_by_brute_force():
    real, fake, k = RNG(0).normal(size=(12, 2)), RNG(1).normal(size=(9, 2)) * 0.7, 3

    def radii(x):
        return [sorted(np.linalg.norm(x - p, axis=1))[k] for p in x]

    def near(p, q):
        return np.linalg.norm(p - q)

    inside = [[near(r, f) < radius for f in fake] for r, radius in zip(real, radii(real), strict=True)]
    expected = {
        "precision": np.mean([any(inside[i][j] for i in range(12)) for j in range(9)]),
        "recall": np.mean([any(near(r, f) < s for f, s in zip(fake, radii(fake), strict=True)) for r in real]),
        "density": np.sum(inside) / (k * 9),
        "coverage": np.mean([any(line) for line in inside]),
    }
    found = metrics.neighbourhood_scores(real, fake, k)
    assert found == {name: pytest.approx(value) for name, value in expected.items()}


def test_neighbourhood_scores_of_far_samples_and_of_one_mode():
    real = np.concatenate([RNG(0).normal(size=(50, 2)), RNG(1).normal(size=(50, 2)) + 20])
    far = metrics.neighbourhood_scores(real, real + 100)
    assert far["precision"] == far["recall"] == far["coverage"] == 0
    one = metrics.neighbourhood_scores(real, RNG(2).normal(size=(100, 2)))
    assert one["precision"] > 0.8 and 0.3 < one["coverage"] < 0.55 and one["recall"] < 0.55


def test_class_shares_count_absent_classes():
    np.testing.assert_allclose(metrics.class_shares(np.array([0, 2, 2, 0, 2]), 4), [0.4, 0, 0.6, 0])
    assert metrics.class_shares(np.array([], np.int64), 2).tolist() == [0, 0]


def test_diversity_in_closed_form_and_only_over_weighted_cells():
    draws = np.zeros((3, 2, 4))
    draws[1, 0, :2], draws[2, 0, 3] = 1.0, 50.0
    weight = np.array([[True, True, True, False], [False] * 4])
    # Pairs of the first row: (0,1) and (1,2) differ by 1 in two of three weighted cells, (0,2) in none.
    assert metrics.pairwise_distance_of_draws(draws, weight) == pytest.approx(2 / 3 * np.sqrt(2 / 3))
    assert metrics.pairwise_distance_of_draws(draws, np.zeros((2, 4), bool)) == 0


def test_root_mean_square():
    estimate, truth = np.array([[1.0, 5.0], [2.0, 9.0]]), np.array([[0.0, 5.0], [0.0, 0.0]])
    assert metrics.root_mean_square(estimate, truth, np.array([[True, True], [True, False]])) == pytest.approx(
        np.sqrt(5 / 3)
    )
    assert metrics.root_mean_square(estimate, truth, np.zeros((2, 2), bool)) == 0


def test_energy_score_by_hand():
    draws, truth = np.array([[[0.0, 0.0]], [[3.0, 4.0]]]), np.array([[0.0, 0.0]])
    weight = np.ones((1, 2), bool)
    assert metrics.energy_score(draws, truth, weight) == pytest.approx(5 / 2 - 5 / 2)
    assert metrics.energy_score(draws[1:], truth, weight) == pytest.approx(5), "a single draw is a point forecast"
    assert metrics.energy_score(draws, truth, np.array([[True, False]])) == pytest.approx(3 / 2 - 3 / 2)


def test_energy_score_prefers_the_true_distribution():
    """Proper: on average the truth's own distribution beats one too narrow, too wide or shifted."""
    rng = RNG(0)
    truth, weight = rng.normal(size=(4000, 1)), np.ones((4000, 1), bool)
    noise = rng.normal(size=(8, 4000, 1))
    honest = metrics.energy_score(noise, truth, weight)
    assert honest < min(metrics.energy_score(d, truth, weight) for d in (0.3 * noise, 2 * noise, noise + 1))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10**6), st.integers(2, 20), st.floats(-3, 3))
def test_wasserstein_distance_of_a_shift_is_the_shift(seed, n, shift):
    x = RNG(seed).normal(size=(n, 2))
    np.testing.assert_allclose(metrics.wasserstein_distances(x, x + [shift, 0]), [abs(shift), 0], atol=1e-12)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: metrics.frechet_distance(np.ones((1, 2)), np.ones((3, 2))), r"'a' and 'b' must be \(N ≥ 2, D\)"),
        (lambda: metrics.kernel_distance(np.ones((3, 2)), np.ones((3, 4))), r"with one D\. Got \(3, 2\) and \(3, 4\)"),
        (lambda: metrics.frechet_distance(np.full((3, 2), np.nan), np.ones((3, 2))), "must be finite. Got NaN"),
        (
            lambda: metrics.neighbourhood_scores(np.ones((3, 2)), np.ones((9, 2)), 3),
            r"'k' must be below .*\(3\)\. Got 3",
        ),
        (
            lambda: metrics.pairwise_distance_of_draws(np.ones((1, 2, 2)), np.ones((2, 2), bool)),
            r"'draws' must be \(K ≥ 2, N, C\)\. Got \(1, 2, 2\)",
        ),
    ],
)
def test_faults_are_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()
