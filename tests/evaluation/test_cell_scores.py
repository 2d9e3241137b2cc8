"""Scores of single cells: right for a model that is right, worse for one that is not; wrong cells found."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.evaluation.cell_scores import cell_scores, swapped
from tests.asking.known_models import JointTable, four_columns, gaussian
from tests.asking.test_densities import rows_of


def test_of_the_true_model_intervals_hold_what_they_say_and_the_log_score_is_the_entropy():
    model, _ = gaussian(np.array([[1, 0.8], [0.8, 1]]))
    found = cell_scores(model, rows_of(model, 1500), seed=0)
    told = found.metrics()
    for level in (50, 80, 95):
        assert told[f"cell_interval_{level}"] == pytest.approx(level / 100, abs=0.04)
    assert told["cell_place_distance"] < 0.04
    assert told["cell_log_score"] < told["cell_log_score_marginal"] - 0.4  # log 1/.6
    assert [line["level"] for line in found.levels()] == sorted(line["level"] for line in found.levels())
    assert told["wrong_cells"] > 5 * told["wrong_cells_chance"]


def test_a_model_that_is_too_sure_is_told():
    """Narrowed by half: central intervals hold less than they say, by normal shares."""
    model, _ = gaussian(np.array([[1, 0.8], [0.8, 1]]))
    sure = JointTable(model.schema, model.joint**4)
    told = cell_scores(sure, rows_of(model, 1500), seed=0).metrics()
    assert told["cell_interval_50"] < 0.35 and told["cell_interval_95"] < 0.8 and told["cell_place_distance"] > 0.1


def test_categories_are_right_as_often_as_they_say():
    model, _, _ = four_columns()
    rows = rows_of(model, 1500)
    rows[:40, 0] = np.nan
    told = cell_scores(model, rows, seed=0).metrics()
    assert told["cell_confidence"] == pytest.approx(told["cell_confidence_right"], abs=0.04)


def test_swapped_cells_are_those_that_changed():
    model, _, _ = four_columns()
    rows = rows_of(model, 1000)
    rows[0] = np.nan
    out, wrong = swapped(rows, np.random.default_rng(0))
    changed = (out != rows) & ~np.isnan(rows)
    np.testing.assert_array_equal(changed, wrong)
    assert 0.003 < wrong.mean() < 0.02 and np.isnan(out[0]).all()
