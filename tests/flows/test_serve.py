"""A scheduler in one command: a scheduled run fires, shows its artifacts, and Ctrl-C ends everything."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import yaml

from flows.scheduler import MISSED_HEART_S
from tests.helpers.imports import ROOT
from tests.helpers.prefect_server import free_port
from tests.helpers.projects import commit, write_params


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
        assert deployment["work_pool"]["job_variables"]["command"] == "python -m flows.child - prefect.engine"
    assert flows["flows/retrain.py:retrain"]["schedules"][0]["cron"]


def test_usage_reports_are_off_before_prefect_is_imported():
    code = "import os, sys, flows; assert 'prefect' not in sys.modules; print(os.environ['DO_NOT_TRACK'])"
    here = {k: v for k, v in os.environ.items() if k != "DO_NOT_TRACK"}
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=here, capture_output=True).stdout == b"1\n"


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


def start_server(root: Path, folder: Path, port: int) -> tuple[subprocess.Popen, Path]:
    """`make serve` in the project `root`, its database in `folder`; and its log."""
    environment = os.environ | {"PREFECT_HOME": str(folder / "prefect"), "PYTHONPATH": str(ROOT)}
    log = folder / f"serve-{time.monotonic_ns()}.log"
    command = [sys.executable, "-m", "flows.serve", "--port", str(port)]
    with open(log, "w") as stream:
        return subprocess.Popen(command, cwd=root, env=environment, stdout=stream, stderr=subprocess.STDOUT), log


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_scheduled_run_fires_and_ctrl_c_ends_everything(served_project, tmp_path):
    port = free_port()
    server, log = start_server(served_project, tmp_path, port)
    try:
        done = _wait_for_a_completed_run(server, f"http://127.0.0.1:{port}/api", log)
        assert done["auto_scheduled"] is True
        shown = {
            a["key"]: a
            for a in ask(
                f"http://127.0.0.1:{port}/api/artifacts/filter", {"artifacts": {"flow_run_id": {"any_": [done["id"]]}}}
            )
        }
        assert {"metrics", "results"} <= set(shown) and '"fid"' in shown["metrics"]["data"]
        link = re.search(r"\((http://127\.0\.0\.1:\d+/reproduce/)\)", shown["results"]["data"]).group(1)
        with urllib.request.urlopen(link, timeout=10) as answer:
            assert answer.read() == b"<h1>report</h1>"
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


class Scheduler:
    """A server with its worker that a test kills and starts again; the model project trains for minutes."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder, self.port = root, folder, free_port()
        self.api = f"http://127.0.0.1:{self.port}/api"
        self.training = root / "data" / "checkpoints" / "started"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Returns when the worker is ready for runs."""
        self.process, log = start_server(self.root, self.folder, self.port)
        wait(lambda: "Prefect's pages: " in log.read_text(), 300, log.read_text)

    def run(self) -> str:
        """Id of a new run of `reproduce`."""
        flows = {f["id"]: f["name"] for f in ask(f"{self.api}/flows/filter", {})}
        found = [d for d in ask(f"{self.api}/deployments/filter", {}) if flows[d["flow_id"]] == "reproduce"]
        return ask(f"{self.api}/deployments/{found[0]['id']}/create_flow_run", {"state": {"type": "SCHEDULED"}})["id"]

    def states(self, *runs: str) -> list[str]:
        """Types of the states of runs."""
        found = ask(f"{self.api}/flow_runs/filter", {"flow_runs": {"id": {"any_": list(runs)}}})
        return [{run["id"]: run["state_type"] for run in found}[one] for one in runs]

    def wait_for_training(self) -> None:
        """Returns when training has begun since the last call."""
        wait(self.training.exists, 200)
        self.training.unlink()

    def parts(self) -> list[psutil.Process]:
        """Server, worker, flows and what they run."""
        return [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]

    def kill_everything(self) -> None:
        """kill -9, as a power cut would."""
        if self.process.poll() is not None:
            return
        for part in self.parts():
            with contextlib.suppress(psutil.NoSuchProcess):  # some die with those killed before them
                part.kill()
        self.process.wait()


def wait(condition: Callable[[], bool], limit_s: float, explain: Callable[[], str] = str) -> float:
    """Seconds until the condition held."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < limit_s, explain()
        time.sleep(0.1)
    return time.monotonic() - started


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_killed_run_does_not_stay_running(model_project, tmp_path):
    """Seconds when the worker lives and sees it; two minutes when all is killed, even with a new server. Nothing goes
    on when the worker is killed."""
    root = model_project
    for name in ("prefect.yaml", "prefect.toml"):
        shutil.copy(ROOT / name, root)
    shutil.copytree(ROOT / "flows", root / "flows")
    write_params(root, steps=60_000)
    commit(root, "flows")
    scheduler = Scheduler(root, tmp_path)
    try:
        scheduler.start()
        first = scheduler.run()
        scheduler.wait_for_training()
        next(p for p in scheduler.parts() if "prefect.engine" in p.cmdline()).kill()
        assert wait(lambda: scheduler.states(first) == ["CRASHED"], 60) < 30
        orphan = scheduler.run()
        scheduler.wait_for_training()
        parts = scheduler.parts()
        next(p for p in parts if "worker" in p.cmdline()).kill()
        assert scheduler.process.wait(timeout=60) == 1  # serve says that a part has ended
        assert psutil.wait_procs(parts, timeout=60)[1] == []
        scheduler.start()
        second = scheduler.run()
        scheduler.wait_for_training()
        time.sleep(2)  # until its first heartbeat has reached the database
        scheduler.kill_everything()
        killed = time.monotonic()
        scheduler.start()
        assert scheduler.states(second) == ["RUNNING"]
        wait(lambda: scheduler.states(second) == ["CRASHED"], 300)
        print(f"Crashed {time.monotonic() - killed:.0f} s after the kill of server, worker and flow")
        assert time.monotonic() - killed < MISSED_HEART_S + 90
        wait(lambda: scheduler.states(orphan) == ["CRASHED"], 200)
        write_params(root, steps=1)
        third = scheduler.run()  # the dead run no longer holds the deployment's only place
        wait(lambda: scheduler.states(third) == ["COMPLETED"], 200)
    finally:
        scheduler.kill_everything()
