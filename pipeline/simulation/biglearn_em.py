"""BigLearnEM: a Gaussian mixture fitted by expectation–maximisation on joint, marginal and rotated tasks.

    from pipeline.simulation.biglearn_em import BigLearnEM
    labels = BigLearnEM(n_components=12, random_state=0).fit_predict(X)

Plain EM climbs the joint likelihood and stops at the nearest maximum. Here each task fits the mixture's
marginal over a random subset T of coordinates, often after a random rotation, and rewrites only μ_T and
Σ_TT; different tasks share few bad maxima, so the fit walks out of them (Cong & Li, "Big Learning
Expectation Maximization", AAAI 2024; arXiv 2407.21319, §2). A last stretch of joint steps settles it.

Legend: N rows, D features, K components, T = |T| target coordinates, F = 1 + T + T(T+1)/2 moments.
An EM step is two matrix products with the F×N moments; no array is larger than N×max(F, K), in row chunks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from kernels.gmm import normalise_columns

CHUNK_BYTES = 1 << 26  # memory of one chunk of moments
LEAST_MASS = 1e-10  # rows: a component with less keeps its mean and covariance


@dataclass
class _Mixture:
    """weights (K,), means (K, D), covariances (K, D, D), all in standardised units."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray


class BigLearnEM(DensityMixin, BaseEstimator):
    """Gaussian mixture with full covariances; scikit-learn conventions, dense input without missing values.

    Features are standardised inside, so every default is free of units; fitted attributes are in X's units.

    Parameters
    ----------
    n_components : K ≥ 1.
    n_outer, n_inner : tasks, and EM steps a task; n_outer·n_inner steps in all.
    joint_share, marginal_share : probability of a joint and of an unrotated marginal task; the rest are
        marginals after a Haar-random rotation. joint_share = 1 is plain EM.
    joint_from : share of the tasks after which all are joint, in [0, 1]; 1: never.
    target_beta : (a, b) of |T| = max(1, ⌊D·Beta(a, b)⌋).
    weight_prior : α of the MAP weights ∝ N_k/N + α; "auto": 1/K; 0: maximum likelihood.
    covariance_prior : rows' worth of pull of each Σ_k towards the pooled within-component covariance, in the
        last joint stretch only: earlier it keeps a component from stretching over to a mode that has none.
    min_eigenvalue : least eigenvalue of a covariance, in standardised units.
    init_scale : start means ~ N(0, init_scale²·I), covariances init_scale²·I, standardised.
    random_state : seed, numpy RandomState or None.

    Attributes
    ----------
    weights_ (K,), means_ (K, D), covariances_ (K, D, D), lower_bound_ (mean log-likelihood of the training
    rows in nats), lower_bounds_ (joint log-likelihood after each joint task), n_iter_ (EM steps).
    """

    def __init__(
        self,
        n_components=1,
        *,
        n_outer=200,
        n_inner=5,
        joint_share=0.4,
        marginal_share=0.1,
        joint_from=0.8,
        target_beta=(5.0, 1.0),
        weight_prior="auto",
        covariance_prior=0.0,
        min_eigenvalue=1e-3,
        init_scale=1.0,
        random_state=None,
    ):
        self.n_components = n_components
        self.n_outer = n_outer
        self.n_inner = n_inner
        self.joint_share = joint_share
        self.marginal_share = marginal_share
        self.joint_from = joint_from
        self.target_beta = target_beta
        self.weight_prior = weight_prior
        self.covariance_prior = covariance_prior
        self.min_eigenvalue = min_eigenvalue
        self.init_scale = init_scale
        self.random_state = random_state

    def fit(self, X, y=None):
        """self, fitted to X (N, D); y is ignored. Raises ValueError on bad parameters, NaN or N < K."""
        self._check_parameters()
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=max(2, self.n_components))
        random = check_random_state(self.random_state)
        self._shift = X.mean(axis=0)
        scale = X.std(axis=0)
        self._scale = np.where(scale > 1e-12 * np.maximum(1.0, np.abs(self._shift)), scale, 1.0)
        rows = (X - self._shift) / self._scale
        mixture = self._start(rows.shape[1], random)
        self.lower_bounds_ = []
        for outer in range(self.n_outer):
            late = outer >= self.joint_from * self.n_outer
            self._task(rows, mixture, late, random)
        self.n_iter_ = self.n_outer * self.n_inner
        self.weights_ = mixture.weights
        self.means_ = mixture.means * self._scale + self._shift
        self.covariances_ = mixture.covariances * np.outer(self._scale, self._scale)
        log_density, _ = self._evaluate(X)
        self.lower_bound_ = float(log_density.mean())
        return self

    def fit_predict(self, X, y=None):
        """(N,) component of each row of X, after fitting."""
        return self.fit(X).predict(X)

    def predict(self, X):
        """(N,) most probable component of each row."""
        return self._evaluate(self._checked(X))[1].argmax(axis=1)

    def predict_proba(self, X):
        """(N, K) responsibilities; rows sum to one."""
        return self._evaluate(self._checked(X))[1]

    def score_samples(self, X):
        """(N,) log-density in nats, in X's units."""
        return self._evaluate(self._checked(X))[0]

    def score(self, X, y=None):
        """Mean log-density of X in nats."""
        return float(self.score_samples(X).mean())

    def sample(self, n_samples=1):
        """(X (n_samples, D), components (n_samples,)) drawn from the fitted mixture with random_state."""
        check_is_fitted(self)
        if n_samples < 1:
            raise ValueError(f"The 'n_samples' parameter of sample must be at least 1. Got {n_samples} instead.")
        random = check_random_state(self.random_state)
        component = random.choice(self.n_components, size=n_samples, p=self.weights_)
        noise = random.standard_normal((n_samples, self.n_features_in_))
        lower = np.linalg.cholesky(self.covariances_)
        return self.means_[component] + np.einsum("nde,ne->nd", lower[component], noise), component

    def _checked(self, X):
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False)

    def _evaluate(self, X):
        """(log-densities (N,), responsibilities (N, K)) of rows in the original units."""
        mixture = _Mixture(
            self.weights_,
            (self.means_ - self._shift) / self._scale,
            self.covariances_ / np.outer(self._scale, self._scale),
        )
        rows = (X - self._shift) / self._scale
        log_density = np.empty(len(rows))
        responsibilities = np.empty((len(rows), self.n_components))
        coefficients = _coefficients(mixture.weights, mixture.means, mixture.covariances)
        for part in _chunks(len(rows), coefficients.shape[1]):
            shares, log_density[part] = _expect(coefficients, _moments(rows[part]))
            responsibilities[part] = shares.T
        return log_density - np.log(self._scale).sum(), responsibilities

    def _check_parameters(self):
        requirements = {
            "n_components": (1, math.inf),
            "n_outer": (1, math.inf),
            "n_inner": (1, math.inf),
            "joint_share": (0, 1),
            "marginal_share": (0, 1 - self.joint_share),
            "joint_from": (0, 1),
            "covariance_prior": (0, math.inf),
            "min_eigenvalue": (1e-12, math.inf),
            "init_scale": (1e-6, math.inf),
        }
        for name, (low, high) in requirements.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ValueError(
                    f"The {name!r} parameter of BigLearnEM must lie in [{low:g}, {high:g}]. Got {value!r} instead."
                )
        if self.weight_prior != "auto" and not self.weight_prior >= 0:
            raise ValueError(
                f"The 'weight_prior' parameter of BigLearnEM must be 'auto' or at least 0. Got {self.weight_prior!r} instead."
            )
        if len(self.target_beta) != 2 or min(self.target_beta) <= 0:
            raise ValueError(
                f"The 'target_beta' parameter of BigLearnEM must hold two positive numbers. Got {self.target_beta!r} instead."
            )

    def _start(self, features, random):
        means = self.init_scale * random.standard_normal((self.n_components, features))
        covariances = np.tile(self.init_scale**2 * np.eye(features), (self.n_components, 1, 1))
        return _Mixture(np.full(self.n_components, 1 / self.n_components), means, covariances)

    def _task(self, rows, mixture, joint_only, random):
        """Draws one task and takes n_inner EM steps of it; the mixture changes in place."""
        features = rows.shape[1]
        draw = random.random_sample()
        share = random.beta(*self.target_beta)
        order = random.permutation(features)
        if joint_only or draw < self.joint_share:
            target, rotation = np.arange(features), None
        else:
            target = np.sort(order[: max(1, int(features * share))])
            rotated = draw >= self.joint_share + self.marginal_share
            rotation = _haar_orthogonal(features, random) if rotated else None
        if rotation is not None:
            rows = rows @ rotation[target].T
            mixture.means = mixture.means @ rotation.T
            mixture.covariances = rotation @ mixture.covariances @ rotation.T
        else:
            rows = rows[:, target]
        bound = self._steps(rows, mixture, target, self.covariance_prior if joint_only else 0.0)
        if len(target) == features and rotation is None:
            self.lower_bounds_.append(bound - np.log(self._scale).sum())
        if rotation is not None:
            mixture.means = mixture.means @ rotation
            mixture.covariances = rotation.T @ mixture.covariances @ rotation

    def _steps(self, rows, mixture, target, prior):
        """Mean log-likelihood before the last of n_inner EM steps on the target coordinates; rows (N, T)."""
        block = np.ix_(np.arange(self.n_components), target, target)
        chunks = _chunks(len(rows), 1 + len(target) * (len(target) + 3) // 2)
        kept = [_moments(rows[part]) for part in chunks] if len(chunks) == 1 else None
        alpha = 1 / self.n_components if self.weight_prior == "auto" else self.weight_prior
        for _ in range(self.n_inner):
            coefficients = _coefficients(mixture.weights, mixture.means[:, target], mixture.covariances[block])
            sums, bound = np.zeros_like(coefficients), 0.0
            for c, part in enumerate(chunks):
                moments = kept[c] if kept else _moments(rows[part])
                responsibilities, log_density = _expect(coefficients, moments)
                bound += log_density.sum()
                sums += responsibilities @ moments.T
            means, covariances = _maximise(sums, mixture.means[:, target], mixture.covariances[block], prior)
            mixture.means[:, target] = means
            mixture.covariances[block] = covariances
            mixture.covariances = _raise_eigenvalues(mixture.covariances, self.min_eigenvalue)
            weights = sums[:, 0] / len(rows) + alpha
            mixture.weights = weights / weights.sum()
        return bound / len(rows)


def _chunks(rows: int, moments: int) -> list[slice]:
    """Slices that cover `rows`, each of at most CHUNK_BYTES of float64 moments."""
    size = max(1, CHUNK_BYTES // (8 * moments))
    return [slice(i, min(i + size, rows)) for i in range(0, rows, size)]


@lru_cache(maxsize=64)
def _upper(width: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices (i, j) with i ≤ j < width, row by row."""
    return np.triu_indices(width)


def _moments(rows: np.ndarray) -> np.ndarray:
    """(F, N): 1, x_i, and x_i·x_j for i ≤ j, of rows (N, T)."""
    width = rows.shape[1]
    moments = np.empty((1 + width + width * (width + 1) // 2, len(rows)))
    moments[0] = 1.0
    moments[1 : 1 + width] = rows.T
    line = 1 + width
    for i in range(width):
        np.multiply(moments[1 + i], moments[1 + i : 1 + width], out=moments[line : line + width - i])
        line += width - i
    return moments


def _expect(coefficients: np.ndarray, moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(responsibilities (K, N), log-densities (N,)) of moments (F, N)."""
    shares = coefficients @ moments
    largest, total = np.empty(moments.shape[1]), np.empty(moments.shape[1])
    normalise_columns(shares, largest, total)
    return shares, largest + np.log(total)


def _coefficients(weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """(K, F): row k·moments(x) = log π_k N(x; μ_k, Σ_k), the quadratic form written out."""
    width = means.shape[1]
    precision = np.linalg.inv(covariances)
    pull = np.einsum("kde,ke->kd", precision, means)
    constant = width * math.log(2 * math.pi) + np.linalg.slogdet(covariances)[1] + (pull * means).sum(axis=1)
    upper = _upper(width)
    quadratic = -precision[:, upper[0], upper[1]]
    quadratic[:, upper[0] == upper[1]] *= 0.5
    return np.concatenate([(np.log(weights) - 0.5 * constant)[:, None], pull, quadratic], axis=1)


def _maximise(sums: np.ndarray, means: np.ndarray, covariances: np.ndarray, prior: float):
    """(means (K, T), covariances (K, T, T)) of the M-step from weighted moment sums (K, F).

    prior: rows' worth of the pooled covariance added to each component's scatter.
    """
    width = means.shape[1]
    mass = sums[:, 0]
    alive = mass > LEAST_MASS
    safe = np.where(alive, mass, 1.0)
    centre = np.where(alive[:, None], sums[:, 1 : 1 + width] / safe[:, None], means)
    upper = _upper(width)
    scatter = np.empty_like(covariances)
    scatter[:, upper[0], upper[1]] = sums[:, 1 + width :]
    scatter[:, upper[1], upper[0]] = sums[:, 1 + width :]
    scatter -= mass[:, None, None] * centre[:, :, None] * centre[:, None, :]
    if prior == 0:
        return centre, np.where(alive[:, None, None], scatter / safe[:, None, None], covariances)
    pooled = scatter[alive].sum(axis=0) / mass[alive].sum()
    scatter = np.where(alive[:, None, None], scatter, 0.0)
    return centre, (scatter + prior * pooled) / (np.where(alive, mass, 0.0) + prior)[:, None, None]


def _raise_eigenvalues(covariances: np.ndarray, least: float) -> np.ndarray:
    """Covariances (K, D, D), symmetric, with eigenvalues below `least` raised to it."""
    covariances = 0.5 * (covariances + covariances.transpose(0, 2, 1))
    values, vectors = np.linalg.eigh(covariances)
    low = values[:, 0] < least
    if low.any():
        raised = vectors[low] * np.maximum(values[low], least)[:, None, :]
        covariances[low] = raised @ vectors[low].transpose(0, 2, 1)
    return covariances


def _haar_orthogonal(size: int, random: np.random.RandomState) -> np.ndarray:
    """A (size, size) orthogonal matrix, uniform in Haar measure: QR of a normal matrix with R's signs fixed."""
    q, r = np.linalg.qr(random.standard_normal((size, size)))
    return q * np.where(np.diag(r) < 0, -1.0, 1.0)
