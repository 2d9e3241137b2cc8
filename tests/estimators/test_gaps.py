"""An imputer that models which cells are missing: gaps of drawn rows, conditions on gaps, filling, files, errors."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.utils.estimator_checks import check_estimator

from benchmarks.gap_tokens import by_hand, shares
from biglearn import BigLearnImputer
from tests.helpers.frames import mixed_frame

QUICK = {"steps": 120, "width": 24, "depth": 1, "batch_size": 64, "progress": False}
AS_DATA = "as in the data"


@pytest.fixture(scope="module", params=["network", "forest", "auto"])
def fitted(request) -> tuple[pd.DataFrame, BigLearnImputer]:
    table = by_hand(1200, 0)
    return table, BigLearnImputer(model=request.param, gaps=True, **QUICK | {"steps": 400}).fit(table)


def test_gaps_are_as_in_the_table_by_group_and_together(fitted):
    """Within 4 sampling errors of the table and of the draw, and .03 for so short a training."""
    table, imputer = fitted
    found, wanted = shares(imputer.generate(4000, missing=AS_DATA)), shares(table)
    for name, (share, n) in found.items():
        true, m = wanted[name]
        assert abs(share - true) < 4 * np.sqrt(true * (1 - true) * (1 / n + 1 / m)) + 0.03, name
    assert found["y in a"][0] > found["y in b"][0] + 0.3  # the pattern


def test_rows_are_whole_by_default_and_values_keep_their_dependence(fitted):
    table, imputer = fitted
    whole = imputer.generate(1500)
    assert not whole.isna().to_numpy().any() and (whole.dtypes == table.dtypes).all()
    drawn = imputer.generate(1500, missing=AS_DATA)
    for frame in (whole, drawn):
        means = frame.groupby("group")["y"].mean()
        assert means["a"] > means["b"] + 0.5
        assert frame[["y", "z"]].corr().iloc[0, 1] > 0.4


def test_conditions_on_gaps_tell_of_the_other_columns(fitted):
    """Rows that miss y are of group a in 79 % of the cases, and the mass is the share of such rows."""
    table, imputer = fitted
    lost = table["y"].isna()
    for missing in ("none", "as-in-the-data"):
        found = imputer.generate(1500, where="y is missing", missing=missing)
        assert found["y"].isna().all()
        assert abs((found["group"] == "a").mean() - (table["group"][lost] == "a").mean()) < 0.12
        assert abs(found.attrs["mass"] - lost.mean()) < 0.08
        assert found["z"].isna().any() == (missing != "none")
    both = imputer.generate(200, where=["y is missing", "z >= 1"], missing=AS_DATA)
    assert both["y"].isna().all() and (both["z"] >= 1).all()
    other = imputer.generate(300, where=["y is known", "group == b"], missing=AS_DATA)
    assert (other["group"] == "b").all()


def test_filling_and_questions_and_files(fitted, tmp_path):
    _, imputer = fitted
    table = by_hand(80, 5)
    filled = imputer.transform(table)
    drawn = imputer.sample(table, draws=2)
    for frame in (filled, *drawn):
        assert not frame.isna().to_numpy().any()
        assert frame.where(table.notna()).equals(table)
    assert np.isfinite(imputer.log_density(table, orders=2)).all()
    assert imputer.surprise(table).notna().equals(table.notna())
    assert list(imputer.distribution(table, "group").columns) == ["a", "b"]
    imputer.save(tmp_path / "model")
    loaded = BigLearnImputer.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.transform(table), filled)
    pd.testing.assert_frame_equal(loaded.generate(60, missing=AS_DATA), imputer.generate(60, missing=AS_DATA))


def test_density_of_whole_rows_sums_to_one():
    """Over the cells of a small table of categories, gaps not read: one density, in every order."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.choice(list("xy"), 300), "b": rng.choice(list("uvw"), 300)})
    table.loc[rng.random(300) < np.where(table["a"] == "x", 0.6, 0.1), "b"] = None
    imputer = BigLearnImputer(gaps=True, **QUICK).fit(table)
    grid = pd.DataFrame([(a, b) for a in "xy" for b in "uvw"], columns=["a", "b"])
    for orders in (1, 2):
        assert np.exp(imputer.log_density(grid, orders=orders)).sum() == pytest.approx(1, abs=1e-5)


def test_rules_are_kept_in_rows_with_gaps():
    rng = np.random.default_rng(0)
    low = rng.integers(0, 50, 300)
    table = pd.DataFrame({"low": low, "high": low + rng.integers(0, 9, 300), "c": rng.choice(list("xyz"), 300)})
    table = table.mask(rng.random(table.shape) < 0.2)
    imputer = BigLearnImputer(gaps=True, rules=["low <= high"], **QUICK).fit(table)
    drawn = imputer.generate(400, missing=AS_DATA)
    known = drawn[["low", "high"]].notna().all(axis=1)
    assert 0.4 < known.mean() < 0.9 and (drawn["low"] <= drawn["high"])[known].all()


def test_errors_say_what_is_needed():
    table = by_hand(60, 0)
    plain = BigLearnImputer(model="network", **QUICK | {"steps": 5}).fit(table)
    with pytest.raises(ValueError, match=r"gaps=False; fit BigLearnImputer\(gaps=True\), or `biglearn fit"):
        plain.generate(5, missing=AS_DATA)
    with pytest.raises(ValueError, match="'missing' must be 'none' or 'as in the data'. Got 'yes'"):
        plain.generate(5, missing="yes")
    whole = BigLearnImputer(model="network", gaps=True, **QUICK | {"steps": 5}).fit(table.dropna())
    assert not whole.generate(20, missing=AS_DATA).isna().to_numpy().any()  # as in the data: no gaps


def test_frames_of_many_kinds_and_scikit_learn():
    frame = mixed_frame(120)
    imputer = BigLearnImputer(model="network", gaps=True, **QUICK | {"steps": 10}).fit(frame)
    drawn = imputer.generate(50, missing=AS_DATA)
    assert list(drawn.columns) == list(frame.columns) and drawn.isna().to_numpy().any()
    tiny = BigLearnImputer(model="network", gaps=True, **QUICK | {"steps": 2, "width": 8, "batch_size": 16})
    check_estimator(tiny, on_skip=None)
