"""What a Prefect server is given before its worker starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.flows.fault_rounds import Project
from tests.helpers.imports import ROOT

LOOK = """
import json, sys
from prefect.client.orchestration import get_client
from flows.scheduler import end_dead_runs
with get_client(sync_client=True) as client:
    ended = end_dead_runs(client, *map(float, sys.argv[1:]))
    print(json.dumps([ended, [run.state_name for run in client.read_flow_runs() if run.name in ended]]))
"""


def look(environment: dict[str, str], *silent_s: str) -> list[list[str]]:
    """[names of the runs that were ended, their states now]."""
    command = [sys.executable, "-c", LOOK, *silent_s]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_run_that_died_unwatched_is_ended_and_others_are_left_alone(model_project, prefect_environment):
    project = Project(model_project, "reproduce", prefect_environment)
    project.change("long", steps=6000)
    process = project.start()
    try:
        project.wait_for(model_project / "data" / "checkpoints" / "started", process)
        assert look(prefect_environment) == [[], []]  # it has just sent a heartbeat
    finally:
        process.kill()
        process.wait()
    ended, states = look(prefect_environment, "0.5")
    name = project.log.read_text().split("Beginning flow run '")[1].split("'")[0]
    assert name in ended and set(states) == {"Crashed"}
    assert look(prefect_environment, "0.5") == [[], []]


@pytest.mark.slow(short=True)
def test_pool_automation_and_address_of_the_reports_are_made_once(prefect_environment):
    command = [sys.executable, "-m", "flows.scheduler", "http://127.0.0.1:4201"]
    asked = "from flows.reports import link_to; from pathlib import Path; print(link_to(Path('data/report')))"
    listed = [sys.executable, "-m", "prefect", "automation", "ls"]
    for _ in range(2):
        assert subprocess.run(command, cwd=ROOT, env=prefect_environment, timeout=120).returncode == 0
    wide = prefect_environment | {"COLUMNS": "200", "DO_NOT_TRACK": "1", "PATH": os.environ["PATH"]}
    shown = subprocess.run(listed, cwd=ROOT, env=wide, capture_output=True, text=True, timeout=120).stdout
    assert shown.count("End runs whose heart stopped") == 1
    done = subprocess.run(
        [sys.executable, "-c", asked], cwd=ROOT, env=prefect_environment, capture_output=True, text=True
    )
    assert done.stdout == "http://127.0.0.1:4201/reproduce/\n", done.stderr
