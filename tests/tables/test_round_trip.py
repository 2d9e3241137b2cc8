"""Every kind of column with gaps: only the gaps change, types, index and order stay, nothing is left missing."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import BigLearnImputer
from pipeline.base.data_groups import TableParams
from pipeline.rows.schema import Schema
from pipeline.tables.codec import TableCodec, fit_codec
from tests.helpers.table_kinds import COLUMNS, same_cells, with_gaps

TINY = {"steps": 2, "width": 8, "depth": 1, "batch_size": 16, "progress": False}
IDS = ("id text", "UUID")
SOME = (
    "one decimal",
    "whole float",
    "large Int64",
    "codes",
    "number text",
    "date text",
    "mixed",
    "Decimal",
    "id text",
    "bands",
    "local days",
    "quarters",
)


def random_draws(codec: TableCodec, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """`rows` with their gaps drawn from the shares of each column: what a generator does, without one."""
    features = np.zeros((len(rows), codec.schema.n_features), np.float32)
    for token, start in zip(codec.schema.tokens, codec.schema.offsets, strict=False):
        for row, choice in enumerate(rng.choice(token.width, len(rows), p=token.mass)):
            if token.binned:
                features[row, start : start + choice] = 1.0
            features[row, start + choice] = rng.uniform(0.01, 0.99) if token.binned else 1.0
    return np.where(np.isnan(rows), codec.schema.decode(features), rows)


def fitted(frame: pd.DataFrame) -> TableCodec:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # what is odd about a column has tests of its own
        return fit_codec(frame, TableParams())


@pytest.mark.parametrize("means", [False, True])
@pytest.mark.parametrize("name", COLUMNS)
def test_only_gaps_change_and_types_stay(name, means):
    rng = np.random.default_rng(len(name))
    whole = COLUMNS[name](rng, 60)
    gap = rng.random(60) < 0.3
    frame = pd.DataFrame({"c": with_gaps(whole, gap), "other": rng.normal(size=60)}).set_axis(rng.permutation(60))
    codec = fitted(frame)
    again = TableCodec(Schema.from_json(codec.schema.to_json()))
    assert again.columns == codec.columns
    rows = again.rows(frame)
    if name not in IDS:
        assert (np.isnan(rows[:, 0]) == gap).all() and np.isfinite(rows[~gap]).all()
    filled = again.filled(frame, random_draws(again, rows, rng), 0, means=means)
    assert filled["c"].dtype == frame["c"].dtype and filled.index.equals(frame.index)
    assert filled["c"].notna().all()
    assert same_cells(filled["c"].reset_index(drop=True), whole, ~gap)
    drawn = filled["c"].reset_index(drop=True)[gap]
    assert {type(v) for v in drawn.astype(object)} <= {type(v) for v in whole.astype(object)}
    new = again.new_frame(random_draws(again, np.full((30, rows.shape[1]), np.nan, np.float32), rng), 1)
    assert new["c"].notna().all() and list(new.columns) == ["c", "other"]
    assert new["c"].dtype == frame["c"].dtype or frame["c"].dtype.kind in "iub"


@pytest.mark.parametrize("name", [n for n in COLUMNS if n not in IDS])
def test_known_cells_survive_the_way_through_rows(name):
    """What was seen is drawn as it was seen, wherever a column has few values; else nearly."""
    rng = np.random.default_rng(3)
    whole = pd.DataFrame({"c": COLUMNS[name](rng, 40)})
    codec = fitted(whole)
    back = codec.frame(codec.rows(whole))["c"]
    assert same_cells(back, whole["c"], np.ones(40, bool))


@st.composite
def tables(draw) -> tuple[pd.DataFrame, np.ndarray]:
    """(whole table of random columns, its gaps), with a random order, index and names."""
    names = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=2, max_size=6, unique=True))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n = draw(st.integers(24, 50))
    gap = rng.random((n, len(names))) < draw(st.floats(0, 0.6))
    gap[rng.integers(0, n, 3)] = False
    labels = draw(st.sampled_from([names, list(range(len(names))), [("a", x) for x in names]]))
    frame = pd.DataFrame({i: COLUMNS[name](rng, n) for i, name in enumerate(names)})
    return frame.set_axis(pd.Index(labels), axis=1), gap


@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(tables(), st.integers(0, 99))
def test_filling_changes_only_gaps_and_filling_again_changes_nothing(table, seed):
    whole, gap = table
    frame = pd.DataFrame({i: with_gaps(whole.iloc[:, i], gap[:, i]) for i in range(whole.shape[1])}).set_axis(
        whole.columns, axis=1
    )
    codec = fitted(frame)
    named = frame.set_axis([c.name for c in codec.columns], axis=1)
    filled = codec.filled(frame, random_draws(codec, codec.rows(named), np.random.default_rng(seed)), seed)
    assert filled.columns.equals(frame.columns) and (filled.dtypes.to_numpy() == frame.dtypes.to_numpy()).all()
    assert not filled.isna().to_numpy().any()
    for i in range(frame.shape[1]):
        assert same_cells(filled.iloc[:, i], whole.iloc[:, i], ~gap[:, i])
    again = codec.filled(
        filled, random_draws(codec, codec.rows(filled.set_axis(named.columns, axis=1)), np.random.default_rng(9)), 9
    )
    pd.testing.assert_frame_equal(again, filled)


def test_the_imputer_fills_a_table_of_many_kinds(tmp_path):
    rng = np.random.default_rng(5)
    whole = pd.DataFrame({name: COLUMNS[name](rng, 40) for name in SOME})
    gap = rng.random(whole.shape) < 0.2
    frame = pd.DataFrame({c: with_gaps(whole[c], gap[:, i]) for i, c in enumerate(whole)})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        imputer = BigLearnImputer(**TINY).fit(frame)
    mixed_up = frame[list(rng.permutation(frame.columns))]
    for filled in (imputer.transform(mixed_up), imputer.sample(mixed_up, 1)[0]):
        assert list(filled.columns) == list(mixed_up.columns) and not filled.isna().to_numpy().any()
        assert (filled.dtypes == mixed_up.dtypes).all()
        for i, c in enumerate(whole):
            assert same_cells(filled[c], whole[c], ~gap[:, i]), c
    imputer.save(tmp_path / "model")
    loaded = BigLearnImputer.load(tmp_path / "model")
    assert loaded.columns_ == imputer.columns_
    pd.testing.assert_frame_equal(loaded.transform(frame), imputer.transform(frame))
    new = imputer.generate(20)
    assert list(new.columns) == list(frame.columns) and not new.isna().to_numpy().any()
    assert not set(new["id text"]) & set(whole["id text"]) and new["id text"].is_unique
