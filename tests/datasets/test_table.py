"""Table files: CSV and Parquet through fetch and prepare; each kind of bad file ends with a clear error."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pandas as pd
import pytest

from pipeline import fetch, prepare, tasks, train
from pipeline.base.data_groups import TableParams
from pipeline.base.fields import ParamsError
from pipeline.base.params import load_params, merge_params
from pipeline.base.paths import Paths
from pipeline.datasets.table import read_table
from pipeline.estimators.imputer import RECIPE
from pipeline.model.sampler import Sampler
from pipeline.rows.schema import Schema
from pipeline.tables.codec import TableCodec
from pipeline.tables.errors import TableError
from tests.helpers.frames import mixed_frame

CSV = "age,city,born\n31, Bern,2001-02-03\n?,Lima,2002-03-04\n45,NA,\n28,Oslo,1999-12-31\n"


def params_for(path, *overrides: str):
    return load_params(overrides=["dataset.name=table", f"dataset.path={path}", *overrides])


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz", "t.parquet", "t.tsv"])
def test_files_are_read_with_missing_cells(tmp_path, name):
    path = tmp_path / name
    if name.endswith("parquet"):
        pd.DataFrame({"age": [31, None, 45, 28], "city": ["Bern", "Lima", None, "Oslo"]}).to_parquet(path)
    elif name.endswith("gz"):
        path.write_bytes(gzip.compress(CSV.encode()))
    else:
        path.write_text(CSV.replace(",", "\t") if name.endswith("tsv") else CSV)
    frame = read_table(path, TableParams())
    assert frame["age"].isna().tolist() == [False, True, False, False]
    assert frame["city"].isna().tolist() == [False, False, True, False]
    assert frame["city"][0] == "Bern"


def test_a_file_goes_through_fetch_and_prepare(tmp_path):
    source = tmp_path / "mine.csv"
    frame = mixed_frame(100)
    frame.to_csv(source, index=False)
    where = Paths(tmp_path / "project")
    params = params_for(source, "prepare.table.label=smoker")
    fetch.run(params, where)
    assert json.loads((where.raw / "manifest.json").read_text())["files"][0]["name"] == "mine.csv"
    prepare.run(params, where)
    schema = Schema.load(where.tokens / "schema.json")
    train, test = np.load(where.tokens / "train.npy"), np.load(where.tokens / "test.npy")
    assert len(train) == 80 and len(test) == 20 and schema.label == "smoker"
    back = TableCodec(schema).frame(np.concatenate([train, test]).astype(np.float32))
    assert sorted(back["age"]) == sorted(frame["age"])
    assert back["city"].value_counts().to_dict() == frame["city"].mask(frame["city"] == "?").value_counts().to_dict()


BAD_FILES = {
    "empty file": ("a.csv", b"", "not a readable table"),
    "header only": ("a.csv", b"x,y\n", "must hold rows and columns. Got 0 rows, 2 columns"),
    "wrong line": (
        "a.csv",
        "stadt\nZürich\nÖ\n".encode() + b"K\xf6ln\n",
        "a.csv, line 4: must be UTF-8 as the rest of",
    ),
    "broken gzip": ("a.csv.gz", b"\x1f\x8b\x08broken", "not a readable table"),
    "broken parquet": ("a.parquet", b"PAR1 no", "not a readable table"),
    "unknown suffix": ("a.ods", b"PK", r"must be one of \.csv, .* or postgresql://…. Got '.ods'"),
    "broken workbook": ("a.xlsx", b"PK", "not a readable table"),
    "ragged": ("a.csv", b"x,y\n1,2\n3,4,5\n", "a.csv, line 3: a row must have 2 cells, as the header has. Got 3"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_files_are_named(tmp_path, case):
    name, payload, message = BAD_FILES[case]
    (tmp_path / name).write_bytes(payload)
    with pytest.raises(TableError, match=message):
        read_table(tmp_path / name, TableParams())


def test_encoding_is_a_parameter(tmp_path):
    (tmp_path / "u.csv").write_bytes("stadt\nKöln\nBern\n".encode("latin-1"))
    with pytest.raises(TableError, match="must be text in the encoding 'utf-8'"):
        read_table(tmp_path / "u.csv", TableParams(encoding="utf-8"))
    (tmp_path / "a.csv").write_bytes("stadt;x\nKöln;1\n".encode("latin-1"))
    frame = read_table(tmp_path / "a.csv", TableParams(encoding="latin-1", separator=";"))
    assert frame["stadt"][0] == "Köln"


@pytest.mark.parametrize("path", ["", "/nowhere/at/all.csv"])
def test_a_path_that_is_not_there_is_named(tmp_path, path):
    params = params_for("x.csv")
    params.dataset.path = path
    with pytest.raises(ParamsError, match="'dataset.path' must name a file or folder that exists"):
        fetch.run(params, Paths(tmp_path / "project"))


def test_a_table_runs_through_the_stages_to_a_sampler(tmp_path):
    """fetch → prepare → tasks → train with the recipe of tables; the saved model alone gives a DataFrame back."""
    source = tmp_path / "mine.csv"
    frame = mixed_frame(120)
    frame.to_csv(source, index=False)
    where = Paths(tmp_path / "project")
    recipe = {name: dict(group) for name, group in RECIPE.items()}
    recipe["network"] |= {"width": 16, "depth": 1}
    recipe["tasks"] |= {"train_rows": 512, "evaluation_rows": 64}
    recipe["train"] |= {"steps": 5, "batch_size": 32, "processes": 1, "device": "cpu"}
    params = merge_params(recipe | {"dataset": {"name": "table", "path": str(source)}})
    for stage in (fetch, prepare, tasks, train):
        stage.run(params, where)
    sampler = Sampler.load(where.generator)
    drawn = TableCodec(sampler.schema).frame(sampler.sample(50, seed=0))
    assert not drawn.isna().any().any() and set(drawn["city"]) == {"Bern", "Lima", "Oslo"}
    assert drawn["born"].astype(str).str.match(r"^\d{4}-\d{2}-\d{2}$").all()
    assert drawn["age"].dtype == "int64" and drawn["age"].between(0, 90).all()
