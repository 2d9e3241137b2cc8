"""Commands on a project: params.yaml set for the user's data, a table tried with one command."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml

from pipeline.app.project import with_value
from pipeline.base.data_groups import DatasetParams
from pipeline.base.params import load_params
from tests.helpers.commands import biglearn
from tests.helpers.imports import ROOT


def test_a_table_is_tried_with_one_command(tmp_path):
    """`evaluate table.csv`: gaps of held-out rows, BigLearn beside other methods, with "?" as a missing cell."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    table = pd.DataFrame({"x": x, "y": 2 * x, "side": np.where(x > 0, "right", "left")}).astype(object)
    table.loc[3:9, "side"] = "?"
    table.to_csv(tmp_path / "t.csv", index=False)
    code, out, error = biglearn("evaluate", tmp_path / "t.csv", "--set", "steps=4", "--set", "width=16", "--seed", 1)
    assert code == 0, error
    scores = json.loads(out)
    assert set(scores["MissForest-style"]) == {"w1", "energy_score", "rmse", "rmse_best", "accuracy"}
    assert 0 < scores["MissForest-style"]["w1"] < scores["mean, commonest"]["w1"]
    (tmp_path / "t.txt").write_text("words", encoding="utf8")
    code, _, error = biglearn("evaluate", tmp_path / "t.txt")
    assert code == 1 and "evaluate takes a model's folder, or a table and its options. Got" in error


def test_init_sets_params_for_the_users_data_and_keeps_comments(tmp_path):
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    pd.DataFrame({"a": np.arange(3000.0), "b": ["u", "v"] * 1500}).to_csv(tmp_path / "it's.csv", index=False)
    project = ("--project", tmp_path)
    code, out, error = biglearn("init", tmp_path / "it's.csv", *project, "--set", "network.width=32")
    assert code == 0 and "train.adversarial_weight: 1.0 → 0.0" in out and "train.steps: 5000 → 1200" in out, error
    text = (tmp_path / "params.yaml").read_text(encoding="utf8")
    assert text.count("#") == (ROOT / "params.yaml").read_text(encoding="utf8").count("#")
    params = load_params(tmp_path / "params.yaml")
    assert params.dataset == DatasetParams("table", "it's.csv", "it's.csv") and params.network.width == 32
    assert params.tasks.weights == {"column_missing": 0.5, "beta_random": 0.5}
    assert params.simulate == load_params(ROOT / "params.yaml").simulate
    (tmp_path / "t.txt").write_text("some words " * 50, encoding="utf8")
    code, out, error = biglearn("init", tmp_path / "t.txt", *project)
    assert code == 0 and "train.ranked_weight: 5.0 → 0.0" in out, error
    (tmp_path / "bad.csv").write_text("", encoding="utf8")
    before = (tmp_path / "params.yaml").read_bytes()
    code, _, error = biglearn("init", tmp_path / "bad.csv", *project)
    assert code == 1 and "bad.csv: not a readable table" in error
    code, _, error = biglearn("init", tmp_path / "t.txt", *project, "--set", "network.width=31")
    assert code == 2 and "'network.width' must be a multiple" in error
    assert (tmp_path / "params.yaml").read_bytes() == before
    code, _, error = biglearn("init", tmp_path / "t.txt", "--project", tmp_path / "nowhere")
    assert code == 1 and "must be a folder with params.yaml. Got none." in error


@pytest.mark.parametrize("value", [7, 0.001, "a: b", [1, 2.5], {"a": 1, "b#": "x"}, "", True])
@pytest.mark.parametrize("name", ["one", "group.scalar", "group.flow", "group.block", "group.inner.deep", "last"])
def test_one_value_of_yaml_is_replaced_and_all_else_stays(name, value):
    text = (
        "# head\none: 1  # first\ngroup:\n  scalar: 'x'  # why\n  flow: [1,  2]  # list\n  block:\n    - 1\n    - 2\n"
        "  inner:\n    deep: {a: 1}  # map\nlast: false\n"
    )
    new = with_value(text, name, value)
    expected = yaml.safe_load(text)
    place = expected
    for key in name.split(".")[:-1]:
        place = place[key]
    place[name.rsplit(".", 1)[-1]] = value
    assert yaml.safe_load(new) == expected
    assert [c for c in ("# head", "# first", "# why", "# list", "# map") if c not in new] == []
    with pytest.raises(ValueError, match=r"params.yaml must name group.other. Got no 'other' in it"):
        with_value(text, "group.other", 1)
