"""Are samples copies of training rows? Distances to the training rows, held against those of unseen real rows.

Shapes: N samples, M held-out rows, T training rows, D dimensions (any units, the same for all three).
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import cdist
from scipy.stats import mannwhitneyu, norm

from pipeline.rows.row_file import chunk_rows

NEAR_SHARE = 0.05  # of the held-out rows: what counts as near a training row
COPY_RATIO = 1 / 3  # nearest over second-nearest distance of what is called a copy (Yoon et al. 2023)


def duplicate_scores(samples: np.ndarray, train: np.ndarray, held_out: np.ndarray) -> dict[str, float]:
    """How (N, D) samples lie to the (T, D) training rows, beside (M, D) held-out rows, whose figures are chance.

    near_rate: share of samples closer to a training row than the closest NEAR_SHARE of the held-out rows are; chance
    is NEAR_SHARE, and `near_rate_limit` is what chance stays below in 95 of 100 cases, for these N and M.
    nearer_train_share: share of samples closer to a training row than to any of as many held-out rows; chance 0.5,
    with `nearer_train_share_limit`. copy_rate: share whose nearest training row is COPY_RATIO times nearer than the
    second nearest; `copy_rate_real`: the same of held-out rows. copying_z: z of the rank test that samples are nearer
    to the training rows than held-out rows are (Meehan et al. 2020); below −3: copying.
    Raises ValueError for fewer than two training rows, or without samples or held-out rows.
    """
    if len(train) < 2 or not len(samples) or not len(held_out):
        raise ValueError(f"'train' must hold 2 rows, the others 1. Got {len(train)}, {len(samples)}, {len(held_out)}.")
    of_samples, of_real = (nearest(x, train, 2) for x in (samples, held_out))
    n, m = len(samples), len(held_out)
    near = np.quantile(of_real[:, 0], NEAR_SHARE)
    size = min(len(train), m)
    to_train, to_held_out = (nearest(samples, x[:size], 1)[:, 0] for x in (train, held_out))
    rank = mannwhitneyu(of_samples[:, 0], of_real[:, 0], alternative="less")
    mean, deviation = n * m / 2, np.sqrt(n * m * (n + m + 1) / 12)
    return {
        "near_rate": float((of_samples[:, 0] < near).mean()),
        "near_rate_limit": _limit(NEAR_SHARE, 1 / n + 1 / m),
        "nearer_train_share": float((to_train < to_held_out).mean()),
        "nearer_train_share_limit": _limit(0.5, 1 / n + 1 / size),
        "copy_rate": float((of_samples[:, 0] < COPY_RATIO * of_samples[:, 1]).mean()),
        "copy_rate_real": float((of_real[:, 0] < COPY_RATIO * of_real[:, 1]).mean()),
        "copying_z": float((rank.statistic - mean) / deviation),
    }


def duplicate_test(
    samples: np.ndarray,
    train: np.ndarray,
    held_out: np.ndarray,
    tolerance: float,
    rng: np.random.Generator,
    permutations: int = 999,
) -> dict[str, float]:
    """Do (N, D) samples repeat (T, D) training rows more often than rows that the model has not seen?

    A sample repeats a row that lies within `tolerance` of it in every dimension. duplicate_rate: share of samples that
    repeat a training row. duplicate_rate_chance: the same for T rows taken at random from the training and the (M, D)
    held-out rows together, the mean of `permutations` choices; samples that favour no training row have as many.
    duplicate_p: share of the choices with at least as many. Where training and held-out rows are a random split, that is
    an exact test. duplicate_rate_real: share of the held-out rows that repeat a training row.
    """
    pool = np.concatenate([train, held_out])
    near = cdist(samples, pool, "chebyshev") <= tolerance
    size = len(train)
    found = near[:, :size].any(1).mean()
    chosen = (rng.permutation(len(pool))[:size] for _ in range(permutations))
    chance = np.array([near[:, rows].any(1).mean() for rows in chosen])
    return {
        "duplicate_rate": float(found),
        "duplicate_rate_chance": float(chance.mean()),
        "duplicate_p": float((1 + (chance >= found).sum()) / (1 + permutations)),
        "duplicate_rate_real": float((cdist(held_out, train, "chebyshev") <= tolerance).any(1).mean()),
    }


def nearest(rows: np.ndarray, others: np.ndarray, k: int) -> np.ndarray:
    """(N, k) distances of (N, D) rows to the k nearest of (T ≥ k, D) others, rising; never all N × T in memory."""
    size = max(k, chunk_rows(len(rows)))
    found = np.empty((len(rows), 0))
    for start in range(0, len(others), size):
        found = np.sort(np.concatenate([found, cdist(rows, others[start : start + size])], 1), 1)[:, :k]
    return found


def _limit(chance: float, variance: float) -> float:
    """Upper 95 % limit of a share whose expectation is `chance`, by the normal approximation."""
    return float(chance + norm.ppf(0.95) * np.sqrt(chance * (1 - chance) * variance))


def mean_pairwise_distance(rows: np.ndarray) -> float:
    """Mean root mean squared difference between two of the (N, D) rows, N ≥ 2."""
    distances = cdist(rows, rows)
    n = len(rows)
    return float(distances.sum() / (n * (n - 1)) / np.sqrt(rows.shape[1]))
