"""The command line: help, errors in one line, exit codes, Ctrl-C, the doctor."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from tests.helpers.commands import biglearn, interrupted, real
from tests.helpers.imports import ROOT

COMMANDS = (
    *("fit", "init", "sample", "complete", "impute", "evaluate", "inspect"),
    *("simulate", "report", "compare", "doctor", "demo"),
)


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
    (("impute", "nowhere.csv", "-o", "x.png"), 1, "x.png: must be one of .csv, .tsv, .tab, .txt, .jsonl"),
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
