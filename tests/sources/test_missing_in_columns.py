"""A text that means missing in one column alone: −999 of a score, 0 of an income, a day that is none."""

from __future__ import annotations

import datetime as dt
import sqlite3

import pandas as pd
import pytest

from pipeline.sources.opening import open_source, read_frame, write_frame
from pipeline.sources.places import place_of
from pipeline.textfiles.encodings import TableFileError
from pipeline.textfiles.reading import Reading
from tests.helpers.filled_tables import fill

ASKED = (("score", "-999"), ("income", "0"), ("due", "1900-01-01"), ("org", "XNA"))
ROWS = 24


def loans() -> pd.DataFrame:
    """A quarter of the cells of each column is a mark; 0 children and −999 of a balance are values."""
    at = pd.Series(range(ROWS))
    due = pd.Series(pd.date_range("2021-03-01", periods=ROWS)).mask(at % 4 == 2, pd.Timestamp("1900-01-01"))
    return pd.DataFrame(
        {
            "score": (600 + at).mask(at % 4 == 0, -999),
            "income": (30_000 + 10 * at).mask(at % 4 == 1, 0),
            "due": due,
            "org": pd.Series(["bank", "shop"] * (ROWS // 2)).mask(at % 4 == 3, "XNA"),
            "children": at % 3,
            "balance": at.mask(at % 5 == 0, -999),
        }
    )


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.parquet", "x.xlsx", "x.sqlite"])
def test_a_mark_of_one_column_is_filled_there_and_a_value_elsewhere(tmp_path, name):
    frame, source, target = loans(), tmp_path / name, tmp_path / f"out-{name}"
    write_frame(source, frame)
    fill(source, target, missing_in=ASKED)
    before, after = read_frame(source, tell=str), read_frame(target, tell=str)
    for place, column in enumerate(("score", "income", "due", "org")):
        changed = [str(a) != str(b) for a, b in zip(before[column], after[column], strict=True)]
        assert changed == [row % 4 == place for row in range(ROWS)], column
    assert (after[["children", "balance"]] == before[["children", "balance"]]).all(axis=None)


def test_the_usual_words_go_on_meaning_missing(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,x\nNA,x\n-999,y\n,x\n5,y\n", encoding="utf8")
    with open_source(place_of(tmp_path / "x.csv"), Reading(missing_in=(("a", "-999"),)), str) as source:
        assert next(source.blocks()).frame["a"].isna().tolist() == [False, True, True, True, False]


def test_a_column_that_is_not_there_is_named(tmp_path):
    (tmp_path / "x.csv").write_text("a,b\n1,x\n", encoding="utf8")
    with (
        pytest.raises(TableFileError, match=r"x.csv: 'missing' must name columns of the table, \['a', 'b'\]. Got 'c'."),
        open_source(place_of(tmp_path / "x.csv"), Reading(missing_in=(("c", "0"),)), str),
    ):
        raise AssertionError("never reached")


def test_dates_of_a_database_are_dates(tmp_path):
    with sqlite3.connect(tmp_path / "x.sqlite", detect_types=sqlite3.PARSE_DECLTYPES) as base:
        base.execute("CREATE TABLE t (due TEXT, n INTEGER)")
        base.executemany("INSERT INTO t VALUES (?, ?)", [("1900-01-01", 1), (dt.date(2024, 1, 5).isoformat(), 2)])
    base.close()
    with open_source(place_of(tmp_path / "x.sqlite"), Reading(missing_in=(("due", "1900-01-01"),)), str) as source:
        assert next(source.blocks()).frame["due"].isna().tolist() == [True, False]
