"""A scheduler in one command: a scheduled run fires, shows its artifacts, and Ctrl-C ends everything."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest
import yaml

from flows.serve import report_server
from tests.flows.projects import commit
from tests.imports import ROOT


def ask(address: str, body: dict) -> list[dict]:
    """A POST to the Prefect API."""
    request = urllib.request.Request(address, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def test_deployments_name_flows_that_exist_and_run_one_at_a_time():
    text = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    flows = {d["entrypoint"]: d for d in text["deployments"]}
    assert set(flows) == {f"flows/{name}.py:{name}" for name in ("retrain", "reproduce", "sweep")}
    for entrypoint, deployment in flows.items():
        file, name = entrypoint.split(":")
        assert f"def {name}(" in (ROOT / file).read_text()
        assert deployment["concurrency_limit"] == {"limit": 1, "collision_strategy": "CANCEL_NEW"}
    assert flows["flows/retrain.py:retrain"]["schedules"][0]["cron"]


def test_usage_reports_are_off_before_prefect_is_imported():
    code = "import os, sys, flows; assert 'prefect' not in sys.modules; print(os.environ['DO_NOT_TRACK'])"
    here = {k: v for k, v in os.environ.items() if k != "DO_NOT_TRACK"}
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=here, capture_output=True).stdout == b"1\n"


def test_the_report_is_served_on_loopback_alone(tmp_path):
    (tmp_path / "index.html").write_text("<h1>report</h1>")
    with report_server(tmp_path) as address:
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address, timeout=10) as answer:
            assert answer.read() == b"<h1>report</h1>"
    with pytest.raises(OSError):
        urllib.request.urlopen(address, timeout=2)


@pytest.fixture
def served_project(model_project: Path) -> Path:
    """The model project with this repository's flows, and `reproduce` on an interval of 20 s."""
    shutil.copytree(ROOT / "flows", model_project / "flows")
    text = yaml.safe_load((ROOT / "prefect.yaml").read_text())
    for deployment in text["deployments"]:
        if deployment["entrypoint"].startswith("flows/reproduce"):
            deployment["schedules"] = [{"interval": 20, "active": True}]
    (model_project / "prefect.yaml").write_text(yaml.safe_dump(text))
    (model_project / "data" / "report").mkdir(parents=True)
    (model_project / "data" / "report" / "index.html").write_text("<h1>report</h1>")
    commit(model_project, "flows")
    return model_project


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_scheduled_run_fires_and_ctrl_c_ends_everything(served_project, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"PREFECT_HOME": str(tmp_path / "prefect"), "PYTHONPATH": str(ROOT)}
    log = tmp_path / "serve.log"
    command = [sys.executable, "-m", "flows.serve", "--port", str(port)]
    with open(log, "w") as stream:
        server = subprocess.Popen(command, cwd=served_project, env=environment, stdout=stream, stderr=subprocess.STDOUT)
    try:
        done = _wait_for_a_completed_run(server, f"http://127.0.0.1:{port}/api", log)
        assert done["auto_scheduled"] is True
        shown = {
            a["key"]: a
            for a in ask(
                f"http://127.0.0.1:{port}/api/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [done["id"]]}}}
            )
        }
        assert {"metrics", "report"} <= set(shown)
        assert '"fid"' in shown["metrics"]["data"] and "http://127.0.0.1:" in shown["report"]["data"]
        listening = {
            c.laddr.ip for c in psutil.net_connections("inet") if c.status == "LISTEN" and c.laddr.port == port
        }
        assert listening == {"127.0.0.1"}
        parts = psutil.Process(server.pid).children(recursive=True)
        server.send_signal(signal.SIGINT)
        assert server.wait(timeout=90) == 0
        assert log.read_text().rstrip().endswith("serve: stopped")
        assert psutil.wait_procs(parts, timeout=20)[1] == []
    finally:
        if server.poll() is None:
            server.terminate()
            server.wait(timeout=90)


def _wait_for_a_completed_run(server: subprocess.Popen, api: str, log: Path) -> dict:
    limit = time.monotonic() + 600
    while time.monotonic() < limit:
        assert server.poll() is None, log.read_text()[-3000:]
        try:
            runs = ask(f"{api}/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["COMPLETED", "FAILED"]}}}})
        except OSError:
            runs = []
        if runs:
            assert runs[0]["state_type"] == "COMPLETED", log.read_text()[-3000:]
            return runs[0]
        time.sleep(1)
    pytest.fail(f"no scheduled run completed: {log.read_text()[-3000:]}")
