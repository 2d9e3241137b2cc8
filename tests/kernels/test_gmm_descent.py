"""Descent of Gaussian mixtures: draws, the step's gradient against autograd and the reference, bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from scipy.stats import kstest

from benchmarks import torch_gmm25
from kernels.gmm import descend, start_parameters
from kernels.gmm import descent as d
from kernels.gmm import reference as ref
from pipeline.simulation.gmm25 import AXIS, COMPONENTS, MODES, VARIANCE


@njit
def noise_of(key_normal, key_component, step, components, work, z):
    d.draw_noise(np.uint64(key_normal), np.uint64(key_component), step, components, work, z)


def close(got, wanted, tolerance: float) -> None:
    """|got − wanted| ≤ tolerance · max(1, largest |wanted|)."""
    np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * max(1.0, np.abs(wanted).max()))


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
