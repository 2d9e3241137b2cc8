"""Loss surfaces of the two-component mixture of the paper's §3.3, by Gauss–Hermite quadrature.

q = ½N((−1, 0), v·I) + ½N((1, 0), v·I); p the same with free first coordinates μ₁, μ₂. Every rotated
marginal or conditional of either is a one-dimensional two-component mixture of variance v, so each task's
KL(p‖q) is one sum over 2·H nodes. The joint KL equals the marginal at angle 0: the second coordinate is
the same N(0, v) on both sides. Float64. Legend: G grid points an axis, H nodes, A tasks.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

_fast = {"cache": True, "fastmath": {"contract"}, "error_model": "numpy"}


@njit(inline="always", **_fast)
def _softplus(x):
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


@njit(inline="always", **_fast)
def _expected_log_ratio(centre, spread, p_slope, p_offset, q_slope, q_offset, slope, offset, nodes, weights):
    """E[slope·y + offset + softplus(p_slope·y + p_offset) − softplus(q_slope·y + q_offset)], y ~ N(centre, spread²)."""
    total = 0.0
    for h in range(nodes.size):
        y = centre + spread * nodes[h]
        gap = _softplus(p_slope * y + p_offset) - _softplus(q_slope * y + q_offset)
        total += weights[h] * (slope * y + offset + gap)
    return total


@njit(**_fast)
def task_divergence(first, second, cosine, sine, given, conditional, variance, nodes, weights):
    """KL(p‖q) in nats of one task at μ₁ = first, μ₂ = second.

    The plane is rotated: y₁ = cosine·x₁ + sine·x₂, y₂ = −sine·x₁ + cosine·x₂. The task is the marginal of y₁,
    or, if conditional, y₁ given y₂ = given. With the second component as reference,
    log p(y) = log w₂ + log N(y; m₂, v) + softplus(log-odds(y)), and the log-odds are linear in y.
    """
    p1, p2, q1, q2 = cosine * first, cosine * second, -cosine, cosine
    p_odds, q_odds = 0.0, 0.0  # log w₁/w₂ of the conditional mixtures
    if conditional:
        s1, s2 = -sine * first, -sine * second
        p_odds = (given * (s1 - s2) - 0.5 * (s1 * s1 - s2 * s2)) / variance
        q_odds = 2.0 * given * sine / variance
    p_slope, q_slope = (p1 - p2) / variance, (q1 - q2) / variance
    p_offset = p_odds - 0.5 * (p1 * p1 - p2 * p2) / variance
    q_offset = q_odds - 0.5 * (q1 * q1 - q2 * q2) / variance
    p_log_second, q_log_second = -_softplus(p_odds), -_softplus(q_odds)
    slope = (p2 - q2) / variance
    offset = p_log_second - q_log_second - 0.5 * (p2 * p2 - q2 * q2) / variance
    spread = math.sqrt(variance)
    share = math.exp(p_log_second)
    a = _expected_log_ratio(p1, spread, p_slope, p_offset, q_slope, q_offset, slope, offset, nodes, weights)
    b = _expected_log_ratio(p2, spread, p_slope, p_offset, q_slope, q_offset, slope, offset, nodes, weights)
    return (1.0 - share) * a + share * b


@njit(**_fast)
def mean_divergence(first, second, tasks, variance, nodes, weights):
    """Mean over tasks (A, 4) — rows cosine, sine, given, conditional (0 or 1) — of task_divergence."""
    total = 0.0
    for a in range(tasks.shape[0]):
        cosine, sine, given = tasks[a, 0], tasks[a, 1], tasks[a, 2]
        total += task_divergence(first, second, cosine, sine, given, tasks[a, 3] != 0.0, variance, nodes, weights)
    return total / tasks.shape[0]


@njit(nogil=True, **_fast)
def surface(axis, tasks, variance, nodes, weights):
    """(A, G, G) KL(p‖q) of every task at μ₁ = axis[i], μ₂ = axis[j].

    Exchanging the components leaves p unchanged, so half of each surface is computed and mirrored.
    """
    values = np.empty((tasks.shape[0], axis.size, axis.size))
    for a in range(tasks.shape[0]):
        conditional = tasks[a, 3] != 0.0
        for i in range(axis.size):
            for j in range(i + 1):
                values[a, i, j] = task_divergence(
                    axis[i], axis[j], tasks[a, 0], tasks[a, 1], tasks[a, 2], conditional, variance, nodes, weights
                )
                values[a, j, i] = values[a, i, j]
    return values
