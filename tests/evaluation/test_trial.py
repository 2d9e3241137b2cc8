"""A trial of a table: what is hidden, what is scored, and that a better method scores better."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.estimators.imputer import BigLearnImputer
from pipeline.evaluation.gap_scores import coverage, score
from pipeline.evaluation.peers import mean_fill, missforest
from pipeline.evaluation.trial import CELLS, comparable, hidden_case, trial
from pipeline.tables.errors import TableError
from pipeline.tables.inspection import inspect


def frame_of(n: int = 120) -> pd.DataFrame:
    """y follows x, side says its sign; dates, truth values and cells that are missing from the start."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=n)
    frame = pd.DataFrame({"x": x, "y": 2 * x + 0.1 * rng.normal(size=n), "side": np.where(x > 0, "right", "left")})
    frame["when"] = pd.date_range("2020-01-01", periods=n).astype(str)
    frame["yes"] = x > 0.5
    frame.loc[:9, "y"] = np.nan
    frame.loc[5:14, "side"] = None
    return frame


def test_hidden_cells_are_known_ones_and_every_row_keeps_one():
    case = hidden_case(frame_of(), seed=0, rows=60)
    assert len(case.train) == 60 and len(case.test) == 30
    for part, mask in ((case.train, case.train_mask), (case.test, case.test_mask)):
        assert not (mask & part.isna().to_numpy()).any() and 0.2 < mask.mean() < 0.4
        assert (part.notna().to_numpy() & ~mask).any(1).all()
    seen = case.seen("test")
    assert seen.isna().to_numpy()[case.test_mask].all()
    assert list(case.categorical) == [False, False, True, False, True]
    again = hidden_case(frame_of(), seed=0, rows=60)
    assert (again.test_mask == case.test_mask).all() and (
        hidden_case(frame_of(), 1, 60).test_mask != case.test_mask
    ).any()


def test_columns_become_comparable():
    frame = frame_of(20)
    found = {c.name: comparable(c, frame[c.label]) for c in inspect(frame)}
    assert (found["when"].diff().dropna() == 1).all()
    assert found["yes"].isin(["True", "False"]).all()
    assert found["side"].isna().sum() == frame["side"].isna().sum()


def test_scores_of_the_truth_and_of_the_mean():
    case = hidden_case(frame_of(), seed=0, rows=80)
    perfect = score(case, case.test, [case.test] * 3)
    assert max(perfect["rmse"], perfect["energy_score"], perfect["w1"]) < 1e-12 and perfect["accuracy"] == 1
    mean, forest = mean_fill(), missforest(0)
    for method in (mean, forest):
        method.fit(case.seen("train"))
    found = {m: score(case, m.best(case.seen("test")), m.draw(case.seen("test"), 3)) for m in (mean, forest)}
    for name in ("rmse", "energy_score", "w1"):
        assert 0 < found[forest][name] < found[mean][name]
    assert found[forest]["accuracy"] > found[mean]["accuracy"]
    assert "downstream" not in perfect and "coverage" not in found[mean]


@pytest.mark.parametrize("values", [2, 5, 10_000])
def test_coverage_of_draws_from_the_truth_is_what_chance_gives(values):
    rng = np.random.default_rng(0)
    draws, truth = (rng.integers(0, values, shape).astype(float) for shape in ((10, 20_000), 20_000))
    assert coverage(draws, truth) == pytest.approx(9 / 11, abs=0.01)
    assert coverage(draws * 0 - 1, truth) == 0
    assert coverage(3 * (draws - draws.mean()), truth - draws.mean()) > 0.83


def test_a_trial_compares_methods_on_one_case():
    found = trial(frame_of(), BigLearnImputer(steps=4, max_epochs=1, width=16, progress=False), seed=0, rows=60)
    assert list(found) == ["BigLearn", "MissForest-style", "mean, commonest", CELLS]
    assert {"cell_interval_80", "cell_log_score", "cell_log_score_marginal", "wrong_cells"} <= found[CELLS].keys()
    assert all(np.isfinite(list(scores.values())).all() for scores in found.values())
    assert {"w1", "energy_score", "rmse", "accuracy", "coverage"} <= found["BigLearn"].keys()


@pytest.mark.parametrize("frame", [frame_of(5), frame_of()[["x"]]])
def test_tables_too_small_to_try_are_refused(frame):
    with pytest.raises(TableError, match=r"A trial needs at least 10 rows and 2 columns\. Got"):
        hidden_case(frame, seed=0, rows=100)
