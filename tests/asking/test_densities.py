"""log_density, surprise and the distributions of cells, against enumeration of models set by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import erf

from pipeline.asking.cells import cell_probabilities, deviations, means, quantiles
from pipeline.asking.density import log_density
from pipeline.asking.surprise import surprise
from tests.asking.known_models import four_columns, gaussian


def rows_of(model, n: int, seed: int = 0) -> np.ndarray:
    """(n, C) rows drawn by enumeration."""
    rng = np.random.default_rng(seed)
    index = rng.choice(model.joint.size, n, p=model.joint.ravel())
    choices = np.stack(np.unravel_index(index, model.joint.shape), 1)
    out = np.empty(choices.shape, np.float32)
    for i, token in enumerate(model.schema.tokens):
        edges = np.asarray(token.edges)
        low, high = (edges[choices[:, i]], edges[choices[:, i] + 1]) if token.binned else (choices[:, i],) * 2
        out[:, i] = low + rng.random(n) * (high - low)
    return out


ALL = np.ones(4, bool)


@pytest.mark.parametrize("orders", [1, 4])
def test_log_density_of_a_discrete_row_is_its_log_probability(orders):
    """Exact in any order, and so in a mixture of orders: the conditionals fit together."""
    model, _, _ = four_columns()
    rows = rows_of(model, 300)
    wanted = np.log(model.joint[tuple(model.choices(rows).T)])
    np.testing.assert_allclose(log_density(model, rows, ALL, ~ALL, orders), wanted, atol=1e-5)


def test_log_density_of_a_part_given_a_part_and_with_missing_cells():
    model, _, _ = four_columns()
    rows = rows_of(model, 200)
    s, a, j, k = model.choices(rows).T
    of, given = np.array([True, False, False, True]), np.array([False, True, False, False])
    wanted = np.log(model.joint.sum(2)[s, a, k] / model.joint.sum((0, 2, 3))[a])
    np.testing.assert_allclose(log_density(model, rows, of, given), wanted, atol=1e-5)
    rows[:, 2] = np.nan
    np.testing.assert_allclose(log_density(model, rows, ALL, ~ALL), np.log(model.joint.sum(2)[s, a, k]), atol=1e-5)
    rows[:] = np.nan
    assert (log_density(model, rows, ALL, ~ALL) == 0).all()


def test_log_density_of_numbers_is_in_data_units():
    """A Gaussian on bins: the log of bin probability over volume; near the true density, and summing to one."""
    correlations = np.array([[1, 0.8], [0.8, 1]])
    model, _ = gaussian(correlations, bins=60)
    rows = rows_of(model, 500)
    of = np.ones(2, bool)
    found = log_density(model, rows, of, ~of)
    x, y = model.choices(rows).T
    np.testing.assert_allclose(found, np.log(model.joint[x, y] / 0.1**2), atol=1e-5)
    true = -np.log(2 * np.pi * 0.6) - (rows[:, 0] ** 2 - 1.6 * rows[:, 0] * rows[:, 1] + rows[:, 1] ** 2) / (2 * 0.36)
    assert abs((found - true).mean()) < 0.03
    middle = np.linspace(-2.95, 2.95, 60, dtype=np.float32)
    grid = np.stack(np.meshgrid(middle, middle), -1).reshape(-1, 2)
    assert np.exp(log_density(model, grid, of, ~of)).sum() * 0.1**2 == pytest.approx(1, abs=1e-4)


def test_units_and_grids_change_the_density_by_their_logarithms():
    """Of numbers alone; on a grid an atom counts as one step, elsewhere with its probability."""
    model, _, _ = four_columns()
    rows = rows_of(model, 50)
    plain = log_density(model, rows, ALL, ~ALL)
    scale = np.array([1, 5.0, 1, 1])
    np.testing.assert_allclose(log_density(model, rows, ALL, ~ALL, scale=scale), plain)
    found = log_density(model, rows, ALL, ~ALL, scale=scale, step=np.array([0, 10.0, 0, 0]))
    np.testing.assert_allclose(found, plain - np.log(50))
    model, _ = gaussian(np.array([[1, 0.5], [0.5, 1]]))
    rows, of = rows_of(model, 50), np.ones(2, bool)
    plain = log_density(model, rows, of, ~of)
    np.testing.assert_allclose(log_density(model, rows, of, ~of, scale=np.array([5, 1])), plain - np.log(5))
    narrow = log_density(model, rows, of, ~of, step=np.array([0.5, 0.1]))  # bins are .25 wide
    np.testing.assert_allclose(narrow, plain - np.log(2))


def test_values_that_were_never_seen_are_improbable_and_the_farther_the_more():
    model, _ = gaussian(np.array([[1, 0.5], [0.5, 1]]))
    far = np.array([[2.9, 0], [3.1, 0], [5, 0], [50, 0]], np.float32)
    of = np.ones(2, bool)
    found = log_density(model, far, of, ~of)
    assert np.isfinite(found).all() and (np.diff(found) < 0).all()
    assert (np.diff(surprise(model, far)[:, 0]) > 0).all()


def test_surprise_is_minus_log_probability_less_entropy():
    model, _, _ = four_columns()
    rows = rows_of(model, 100)
    s, a, j, k = model.choices(rows).T
    p = model.joint[:, a, j, k] / model.joint[:, a, j, k].sum(0)
    entropy = -(p * np.log(np.maximum(p, 1e-300))).sum(0)
    np.testing.assert_allclose(surprise(model, rows)[:, 0], -np.log(p[s, np.arange(100)]) - entropy, atol=1e-5)
    many = surprise(model, rows_of(model, 4000, seed=1))
    assert abs(many.mean(0)).max() < 0.05  # 0 is ordinary: within 3 standard errors
    rows[:, 1] = np.nan
    assert np.isnan(surprise(model, rows)[:, 1]).all()


def test_surprise_against_the_column_is_the_log_odds_of_another_row():
    model, _, _ = four_columns()
    rows = rows_of(model, 100)
    s, a, j, k = model.choices(rows).T
    p = model.joint[:, a, j, k] / model.joint[:, a, j, k].sum(0)
    wanted = np.log(model.joint.sum((1, 2, 3))[s]) - np.log(p[s, np.arange(100)])
    np.testing.assert_allclose(surprise(model, rows, against="column")[:, 0], wanted, atol=1e-5)
    with pytest.raises(ValueError, match="'against' must be one of"):
        surprise(model, rows, against="all")


def test_distribution_of_a_cell_is_the_conditional_normal():
    """x given y of a correlation of .8: mean .8y, variance .36, quantiles; the cell itself is not read."""
    model, _ = gaussian(np.array([[1, 0.8], [0.8, 1]]), bins=60)
    y = np.linspace(-1.05, 1.05, 8)
    rows = np.stack([np.full(8, 2.5), y], 1).astype(np.float32)
    p = cell_probabilities(model, rows, 0)
    middle = np.floor(y * 10) / 10 + 0.05  # the bin of y is all that is read
    token = model.schema.tokens[0]
    np.testing.assert_allclose(means(token, p), 0.8 * middle, atol=0.01)
    np.testing.assert_allclose(deviations(token, p), 0.6, atol=0.01)
    found = quantiles(token, p, [0.05, 0.5, 0.95])
    np.testing.assert_allclose(found - 0.8 * middle[:, None], [[-0.987, 0, 0.987]] * 8, atol=0.02)
    below = 0.5 * (1 + erf((found[:, 2] - 0.8 * middle) / 0.6 / np.sqrt(2)))
    assert abs(below - 0.95).max() < 0.01


def test_equal_questions_are_asked_once():
    model, _, _ = four_columns()
    rows = np.repeat(rows_of(model, 5), 100, 0)
    model.rows_asked = 0
    log_density(model, rows, ALL, ~ALL, orders=1)
    assert model.rows_asked <= 4 * 5
