"""The mathematics of kernels/gmm in plain NumPy float64: slow, clear, and what the kernels are tested against.

Legend: K components, N samples, parameters (5, K) as in kernels/gmm/descent.py.
"""

from __future__ import annotations

import numpy as np


def factors(parameters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(means (K, 2), Cholesky factors L (K, 2, 2)) of parameters (5, K): rows μ₀, μ₁, log L₀₀, log L₁₁, L₁₀."""
    p = np.asarray(parameters, dtype=np.float64)
    lower = np.zeros((p.shape[1], 2, 2))
    lower[:, 0, 0], lower[:, 1, 1], lower[:, 1, 0] = np.exp(p[2]), np.exp(p[3]), p[4]
    return p[:2].T.copy(), lower


def log_density(x: np.ndarray, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """(N,) log Σ_k w_k N(x_n; μ_k, Σ_k) for x (N, D), weights (K,), means (K, D), covariances (K, D, D)."""
    gap = x[:, None, :] - means
    whitened = np.linalg.solve(np.linalg.cholesky(covariances)[None], gap[..., None])[..., 0]
    logs = np.log(weights) - 0.5 * (
        x.shape[1] * np.log(2 * np.pi) + np.linalg.slogdet(covariances)[1] + (whitened**2).sum(-1)
    )
    largest = logs.max(axis=1, keepdims=True)
    return (largest + np.log(np.exp(logs - largest).sum(axis=1, keepdims=True)))[:, 0]


def score(x: np.ndarray, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """(N, D) gradient of log_density in x: Σ_k r_k(x) Σ_k⁻¹(μ_k − x)."""
    gap = x[:, None, :] - means
    precision = np.linalg.inv(covariances)
    pull = -np.einsum("kde,nke->nkd", precision, gap)
    logs = np.log(weights) - 0.5 * np.linalg.slogdet(covariances)[1] + 0.5 * np.einsum("nkd,nkd->nk", gap, pull)
    r = np.exp(logs - logs.max(axis=1, keepdims=True))
    r /= r.sum(axis=1, keepdims=True)
    return np.einsum("nk,nkd->nd", r, pull)


def gradient(
    parameters: np.ndarray,
    noise: np.ndarray,
    component: np.ndarray,
    target_means: np.ndarray,
    target_variance: float,
    direction: np.ndarray | None,
) -> np.ndarray:
    """(5, K) path derivative of Σ_k mean_{z_n=k}[log p(x_n) − log q(x_n)] / K, x_n = μ_z + L_z ε_n.

    noise: (N, 2) ε. component: (N,) z. target_means: (M, 2). direction: (2,) unit vector a, whose marginal
    of aᵀx is matched, or None for the joint. p's own parameters are constant inside log p (method: §4.1).
    """
    means, lower = factors(parameters)
    x = means[component] + np.einsum("nde,ne->nd", lower[component], noise)
    covariances = lower @ np.transpose(lower, (0, 2, 1))
    frame = np.eye(2) if direction is None else np.asarray(direction, dtype=np.float64)[None, :]
    own = np.full(len(means), 1 / len(means))
    target = np.full(len(target_means), 1 / len(target_means))
    target_covariances = np.broadcast_to(target_variance * np.eye(2), (len(target_means), 2, 2))
    y = x @ frame.T
    gap = score(y, own, means @ frame.T, frame @ covariances @ frame.T)
    gap -= score(y, target, target_means @ frame.T, frame @ target_covariances @ frame.T)
    g = gap @ frame
    result = np.zeros((5, len(means)))
    for k in range(len(means)):
        mine = component == k
        if mine.any():
            g0, g1 = g[mine, 0].mean(), g[mine, 1].mean()
            log_0 = (g[mine, 0] * noise[mine, 0]).mean() * lower[k, 0, 0]
            log_1 = (g[mine, 1] * noise[mine, 1]).mean() * lower[k, 1, 1]
            off = (g[mine, 1] * noise[mine, 0]).mean()
            result[:, k] = np.array([g0, g1, log_0, log_1, off]) / len(means)
    return result
