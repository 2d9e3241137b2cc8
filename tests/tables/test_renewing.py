"""Identifiers of a table that is filled in parts: none is given twice, and none that another part holds."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from pipeline.app.filling import HereFiller, renewer_of, write_filled
from pipeline.estimators.imputer import BigLearnImputer
from pipeline.sources.opening import open_source, read_frame
from pipeline.sources.places import place_of
from pipeline.tables.renewing import Seen

TINY = {"model": "network", "steps": 2, "width": 8, "depth": 1, "batch_size": 16, "progress": False}


def people(rows: int) -> pd.DataFrame:
    """A table with whole-number and text identifiers, some missing; the largest stand in its last rows."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "customer_id": pd.Series(np.arange(rows) * 3 + 1000).astype("Int64").mask(rng.random(rows) < 0.3),
            "code": pd.Series([f"C-{v:03d}" for v in rng.permutation(1000)[:rows]], dtype="str").mask(
                rng.random(rows) < 0.3
            ),
            "age": rng.integers(18, 90, rows),
        }
    )


@pytest.mark.filterwarnings("ignore:Column")
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_blocks_filled_apart_get_identifiers_that_never_repeat(tmp_path, monkeypatch, kind):
    monkeypatch.setattr("pipeline.sources.text_tables.BLOCK_ROWS", 30)
    monkeypatch.setattr("pipeline.sources.parquet_tables.GROUP_ROWS", 30)
    frame, path = people(400), tmp_path / f"in.{kind}"
    frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path)
    imputer = BigLearnImputer(**TINY).fit(read_frame(path, tell=str).head(100))  # it has seen a part of them
    assert [c.treatment for c in imputer.columns_] == ["renewed", "renewed", "modelled"]
    with open_source(place_of(path), tell=str) as source:
        renewer = renewer_of(source, imputer, 0)
        out = place_of(tmp_path / f"out.{kind}")
        options = {"draws": 0, "seed": 0, "force": False, "stamps": None}
        write_filled(source, out, HereFiller(imputer), renewer=renewer, **options)
    back = read_frame(out, tell=str)
    for name in ("customer_id", "code"):
        known = frame[name].notna()
        assert back[name].notna().all() and back[name].is_unique
        assert (back[name][known] == frame[name][known]).all()
    first = frame["customer_id"].max() + 1
    assert sorted(back["customer_id"][frame["customer_id"].isna()]) == list(
        range(first, first + frame["customer_id"].isna().sum())
    )
    assert back["code"][frame["code"].isna()].str.fullmatch(r"C-\d{3,}").all()


@pytest.mark.filterwarnings("ignore:Column")
def test_a_table_without_gaps_in_its_identifiers_needs_no_renewer(tmp_path):
    frame = people(100).assign(customer_id=range(100), code="x")
    frame.to_parquet(tmp_path / "in.parquet")
    imputer = BigLearnImputer(**TINY, kinds={"customer_id": "id"}).fit(frame)
    with open_source(place_of(tmp_path / "in.parquet"), tell=str) as source:
        assert renewer_of(source, imputer, 0) is None


def test_what_was_added_is_never_forgotten():
    texts = [f"id {i}" for i in range(20_000)]
    seen = Seen(len(texts))
    seen.add_all(texts[:10_000])
    for text in texts[10_000:]:
        seen.add(text)
    assert all(text in seen for text in texts[::37])
    assert sum(f"other {i}" in seen for i in range(4000)) < 0.02 * 4000
