"""BigLearnEM: scikit-learn's own checks, EM's guarantees, agreement with GaussianMixture, errors."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, SkipTestWarning
from sklearn.mixture import GaussianMixture
from sklearn.utils.estimator_checks import check_estimator

from pipeline.simulation import biglearn_em
from pipeline.simulation.biglearn_em import BigLearnEM

PLAIN = {"joint_share": 1.0, "marginal_share": 0.0, "weight_prior": 0.0}


def blobs(seed: int = 0, rows: int = 400, features: int = 3) -> np.ndarray:
    """Three groups of rows with different scales per feature."""
    random = np.random.default_rng(seed)
    centres = random.normal(0, 4, (3, features))
    group = random.integers(3, size=rows)
    return (centres[group] + random.standard_normal((rows, features))) * 10.0 ** np.arange(features)


def test_scikit_learns_checks_pass():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)  # its check of array-API input needs SCIPY_ARRAY_API
        results = check_estimator(BigLearnEM(n_outer=20), on_fail=None)
    failed = [r["check_name"] for r in results if r["status"] == "failed"]
    assert len(results) > 30 and not failed


def test_joint_tasks_alone_are_expectation_maximisation():
    """From the same start, as many steps: scikit-learn's mixture gives the same model."""
    rows = blobs()
    scaled = (rows - rows.mean(0)) / rows.std(0)
    start = np.random.RandomState(4).standard_normal((3, 3))
    other = GaussianMixture(
        3, means_init=start, precisions_init=np.tile(np.eye(3), (3, 1, 1)), weights_init=np.full(3, 1 / 3), reg_covar=0
    )
    other.set_params(max_iter=30, tol=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        other.fit(scaled)
    model = BigLearnEM(3, n_outer=6, n_inner=5, min_eigenvalue=1e-9, random_state=4, **PLAIN).fit(rows)
    np.testing.assert_allclose((model.means_ - rows.mean(0)) / rows.std(0), other.means_, atol=1e-6)
    np.testing.assert_allclose(model.weights_, other.weights_, atol=1e-8)
    np.testing.assert_allclose(
        model.score_samples(rows) + np.log(rows.std(0)).sum(), other.score_samples(scaled), atol=1e-6
    )
    np.testing.assert_allclose(model.predict_proba(rows), other.predict_proba(scaled), atol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_joint_steps_never_lower_the_likelihood(seed):
    model = BigLearnEM(4, n_outer=30, n_inner=1, min_eigenvalue=1e-9, random_state=seed, **PLAIN).fit(blobs(seed))
    assert len(model.lower_bounds_) == 30 and np.diff(model.lower_bounds_).min() > -1e-9
    assert model.n_iter_ == 30


def test_it_finds_modes_that_em_misses():
    """Twelve tight groups on a line: EM from a wide start loses some, tasks walk out of it on the same budget."""
    random = np.random.default_rng(0)
    rows = np.stack([random.integers(12, size=1200) * 1.0, np.zeros(1200)], axis=1) + 0.05 * random.standard_normal(
        (1200, 2)
    )
    budget = {"n_outer": 100, "n_inner": 5, "min_eigenvalue": 1e-5, "random_state": 0}
    em, model = BigLearnEM(12, **budget, **PLAIN).fit(rows), BigLearnEM(12, **budget).fit(rows)
    assert model.score(rows) > em.score(rows) + 0.05


def test_units_do_not_matter():
    rows = blobs(1)
    scale, shift = np.array([2.0, 1e-3, 50.0]), np.array([5.0, -100.0, 1e3])
    one = BigLearnEM(3, n_outer=20, random_state=1).fit(rows)
    two = BigLearnEM(3, n_outer=20, random_state=1).fit(rows * scale + shift)
    np.testing.assert_allclose(two.means_, one.means_ * scale + shift, rtol=1e-5)
    np.testing.assert_allclose(two.score(rows * scale + shift), one.score(rows) - np.log(scale).sum(), atol=1e-5)


def test_chunks_of_rows_change_nothing(monkeypatch):
    rows = blobs(2)
    whole = BigLearnEM(3, n_outer=10, random_state=0).fit(rows)
    monkeypatch.setattr(biglearn_em, "CHUNK_BYTES", 8 * 10 * 37)
    parts = BigLearnEM(3, n_outer=10, random_state=0).fit(rows)
    np.testing.assert_allclose(parts.means_, whole.means_, rtol=1e-8)
    np.testing.assert_allclose(parts.score_samples(rows), whole.score_samples(rows), rtol=1e-8)


def test_density_integrates_to_one():
    random = np.random.default_rng(3)
    rows = random.normal(0, 1, (200, 1)) * 3 + 7
    model = BigLearnEM(2, n_outer=10, random_state=0).fit(rows)
    grid = np.linspace(-40, 60, 20_001)[:, None]
    assert abs(np.trapezoid(np.exp(model.score_samples(grid)), grid[:, 0]) - 1) < 1e-6


def test_samples_have_the_moments_of_the_model():
    model = BigLearnEM(3, n_outer=20, random_state=0).fit(blobs(1))
    drawn, component = model.sample(100_000)
    mean = model.weights_ @ model.means_
    spread = drawn.std(0)
    np.testing.assert_allclose(drawn.mean(0), mean, atol=4 * (spread / np.sqrt(len(drawn))).max())
    np.testing.assert_allclose(np.bincount(component, minlength=3) / len(drawn), model.weights_, atol=0.01)
    assert np.linalg.eigvalsh(model.covariances_).min() > 0


def test_a_constant_feature_and_repeated_rows_fit():
    rows = np.repeat(blobs(4, rows=10), 6, axis=0)
    rows[:, 1] = 3.0
    model = BigLearnEM(5, n_outer=40, random_state=0).fit(rows)
    assert np.isfinite(model.score_samples(rows)).all() and np.isfinite(model.covariances_).all()


def test_same_seed_same_model():
    rows = blobs()
    one, two = (BigLearnEM(3, n_outer=10, random_state=9).fit(rows) for _ in range(2))
    np.testing.assert_array_equal(one.means_, two.means_)
    other = clone(one).set_params(random_state=10).fit(rows)
    assert not np.array_equal(one.means_, other.means_)


@pytest.mark.parametrize(
    "changes,message",
    [
        ({"n_components": 0}, "The 'n_components' parameter of BigLearnEM must lie in [1, inf]. Got 0 instead."),
        (
            {"joint_share": 0.7, "marginal_share": 0.4},
            "The 'marginal_share' parameter of BigLearnEM must lie in [0, 0.3]",
        ),
        (
            {"weight_prior": -1.0},
            "The 'weight_prior' parameter of BigLearnEM must be 'auto' or at least 0. Got -1.0 instead.",
        ),
        (
            {"target_beta": (1.0,)},
            "The 'target_beta' parameter of BigLearnEM must hold two positive numbers. Got (1.0,) instead.",
        ),
        (
            {"min_eigenvalue": float("nan")},
            "The 'min_eigenvalue' parameter of BigLearnEM must lie in [1e-12, inf]. Got nan",
        ),
    ],
)
def test_bad_parameters_are_named(changes, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        BigLearnEM(**changes).fit(blobs())


def test_bad_requests_are_named():
    model = BigLearnEM(2, n_outer=2, random_state=0).fit(blobs())
    with pytest.raises(ValueError, match="The 'n_samples' parameter of sample must be at least 1. Got 0 instead."):
        model.sample(0)
    with pytest.raises(ValueError, match="minimum of 5 is required"):
        BigLearnEM(5).fit(blobs(rows=4))
    with pytest.raises(ValueError, match="Input X contains NaN"):
        BigLearnEM().fit([[1.0], [np.nan]])
