"""Rows under conditions: exact masses, weights and shares against enumeration, within sampling error."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from pipeline.asking.conditions import parse_conditions
from pipeline.asking.constrained import filled_rows, new_rows
from pipeline.asking.drawing import Drawer, Sheet
from pipeline.asking.units import Units
from tests.asking.known_models import four_columns, gaussian

BAND3 = np.array([[1, 0.7, 0.5], [0.7, 1, 0.6], [0.5, 0.6, 1]])


def draw(model, codec, where, n=20_000, seed=0, candidates=8):
    units = Units(codec)
    drawer = Drawer(model, units, parse_conditions(where, units))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the effective sample, which some of these tests look at
        return new_rows(drawer, n, np.random.default_rng(seed), candidates)


def close(shares, wanted, n, what=5.0):
    """Within `what` standard errors of n independent draws, one draw at least."""
    error = np.sqrt(np.maximum(wanted * (1 - wanted), 1 / n) / n)
    assert (np.abs(shares - wanted) <= what * error).all(), (shares, wanted)


def shares_of(model, rows):
    counts = np.zeros(model.joint.shape)
    np.add.at(counts, tuple(model.choices(rows).T), 1)
    return counts / len(rows)


def test_without_conditions_rows_follow_the_joint():
    model, codec, _ = four_columns()
    drawn = draw(model, codec, [], 6000)
    close(shares_of(model, drawn.sheet.rows), model.joint, 6000)


def test_one_condition_is_exact_with_its_mass():
    model, codec, _ = four_columns()
    drawn = draw(model, codec, "age between 35 and 55 and age != 50", 6000)
    left = model.joint.copy()
    left[:, [0, 1, 2, 3, 5, 6, 7, 8]] = 0
    assert drawn.mass == pytest.approx(left.sum(), abs=1e-6)
    assert drawn.effective_sample_size == 6000
    close(shares_of(model, drawn.sheet.rows), left / left.sum(), 6000)


def test_three_conditions_follow_the_conditional_joint():
    """Sampling–importance–resampling: shares, mass and effective sample size as enumeration gives them."""
    model, codec, _ = four_columns()
    drawn = draw(model, codec, ["state in CA, New York", "age >= 30 and age <= 50", "job in a, c"], 6000)
    left = np.zeros_like(model.joint)
    kept = np.ix_([0, 2], [2, 4, 6], [0, 2], [0, 1])
    left[kept] = model.joint[kept]
    close(shares_of(model, drawn.sheet.rows), left / left.sum(), drawn.effective_sample_size / 8)
    s = model.joint[[0, 2]].sum((1, 2, 3))
    ages = model.joint[[0, 2]].sum((2, 3))[:, [2, 4, 6]]
    jobs = model.joint[[0, 2]][:, [2, 4, 6]].sum(3)[:, :, [0, 2]].sum(2)
    weight = s.sum() * (ages.sum(1) / s)[:, None] * (jobs / ages)  # of a candidate with this state and age
    chance = (s / s.sum())[:, None] * (ages / ages.sum(1, keepdims=True))  # of such a candidate
    assert (chance * weight).sum() == pytest.approx(left.sum())
    spread = np.sqrt(((chance * weight**2).sum() - left.sum() ** 2) / 48_000)
    assert abs(drawn.mass - left.sum()) < 5 * spread
    wanted = 48_000 * left.sum() ** 2 / (chance * weight**2).sum()
    assert drawn.effective_sample_size == pytest.approx(wanted, rel=0.02)


def test_a_condition_of_one_value_is_a_known_cell():
    """No weights are needed beside it: the draw stays exact."""
    model, codec, _ = four_columns()
    drawn = draw(model, codec, ["age >= 40", "state == NY"], 6000)
    left = np.zeros_like(model.joint)
    left[1, 4:] = model.joint[1, 4:]
    assert drawn.effective_sample_size == 6000
    assert drawn.mass == pytest.approx(left.sum(), abs=1e-6)
    close(shares_of(model, drawn.sheet.rows), left / left.sum(), 6000)


def test_intervals_cut_bins_by_the_share_inside():
    """x in an interval that cuts two bins: uniform inside each, every row inside, y as it is given x."""
    model, codec = gaussian(BAND3[:2, :2])
    drawn = draw(model, codec, "x between 0.3 and 0.9", 6000)
    x, y = drawn.sheet.rows.T
    assert x.min() >= np.float32(0.3) and x.max() <= np.float32(0.9)
    marginal = model.joint.sum(1)  # bins of width .25: [.25, .5], [.5, .75], [.75, 1]
    left = marginal[13:16] * [0.8, 1, 0.6]
    assert drawn.mass == pytest.approx(left.sum(), abs=1e-6)
    close(np.histogram(x, [0.25, 0.5, 0.75, 1])[0] / 6000, left / left.sum(), 6000)
    wanted = left / left.sum() @ (model.joint[13:16] / marginal[13:16, None])
    close(np.histogram(y, np.linspace(-3, 3, 25))[0] / 6000, wanted, 6000)


def test_intervals_on_three_columns():
    model, codec = gaussian(BAND3)
    drawn = draw(model, codec, ["x > 0.5", "y < 0", "z between -1 and 1"], 4000)
    left = np.zeros_like(model.joint)
    left[14:, :12, 8:16] = model.joint[14:, :12, 8:16]
    assert drawn.mass == pytest.approx(left.sum(), rel=0.05)
    rows = drawn.sheet.rows
    assert rows[:, 0].min() > 0.5 and rows[:, 1].max() < 0 and np.abs(rows[:, 2]).max() <= 1
    for axis in range(3):
        other = tuple(a for a in range(3) if a != axis)
        close(shares_of(model, rows).sum(other), left.sum(other) / left.sum(), drawn.effective_sample_size / 8)


def test_a_rare_condition_needs_no_rejection():
    """Mass .001: a thousand rows, all inside, from one question about an empty row and one a row and column."""
    model, codec = gaussian(BAND3[:2, :2], bins=60)
    model.rows_asked = 0
    drawn = draw(model, codec, "x > 2.95", 1000)
    assert drawn.mass == pytest.approx(model.joint[-1:].sum() / 2, rel=1e-3)
    assert (drawn.sheet.rows[:, 0] > 2.95).all()
    assert model.rows_asked <= 1001


def test_a_condition_without_mass_is_refused_with_the_mass():
    model, codec, _ = four_columns()
    with pytest.raises(ValueError, match="at least 1e-06 of the rows. Got a mass of 0"):
        draw(model, codec, "age between 31 and 39", 10)


def test_a_number_out_of_a_continuum_counts_as_known():
    model, codec = gaussian(BAND3[:2, :2])
    drawn = draw(model, codec, "x == 0.6", 4000)
    assert (drawn.sheet.rows[:, 0] == np.float32(0.6)).all()
    close(np.histogram(drawn.sheet.rows[:, 1], np.linspace(-3, 3, 25))[0] / 4000,
          model.joint[14] / model.joint[14].sum(), 4000)  # fmt: skip


def test_a_cell_that_must_be_missing_stays_empty_and_says_nothing():
    model, codec, _ = four_columns()
    drawn = draw(model, codec, "job is missing", 4000)
    assert np.isnan(drawn.sheet.rows[:, 2]).all()
    close(np.bincount(drawn.sheet.rows[:, 0].astype(int)) / 4000, model.joint.sum((1, 2, 3)), 4000)


def test_filled_rows_follow_their_own_known_cells():
    """Two states, both conditions on other columns: shares per row as enumeration gives them; known cells stay."""
    model, codec, _ = four_columns()
    units = Units(codec)
    where = parse_conditions(["age >= 40", "job in a, b"], units)
    sheet = Sheet.blank(8000, 4)
    sheet.rows[:, 0] = sheet.values[:, 0] = np.arange(8000) % 2
    drawn = filled_rows(Drawer(model, units, where), sheet, np.random.default_rng(0), candidates=30)
    assert (drawn.sheet.rows[:, 0] == np.arange(8000) % 2).all()
    for state in (0, 1):
        left = np.zeros_like(model.joint)
        left[state, 4:, :2] = model.joint[state, 4:, :2]
        found = shares_of(model, drawn.sheet.rows[drawn.sheet.rows[:, 0] == state])
        # of 30 candidates one is chosen: the bias of a ratio is below 1/30 of the share, the error that of 4,000 draws
        wanted = left / left.sum()
        assert (np.abs(found - wanted) <= 5 * np.sqrt(np.maximum(wanted, 1e-4) / 4000) + wanted / 30).all()
