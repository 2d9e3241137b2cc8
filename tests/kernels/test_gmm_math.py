"""Elementary functions and the E-step of the Gaussian-mixture kernels against float64, scipy."""

from __future__ import annotations

import numpy as np
import pytest
from numba import njit
from scipy.special import logsumexp, softmax

from kernels.gmm import normalise_columns
from kernels.gmm import vector_math as vm
from kernels.gmm.responsibilities import exp_nonpositive


@njit
def apply(function, x, out):
    for n in range(x.size):
        out[n] = function(x[n])


@njit
def sines(x, sine, cosine):
    for n in range(x.size):
        sine[n], cosine[n] = vm.sin_cos_turns(x[n])


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
