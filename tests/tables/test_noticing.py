"""What `inspect` says is odd about a column, on tables as banks and offices export them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.tables.dates import DateFormat
from pipeline.tables.inspection import inspect, table_of
from tests.helpers.credit import credit


def said(**columns: object) -> dict[str, str]:
    """Column → everything that is said of it."""
    return {c.name: "; ".join((*c.warnings, *c.notes)) for c in inspect(pd.DataFrame(columns))}


def test_a_credit_table_is_read_as_a_person_would():
    found = {c.name: c for c in inspect(credit())}
    kinds = {name: column.kind for name, column in found.items()}
    assert (
        kinds["SK_ID_CURR"] == kinds["contract"] == "id" and kinds["postcode"] == kinds["checking_status"] == "category"
    )
    assert kinds["opened"] == kinds["first_due"] == "date" and kinds["interest_pct"] == "float"
    marks = {
        "days_employed": "365243 (355 cells) stands apart and may mean a missing cell; missing={'days_employed': [365243]}",
        "income_year": "0 (237 cells) stands apart and may mean a missing cell; missing={'income_year': [0]} says so",
        "bureau_score": "-999 (320 cells) may mean a missing cell; missing={'bureau_score': [-999]} says so",
        "debt_to_income": "9.9999 (186 cells) may mean a missing cell; missing={'debt_to_income': [9.9999]} says so",
        "months_since_default": "-1 (1115 cells) may mean a missing cell; missing={'months_since_default': [-1]} says so",
        "org_type": "'XNA' (379 cells) may mean a missing cell; missing={'org_type': ['XNA']} says so",
        "first_due": "1900-01-01' (117 cells) may mean a missing cell",
    }
    for name, column in found.items():
        told = "; ".join((*column.warnings, *column.notes))
        assert marks[name] in told if name in marks else "missing cell" not in told, (name, told)
    assert "education, marriage, pay_1, pay_2, pay_3: few whole numbers in a row." in table_of(list(found.values()))


def test_what_says_none_is_believed_where_it_is_named():
    frame = credit(300)
    asked = {"income_year": [0], "first_due": ["1900-01-01"], "org_type": ["XNA"], "days_employed": [365243]}
    found = {c.name: c for c in inspect(frame, missing=asked)}
    assert found["income_year"].missing == (frame["income_year"] == 0).sum()
    assert found["first_due"].missing == (frame["first_due"] == pd.Timestamp("1900-01-01")).sum()
    assert found["org_type"].missing == (frame["org_type"] == "XNA").sum() and found["days_employed"].high < 0


@pytest.mark.parametrize(
    "cells",
    [
        np.r_[np.zeros(900), np.arange(114, 9000, 90)],  # most are 0, as gains are
        np.r_[np.zeros(20), np.arange(1, 80)],  # counts
        np.r_[np.random.default_rng(0).exponential(1000, 500), 20_000.0],  # one large value
        np.random.default_rng(0).normal(0, 1, 500),
        np.r_[np.full(30, 100), np.arange(40, 100)],  # a full mark
    ],
)
def test_values_that_are_values_are_not_taken_for_marks(cells):
    assert "missing cell" not in said(x=cells)["x"]


def test_dates_of_no_day_are_named_in_the_columns_own_format():
    days = pd.date_range("2021-01-01", periods=100).strftime("%d.%m.%Y").to_series(index=range(100))
    told = said(a=days.mask(days.index % 9 == 0, "01.01.1900"), b=days.mask(days.index % 9 == 0, "31.12.9999"), c=days)
    assert "missing={'a': ['01.01.1900']}" in told["a"] and "'31.12.9999' (12 cells)" in told["b"]
    assert told["c"] == ""


def test_codes_are_told_from_counts_of_two_and_from_named_columns():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"two": rng.integers(1, 3, 90), "code": rng.integers(0, 4, 90), "months": rng.choice([6, 12, 24], 90)}
    )
    assert "  code: few whole numbers in a row." in table_of(inspect(frame))
    assert "few whole" not in table_of(inspect(frame, kinds={"code": "category"}))


@pytest.mark.parametrize("words", ["k.A.", "Keine Angabe", "Refused", "prefer not to say", "N/D", "non renseigné"])
def test_answers_that_are_none_are_named_in_any_language(words):
    frame = pd.DataFrame({"answer": ["yes", "no", "perhaps", words] * 10})
    (column,) = inspect(frame)
    assert column.missing == 0 and any(
        f"{words!r} (10 cells) may mean a missing cell" in told for told in column.warnings
    )


ZURICH = pd.date_range("2025-03-29 20:15", periods=40, freq="h", tz="Europe/Zurich")


@pytest.mark.parametrize(
    "written",
    [
        "%Y-%m-%dT%H:%M:%S+01:00",
        "%Y-%m-%d %H:%M:%S.%f-0330",
        "%Y-%m-%d %H:%M +05",
        "%Y-%m-%d %H:%M:%S UTC",
        "%d.%m.%Y %H:%M Uhr",
        "%d.%m.%Y, %H:%M CEST",
        "%a, %d %b %Y %H:%M:%S GMT",
        "%a %b %d, %Y",
        "%A, %d %B %Y",
    ],
)
def test_times_with_a_zone_and_days_of_the_week_are_dates_and_filled_as_such(written):
    texts = [t.strftime(written) for t in ZURICH.tz_localize(None)]
    (column,) = inspect(pd.DataFrame({"at": texts}))
    assert (column.kind, column.format) == ("date", written)
    other = pd.Timestamp("2025-04-01 07:05")
    assert DateFormat(written).write(other) == other.strftime(written)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        ([t.isoformat() for t in ZURICH], "several offsets"),
        ([t.strftime("%d. Mrz %Y %H:%M") for t in ZURICH], "no one format writes"),
        ([f"{47 + i / 99:.4f}, {8 + i / 77:.4f}" for i in range(40)], "several numbers in a cell"),
        ([f"({47 + i / 99:.3f} {8 + i / 77:.3f})" for i in range(40)], "several numbers in a cell"),
    ],
)
def test_what_is_no_identifier_is_not_made_up(texts, said):
    frame = pd.DataFrame({"what": texts, "n": range(40)})
    frame.loc[3, "what"] = None
    (column, _) = inspect(frame)
    assert (column.kind, column.treatment) == ("text", "copied") and sum(said in told for told in column.warnings) == 1


def test_codes_with_a_date_in_them_are_identifiers():
    (column,) = inspect(pd.DataFrame({"order": [f"INV-2024-05-{i % 28 + 1:02d}-{i:03d}" for i in range(60)]}))
    assert column.kind == "id"


@pytest.mark.parametrize("name", ["PLZ", "zip", "zip_code", "Postal Code", "postcode", "billing-postcode"])
def test_postcodes_are_no_identifiers_even_where_all_differ(name):
    codes = [f"{c:05d}" for c in np.random.default_rng(0).permutation(99_000)[:60]]
    (column,) = inspect(pd.DataFrame({name: codes}))
    assert column.kind == "category"
    (column,) = inspect(pd.DataFrame({"postage_order": codes}))
    assert column.kind == "id"


@pytest.mark.parametrize("mark", ["x", True, "yes"])
def test_crosses_in_some_cells_are_told_for_an_empty_one_may_mean_no(mark):
    column, whole, number = inspect(
        pd.DataFrame({"car": [mark, None, mark, None] * 5, "all": ["x"] * 20, "n": [1.0, None] * 10})
    )
    assert column.warnings == (
        f"{mark!r} is its only value, and gaps get it; where an empty cell means no, write that in it",
    )
    assert whole.notes == number.notes == ("it is constant",)


@pytest.mark.parametrize(
    ("odd", "shown"), [("<5", "'<5'"), ("100+", "'100+'"), (None, "'~"), ("12.5*", "'12.5*'"), ("n.n.", "'n.n.'")]
)
def test_numbers_among_words_are_told_and_never_identifiers(odd, shown):
    """Limits of detection, top codes, approximate values, footnotes: about a third of the cells."""
    texts = [f"{i * 1.3:.1f}" if i % 3 else odd or f"~{i}" for i in range(90)]
    (column,) = inspect(pd.DataFrame({"lab": texts}))
    assert column.kind == "category"
    told = [t for t in column.warnings if t.startswith("most cells are numbers, but 30 of 90 are not (")]
    assert len(told) == 1 and shown in told[0]


def test_words_that_differ_in_capitals_or_spaces_are_told():
    (column,) = inspect(pd.DataFrame({"a": ["Ja", "ja", "JA ", "nein", "Nein", "so so"] * 9}))
    (told,) = column.warnings
    assert told.startswith("'Ja', 'ja', 'JA ' differ in capitals or spaces alone, and 1 more such")
    (column,) = inspect(pd.DataFrame({"a": ["Ja", "nein", "jain"] * 9}))
    assert not column.warnings


@pytest.mark.parametrize("written", ["{:.1f}k", "€{:.1f}M", "{:.0f} Mio.", "{:.1f} million"])
def test_amounts_in_thousands_and_millions_are_numbers(written):
    (column,) = inspect(pd.DataFrame({"worth": [written.format(v) for v in np.linspace(1, 90, 50)]}))
    assert column.kind in ("float", "integer")
