"""Measures of samples and completions; pure functions in float64.

Shapes: N, M rows, D feature dimensions, K draws, C columns.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance

DIVERSITY_ROWS = 64  # whose draws are compared at a time


@dataclass(frozen=True)
class Moments:
    """count: N. mean: (D,). scatter: (D, D) sum of the outer products of deviations from the mean. Of N rows."""

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @staticmethod
    def of(parts: Iterable[np.ndarray]) -> Moments:
        """Of the rows of all (n, D) parts, one part in memory at a time. Raises ValueError for no finite row.

        Source: Chan, Golub, LeVeque 1979, updating formulae for variances.
        """
        found = None
        for part in parts:
            part = np.asarray(part, np.float64)
            if len(part) and not np.isfinite(part).all():
                raise ValueError("'parts' must be finite. Got NaN or infinity.")
            if len(part):
                mean = part.mean(0)
                new = Moments(len(part), mean, (part - mean).T @ (part - mean))
                found = new if found is None else found._with(new)
        if found is None:
            raise ValueError("'parts' must hold a row. Got none.")
        return found

    def _with(self, other: Moments) -> Moments:
        count, step = self.count + other.count, other.mean - self.mean
        between = np.outer(step, step) * (self.count * other.count / count)
        return Moments(count, self.mean + step * (other.count / count), self.scatter + other.scatter + between)

    @property
    def covariance(self) -> np.ndarray:
        """(D, D), unbiased. Raises ValueError for a single row."""
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 rows. Got {self.count}.")
        return self.scatter / (self.count - 1)


def frechet_distance(a: np.ndarray | Moments, b: np.ndarray | Moments) -> float:
    """Fréchet distance between Gaussians fitted to the rows of a (N, D) and b (M, D), in squared feature units.

    Moments of the rows do as well as the rows.

    ‖μ_a − μ_b‖² + tr(Σ_a + Σ_b − 2(Σ_a Σ_b)^½); the trace of the root is the sum of the roots of the eigenvalues
    of the symmetric Σ_a^½ Σ_b Σ_a^½, which is stable where the matrix root of Σ_a Σ_b is not.
    Biased upwards for few rows: compare only values from equal row counts. Source: Heusel et al. 2017.
    """
    if not isinstance(a, Moments) and not isinstance(b, Moments):
        a, b = _checked(a, b)
    a, b = (x if isinstance(x, Moments) else Moments.of([x]) for x in (a, b))
    mean_a, mean_b, cov_a, cov_b = a.mean, b.mean, a.covariance, b.covariance
    values, vectors = np.linalg.eigh(cov_a)
    root_a = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.linalg.eigvalsh(root_a @ cov_b @ root_a)
    trace = np.trace(cov_a) + np.trace(cov_b) - 2 * np.sqrt(cross.clip(0)).sum()
    return float(((mean_a - mean_b) ** 2).sum() + trace)


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (xᵀy/D + 1)³ (KID, Bińkowski et al. 2018)."""
    a, b = _checked(a, b)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return (x @ y.T / x.shape[1] + 1) ** 3

    aa, bb, ab = kernel(a, a), kernel(b, b), kernel(a, b)
    n, m = len(a), len(b)
    within = (aa.sum() - np.trace(aa)) / (n * (n - 1)) + (bb.sum() - np.trace(bb)) / (m * (m - 1))
    return float(within - 2 * ab.mean())


def neighbourhood_scores(real: np.ndarray, fake: np.ndarray, k: int = 5) -> dict[str, float]:
    """precision, recall (Kynkäänniemi et al. 2019), density, coverage (Naeem et al. 2020) with k nearest neighbours.

    real: (N, D), fake: (M, D), both more than k rows.
    """
    real, fake = _checked(real, fake)
    if min(len(real), len(fake)) <= k:
        raise ValueError(f"'k' must be below the number of rows ({min(len(real), len(fake))}). Got {k}.")
    between = cdist(real, fake)
    radius_real = np.sort(cdist(real, real), 1)[:, k]
    radius_fake = np.sort(cdist(fake, fake), 1)[:, k]
    inside = between < radius_real[:, None]
    return {
        "precision": float(inside.any(0).mean()),
        "recall": float((between < radius_fake[None]).any(1).mean()),
        "density": float(inside.sum(0).mean() / k),
        "coverage": float((between.min(1) < radius_real).mean()),
    }


def class_shares(labels: np.ndarray, classes: int) -> np.ndarray:
    """(classes,) share of each class among integer labels (N,)."""
    return np.bincount(labels, minlength=classes)[:classes] / max(1, len(labels))


def pairwise_distance_of_draws(draws: np.ndarray, weight: np.ndarray) -> float:
    """Diversity: root mean squared difference over weighted cells, averaged over all pairs of draws, then over rows.

    draws: (K ≥ 2, N, C); weight: (N, C) bool. Rows without a weighted cell do not count; 0 when no row does.
    """
    draws = _checked_draws(draws)
    cells = weight.sum(1)
    rows, pairs = np.flatnonzero(cells), np.triu_indices(len(draws), 1)
    total = 0.0
    for start in range(0, len(rows), DIVERSITY_ROWS):
        part = rows[start : start + DIVERSITY_ROWS]
        moved = np.where(weight[part], draws[:, part] - draws[0, part], 0.0).swapaxes(0, 1)  # (n, K, C)
        product = moved @ moved.swapaxes(1, 2)  # of every pair at once: ‖a − b‖² = a·a + b·b − 2 a·b
        length = np.diagonal(product, axis1=1, axis2=2)
        squares = (length[:, :, None] + length[:, None] - 2 * product)[:, *pairs]
        total += np.sqrt(squares.clip(0) / cells[part, None]).sum()
    return float(total / max(1, len(rows)) / len(pairs[0]))


def root_mean_square(estimate: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> float:
    """Root mean squared error over weighted cells. estimate, truth: (N, C); weight: (N, C) bool."""
    error = (estimate - truth)[weight]
    return float(np.sqrt((error**2).mean())) if error.size else 0.0


def energy_score(draws: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> float:
    """Mean energy score E‖X − y‖ − ½E‖X − X'‖ over rows, norms over weighted cells; proper, lower is better.

    draws: (K, N, C); truth: (N, C); weight: (N, C) bool. A single draw is scored as a point forecast: its distance.
    Source: Gneiting & Raftery 2007, with the unbiased estimate of the second term.
    """
    draws = _checked_draws(draws, least=1)
    k = len(draws)

    def norm(difference: np.ndarray) -> float:
        return float(np.linalg.norm(np.where(weight, difference, 0.0), axis=-1).mean())

    to_truth = sum(norm(draw - truth) for draw in draws) / k
    between = sum(norm(draws[i] - draws[j]) for i in range(k) for j in range(i)) / max(1, k * (k - 1) / 2)
    return to_truth - between / 2


def wasserstein_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(D,) one-dimensional Wasserstein-1 distance of each column of a (N, D) and b (M, D), in its units."""
    a, b = _checked(a, b)
    return np.array([wasserstein_distance(a[:, i], b[:, i]) for i in range(a.shape[1])])


def _checked_draws(draws: np.ndarray, least: int = 2) -> np.ndarray:
    draws = np.asarray(draws, np.float64)
    if draws.ndim != 3 or len(draws) < least:
        raise ValueError(f"'draws' must be (K ≥ {least}, N, C). Got {draws.shape}.")
    return draws


def _checked(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"'a' and 'b' must be (N ≥ 2, D) with one D. Got {a.shape} and {b.shape}.")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("'a' and 'b' must be finite. Got NaN or infinity.")
    return a, b
