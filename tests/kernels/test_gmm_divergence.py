"""Divergences of Gaussian mixtures and their surfaces against closed forms, Monte Carlo and the trapezoid rule."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.gmm import kl_divergence_2d, mean_divergence, standard_normal_nodes, surface, task_divergence
from kernels.gmm import reference as ref

NODES = standard_normal_nodes(48)


def mixture(seed: int, components: int):
    random = np.random.default_rng(seed)
    weights = random.dirichlet(np.ones(components))
    lower = np.exp(random.normal(-0.3, 0.3, (components, 3)))
    lower[:, 1] = random.normal(0, 0.4, components)
    return np.log(weights), random.normal(0, 1.5, (components, 2)), lower


def covariance_of(factors: np.ndarray) -> np.ndarray:
    lower = np.zeros((len(factors), 2, 2))
    lower[:, 0, 0], lower[:, 1, 0], lower[:, 1, 1] = factors.T
    return lower @ lower.transpose(0, 2, 1)


def test_nodes_integrate_polynomials_exactly():
    nodes, weights = standard_normal_nodes(8)
    moments = [(weights * nodes**degree).sum() for degree in range(9)]
    np.testing.assert_allclose(moments, [1, 0, 1, 0, 3, 0, 15, 0, 105], atol=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_divergence_of_two_gaussians_is_the_closed_form(seed):
    p, q = mixture(seed, 1), mixture(seed + 50, 1)
    s_p, s_q, gap = covariance_of(p[2])[0], covariance_of(q[2])[0], (q[1] - p[1])[0]
    inverse = np.linalg.inv(s_q)
    wanted = 0.5 * (
        np.trace(inverse @ s_p) + gap @ inverse @ gap - 2 + np.linalg.slogdet(s_q)[1] - np.linalg.slogdet(s_p)[1]
    )
    assert abs(kl_divergence_2d(*p, *q, *NODES) - wanted) < 1e-9 * max(1, wanted)
    assert abs(kl_divergence_2d(*p, *p, *NODES)) < 1e-12


@pytest.mark.parametrize("seed", range(3))
def test_divergence_of_two_mixtures_agrees_with_monte_carlo(seed):
    p, q = mixture(seed, 4), mixture(seed + 50, 3)
    random = np.random.default_rng(seed)
    z = random.choice(4, size=200_000, p=np.exp(p[0]) / np.exp(p[0]).sum())
    lower = np.linalg.cholesky(covariance_of(p[2]))
    x = p[1][z] + np.einsum("nij,nj->ni", lower[z], random.standard_normal((len(z), 2)))
    gaps = ref.log_density(x, np.exp(p[0]), p[1], covariance_of(p[2])) - ref.log_density(
        x, np.exp(q[0]), q[1], covariance_of(q[2])
    )
    error = gaps.std() / math.sqrt(len(gaps))
    assert abs(kl_divergence_2d(*p, *q, *NODES) - gaps.mean()) < 4 * error


def density_1d(y, first, second, cosine, sine, given, conditional, variance):
    """(n,) density of one task's y₁, from the plane's joint density."""
    value = np.zeros_like(y)
    total = 0.0
    for mean in (first, second):
        weight = math.exp(-0.5 * (given + sine * mean) ** 2 / variance) if conditional else 1.0
        value += weight * np.exp(-0.5 * (y - cosine * mean) ** 2 / variance)
        total += weight
    return value / (total * math.sqrt(2 * math.pi * variance))


@given(
    st.floats(-2, 2),
    st.floats(-2, 2),
    st.floats(-180, 180),
    st.floats(-1.5, 1.5),
    st.booleans(),
    st.sampled_from([0.05, 0.1, 0.5]),
)
@settings(deadline=None, max_examples=60)
def test_task_divergence_agrees_with_the_trapezoid_rule(first, second, degrees, given_y, conditional, variance):
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    y = np.linspace(-6, 6, 20_001)
    task = (cosine, sine, given_y, conditional, variance)
    p, q = density_1d(y, first, second, *task), density_1d(y, -1.0, 1.0, *task)
    wanted = np.trapezoid(p * (np.log(np.maximum(p, 1e-300)) - np.log(np.maximum(q, 1e-300))), y)
    got = task_divergence(first, second, cosine, sine, given_y, conditional, variance, *standard_normal_nodes(64))
    assert abs(got - wanted) < 2e-3 * max(1.0, wanted)


def test_joint_divergence_is_the_marginal_at_angle_zero():
    scale = math.sqrt(0.1)
    shape = np.tile([scale, 0.0, scale], (2, 1))
    half = np.full(2, math.log(0.5))
    for first, second in ((-1.2, -0.7), (0.3, 0.9), (-1.0, 1.0)):
        p = half, np.array([[first, 0.0], [second, 0.0]]), shape
        q = half, np.array([[-1.0, 0.0], [1.0, 0.0]]), shape
        plane = kl_divergence_2d(*p, *q, *NODES)
        line = task_divergence(first, second, 1.0, 0.0, 0.0, False, 0.1, *NODES)
        assert abs(plane - line) < 1e-10


def test_a_surface_is_its_tasks_and_symmetric():
    tasks = np.array([[1.0, 0.0, 0.0, 0.0], [0.6, 0.8, 0.5, 1.0]])
    axis = np.linspace(-2, 2, 7)
    values = surface(axis, tasks, 0.1, *NODES)
    np.testing.assert_array_equal(values, values.transpose(0, 2, 1))
    mean = mean_divergence(axis[1], axis[5], tasks, 0.1, *NODES)
    np.testing.assert_allclose(values[:, 5, 1].mean(), mean, rtol=1e-12)
