"""The flow over a small project: states of its tasks, failures, retries; what it shows."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import yaml
from prefect.logging import disable_run_logger

from flows.dvc_tasks import StageFailed
from flows.reproduce import stage_task
from flows.show import data_uri, metric_rows, newest_sheet, results_text
from pipeline.base.paths import Paths
from pipeline.base.result_groups import ReproduceParams
from tests.helpers.projects import commit, dvc

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # inside DVC
LIMITS = ReproduceParams(busy_wait_s=0.0, stage_timeout_s=60.0)


def run_task(root, stage, *, stale, needs_ran=(), limits=LIMITS):
    """What the task returns outside a flow."""
    with disable_run_logger():
        return stage_task.fn(stage, root, limits, stale, list(needs_ran))


def test_a_stage_runs_when_it_is_stale_and_when_its_needs_changed_it(small_project):
    root = small_project
    assert run_task(root, "a", stale=True) is True
    state = run_task(root, "a", stale=False)
    assert (state.name, state.is_completed()) == ("UpToDate", True)
    assert run_task(root, "b", stale=False, needs_ran=[True]) is True
    assert run_task(root, "b", stale=False, needs_ran=[True]).name == "UpToDate"  # a ran, and came out the same


def test_failure_and_deadline_are_told(small_project):
    (small_project / "c.fault").write_text("no rows")
    with pytest.raises(StageFailed, match="stage 'c' ended with code .*: no rows"):
        run_task(small_project, "c", stale=True)
    state = run_task(small_project, "a", stale=True, limits=ReproduceParams(busy_wait_s=0.0, stage_timeout_s=0.2))
    assert (state.name, state.is_failed()) == ("TimedOut", True)
    assert "ran longer than 0.2 s and was ended" in state.message


def test_metrics_and_the_newest_sheet_are_shown(tmp_path):
    where = Paths(tmp_path)
    assert metric_rows(where) == [] and newest_sheet(where) is None and results_text(where, None) == ""
    where.metrics.mkdir(parents=True)
    (where.metrics / "train.json").write_text(json.dumps({"steps": 3}))
    sheets = where.models / "progress"
    sheets.mkdir(parents=True)
    for step in (5, 20):
        (sheets / f"step-{step:08d}.png").write_bytes(b"\x89PNG")
    assert metric_rows(where) == [{"stage": "train", "metric": "steps", "value": 3}]
    assert newest_sheet(where).name == "step-00000020.png"
    assert data_uri(newest_sheet(where)) == "data:image/png;base64,iVBORw=="


def test_results_are_one_page_scores_first(tmp_path):
    where = Paths(tmp_path)
    for folder in (where.metrics, where.models / "progress", where.report):
        folder.mkdir(parents=True)
    (where.metrics / "evaluate.json").write_text(json.dumps({"fid": 2.0, "fid_real": 1.0, "rmse": 3.0}))
    (where.models / "progress" / "step-00000020.png").write_bytes(b"\x89PNG")
    (where.report / "index.html").touch()
    text = results_text(where, "http://127.0.0.1:4201/reproduce/")
    order = [
        "| 2 | real rows 1<br>2.0 times that |",
        "after 20 training steps",
        "(data:image/png;base64,",
        "(http://127.0.0.1",
    ]
    places = [text.index(part) for part in order]
    assert places == sorted(places) and "rmse" not in text
    assert "](" not in results_text(where, None).split("base64")[1].split("\n", 1)[1]  # no link to a file


def reproduce(root, environment):
    """Exit code and output of the flow in a process of its own."""
    command = [sys.executable, "-m", "flows.reproduce"]
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=280)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_the_flow_runs_what_is_stale_names_what_failed_and_heals(small_project, prefect_environment):
    root = small_project
    (root / "b.fault").write_text("no rows")
    code, output = reproduce(root, prefect_environment)
    assert code == 1
    assert "1 of 4 stages failed. b: " in output and "no rows; not started: d" in output
    (root / "b.fault").unlink()
    code, output = reproduce(root, prefect_environment)
    assert code == 0
    assert [line for line in output.splitlines() if line in ("a: up to date", "b: ran", "c: up to date", "d: ran")]
    assert json.loads(dvc(root, "status", "--json")) == {}


@pytest.mark.slow(short=True)
def test_only_fetch_is_tried_again(small_project, prefect_environment):
    root = small_project
    flaky = (
        "import pathlib, sys; p = pathlib.Path('tries'); n = p.read_text() if p.exists() else ''; p.write_text(n + 'x')"
    )
    (root / "flaky.py").write_text(f"{flaky}\nif len(n) < 2: sys.exit('fetch: the mirror is down')\n")
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"fetch": {"cmd": "python flaky.py"}}}))
    (root / "params.yaml").write_text("reproduce: {fetch_retries: 2, fetch_retry_delay_s: 0.1}\n")
    commit(root, "flaky")
    code, output = reproduce(root, prefect_environment)
    assert (code, (root / "tries").read_text()) == (0, "xxx")
    assert "fetch: ran" in output and "the mirror is down" in output
