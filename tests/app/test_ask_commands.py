"""Commands that ask a table's model: sample --where, score, check, pool; from file to file, with errors of one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.estimators.imputer import BigLearnImputer
from tests.helpers.commands import biglearn
from tests.helpers.frames import mixed_frame

QUICK = {"model": "network", "steps": 40, "width": 16, "depth": 1, "batch_size": 64, "progress": False}


@pytest.fixture(scope="module")
def table_model(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("asked") / "model"
    BigLearnImputer(**QUICK).fit(mixed_frame(150)).save(folder)
    return folder


def test_sample_where(table_model, tmp_path):
    out = tmp_path / "rows.csv"
    code, said, error = biglearn(
        "sample", table_model, 50, "-o", out, "--where", "age between 20 and 40", "--where", "city in Bern, Oslo",
        "--where", "born >= 1980-01-01", "--where", "height is missing",
    )  # fmt: skip
    assert code == 0, error
    rows = pd.read_csv(out)
    assert len(rows) == 50 and rows["age"].between(20, 40).all() and rows["city"].isin(["Bern", "Oslo"]).all()
    assert (rows["born"] >= "1980-01-01").all() and rows["height"].isna().all()
    assert "effective sample" in said


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("age >= thirty", "at character 8"),
        ("age > 1000", "mass of 0"),
        ("age < 3 and age > 4", "Together they leave none"),
    ],
)
def test_conditions_that_cannot_be_met_are_one_line(table_model, tmp_path, where, message):
    code, _, error = biglearn("sample", table_model, 5, "-o", tmp_path / "rows.csv", "--where", where)
    assert code == 1 and message in error and error.count("\n") == 1
    assert not (tmp_path / "rows.csv").exists()


def test_score_and_check(table_model, tmp_path):
    frame = mixed_frame(30, seed=2)
    frame["city"] = "Atlantis"  # no word of the model: the most surprising cells there are
    frame.to_csv(tmp_path / "new.csv", index=False)
    code, said, error = biglearn(
        "score", table_model, tmp_path / "new.csv", "-o", tmp_path / "scores.csv", "--orders", 2
    )
    assert code == 0 and "mean" in said, error
    assert np.isfinite(pd.read_csv(tmp_path / "scores.csv")["log_density"]).all()
    code, _, error = biglearn("check", table_model, tmp_path / "new.csv", "-o", tmp_path / "cells.csv", "--top", 30)
    assert code == 0, error
    cells = pd.read_csv(tmp_path / "cells.csv")
    assert len(cells) == 30 and (cells["surprise"].diff().dropna() <= 0).all()
    assert (cells["column"] == "city").mean() > 0.8 and (cells["value"] == "Atlantis").any()


def test_pool(table_model, tmp_path):
    frame = mixed_frame(60, seed=3)
    frame.to_csv(tmp_path / "gaps.csv", index=False)
    draws = tmp_path / "draws.csv"
    code, _, error = biglearn("impute", tmp_path / "gaps.csv", "-o", draws, "--model", table_model, "--draws", 3)
    assert code == 0, error
    code, said, error = biglearn(
        "pool",
        draws,
        "-o",
        tmp_path / "out.csv",
        "--mean",
        "height",
        "--share",
        "city=Bern",
        "--model",
        "height ~ age + city",
    )
    assert code == 0, error
    found = pd.read_csv(tmp_path / "out.csv").set_index("of")
    assert found.loc["mean of height", "lost"] > 0 and "share of city = Bern" in found.index
    assert {"intercept", "age"} <= set(found.index)
    code, _, error = biglearn("pool", tmp_path / "gaps.csv", "-o", tmp_path / "none.csv", "--mean", "height")
    assert code == 1 and "columns draw and row" in error


def test_a_model_of_images_is_refused_in_one_sentence(model, tmp_path):
    for command in (["sample", model, 3, "--where", "label == 3"], ["score", model, tmp_path / "x.csv"]):
        code, _, error = biglearn(*command, "-o", tmp_path / "out.csv")
        assert code == 1 and "must hold a model of a table" in error and error.count("\n") == 1


def test_gaps_as_in_the_data(table_model, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.integers(0, 50, 120), "b": rng.choice(list("xyz"), 120)})
    frame.loc[rng.random(120) < 0.4, "b"] = None
    frame.to_csv(tmp_path / "table.csv", index=False)
    model, out = tmp_path / "gap-model", tmp_path / "rows.csv"
    settings = [x for s in ("gaps=true", "model=network", "steps=20", "width=16", "depth=1") for x in ("--set", s)]
    assert biglearn("fit", tmp_path / "table.csv", "-o", model, *settings)[0] == 0
    code, _, error = biglearn("sample", model, 80, "-o", out, "--missing", "as-in-the-data")
    assert code == 0 and pd.read_csv(out)["b"].isna().any(), error
    assert biglearn("sample", model, 80, "-o", out, "--force")[0] == 0
    assert not pd.read_csv(out).isna().to_numpy().any()
    code, _, error = biglearn("sample", table_model, 5, "-o", tmp_path / "no.csv", "--missing", "as-in-the-data")
    assert code == 1 and "gaps=False; fit BigLearnImputer(gaps=True), or `biglearn fit … --set gaps=true`" in error
