"""The language of conditions: what it reads, on every kind of column, and errors at the character."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.asking.conditions import parse_conditions
from pipeline.asking.rules import Rules
from pipeline.asking.scanner import ConditionError
from pipeline.asking.units import Units
from pipeline.base.data_groups import TableParams
from pipeline.tables.codec import fit_codec
from pipeline.tables.describing import Wishes

FRAME = pd.DataFrame({
    "born": pd.date_range("2020-01-01", periods=120, freq="D"),
    "seen at": pd.date_range("2021-01-01", periods=120, freq="7h"),
    "age": np.arange(120) % 60,
    "weight (kg)": np.linspace(50, 110, 120),
    "marital-status": np.tile(["Never-married", "Married-civ-spouse", "New York", "it's"], 30),
    "50K": np.tile(["<=50K", ">50K"], 60),
    "smoker": np.tile([True, False, True], 40),
    "zip": np.tile(["01", "02"], 60),
})  # fmt: skip
CODEC = fit_codec(FRAME, TableParams(), Wishes(kinds={"zip": "category"}))
UNITS = Units(CODEC)
ROWS = CODEC.rows(FRAME)


def held(text: str) -> np.ndarray:
    """(N,) bool: rows of the table that the condition holds for."""
    out = np.ones(len(FRAME), bool)
    for name, allowed in parse_conditions(text, UNITS).items():
        out &= allowed.holds(ROWS[:, UNITS[name].column])
    return out


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("age >= 30", FRAME["age"] >= 30),
        ("30 <= age < 40", FRAME["age"].between(30, 39)),
        ("40 > age", FRAME["age"] < 40),
        ("age > 29.5 and age < 30.5", FRAME["age"] == 30),
        ("not (age > 10 and age < 50)", ~FRAME["age"].between(11, 49)),
        ("age < 5 or age > 55 or age == 30", (FRAME["age"] < 5) | (FRAME["age"] > 55) | (FRAME["age"] == 30)),
        ("age not in 1, 2, 3", ~FRAME["age"].isin([1, 2, 3])),
        ("age != 7", FRAME["age"] != 7),
        ("weight (kg) between 60 and 70.5", FRAME["weight (kg)"].between(60, 70.5)),
        ("`weight (kg)` < 6e1", FRAME["weight (kg)"] < 60),
        ("born >= 2020-02-01", FRAME["born"] >= "2020-02-01"),
        ("born between 2020-02-01 and 2020-02-29", FRAME["born"].between("2020-02-01", "2020-02-29")),
        ("born == '2020-03-01'", FRAME["born"] == "2020-03-01"),
        ("seen at < 2021-01-05 12:00", FRAME["seen at"] < "2021-01-05 12:00"),
        ("seen at >= 2021-01-05T12:00:00", FRAME["seen at"] >= "2021-01-05 12:00"),
        ("marital-status == Never-married", FRAME["marital-status"] == "Never-married"),
        ("marital-status in New York, Married-civ-spouse and age > 3",
         FRAME["marital-status"].isin(["New York", "Married-civ-spouse"]) & (FRAME["age"] > 3)),
        ("marital-status in ['New York', \"it's\"]", FRAME["marital-status"].isin(["New York", "it's"])),
        ("50K = '>50K'", FRAME["50K"] == ">50K"),
        ("smoker", FRAME["smoker"]),
        ("not smoker and age > 3", ~FRAME["smoker"] & (FRAME["age"] > 3)),
        ("smoker == false", ~FRAME["smoker"]),
        ("zip in 01", FRAME["zip"] == "01"),
        ("age is known", FRAME["age"] >= 0),
        ("age is not missing", FRAME["age"] >= 0),
        ("age is missing", FRAME["age"] < 0),
    ],
)  # fmt: skip
def test_what_is_read_is_what_pandas_says(text, wanted):
    np.testing.assert_array_equal(held(text), wanted.to_numpy())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("agee >= 3", "at character 1: there must be a column"),
        ("age >= x7", "at character 8: Column 'age' must hold numbers"),
        ("born >= yesterday", "at character 9: Column 'born' must hold dates"),
        ("age >= 3 or smoker", "'or' must stay within one column"),
        ("not (age > 3 and smoker)", "'not' must stay within one column"),
        ("marital-status == Widowed", "at character 19: .*must hold one of 'Married-civ-spouse'"),
        ("marital-status < New York", "at character 18: .*is a category"),
        ("age <= weight (kg)", "at character 8: two columns are compared by a rule"),
        ("age ; smoker", "at character 5"),
        ("age.real > 3", "at character 4"),
        ("age > 3 and", "at character 12"),
        ("(age > 3", "at character"),
        ("age between 3 or 4", "after 'between'"),
        ("age is tall", "at character 8: after 'is'"),
        ("age is missing or age > 3", "'is missing' cannot be combined"),
        ("age > 3 and age < 2", "Together they leave none"),
        ("__import__('os').system('true')", "at character"),
        ("age > (lambda: 3)()", "at character"),
        ("", "at character 1"),
    ],
)
def test_errors_point_at_the_character(text, message):
    with pytest.raises(ConditionError, match=message) as error:
        parse_conditions(text, UNITS)
    assert "\n" not in str(error.value)


PARTS = st.sampled_from(
    ["age", "born", "smoker", "and", "or", "not", "in", "between", "is", "missing", "(", ")", "[", ",", "==", "<", "-", "3", "'x", "2020-01-01", "`", "é", "\n", "*", "seen"]
)  # fmt: skip


@given(st.lists(PARTS, max_size=9).map(" ".join))
@settings(deadline=None, max_examples=150)
def test_any_text_is_read_or_refused_in_words(text):
    for read in (lambda: parse_conditions(text, UNITS), lambda: Rules.read([text], UNITS)):
        try:
            read()
        except ConditionError as error:
            assert str(error)


def test_rules_on_dates_and_durations():
    rules = Rules.read(["born + 30 days <= seen at", "seen at - born < 400"], UNITS)
    broken = rules.broken(UNITS.exact(FRAME), ROWS)
    gap = FRAME["seen at"] - FRAME["born"]
    np.testing.assert_array_equal(broken["born + 30 days <= seen at"], gap < pd.Timedelta("30 days"))
    np.testing.assert_array_equal(broken["seen at - born < 400"], gap >= pd.Timedelta("400 days"))
