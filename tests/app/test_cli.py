"""The command line: formats in and out, seeds, errors in one line, exit codes, nothing overwritten."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from PIL import Image
from typer.testing import CliRunner

from pipeline.app.cli import app
from pipeline.app.project import with_value
from pipeline.base.data_groups import DatasetParams
from pipeline.base.model_groups import NetworkParams
from pipeline.base.params import load_params
from pipeline.model.generator import Generator
from pipeline.model.sampler import Sampler
from pipeline.rows.image_schema import image_label_schema
from pipeline.rows.schema import Schema
from tests.helpers.imports import ROOT

NETWORK = NetworkParams(width=8, depth=1, heads=1, noise_width=4)
DIGITS = image_label_schema(8, 8, 1, 2, 0.0, 16.0, [str(d) for d in range(10)])
COMMANDS = (
    *("fit", "init", "sample", "complete", "impute", "evaluate"),
    *("simulate", "report", "compare", "doctor", "demo"),
)


def save_model(folder: Path, schema: Schema) -> Path:
    torch.manual_seed(0)
    Sampler.save(folder, Generator(schema, NETWORK), schema, asdict(NETWORK), 64)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return save_model(tmp_path_factory.mktemp("model") / "generator", DIGITS)


def biglearn(*arguments: object) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of one command."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def real(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pipeline.app.cli", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def interrupted(arguments: list[object], sign: str) -> tuple[int, str]:
    """(exit code, stderr) of a command whose process group gets Ctrl-C once `sign` is on its stderr."""
    command = [sys.executable, "-u", "-m", "pipeline.app.cli", *map(str, arguments)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        seen = b""
        while sign.encode() not in seen:
            piece = os.read(process.stderr.fileno(), 4096)
            assert piece, f"ended before {sign!r}: {seen.decode()}"
            seen += piece
        os.killpg(process.pid, signal.SIGINT)
        seen += process.communicate(timeout=120)[1]
    finally:
        process.kill()
    return process.returncode, seen.decode()


def test_ctrl_c_ends_a_fit_of_a_table_in_one_line(tmp_path):
    pd.DataFrame({"a": np.arange(90.0), "b": np.arange(90.0) ** 2}).to_csv(tmp_path / "t.csv", index=False)
    settings = ("--set", "steps=100000", "--set", "max_epochs=100000")
    code, error = interrupted(["fit", tmp_path / "t.csv", "-o", tmp_path / "model", *settings], "step/s")
    assert code == 130 and "Traceback" not in error
    assert error.rstrip().endswith("biglearn: interrupted; what was saved is intact")
    assert not (tmp_path / "model").exists()


@pytest.mark.slow
def test_ctrl_c_ends_a_fit_with_processes_of_its_own(tmp_path):
    (tmp_path / "t.txt").write_text("the cat sat on the mat. " * 100, encoding="utf8")
    settings = ("--set", "train.steps=100000", "--set", "tasks.train_rows=1024", "--set", "train.processes=2")
    code, error = interrupted(["fit", tmp_path / "t.txt", "-o", tmp_path / "model", *settings], "step/s")
    assert code == 130 and "Traceback" not in error
    assert error.rstrip().endswith("biglearn: stopped by SIGINT")


def test_help_names_every_command_without_loading_torch():
    code = "import sys, pipeline.app.cli as c; print(sorted({'torch','pandas','numpy','numba'} & set(sys.modules))); c.main()"
    result = subprocess.run(
        [sys.executable, "-c", code, "--help"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0 and result.stdout.startswith("[]\n"), result.stderr
    assert all(f"\n  {name} " in result.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_shows_examples(command):
    code, out, _ = biglearn(command, "--help")
    assert code == 0 and "Examples:\n    biglearn " + command in out


@pytest.mark.parametrize("name", ["a.npy", "a.npz", "a.csv", "a.tsv", "a.parquet", "a.png", "folder"])
def test_samples_in_every_format_are_read_back(model, tmp_path, name):
    """What sample writes, complete reads; with everything given it comes back unchanged, up to the format's digits."""
    first, again = tmp_path / name, tmp_path / "again.npy"
    assert biglearn("sample", model, 1 if name == "a.png" else 5, "-o", first, "--with", "label=7")[0] == 0
    extra = ["--with", "label=7"] if name == "a.png" else []
    code, out, error = biglearn("complete", model, first, "-o", again, *extra)
    assert code == 0 and "100% of the cells given" in out, error
    expected = Sampler.load(model).complete(*fixed_label(1 if name == "a.png" else 5))[0]
    tolerance = 16 / 255 / 2 + 1e-6 if name in ("a.png", "folder") else 1e-5
    np.testing.assert_allclose(np.load(again), expected, atol=tolerance)


def fixed_label(n: int) -> tuple[np.ndarray, np.ndarray]:
    rows = np.full((n, 65), np.nan, np.float32)
    rows[:, 64] = 7
    return rows, ~np.isnan(rows)


def test_same_seed_same_bytes_and_another_seed_others(model, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        assert biglearn("sample", model, 4, "-o", tmp_path / f"{name}.npy", "--seed", seed)[0] == 0
    a, b, c = ((tmp_path / f"{n}.npy").read_bytes() for n in "abc")
    assert a == b != c


def test_complete_keeps_what_is_given_and_draws_the_rest(model, tmp_path):
    rows = np.random.default_rng(0).integers(0, 17, (3, 65)).astype(np.float32)
    rows[:, 64] = [1, 5, 9]
    np.save(tmp_path / "rows.npy", rows)
    code, _, error = biglearn(
        "complete", model, tmp_path / "rows.npy", "-o", tmp_path / "out.npy", "--given", "upper", "--given", "label", "--draws", 4
    )  # fmt: skip
    assert code == 0, error
    draws = np.load(tmp_path / "out.npy")
    assert draws.shape == (4, 3, 65)
    np.testing.assert_array_equal(draws[:, :, :32], np.broadcast_to(rows[:, :32], (4, 3, 32)))
    np.testing.assert_array_equal(draws[:, :, 64], np.broadcast_to(rows[:, 64], (4, 3)))
    assert (draws[:, :, 32:64].std(0) > 0).any()


def test_asking_for_the_label_alone_leaves_the_rest_out(model, tmp_path):
    rows = np.full((2, 65), np.nan, np.float32)
    rows[:, :20] = 8
    np.save(tmp_path / "rows.npy", rows)
    arguments = ("--ask", "label", "-o", tmp_path / "labels.csv", "--draws", 3)
    code, _, error = biglearn("complete", model, tmp_path / "rows.npy", *arguments)
    assert code == 0, error
    table = pd.read_csv(tmp_path / "labels.csv")
    assert list(table.columns[:2]) == ["draw", "row"] and len(table) == 6
    assert table["label"].between(0, 9).all() and table["pixel_63"].isna().all() and (table["pixel_0"] == 8).all()


def test_transparent_pixels_are_unknown(model, tmp_path):
    """A PNG erased in any editor is a completion task: what is left stays, what was erased is drawn."""
    pixels = np.full((8, 8, 4), 255, np.uint8)
    pixels[4:, :, 3] = 0
    pixels[:4, :, :3] = 51
    Image.fromarray(pixels).save(tmp_path / "erased.png")
    code, out, error = biglearn("complete", model, tmp_path / "erased.png", "-o", tmp_path / "filled.png")
    assert code == 0 and "49% of the cells given" in out, error
    filled = np.asarray(Image.open(tmp_path / "filled.png").convert("L"))
    assert filled.shape == (8, 8) and (filled[:4] == 51).all() and filled[4:].std() > 0


ERRORS = [
    (("sample", "MODEL", 0, "-o", "x.npy"), 2, "Input should be greater than or equal to 1"),
    (("sample", "MODEL"), 2, "biglearn sample: Missing argument 'count'. (see biglearn sample --help)"),
    (("sampel",), 2, "No such command 'sampel'. Did you mean 'sample'?"),
    (("sample", "nowhere", 3, "-o", "x.npy"), 1, "A model is a folder with model.safetensors"),
    (("sample", "MODEL", 3, "-o", "x.gif"), 1, "An output must end in .npy, .npz, .csv, .tsv, .parquet, .txt, .png"),
    (("sample", "MODEL", 3, "-o", "x.txt"), 1, "This model has no text"),
    (("sample", "MODEL", 3, "-o", "x.npy", "--with", "label=77"), 1, "'label' must be one of '0', '1'"),
    (("sample", "MODEL", 3, "-o", "x.npy", "--with", "label"), 1, "An assignment must look like name=value. Got 'label'."),
    (("sample", "MODEL", 3, "-o", "x.npy", "--with", "upper=3"), 1, "'upper' must be one cell to take a value. Got a part of 32 cells."),
    (("sample", "MODEL", 3, "-o", "x.npy", "--with", "pixel_3=dark"), 1, "'pixel_3' must be a number. Got 'dark'."),
    (("sample", "MODEL", 3, "-o", "x.npy", "--device", "tpu"), 1, "--device must be cpu or cuda. Got 'tpu'."),
    (("sample", "MODEL", 3, "-o", "THERE"), 1, "is already there; --force overwrites it."),
    (("complete", "MODEL", "nowhere.npy", "-o", "x.npy"), 1, "There is no file or folder nowhere.npy."),
    (("complete", "MODEL", "THERE", "-o", "x.npy"), 1, "x' must be rows of 65 columns or images (8, 8, 1). Got shape (2, 3)."),
    (("complete", "MODEL", "GOOD", "-o", "x.npy", "--given", "top"), 1, "No part 'top' in this data. Its parts: all, none, image"),
    (("impute", "nowhere.csv", "-o", "x.csv"), 1, "There is no file nowhere.csv."),
    (("impute", "nowhere.csv", "-o", "x.png"), 1, "A filled table must end in .csv, .tsv, .parquet. Got x.png."),
    (("fit", "nowhere", "-o", "model"), 1, "There is no file or folder nowhere."),
    (("evaluate", "nowhere"), 1, "A model is a folder with model.safetensors"),
    (("evaluate", "MODEL"), 1, "must be a project that `biglearn fit` wrote, or come with --data."),
    (("simulate", "--set", "simulate.seeds=0"), 2, "Parameter 'simulate.seeds' must lie in [1, 100000]. Got 0."),
    (("fit", "GOOD", "-o", "model", "--set", "train.stesp=3"), 2, "Parameter 'train.stesp': Key 'stesp' not in 'TrainParams'"),
    (("fit", "GOOD", "-o", "model", "--set", "steps"), 2, "A parameter must look like group.name=value. Got 'steps'."),
    (("fit", "GOOD", "-o", "THERE"), 1, "must be a folder. Got a file."),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "code", "message"), ERRORS)
def test_errors_are_one_line_with_an_exit_code(model, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "there.npy", np.zeros((2, 3)))
    np.save(tmp_path / "good.npy", np.zeros((2, 65)))
    names = {"MODEL": model, "THERE": "there.npy", "GOOD": "good.npy"}
    got, _, error = biglearn(*(names.get(a, a) for a in arguments))
    assert got == code and message in error
    assert len(error.strip().splitlines()) == 1 and "Traceback" not in error
    assert sorted(p.name for p in tmp_path.iterdir()) == ["good.npy", "there.npy"], "a refused command left files"


def test_force_overwrites(model, tmp_path):
    (tmp_path / "x.npy").write_text("old")
    assert biglearn("sample", model, 2, "-o", tmp_path / "x.npy", "--force")[0] == 0
    assert np.load(tmp_path / "x.npy").shape == (2, 65)


def test_doctor_lists_findings_with_fixes(monkeypatch):
    monkeypatch.setenv("DATA_MIRROR", "/no/such/folder")
    code, out, _ = biglearn("doctor", "--json")
    findings = {f["name"]: f for f in json.loads(out)}
    assert (
        code == 1
        and findings["DATA_MIRROR"]["status"] == "fail"
        and "unset DATA_MIRROR" in findings["DATA_MIRROR"]["fix"]
    )
    assert findings["torch"]["status"] == "ok" and findings["numpy"]["detail"] == np.__version__
    assert {"python", "device", "triton kernels", "disk", "dvc project", "prefect telemetry"} <= set(findings)
    monkeypatch.delenv("DATA_MIRROR")
    code, out, _ = biglearn("doctor")
    assert code == 0 and "0 failures" in out.splitlines()[-1]


def test_a_real_command_reports_a_damaged_model(model, tmp_path):
    """Through the interpreter, as a user would: exit code 1, one line, no traceback."""
    for path in model.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    with open(tmp_path / "model.safetensors", "r+b") as stream:
        stream.seek(500)
        stream.write(b"\xff\xff\xff\xff")
    result = real("sample", tmp_path, 2, "-o", tmp_path / "x.npy")
    assert result.returncode == 1 and "is damaged: its SHA-256 is" in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1 and not (tmp_path / "x.npy").exists()


TINY = [f"--set={name}" for name in (
    "train.steps=6", "train.batch_size=16", "train.processes=1", "tasks.train_rows=256", "network.width=8", "network.depth=1", "network.heads=1",
    "evaluate.classifier_epochs=1", "evaluate.draws=2", "evaluate.rows=16", "evaluate.baselines=false",
    "evaluate.source_shares=[0.5]",
)]  # fmt: skip


def test_fit_complete_and_evaluate_a_users_arrays(tmp_path):
    """From a file to a model, draws and scores, the first command through the interpreter."""
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "mine.npz", x=rng.integers(0, 256, (80, 8, 8), dtype=np.uint8), y=rng.integers(0, 2, 80))
    model = tmp_path / "model"
    result = real("fit", tmp_path / "mine.npz", "-o", model, "--seed", 4, *TINY)
    assert result.returncode == 0 and "fit: model in" in result.stdout, result.stderr
    assert (model / "params.yaml").is_file() and (model / "data" / "models" / "generator" / "config.json").is_file()
    code, _, error = biglearn("fit", tmp_path / "mine.npz", "-o", model)
    assert code == 1 and "already holds a trained model; --force trains it anew." in error
    code, _, error = biglearn(
        "complete", model, tmp_path / "mine.npz", "--given", "left", "--draws", 2, "-o", tmp_path / "draws.npz"
    )
    assert code == 0, error
    draws = np.load(tmp_path / "draws.npz")
    assert draws["x"].shape == (2, 80, 8, 8, 1) and draws["y"].shape == (2, 80)
    np.testing.assert_array_equal(draws["x"][0, ..., :4, 0], np.load(tmp_path / "mine.npz")["x"][..., :4])
    code, out, error = biglearn("evaluate", model, "--data", tmp_path / "mine.npz")
    assert code == 0, error
    scores = json.loads(out[out.index("{") :])
    assert scores["evaluated_rows"] == 16 and np.isfinite(list(scores.values())).all()
    assert not (model / "data" / "metrics" / "evaluate.json").exists(), "another file's scores are not the project's"


def test_table_end_to_end(tmp_path):
    """CSV in, model, filled CSV, draws and new rows out, with dtypes and known cells kept."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"age": rng.integers(18, 80, 120), "pay": rng.normal(3, 1, 120), "job": rng.choice(["a", "b"], 120)}
    )
    table.loc[:20, "pay"], table.loc[10:30, "job"] = np.nan, None
    table.to_csv(tmp_path / "t.csv", index=False)
    model = tmp_path / "model"
    code, _, error = biglearn("fit", tmp_path / "t.csv", "-o", model, "--set", "steps=20", "--set", "width=16")
    assert code == 0, error
    code, out, error = biglearn("impute", tmp_path / "t.csv", "-o", tmp_path / "f.parquet", "--model", model)
    assert code == 0 and "42 missing cells of 120 rows filled" in out, error
    filled = pd.read_parquet(tmp_path / "f.parquet")
    assert not filled.isna().any(axis=None) and filled["age"].dtype == np.int64 and set(filled["job"]) == {"a", "b"}
    pd.testing.assert_series_equal(filled["pay"][21:], table["pay"][21:])
    code, _, error = biglearn("impute", tmp_path / "t.csv", "-o", tmp_path / "d.csv", "--model", model, "--draws", 3)
    assert code == 0, error
    draws = pd.read_csv(tmp_path / "d.csv")
    assert list(draws.columns) == ["draw", "row", "age", "pay", "job"] and len(draws) == 360
    assert draws[draws["row"] == 5]["pay"].nunique() > 1
    code, _, error = biglearn("sample", model, 7, "-o", tmp_path / "new.csv", "--with", "job=b", "--with", "age=40")
    assert code == 0, error
    new = pd.read_csv(tmp_path / "new.csv")
    assert (new["job"] == "b").all() and (new["age"] == 40).all() and new["pay"].notna().all()
    code, _, error = biglearn("sample", model, 7, "-o", tmp_path / "x.csv", "--with", "job=c")
    assert code == 1 and "'job' must be one of 'a', 'b'. Got 'c'." in error


def test_text_end_to_end(tmp_path):
    """A text in, lines with unknown characters completed; what is given stays."""
    (tmp_path / "t.txt").write_text("the cat sat on the mat and the dog on the log. " * 40, encoding="utf8")
    small = [
        "--set=train.steps=4",
        "--set=network.width=16",
        "--set=tasks.train_rows=256",
        "--set=prepare.text_length=8",
    ]
    code, _, error = biglearn("fit", tmp_path / "t.txt", "-o", tmp_path / "model", *small)
    assert code == 0, error
    (tmp_path / "some.txt").write_text("the c__\n____at  \n", encoding="utf8")
    code, _, error = biglearn(
        "complete", tmp_path / "model", tmp_path / "some.txt", "-o", tmp_path / "out.txt", "--draws", 2
    )
    assert code == 0, error
    lines = (tmp_path / "out.txt").read_text(encoding="utf8").splitlines()
    assert len(lines) == 4 and all(len(line) == 8 and "_" not in line for line in lines)
    assert all(line.startswith("the c") for line in lines[::2]) and all(line[4:] == "at  " for line in lines[1::2])
    (tmp_path / "long.txt").write_text("nine char\n", encoding="utf8")
    code, _, error = biglearn("complete", tmp_path / "model", tmp_path / "long.txt", "-o", tmp_path / "x.txt")
    assert code == 1 and "long.txt, line 1: at most 8 characters. Got 9." in error


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
    assert code == 1 and "evaluate takes a model's folder, or a table in .csv, .tsv or .parquet. Got" in error


def test_init_sets_params_for_the_users_data_and_keeps_comments(tmp_path):
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "params.yaml")
    pd.DataFrame({"a": np.arange(3000.0), "b": ["u", "v"] * 1500}).to_csv(tmp_path / "it's.csv", index=False)
    project = ("--project", tmp_path)
    code, out, error = biglearn("init", tmp_path / "it's.csv", *project, "--set", "network.width=32")
    assert code == 0 and "train.adversarial_weight: 1.0 → 0.0" in out and "train.steps: 7500 → 1200" in out, error
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
