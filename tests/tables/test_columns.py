"""What a column is: kinds and why, words that mean missing, identifiers, formats, and what is told about them."""

from __future__ import annotations

import datetime
import json
import warnings

import numpy as np
import pandas as pd
import pytest

from pipeline.base.data_groups import TableParams
from pipeline.tables.codec import fit_codec
from pipeline.tables.columns import Column
from pipeline.tables.dates import DateFormat, formats_of
from pipeline.tables.describing import Wishes, describe
from pipeline.tables.errors import TableError
from pipeline.tables.inspection import inspect, table_of
from pipeline.tables.numbers import Notation
from tests.helpers.table_kinds import COLUMNS


def seen(values, **asked) -> Column:
    return inspect(pd.DataFrame({"c": values}), **asked)[0]


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_comes_back_from_json(name):
    column = describe("c", COLUMNS[name](np.random.default_rng(0), 50), Wishes())
    assert Column.from_json(json.loads(json.dumps(column.to_json()))) == column
    assert column.why and table_of([column])


@pytest.mark.parametrize(
    "raw",
    [
        {"name": "c"},
        {"name": 3, "kind": "float"},
        {"name": "c", "kind": "colour"},
        {"name": "c", "kind": "float", "scale": 0},
        {"name": "c", "kind": "float", "scale": True},
        {"name": "c", "kind": "float", "levels": 7},
        {"name": "c", "kind": "float", "other": 1},
        {"name": "c", "kind": "date", "format": "%Q"},
        {"name": "c", "kind": "float", "memory": {"name": 5}},
        {"name": "c", "kind": "float", "levels": [{"type": "date", "text": "soon"}]},
        {"name": "c", "kind": "float", "notation": {"point": 1}},
    ],
)
def test_a_damaged_column_is_refused_in_words(raw):
    with pytest.raises(ValueError, match="Not a column of a table"):
        Column.from_json(raw)


@pytest.mark.parametrize(
    ("texts", "kind", "form"),
    [
        (["2024-01-15", "2023-12-31"], "date", "%Y-%m-%d"),
        (["15.01.2024", "31.12.2023"], "date", "%d.%m.%Y"),
        (["1/15/2024", "12/31/2023"], "date", "%-m/%-d/%Y"),
        (["15 Jan 2024", "31 Dec 2023"], "date", "%d %b %Y"),
        (["2024-01-15 10:20:30", "2023-12-31 00:00:01"], "date", "%Y-%m-%d %H:%M:%S"),
        (["2024-01-15T10:20:30.125Z", "2023-12-31T00:00:01.500Z"], "date", "%Y-%m-%dT%H:%M:%S.%3fZ"),
        (["20240115", "20231231", "20230601"], "date", "%Y%m%d"),
        (["2024-01", "2023-12"], "date", "%Y-%m"),
        (["10:20", "23:59"], "time", "%H:%M"),
        (["10:20 AM", "11:59 PM"], "time", "%I:%M %p"),
        (["2024-13-45", "2023-12-31"], "category", ""),
        (["94103", "60601"], "category", ""),
        (["00501", "2139"], "category", ""),
        (["1", "22", "333"], "integer", ""),
        (["1.50", "22.25"], "float", ""),
        (["7%", "12%"], "integer", ""),
    ],
)
def test_text_tells_its_kind_and_format(texts, kind, form):
    column = seen(texts * 10)
    assert (column.kind, column.format) == (kind, form)
    assert column.text(texts) == texts


def test_dates_with_two_readings_are_told_and_can_be_said():
    texts = ["01/02/2024", "03/04/2024", "05/06/2023"]
    told = seen(texts)
    assert told.format == "%m/%d/%Y" and "can be read as %m/%d/%Y and as %d/%m/%Y" in told.warnings[0]
    named = seen(texts, formats={"c": "%d/%m/%Y"})
    assert named.format == "%d/%m/%Y" and not named.warnings
    assert DateFormat("%d/%m/%Y").read("01/02/2024") == datetime.datetime(2024, 2, 1)
    assert formats_of(["31/12/2024", "01/02/2024"]) == ["%d/%m/%Y"]


def test_whole_numbers_that_write_days_are_dates():
    days = pd.Series(pd.date_range("2024-01-01", periods=30).strftime("%Y%m%d").astype(int))
    column = seen(days)
    assert (column.kind, column.unit) == ("date", "D")
    assert seen([20241301, 20240101, 20240102] * 5).kind == "integer"


def test_precision_and_steps_are_seen():
    assert seen([1.5, 2.25, 3.0]).decimals == 2
    assert seen(np.random.default_rng(0).normal(size=50)).decimals is None
    assert seen(np.arange(20) / 2).step == 5
    assert seen(np.arange(20) * 1000.0).step == 1000
    assert seen([0.1 + 0.2, 0.3, 0.7]).decimals == 1


def test_words_that_can_only_mean_missing_do_and_others_are_told():
    column = seen(["1.5", "n/a", "#N/A", "?", " ", "2.5", "-", "NA"])
    assert (column.kind, column.missing, dict(column.found_marks)["NA"]) == ("float", 6, 1)
    country = seen(["NA", "ZA", "BW"] * 5)
    assert country.missing == 0 and "'NA' (5 cells) is taken for a value" in country.warnings[0]
    assert seen(["NA", "ZA", "BW"] * 5, missing={"c": ["NA"]}).missing == 5
    drinks = seen(["None", "Some", "Lots"] * 5, text_cells=".")
    assert drinks.missing == 5 and "is read as missing" in drinks.warnings[0]
    assert seen(["NA", "ZA", "BW"] * 5, text_cells=".").missing == 0
    assert seen(["a", "???", "b"] * 5, missing=["???"]).missing == 5


@pytest.mark.parametrize("marks", [[-999], ["-999"]])
def test_numbers_can_mean_missing(marks):
    values = [55, 60, -999, 70, 81, -999] * 5
    assert any("-999 (10 cells) may mean a missing cell" in text for text in seen(values).warnings)
    column = seen(values, missing={"c": marks})
    assert column.missing == 10 and column.low == 55 and not column.warnings


def test_odd_words_among_numbers_stay_as_they_are():
    frame = pd.DataFrame({"c": [str(i) for i in range(40)] + ["refused", "?"], "x": range(42)}, dtype=object)
    with pytest.warns(UserWarning, match="Column 'c': among numbers it holds 'refused'"):
        codec = fit_codec(frame, TableParams())
    rows = codec.rows(frame)
    filled = codec.filled(frame, np.nan_to_num(rows, nan=3.0), 0)
    assert filled["c"][40] == "refused" and filled["c"][41].isdigit()


def test_identifiers_are_named_and_fresh():
    rng = np.random.default_rng(1)
    keys = [f"C-{v:05d}" for v in rng.permutation(99999)[:120]]
    frame = pd.DataFrame({"customer": keys, "order_id": np.arange(120) + 500, "x": rng.normal(size=120)}, dtype=object)
    frame.loc[3, "customer"] = None
    with pytest.warns(UserWarning, match="looks like an identifier"):
        codec = fit_codec(frame, TableParams())
    assert codec.schema.columns == ("x",)
    new = codec.new_frame(np.zeros((90, 1), np.float32), 4)
    assert not set(new["customer"]) & set(keys) and new["customer"].is_unique
    assert new["customer"].str.fullmatch(r"C-\d{5}").all() and new["order_id"].min() > 619
    assert codec.filled(frame, np.zeros((120, 1), np.float32), 0)["customer"][3] not in keys
    assert seen(keys, kinds={"c": "category"}).treatment == "modelled"
    assert seen(["Ann", "Bo", "Cy"] * 10).kind == "category"


@pytest.mark.parametrize(
    ("values", "treatment", "word"),
    [
        ([None] * 30, "copied", "no known value"),
        ([[1], [2]] * 15, "copied", "type list"),
        (
            [f"Once upon a time there was a number {'x' * i} in the rain" for i in range(30)],
            "copied",
            "a text of its own",
        ),
        ([1j, 2j] * 15, "copied", "complex"),
        ([5.0] * 30, "modelled", "constant"),
        ([5.0, 6.0] + [None] * 60, "modelled", "nearly empty"),
        ([1, "1", "a"] * 10, "modelled", "mixed types"),
        ([*np.random.default_rng(0).normal(size=40), 1e9], "modelled", "far from the others"),
    ],
)
def test_what_is_odd_is_said(values, treatment, word):
    column = seen(pd.Series(values))
    assert column.treatment == treatment
    assert any(word in text for text in (*column.warnings, *column.notes))


def test_a_column_that_stays_missing_is_named_with_its_count():
    frame = pd.DataFrame({"x": range(30), "empty": [None] * 30})
    with pytest.warns(UserWarning, match="'empty': it has no known value"):
        codec = fit_codec(frame, TableParams())
    with pytest.warns(UserWarning, match="Column 'empty': 30 missing cells stay missing"):
        codec.filled(frame, codec.rows(frame), 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        named = fit_codec(frame, TableParams(kinds={"empty": "ignore"}))
        assert named.filled(frame, named.rows(frame), 0)["empty"].isna().all()


def test_texts_of_numbers_keep_their_marks():
    german = Notation(",", ".", suffix=" €", fixed=True)
    assert german.write(1234567.5, 2) == "1.234.567,50 €" and german.number("1.234.567,50 €") == 1234567.5
    assert german.number("1.23,5 €") is None and german.write(-0.0, 0) == "0 €"
    column = seen(["1.234,50", "99,00", "-7,25"] * 5, text_cells=",.")
    assert column.kind == "float" and column.text([1234.5, 99, -7.25, None]) == ["1.234,50", "99,00", "-7,25", ""]
    plain = seen(["94103", "60601"] * 5, text_cells=".,")
    assert plain.kind == "integer" and plain.text([94103]) == ["94103"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"kinds": "float"}, "'kinds' must be None or a dict"),
        ({"missing": "-999"}, "'missing' must be None or a list"),
        ({"missing": {"c": "-999"}}, "'missing' of column 'c' must be a list"),
        ({"kinds": {"c": "colour"}}, "The kind of column 'c' must be one of"),
        ({"kinds": {"c": "period"}}, "Column 'c' must hold periods"),
        ({"kinds": {"c": "duration"}}, "Column 'c' must hold durations"),
        ({"kinds": {"c": "float"}}, "Column 'c' must hold numbers. Got 'a' in row 0"),
        ({"formats": {"c": "%Q"}}, "The format of column 'c'"),
        ({"formats": {"d": "%Y"}}, r"must be in the table, \['c'\]. Got \['d'\]"),
        ({"text_cells": "'"}, "'text_cells' must be None, or a decimal mark"),
    ],
)
def test_wishes_that_do_not_fit_are_refused_in_one_line(asked, message):
    with pytest.raises(TableError, match=message) as caught:
        seen(["a", "b"] * 10, **asked)
    assert "\n" not in str(caught.value)
