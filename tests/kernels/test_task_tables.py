"""Tables that draws are looked up in, against scipy: Beta quantiles, binomials, aliases."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import betainc

from kernels.task_sampling.beta import CELLS, beta_cdf, beta_quantiles
from kernels.task_sampling.tables import alias_table, binomial_cdf, compile_spec
from tests.helpers.task_specs import make_spec


@settings(deadline=None, max_examples=60)
@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.floats(0.0, 1.0))
def test_beta_cdf_equals_scipy(a, b, x):
    assert abs(beta_cdf(a, b, x) - betainc(a, b, x)) < 1e-11


@pytest.mark.parametrize(("a", "b"), [(1, 1), (3, 0.5), (0.5, 3), (1e-3, 1e-3), (1e3, 1e3), (1e-3, 10), (0.5, 0.5)])
def test_quantile_table_stays_within_its_bound(a, b):
    """The distribution of an interpolated draw differs from Beta's by less than 1 / CELLS (Kolmogorov–Smirnov)."""
    table = beta_quantiles(float(a), float(b))
    assert (np.diff(table) >= 0).all() and table[0] == 0 and table[-1] == 1
    draws = np.interp((np.arange(16 * CELLS) + 0.5) / (16 * CELLS), np.arange(CELLS + 1) / CELLS, table)
    x = np.geomspace(1e-9, 0.5, 500)
    x = np.r_[x, 1 - x]
    ours = np.searchsorted(draws, x, side="right") / len(draws)
    assert np.abs(ours - betainc(a, b, x)).max() < (1 + 1 / 16) / CELLS


@pytest.mark.parametrize(("n", "p"), [(1, 0.3), (17, 0.5), (1025, 0.3), (1025, 0.999), (50, 0.0), (50, 1.0)])
def test_binomial_cdf_equals_scipy(n, p):
    np.testing.assert_allclose(binomial_cdf(n, p), stats.binom.cdf(np.arange(n + 1), n, p), atol=1e-11)


@settings(deadline=None)
@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=40))
def test_alias_table_restores_the_probabilities(weights):
    limit, alias = alias_table(np.array(weights))
    share = limit.astype(np.float64) / 2**32
    restored = share + np.bincount(alias, weights=1 - share, minlength=len(weights))
    np.testing.assert_allclose(restored / len(weights), np.array(weights) / sum(weights), atol=1e-9)


def test_compiled_tables_are_kept_per_specification():
    spec = make_spec(2, 2)
    assert compile_spec(spec) is compile_spec(spec)
