"""Tables ↔ rows: dtypes and values come back, kinds are inferred, faults are named."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.base.data_groups import TableParams
from pipeline.rows.bins import encode_bins
from pipeline.rows.schema import Schema
from pipeline.tables.bins import bin_edges
from pipeline.tables.codec import TableCodec, fit_codec
from pipeline.tables.describing import Wishes, describe
from pipeline.tables.errors import TableError
from tests.helpers.frames import mixed_frame


def test_every_kind_comes_back_with_its_dtype_and_values():
    frame = mixed_frame()
    codec = fit_codec(frame, TableParams())
    rows = codec.rows(frame)
    assert rows.dtype == np.float32
    known = frame.mask(frame == "?")
    np.testing.assert_array_equal(np.isnan(rows), known.isna().to_numpy())
    back = codec.frame(rows)
    assert back.dtypes.astype(str).tolist() == frame.dtypes.astype(str).tolist()
    assert back["grade"].astype(str).tolist() == frame["grade"].astype(str).tolist()
    for name in ("age", "smoker", "visits", "paid", "born"):
        pd.testing.assert_series_equal(back[name], frame[name])
    np.testing.assert_allclose(back["height"], frame["height"], rtol=1e-6)
    assert (back["city"].dropna() == known["city"].dropna()).all()


def test_features_and_draws_go_through_the_bins_and_back():
    frame = mixed_frame(400)
    codec = fit_codec(frame, TableParams(bins=16))
    rows = codec.rows(frame)
    back = codec.schema.decode(codec.schema.encode(rows))
    known = ~np.isnan(rows)
    spread = np.nanmax(rows, 0) - np.nanmin(rows, 0)
    assert (np.abs(back - rows) <= 2e-3 * spread)[known].all()


def test_a_codec_is_rebuilt_from_the_schema_alone():
    frame = mixed_frame()
    codec = fit_codec(frame, TableParams())
    again = TableCodec(Schema.from_json(codec.schema.to_json()))
    np.testing.assert_array_equal(again.rows(frame), codec.rows(frame))
    pd.testing.assert_frame_equal(again.frame(codec.rows(frame)), codec.frame(codec.rows(frame)))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, 3], "integer"),
        ([1.0, np.nan, 3.0], "integer"),
        ([1.5, 2.0], "float"),
        (["1", "2.5", "?"], "float"),
        ([True, False], "boolean"),
        ([True, None], "boolean"),
        (["2024-01-02", "2023-05-06"], "date"),
        (["2024-01-02", "none of these"], "category"),
        (["x", 3], "category"),
        (pd.to_datetime(["2024-01-02"]), "date"),
        (pd.Categorical(["1", "2"]), "category"),
    ],
)
def test_kinds_are_inferred(values, kind):
    assert describe("x", pd.Series(values), Wishes()).kind == kind


def test_kinds_can_be_named_and_columns_ignored():
    frame = pd.DataFrame({"id": ["a1", "a2", "a3"], "code": [3, 1, 3], "x": [0.5, 1.5, 2.5]})
    codec = fit_codec(frame, TableParams(kinds={"id": "ignore", "code": "category"}))
    assert codec.schema.columns == ("code", "x")
    assert codec.schema.categories == {"code": ["1", "3"]}
    assert codec.frame(codec.rows(frame))["code"].tolist() == [3, 1, 3]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=200),
    st.integers(2, 40),
)
def test_bins_hold_every_value_and_encoding_is_inverted(values, bins):
    values = np.array(values, np.float32)
    edges = bin_edges(values, bins)
    assert (np.diff(edges) >= 0).all()
    assert edges[0] == values.min() and edges[-1] == values.max()
    features = encode_bins(values, edges)
    assert ((features >= 0) & (features <= 1)).all()
    place = features.sum(1, dtype=float)
    back = np.interp(place, np.arange(len(edges)), edges)
    np.testing.assert_allclose(back, values, atol=2e-3 * (np.diff(edges).max() + 1e-6))


def test_few_distinct_values_are_drawn_exactly():
    codec = fit_codec(pd.DataFrame({"x": [0.1, 0.2, 0.2, 0.7] * 10}), TableParams())
    token = codec.schema.tokens[0]
    drawable = np.flatnonzero(token.mass)
    assert [round(token.edges[i], 6) for i in drawable] == [0.1, 0.2, 0.7]
    assert all(token.edges[i] == token.edges[i + 1] for i in drawable)


def test_large_numbers_keep_their_differences():
    frame = pd.DataFrame(
        {
            "stamp": 10**12 + np.arange(500),
            "when": pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(500), unit="s"),
        }
    )
    codec = fit_codec(frame, TableParams())
    back = codec.frame(codec.rows(frame))
    assert (back["stamp"] == frame["stamp"]).all()
    assert (abs(back["when"] - frame["when"]) <= pd.Timedelta(seconds=1)).all()


def test_unseen_and_rare_words_count_as_missing():
    frame = pd.DataFrame({"word": ["a"] * 5 + ["b"] * 4 + ["c"], "x": range(10)})
    with pytest.warns(UserWarning, match="'word': it has 3 categories; the 2 commonest are modelled"):
        codec = fit_codec(frame, TableParams(max_categories=2))
    rows = codec.rows(pd.DataFrame({"word": ["a", "c", "new"], "x": [1, 2, 3]}))
    np.testing.assert_array_equal(np.isnan(rows[:, 0]), [False, True, True])


@pytest.mark.parametrize(
    ("frame", "params", "message"),
    [
        (pd.DataFrame(), {}, "must have rows and columns. Got 0 rows and 0 columns"),
        (pd.DataFrame({"x": []}), {}, "Got 0 rows and 1 columns"),
        (
            pd.DataFrame({"y": [None, "?"]}),
            {},
            "must have a column that is modelled. Got: 'y' is copied, for it has no known value",
        ),
        (pd.DataFrame([[1, 2]], columns=["x", "x"]), {}, r"Column names must not repeat. Got \['x'\]"),
        (pd.DataFrame({"x": ["1", "b"]}), {"kinds": {"x": "float"}}, "Column 'x' must hold numbers. Got 'b' in row 1"),
        (pd.DataFrame({"x": ["1", "b"]}), {"kinds": {"x": "date"}}, "Column 'x' must hold dates. Got '1' in row 0"),
        (pd.DataFrame({"x": [1]}), {"kinds": {"y": "float"}}, r"must be in the table, \['x'\]. Got \['y'\]"),
        (pd.DataFrame({"x": [1]}), {"kinds": {"x": "colour"}}, "must be one of float, .* Got 'colour'"),
        (pd.DataFrame({"x": [1.0, np.inf]}), {}, "Column 'x' must hold finite numbers. Got an infinity"),
        (
            pd.DataFrame({"x": [0.0, 1e300]}),
            {},
            "Column 'x' must hold numbers within ±1e\\+150. Got one of size 1e\\+300",
        ),
    ],
)
def test_tables_that_cannot_be_used_are_named(frame, params, message):
    with pytest.raises(TableError, match=message):
        fit_codec(frame, TableParams(**params))


def test_rows_name_missing_columns_and_wrong_cells():
    codec = fit_codec(pd.DataFrame({"x": [1.0, 2.0], "y": ["a", "b"]}), TableParams())
    with pytest.raises(TableError, match=r"must have the columns \['x', 'y'\]. Missing: \['y'\]"):
        codec.rows(pd.DataFrame({"x": [1.0]}))
    with pytest.raises(TableError, match="Column 'x' must hold numbers. Got 'blue' in row 0"):
        codec.rows(pd.DataFrame({"x": ["blue"], "y": ["a"]}))
    extra = codec.rows(pd.DataFrame({"z": [9], "y": ["b"], "x": [2.0]}))
    np.testing.assert_array_equal(extra, [[2.0, 1.0]])
