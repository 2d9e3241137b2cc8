"""Rules between columns: what they say, that every drawn row keeps them, and that draws are right under them."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.asking.constrained import filled_rows, new_rows
from pipeline.asking.drawing import Drawer, Sheet
from pipeline.asking.rules import Rules
from pipeline.asking.scanner import ConditionError
from pipeline.asking.units import Units
from tests.asking.known_models import four_columns, gaussian
from tests.asking.test_constrained import BAND3, close, shares_of


def gaussian_rules(*texts):
    model, codec = gaussian(BAND3)
    units = Units(codec)
    return model, units, Rules.read(list(texts), units)


def test_an_order_cuts_the_second_column_at_the_first():
    """x <= y of independent columns, x uniform on its bins: the share of each bin of y given that of x."""
    model, codec = gaussian(np.eye(2), bins=6)
    units = Units(codec)
    drawer = Drawer(model, units, rules=Rules.read(["x <= y"], units))
    drawn = new_rows(drawer, 20_000, np.random.default_rng(0)).sheet.rows
    assert (drawn[:, 0] <= drawn[:, 1]).all()
    both = (drawn[:, 0] >= -1) & (drawn[:, 0] < 0) & (drawn[:, 1] >= -1) & (drawn[:, 1] < 0)
    inside = drawn[both]  # both in one bin: the density is flat over the triangle above the diagonal
    close(np.array([(inside[:, 1] - inside[:, 0] < 0.5).mean()]), np.array([0.75]), both.sum(), 8)


@pytest.mark.parametrize("text", ["x < y", "x + y <= z", "x + y == z", "2*x - y >= z - 0.5", "x <= y <= z"])
def test_every_row_keeps_the_rule(text):
    model, units, rules = gaussian_rules(text)
    sheet = new_rows(Drawer(model, units, rules=rules), 3000, np.random.default_rng(1)).sheet
    x, y, z = sheet.values.T
    held = {
        "x < y": x < y,
        "x + y <= z": x + y <= z + 1e-6,
        "x + y == z": np.isclose(x + y, z, atol=1e-9),
        "2*x - y >= z - 0.5": 2 * x - y >= z - 0.5 - 1e-6,
        "x <= y <= z": (x <= y + 1e-6) & (y <= z + 1e-6),
    }[text]
    assert held.all() and not rules.breaks(sheet.values, sheet.rows).any()


def test_several_rules_together():
    model, units, rules = gaussian_rules("x <= y", "x + y == z", "x >= -1")
    sheet = new_rows(Drawer(model, units, rules=rules), 3000, np.random.default_rng(1)).sheet
    x, y, z = sheet.values.T
    assert (x <= y + 1e-6).all() and np.allclose(x + y, z, atol=1e-9) and (x >= -1).all()


def test_combinations_that_were_seen():
    """(state, job) seen: only pairs of the training rows, in the proportions of the cut conditionals."""
    model, codec, frame = four_columns()
    units = Units(codec)
    training = frame[~((frame["state"] == "CA") & (frame["job"] != "a"))]
    rules = Rules.read(["(state, job) seen"], units).learnt_from(codec.rows(training))
    sheet = new_rows(Drawer(model, units, rules=rules), 4000, np.random.default_rng(0)).sheet
    pairs = {tuple(p) for p in codec.rows(training)[:, [0, 2]].astype(int).tolist()}
    assert {tuple(p) for p in sheet.rows[:, [0, 2]].astype(int).tolist()} <= pairs
    assert rules.broken(units.values(codec.rows(frame)), codec.rows(frame))["(state, job) seen"].sum() == 20
    again = Rules.read(["(state, job) seen"], units, rules.combinations())
    assert not again.breaks(sheet.values, sheet.rows).any()


def test_known_cells_settle_the_last_one_and_those_that_break_a_rule_stay():
    model, units, rules = gaussian_rules("x + y == z", "x <= y")
    sheet = Sheet.blank(3, 3)
    sheet.rows[:] = sheet.values[:] = [[0.5, 1.0, np.nan], [1, 0.5, np.nan], [np.nan, 1.0, 0.5]]
    drawn = filled_rows(Drawer(model, units, rules=rules), sheet, np.random.default_rng(0)).sheet
    np.testing.assert_allclose(drawn.values, [[0.5, 1, 1.5], [1, 0.5, 1.5], [-0.5, 1, 0.5]])
    assert rules.broken(drawn.values, drawn.rows)["x <= y"].tolist() == [False, True, False]


def test_best_guesses_keep_the_rules_too():
    model, units, rules = gaussian_rules("y >= x + 1")
    sheet = Sheet.blank(50, 3)
    sheet.rows[:, 0] = sheet.values[:, 0] = np.linspace(-2, 1.5, 50)
    drawn = filled_rows(Drawer(model, units, rules=rules, best=True), sheet, np.random.default_rng(0)).sheet
    assert (drawn.values[:, 1] >= drawn.values[:, 0] + 1 - 1e-6).all()


def test_conditions_and_rules_together():
    from pipeline.asking.conditions import parse_conditions

    model, codec, frame = four_columns()
    units = Units(codec)
    rules = Rules.read(["(state, job) seen", "age < 60"], units).learnt_from(codec.rows(frame))
    drawer = Drawer(model, units, parse_conditions("state == NY", units), rules)
    drawn = new_rows(drawer, 5000, np.random.default_rng(0)).sheet.rows
    left = np.zeros_like(model.joint)
    left[1, :8] = model.joint[1, :8]
    assert (drawn[:, 0] == 1).all() and drawn[:, 1].max() < 60
    close(shares_of(model, drawn).sum((1, 2, 3)), left.sum((1, 2, 3)) / left.sum(), 5000)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age <= stat", "at character 8"),
        ("age <= state", "at character 8: 'state' holds categories"),
        ("age * age <= 3 + job", "at character"),
        ("(state) seen", "two columns at least"),
        ("(state, 3) seen", "at character 9: before 'seen'"),
        ("age + job", "at character"),
    ],
)
def test_rules_that_say_nothing_clear_are_refused_at_the_character(text, message):
    _, codec, _ = four_columns()
    with pytest.raises(ConditionError, match=message):
        Rules.read([text], Units(codec))
