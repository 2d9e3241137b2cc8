"""Gaussian-mixture kernels against float64 references, autograd, closed forms, Monte Carlo and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from scipy.special import logsumexp, softmax
from scipy.stats import kstest

from benchmarks import torch_gmm25
from kernels.gmm import (
    descend,
    kl_divergence_2d,
    mean_divergence,
    normalise_columns,
    standard_normal_nodes,
    start_parameters,
    surface,
    task_divergence,
)
from kernels.gmm import descent as d
from kernels.gmm import reference as ref
from kernels.gmm import vector_math as vm
from kernels.gmm.responsibilities import exp_nonpositive
from pipeline.simulation.gmm25 import AXIS, COMPONENTS, MODES, VARIANCE

NODES = standard_normal_nodes(48)


@njit
def apply(function, x, out):
    for n in range(x.size):
        out[n] = function(x[n])


@njit
def sines(x, sine, cosine):
    for n in range(x.size):
        sine[n], cosine[n] = vm.sin_cos_turns(x[n])


@njit
def noise_of(key_normal, key_component, step, components, work, z):
    d.draw_noise(np.uint64(key_normal), np.uint64(key_component), step, components, work, z)


def close(got, wanted, tolerance: float) -> None:
    """|got − wanted| ≤ tolerance · max(1, largest |wanted|)."""
    np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * max(1.0, np.abs(wanted).max()))


# Elementary functions


def test_exponential_error_and_floor():
    x = np.linspace(-126, 127, 200_001, dtype=np.float32)
    out = np.empty_like(x)
    apply(vm.exp2, x, out)
    assert np.abs(out / np.exp2(x.astype(np.float64)) - 1).max() < 2.2e-7
    low = np.array([-1e4, -np.inf, np.nan], np.float32)
    apply(vm.exp2, low, out[:3])
    assert out[0] == out[1] and abs(out[0] * 2.0**126 - 1) < 2.2e-7 and np.isnan(out[2])


def test_logarithm_error():
    x = np.exp(np.linspace(-80, 80, 100_001)).astype(np.float32)
    out = np.empty_like(x)
    apply(vm.log, x, out)
    exact = np.log(x.astype(np.float64))
    assert (np.abs(out - exact) / np.maximum(1, np.abs(exact))).max() < 1e-7


def test_sine_and_cosine_error():
    x = np.linspace(-0.5, 0.5, 100_001, dtype=np.float32)
    sine, cosine = np.empty_like(x), np.empty_like(x)
    sines(x, sine, cosine)
    turn = 2 * np.pi * x.astype(np.float64)
    assert max(np.abs(sine - np.sin(turn)).max(), np.abs(cosine - np.cos(turn)).max()) < 7e-7


def test_float64_exponential_error():
    x = np.linspace(-708, 0, 100_001)
    out = np.empty_like(x)
    apply(exp_nonpositive, x, out)
    assert np.abs(out / np.exp(x) - 1).max() < 4e-16


# Random draws


def noise(step: int, size: int = 4096, keys=(11, 12)) -> tuple[np.ndarray, np.ndarray]:
    work, z = np.zeros((d.SAMPLE_ROWS, size), np.float32), np.zeros(size, np.int32)
    noise_of(*keys, step, COMPONENTS, work, z)
    return work[2:4], z


def test_draws_have_the_declared_distributions():
    pairs, components = zip(*(noise(step) for step in range(25)), strict=True)
    normal = np.concatenate(pairs, axis=1).astype(np.float64)
    for row in normal:
        assert kstest(row, "norm").pvalue > 1e-3
    assert abs(np.corrcoef(normal)[0, 1]) < 0.01 and abs(np.corrcoef(normal[0, 1:], normal[0, :-1])[0, 1]) < 0.01
    counts = np.bincount(np.concatenate(components), minlength=COMPONENTS)
    expected = counts.sum() / COMPONENTS
    assert len(counts) == COMPONENTS and ((counts - expected) ** 2 / expected).sum() < 55  # χ²₂₄, p ≈ 3e-4


def test_draws_depend_on_key_and_step_alone():
    first, again, other, keyed = noise(3), noise(3), noise(4), noise(3, keys=(11, 13))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[0], keyed[0])
    assert not np.array_equal(first[0], other[0]) and not np.array_equal(first[1], keyed[1])


# The step's gradient

STATES = {
    "start": start_parameters(0, COMPONENTS, np.float32(-5), np.float32(0.1)),
    "target": np.concatenate([MODES.T, np.full((2, COMPONENTS), 0.5 * math.log(VARIANCE)), np.zeros((1, COMPONENTS))]),
    "spread": np.random.default_rng(0).normal(0, [[4], [4], [0.5], [0.5], [0.5]], (5, COMPONENTS)),
    "thin": np.random.default_rng(1).normal(
        [[0], [0], [-2.5], [0.5], [0]], [[3], [3], [0.3], [0.3], [1.0]], (5, COMPONENTS)
    ),
}
DIRECTIONS = {"joint": None, "axis": (1.0, 0.0), "oblique": (0.6, -0.8)}


def kernel_gradient(parameters, pairs, z, direction) -> np.ndarray:
    """(5, K) gradient of the kernel for N samples, padded as `descend` pads them."""
    samples, padded = len(z), -(-len(z) // d.LANES) * d.LANES
    work, filled = np.zeros((d.SAMPLE_ROWS, padded), np.float32), np.zeros(padded, np.int32)
    work[2:4, :samples], filled[:samples] = pairs.T, z
    comp = np.zeros((d.COMPONENT_ROWS, COMPONENTS), np.float32)
    total = np.zeros((COMPONENTS, d.ACCUMULATOR_COLUMNS), np.float32)
    gradient = np.zeros((5, COMPONENTS), np.float32)
    a0, a1 = direction or (0.0, 0.0)
    d.add_gradient(
        parameters.astype(np.float32),
        AXIS.astype(np.float32),
        np.float32(1 / VARIANCE),
        direction is None,
        np.float32(a0),
        np.float32(a1),
        samples,
        filled,
        work,
        comp,
        total,
        gradient,
    )
    return gradient


def draws(samples: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    return random.standard_normal((samples, 2)).astype(np.float32), random.integers(COMPONENTS, size=samples)


def autograd(parameters, pairs, z, direction, log_ratio) -> np.ndarray:
    model = torch_gmm25.Model(torch.tensor(parameters, dtype=torch.float64))
    turn = None if direction is None else torch.tensor(direction, dtype=torch.float64)
    torch_gmm25.backward(model, log_ratio, torch.tensor(pairs, dtype=torch.float64), torch.tensor(z), turn)
    return model.gradient().numpy()


@pytest.mark.parametrize("direction", DIRECTIONS.values(), ids=DIRECTIONS)
@pytest.mark.parametrize("state", STATES.values(), ids=STATES)
@pytest.mark.parametrize("log_ratio", [torch_gmm25.written_out, torch_gmm25.distributions])
def test_gradient_equals_autograd(state, direction, log_ratio):
    state = state.astype(np.float32)
    pairs, z = draws(100)
    wanted = autograd(state, pairs, z, direction, log_ratio)
    close(kernel_gradient(state, pairs, z, direction), wanted, 1e-5)
    close(ref.gradient(state, pairs, z, MODES, VARIANCE, direction), wanted, 1e-10)


@given(st.integers(1, 300), st.sampled_from(sorted(STATES)), st.sampled_from(sorted(DIRECTIONS)), st.integers(0, 99))
@settings(deadline=None, max_examples=60)
def test_gradient_equals_the_reference_at_any_sample_count(samples, state, direction, seed):
    parameters = STATES[state].astype(np.float32)
    pairs, z = draws(samples, seed)
    wanted = ref.gradient(parameters, pairs, z, MODES, VARIANCE, DIRECTIONS[direction])
    close(kernel_gradient(parameters, pairs, z, DIRECTIONS[direction]), wanted, 1e-5)


def test_gradient_vanishes_at_the_optimum_for_every_draw():
    """The path derivative has no variance where p = q: why the tuned schedule ends at a divergence of 1e-12."""
    for seed in range(5):
        for direction in DIRECTIONS.values():
            got = kernel_gradient(STATES["target"], *draws(100, seed), direction)
            assert np.abs(got).max() < 1e-4


def test_a_component_far_from_every_mode_is_pulled_back():
    far = STATES["target"].copy()
    far[:2, 7] = 500.0, -300.0
    pairs, z = draws(100)
    for direction in DIRECTIONS.values():
        got = kernel_gradient(far, pairs, z, direction)
        close(got, ref.gradient(far, pairs, z, MODES, VARIANCE, direction), 1e-5)


# Descent


def descent(
    first: int, last: int, parameters=None, seed: int = 1, lr: float = 0.3, bounds=(4.0, -3.0, 7.0), samples=100
):
    parameters = (
        start_parameters(seed, COMPONENTS, np.float32(-5), np.float32(0.1)) if parameters is None else parameters
    )
    rates, joint = np.full(50, lr, np.float32), np.full(50, 0.3, np.float32)
    counts = descend(
        parameters,
        seed,
        rates,
        joint,
        first,
        last,
        10,
        samples,
        AXIS.astype(np.float32),
        np.float32(1 / VARIANCE),
        np.array(bounds, np.float32),
    )
    return parameters, counts


def test_any_split_of_the_iterations_gives_the_same_result():
    whole, counts = descent(0, 50)
    parameters, total = None, np.zeros(2, int)
    for first, last in ((0, 1), (1, 1), (1, 17), (17, 50)):
        parameters, part = descent(first, last, parameters)
        total += part
    np.testing.assert_array_equal(whole, parameters)
    assert tuple(total) == counts and 5 <= counts[1] <= 25


def test_a_step_is_the_gradient_of_its_draws():
    start, _ = descent(0, 0)
    moved, _ = descent(0, 1, lr=1e-3)
    np.testing.assert_array_less(np.abs(moved - start), 10 * 1e-3 * 4.0 + 1e-6)
    assert np.abs(moved - start).max() > 1e-4


def test_seeds_differ():
    assert not np.array_equal(descent(0, 5, seed=1)[0], descent(0, 5, seed=2)[0])


def test_bounds_hold_and_are_counted():
    parameters, counts = descent(0, 50, lr=2.0, bounds=(20.0, math.log(0.05), 1.0))
    assert np.isfinite(parameters).all() and counts[0] > 0
    assert parameters[2:4].min() >= np.float32(math.log(0.05)) and parameters[2:4].max() <= 1.0


def test_without_bounds_the_same_settings_diverge():
    parameters, _ = descent(0, 50, lr=2.0, bounds=(math.inf, -math.inf, math.inf))
    assert not np.isfinite(parameters).all()


# Divergences


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


# Surfaces of the two-component mixture


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


# The E-step


@pytest.mark.parametrize("components,rows", [(1, 1), (2, 3), (25, 511), (26, 513), (7, 1500)])
def test_responsibilities_are_the_softmax(components, rows):
    logits = np.random.default_rng(rows).normal(-50, 40, (components, rows))
    shares, largest, total = logits.copy(), np.empty(rows), np.empty(rows)
    normalise_columns(shares, largest, total)
    np.testing.assert_allclose(shares, softmax(logits, axis=0), rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(largest + np.log(total), logsumexp(logits, axis=0), rtol=1e-13)


def test_a_column_of_nan_stays_nan_and_touches_no_other():
    logits = np.zeros((3, 600))
    logits[:, 5] = np.nan
    largest, total = np.empty(600), np.empty(600)
    normalise_columns(logits, largest, total)
    assert np.isnan(logits[:, 5]).all() and np.isnan(total[5])
    assert np.isfinite(np.delete(logits, 5, axis=1)).all()
