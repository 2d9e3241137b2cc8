"""The flow retrain: a worse model stays out, an unchanged project builds nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flows import registry
from tests.helpers.projects import dvc, run, write_params


def retrain(root: Path, environment: dict[str, str]) -> str:
    """Output of the flow in a process of its own."""
    command = [sys.executable, "-m", "flows.retrain"]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.slow
def test_a_worse_model_stays_out_and_an_unchanged_project_builds_nothing(model_project, prefect_environment):
    root = model_project
    retrain(root, prefect_environment)
    first = registry.promoted(root)
    output = retrain(root, prefect_environment)
    assert "retrain: Unchanged: data, code and parameters are those of the last run" in output
    write_params(root, lr=0.5)
    run(root, "git", "commit", "--quiet", "--all", "--message", "worse")
    output = retrain(root, prefect_environment)
    assert registry.promoted(root) == first
    assert "worse by 49" in output and f"not promoted; v0.1.0 ({first.revision[:12]}) stays" in output
    assert len(dvc(root, "exp", "list", "--all-commits", "--name-only").split()) >= 2


def test_the_flow_starts_without_torch():
    """Only a promotion loads a model: the nightly run that has nothing to do stays light."""
    code = "import sys, flows.retrain; assert not {'torch', 'sklearn', 'pandas'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
