"""How a stage is started: by dvc, by nohup, and with which Python."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pipeline.base import stage
from pipeline.base.params import Params
from tests.helpers.imports import ROOT


@pytest.mark.parametrize(("variables", "dies"), [({}, False), ({"DVC_STAGE": "prepare"}, True)])
def test_only_a_child_of_dvc_dies_with_its_parent(variables, dies, monkeypatch, tmp_path):
    """One that a person started with `nohup … &` goes on when the shell ends."""
    monkeypatch.delenv("DVC_STAGE", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    asked = []
    monkeypatch.setattr(stage, "die_with_parent", lambda: asked.append(True))
    monkeypatch.setattr(stage, "load_params", lambda overrides: Params())
    monkeypatch.setenv("BIGLEARN_ROOT", str(tmp_path))
    stage.run_stage("prepare", lambda params, where: None)
    assert bool(asked) is dies


def run(stage_name: str, cwd=ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """`sh pipeline/run.sh stage_name` as a child of this Python under its whole path, with a PATH that has none of it."""
    here = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)} | environment
    command = ["sh", str(ROOT / "pipeline" / "run.sh"), stage_name]
    parent = [sys.executable, "-c", f"import subprocess, sys; sys.exit(subprocess.run({command!r}).returncode)"]
    return subprocess.run(parent, cwd=cwd, env=here, capture_output=True, text=True, timeout=60)


def test_a_stage_finds_the_python_that_runs_dvc():
    """`.venv/bin/dvc repro` without activating the environment; here pytest's Python stands for dvc's."""
    done = run("no_such_stage")
    assert "No module named pipeline.no_such_stage" in done.stderr and sys.executable in done.stderr


def test_without_a_python_it_says_what_to_do(tmp_path):
    for tool in ("sh", "tr", "head", "sed"):
        os.symlink(f"/usr/bin/{tool}", tmp_path / tool)
    (tmp_path / "python").write_text("#!/bin/sh\nexit 1\n")  # a Python without the libraries
    (tmp_path / "python").chmod(0o755)
    script = f'sh {ROOT / "pipeline" / "run.sh"} prepare; echo "code $?" >&2'
    command = ["setsid", "--fork", "sh", "-c", f"sleep 0.3; {script}"]  # its ancestors are no Python
    with open(tmp_path / "said", "w") as said:
        subprocess.run(command, cwd=tmp_path, env={"PATH": f"{tmp_path}:/usr/bin"}, stderr=said, timeout=60, check=True)
    for _ in range(100):
        text = (tmp_path / "said").read_text()
        if "code" in text:
            break
        subprocess.run(["sleep", "0.1"], check=True)
    assert "make environment" in text and "code 1" in text
