"""Stage tasks: the specification read from a schema, the banks, the diagnostics and their numbers."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.task_sampling import FAMILIES, GAP_FAMILIES, SOURCE, TARGET, TaskBank, sample_tasks
from pipeline.base.data_groups import TASK_FAMILIES, TasksParams
from pipeline.base.params import merge_params
from pipeline.base.paths import Paths
from pipeline.rows.image_schema import image_label_schema
from pipeline.rows.schema import Schema
from pipeline.rows.task_spec import spec_from_schema
from pipeline.rows.tokens import Token
from pipeline.tasks import EVALUATION_STREAM, Counts, main, run
from tests.helpers.imports import ROOT

EVERY = {name: 1.0 for name in TASK_FAMILIES if name not in GAP_FAMILIES}  # those copy gaps of rows; the stage has none
DIGITS = image_label_schema(8, 8, 1, 2, 0, 16, [str(d) for d in range(10)])


def table_schema(columns: int) -> Schema:
    """Numeric and categorical columns in turn; the first is the label, the second has an awkward name."""
    tokens = tuple(
        Token(
            'odd, "name"' if i == 1 else f"c{i}",
            *(("numeric", f"g{i}", (i,), 1) if i % 2 else ("categorical", f"g{i}", (i,), 3)),
        )
        for i in range(columns)
    )
    return Schema(tokens, tuple(f"c{i}" for i in range(columns)), label="c0")


def run_stage(root, schema: Schema, **changes) -> dict[str, float]:
    (root / "data" / "tokens").mkdir(parents=True, exist_ok=True)
    (root / "data" / "tokens" / "schema.json").write_text(schema.to_json(), encoding="utf8")
    settings = {"weights": EVERY, "train_rows": 2000, "evaluation_rows": 300, **changes}
    return run(merge_params({"seed": 3, "tasks": settings}), Paths(root))


def test_families_are_the_ones_in_params():
    assert FAMILIES == TASK_FAMILIES


def test_specification_of_an_image_with_a_label():
    spec = spec_from_schema(TasksParams(), DIGITS)
    np.testing.assert_array_equal(spec.grid[:16], [(r, c) for r in range(4) for c in range(4)])
    np.testing.assert_array_equal(spec.grid[16], (-1, -1))
    assert list(np.flatnonzero(spec.is_label)) == [16] and len(set(spec.group[:16])) == 1


def test_specification_carries_every_parameter():
    changed = TasksParams(
        source_beta=[2.0, 5.0],
        target_beta=[4.0, 0.7],
        block_share=[0.1, 0.6],
        bert_target_share=0.2,
        mae_target_share=0.6,
        column_missing_share=0.35,
        causal_prefix_share=0.45,
        label_to_image_share=0.65,
        label_visible_share=0.85,
    )
    spec, default = spec_from_schema(changed, DIGITS), TasksParams()
    for name in vars(default).keys() - {"train_rows", "evaluation_rows", "weights"}:
        value = getattr(changed, name)
        assert value != getattr(default, name), f"{name}: the test must change it"
        assert getattr(spec, name) == (tuple(value) if isinstance(value, list) else value)


def test_modality_tasks_of_a_table_ask_for_one_column():
    params = TasksParams(weights={"modality": 1.0}, label_to_image_share=0.5)
    role = sample_tasks(spec_from_schema(params, table_schema(6)), 500, seed=0).role
    assert ((role == TARGET).sum(1) == 1).all() and ((role == SOURCE).sum(1) == 5).all()
    shares = (role == TARGET).mean(0)
    assert abs(shares[0] - 0.5) < 0.1 and (abs(shares[1:] - 0.1) < 0.06).all()


@pytest.mark.parametrize("schema", [DIGITS, table_schema(7)], ids=["digits", "table"])
def test_stage_writes_banks_tables_pictures_and_metrics(tmp_path, schema):
    metrics = run_stage(tmp_path, schema)
    where = Paths(tmp_path)
    assert json.loads((where.metrics / "tasks.json").read_text()) == metrics
    assert all(isinstance(v, int | float) for v in metrics.values())
    spec = spec_from_schema(TasksParams(weights=EVERY), schema)
    assert (where.tasks / "spec.json").read_text().strip() == spec.to_json()
    bank = TaskBank.open(where.tasks / "train")
    np.testing.assert_array_equal(bank.tasks(slice(None)).role, sample_tasks(spec, 2000, seed=3).role)
    evaluation = TaskBank.open(where.tasks / "evaluation").tasks(slice(None))
    np.testing.assert_array_equal(evaluation.role, sample_tasks(spec, 300, seed=3, stream=EVALUATION_STREAM).role)
    plots = where.plots / "tasks"
    for name in ("examples.png", "shares.png", "visibility.png"):
        assert (plots / name).read_bytes().startswith(b"\x89PNG")
    check_tables(plots, schema, metrics, bank.tasks(slice(None)))


def check_tables(plots, schema, metrics, tasks):
    """The CSV files parse, name every token and family, and agree with the bank."""
    tables = {p.stem: list(csv.DictReader(p.read_text(encoding="utf8").splitlines())) for p in plots.glob("*.csv")}
    assert set(tables) == {"source_share", "target_share", "visibility", "families"}
    assert [row["token"] for row in tables["visibility"]] == [t.name for t in schema.tokens]
    visible = np.array([[float(r["source_share"]), float(r["target_share"])] for r in tables["visibility"]])
    np.testing.assert_allclose(visible[:, 0], (tasks.role == SOURCE).mean(0), atol=1e-6)
    np.testing.assert_allclose(visible[:, 1], (tasks.role == TARGET).mean(0), atol=1e-6)
    assert metrics["mean_source_share"] == pytest.approx((tasks.role == SOURCE).mean(), abs=1e-6)
    for name in ("source_share", "target_share"):
        for family in EVERY:
            rows = [float(r["row_share"]) for r in tables[name] if r["family"] == family]
            assert sum(rows) == pytest.approx(1.0, abs=1e-4)
    assert metrics["train_rows"] == 2000 and metrics["evaluation_rows"] == 300


def test_two_runs_write_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        run_stage(tmp_path / name, DIGITS, weights={"half": 1.0, "permutation": 1.0})
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a" / "data").rglob("*") if p.is_file())
    assert len(files) > 12
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 120), st.integers(0, 2**31))
def test_histograms_add_up(n_tokens, seed):
    """Every count falls in one bin, at any length, and centres lie in [0, 1]."""
    counts = Counts.__new__(Counts)
    sizes = np.random.default_rng(seed).integers(0, 50, n_tokens + 1)
    counts.size = {(SOURCE, "joint"): sizes + 1}
    centre, share = counts.histogram(SOURCE, "joint")
    assert share.sum() == pytest.approx(1.0) and len(centre) == len(share) <= 20
    assert (np.diff(centre) > 0).all() and centre[0] >= 0 and centre[-1] <= 1


def test_command_line_reports_bad_input_in_one_line(tmp_path):
    (tmp_path / "params.yaml").write_text("tasks:\n  train_rows: 100\n")
    command = [sys.executable, "-m", "pipeline.tasks", "tasks.weights={jiont: 1}"]
    environment = {**os.environ, "BIGLEARN_ROOT": str(tmp_path), "PYTHONPATH": str(ROOT)}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 2, result.stderr
    assert "'tasks.weights' must name task families among joint, marginal" in result.stderr
    assert "Traceback" not in result.stderr and len(result.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [([], 1, "schema.json"), (["tasks.train_rows=1"], 2, "'tasks.train_rows' must lie in [64, 2147483648]. Got 1.")],
)
def test_bad_input_has_its_exit_code(tmp_path, monkeypatch, capsys, arguments, code, message):
    (tmp_path / "params.yaml").write_text("tasks:\n  train_rows: 100\n")
    monkeypatch.setenv("BIGLEARN_ROOT", str(tmp_path))
    monkeypatch.setattr("pipeline.base.stage.die_with_parent", lambda: None)  # it would bind the test run to its parent
    monkeypatch.setattr("sys.argv", ["tasks", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    error = capsys.readouterr().err
    assert end.value.code == code and message in error and len(error.strip().splitlines()) == 1
