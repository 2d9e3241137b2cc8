"""Kullback–Leibler divergences between Gaussian mixtures by Gauss–Hermite quadrature: no Monte-Carlo noise.

KL(p‖q) = Σ_k w_k E_{p_k}[log p − log q], and each expectation is a Gauss–Hermite sum over p_k's own nodes.
Float64 throughout. Legend: K, M components of p, q; H nodes an axis; G points of a surface's axis.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_LOG_2PI = math.log(2 * math.pi)


def standard_normal_nodes(count: int) -> tuple[np.ndarray, np.ndarray]:
    """(nodes, weights), each (count,): Σ weights·f(nodes) ≈ E f(N(0, 1)), exact for degree ≤ 2·count − 1."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(count)
    return nodes, weights / weights.sum()


@njit(cache=True, error_model="numpy", inline="always")
def _log_mixture_2d(x0, x1, log_weights, means, factors, work):
    """log Σ_k w_k N((x0, x1); μ_k, L_k L_kᵀ); log_weights (K,), means (K, 2), factors (K, 3) = L₀₀, L₁₀, L₁₁."""
    largest = -np.inf
    for k in range(log_weights.size):
        y0 = (x0 - means[k, 0]) / factors[k, 0]
        y1 = (x1 - means[k, 1] - factors[k, 1] * y0) / factors[k, 2]
        work[k] = log_weights[k] - math.log(factors[k, 0] * factors[k, 2]) - 0.5 * (y0 * y0 + y1 * y1)
        largest = max(largest, work[k])
    total = 0.0
    for k in range(log_weights.size):
        if work[k] > largest - 40.0:  # e⁻⁴⁰ is below the rounding of the sum
            total += math.exp(work[k] - largest)
    return largest + math.log(total) - _LOG_2PI


@njit(cache=True, nogil=True, error_model="numpy")
def kl_divergence_2d(log_weights_p, means_p, factors_p, log_weights_q, means_q, factors_q, nodes, weights):
    """KL(p‖q) in nats of two mixtures in the plane.

    log_weights (K,), means (K, 2), factors (K, 3): L₀₀, L₁₀, L₁₁ of Σ = L Lᵀ. nodes, weights: (H,), of
    standard_normal_nodes; H² points a component of p.
    """
    work_p, work_q = np.empty(log_weights_p.size), np.empty(log_weights_q.size)
    divergence = 0.0
    for k in range(log_weights_p.size):
        inner = 0.0
        for i in range(nodes.size):
            for j in range(nodes.size):
                x0 = means_p[k, 0] + factors_p[k, 0] * nodes[i]
                x1 = means_p[k, 1] + factors_p[k, 1] * nodes[i] + factors_p[k, 2] * nodes[j]
                log_p = _log_mixture_2d(x0, x1, log_weights_p, means_p, factors_p, work_p)
                log_q = _log_mixture_2d(x0, x1, log_weights_q, means_q, factors_q, work_q)
                inner += weights[i] * weights[j] * (log_p - log_q)
        divergence += math.exp(log_weights_p[k]) * inner
    return divergence
