"""Tables of every library and arrays of every dtype: names, never positions; containers, order and index come back."""

from __future__ import annotations

import copy
import datetime
import io
import multiprocessing
import pickle

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import KFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeRegressor

from pipeline import BigLearnImputer
from pipeline.tables.errors import TableError

TINY = {"steps": 2, "width": 8, "depth": 1, "batch_size": 16, "progress": False}


def people(n: int = 40) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {"height": rng.normal(170, 8, n), "town": rng.choice(["Ayr", "Bude"], n), "age": rng.integers(18, 80, n)}
    )
    frame.loc[[3, 8], "town"], frame.loc[[5, 9], "height"] = None, np.nan
    return frame


@pytest.fixture(scope="module")
def fitted() -> BigLearnImputer:
    return BigLearnImputer(**TINY).fit(people())


def test_columns_go_by_name_whatever_their_order(fitted):
    frame = people()
    other = frame[["age", "height", "town"]]
    filled = fitted.transform(other)
    assert list(filled.columns) == list(other.columns)
    pd.testing.assert_frame_equal(filled[frame.columns], fitted.transform(frame))
    named = copy.deepcopy(fitted).set_output(transform="pandas").transform(other)
    pd.testing.assert_frame_equal(named, fitted.transform(frame))
    polars = copy.deepcopy(fitted).set_output(transform="polars").transform(other)
    assert polars.columns == list(frame.columns) and polars["height"].to_list() == named["height"].to_list()


@pytest.mark.parametrize(
    "labels",
    [
        [2, 0, 1],
        [("in", "kwh"), ("in", "eur"), ("out", "kwh")],
        ["a", 7, datetime.date(2024, 1, 1)],
    ],
)
def test_names_of_any_type_come_back_and_survive_saving(labels, tmp_path):
    names = ["side", "unit"] if isinstance(labels[0], tuple) else ["sensor"]
    frame = people().set_axis(pd.Index(labels), axis=1)
    frame.columns.names = names
    imputer = BigLearnImputer(**TINY).fit(frame)
    imputer.save(tmp_path / "m")
    loaded = BigLearnImputer.load(tmp_path / "m")
    turned = frame.iloc[:, [2, 0, 1]]
    for filled in (imputer.transform(turned), loaded.transform(turned)):
        assert filled.columns.equals(turned.columns) and list(filled.columns.names) == names
        assert not filled.isna().to_numpy().any()
    for new in (imputer.generate(3), loaded.generate(3)):
        assert new.columns.equals(frame.columns) and list(new.columns.names) == names
    assert [c.label for c in loaded.columns_] == list(frame.columns)


def test_polars_and_arrow_tables_come_back_as_they_were():
    dates = [datetime.date(2024, 1, 1), None, datetime.date(2024, 1, 9)] * 8
    frame = pl.DataFrame(
        {
            "city": pl.Series(["Rome", None, "Bari"] * 8, dtype=pl.Categorical),
            "grade": pl.Series(["low", "high", None] * 8, dtype=pl.Enum(["low", "high", "top"])),
            "rooms": pl.Series([1, None, 3] * 8, dtype=pl.Int16),
            "day": dates,
            "stay": [datetime.timedelta(days=2), datetime.timedelta(days=5), None] * 8,
        }
    )
    imputer = BigLearnImputer(**TINY).fit(frame)
    filled = imputer.transform(frame.select("day", "city", "stay", "rooms", "grade"))
    assert filled.schema == frame.select("day", "city", "stay", "rooms", "grade").schema
    assert sum(filled.null_count().row(0)) == 0 and isinstance(imputer.generate(3), pl.DataFrame)
    table = pa.table({"x": [1.5, None, 3.0] * 8, "s": ["a", None, "b"] * 8})
    whole = BigLearnImputer(**TINY).fit(table).transform(table)
    assert isinstance(whole, pa.Table) and whole.schema == table.schema
    with pytest.raises(TableError, match=r"must be in memory. Got a lazy LazyFrame. Give its .collect\(\)"):
        BigLearnImputer(**TINY).fit(frame.lazy())


def test_arrays_keep_their_dtype_masked_and_structured_ones_too():
    x = np.array([[1, np.nan], [2, 3]] * 9, np.float16)
    assert BigLearnImputer(**TINY).fit_transform(x).dtype == np.float16
    masked = np.ma.masked_equal(np.arange(40).reshape(20, 2) % 5, 3)
    filled = BigLearnImputer(**TINY).fit_transform(masked)
    assert isinstance(filled, np.ma.MaskedArray) and filled.dtype == masked.dtype and not filled.mask.any()
    assert (filled.data[~masked.mask] == masked.data[~masked.mask]).all()
    records = np.zeros(20, dtype=[("a", "f4"), ("b", "U3")])
    records["a"], records["b"] = np.arange(20), ["x", "y", "?", "y"] * 5
    records["a"][4] = np.nan
    out = BigLearnImputer(**TINY).fit_transform(records)
    assert out.dtype == records.dtype and set(out["b"]) == {"x", "y"} and not np.isnan(out["a"]).any()
    listed = BigLearnImputer(**TINY).fit_transform([[1, "a"], [None, "b"], [3, "a"], [3, None]] * 5)
    assert {type(v) for v in listed[:, 0]} == {int} and set(listed[:, 1]) == {"a", "b"}
    days = np.array([["2024-01-01"], ["NaT"], ["2024-01-09"]] * 7, "M8[D]")
    assert BigLearnImputer(**TINY).fit_transform(days).dtype == days.dtype


def test_copies_answer_alike(fitted):
    buffer = io.BytesIO()
    joblib.dump(fitted, buffer)
    buffer.seek(0)
    expected = fitted.transform(people())
    for other in (pickle.loads(pickle.dumps(fitted)), copy.deepcopy(fitted), joblib.load(buffer)):
        pd.testing.assert_frame_equal(other.transform(people()), expected)
        assert other.columns_ == fitted.columns_


def _fit_again(seed: int) -> int:
    frame = people().sample(frac=1, random_state=seed)
    return int(BigLearnImputer(**TINY).fit(frame).transform(frame).isna().to_numpy().sum())


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_pool_works_after_a_fit(fitted):
    fitted.transform(people())
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.map_async(_fit_again, [1]).get(timeout=200) == [0]


def test_folds_that_lack_a_column_or_a_category_have_scores():
    frame = people(45).assign(rare=np.nan)
    frame.loc[2, "rare"] = 7.0  # known in one fold alone
    y = frame["age"] * 2.0
    model = make_pipeline(BigLearnImputer(**TINY, kinds={"town": "ignore"}), DecisionTreeRegressor(max_depth=2))
    with pytest.warns(UserWarning, match="'rare'"):
        scores = cross_val_score(model, frame[["height", "age", "rare"]].assign(town=1.0), y, cv=KFold(3))
    assert np.isfinite(scores).all()
    odd = people().assign(town=["Ayr"] * 39 + ["Cork"])
    fold = BigLearnImputer(**TINY).fit(odd.iloc[:30])
    assert fold.transform(odd)["town"].iloc[39] == "Cork"


def test_names_go_through_a_column_transformer():
    frame = people().set_axis(range(100, 140))
    fill = ColumnTransformer(
        [("fill", BigLearnImputer(**TINY), ["town", "height"])],
        remainder="passthrough",
        verbose_feature_names_out=False,
    ).set_output(transform="pandas")
    out = fill.fit_transform(frame)
    assert list(out.columns) == list(fill.get_feature_names_out()) == ["town", "height", "age"]
    assert out.index.equals(frame.index) and not out.isna().to_numpy().any()


def test_new_rows_of_text_and_blank_rows_are_filled(fitted):
    text = people().astype(str).head(12).replace("nan", "")
    filled = fitted.transform(text)
    assert pd.to_numeric(filled["height"]).notna().all() and (filled["age"] == text["age"]).all()
    blank = pd.DataFrame({c: [np.nan] * 3 for c in ("age", "town", "height")})
    assert set(fitted.transform(blank)["town"]) <= {"Ayr", "Bude"}
    assert fitted.transform(people().iloc[:0]).shape == (0, 3)


def test_faults_of_new_rows_are_named_in_one_line(fitted):
    for frame, message in (
        (people().drop(columns="age"), r"Missing: \['age'\]; in addition: \[\]"),
        (people().assign(colour=1), r"in addition: \['colour'\]"),
        (people().assign(age="old"), "Column 'age' must hold numbers. Got 'old' in row 0"),
        (people().assign(age=[[1]] * 40), "Column 'age'"),
        (people().set_axis(["age", "age", "town"], axis=1), "must not repeat"),
    ):
        with pytest.raises(TableError, match=message) as caught:
            fitted.transform(frame)
        assert "\n" not in str(caught.value)
    for asked in ({"n": 0}, {"n": "many"}, {"n": 2, "random_state": -1}):
        with pytest.raises(ValueError, match="must be"):
            fitted.generate(**asked)
