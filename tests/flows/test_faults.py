"""kill -9 of flows at bad moments, and two at once: nothing is left at work, a rerun heals, the model loads.

BIGLEARN_FAULT_ROUNDS sets the rounds of each test (default 1; 20 for the long form).
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows import registry
from flows.workshop import workshop_folder
from pipeline.model_files import read_network
from tests.flows.projects import dvc, run, write_params

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]
ROUNDS = int(os.environ.get("BIGLEARN_FAULT_ROUNDS", "1"))
BALLAST_MB = 200  # long enough a commit to be killed in


def start(flow: str, root: Path, environment: dict[str, str]) -> subprocess.Popen:
    """The flow in a process of its own, its output in the project's parent folder."""
    command = [sys.executable, "-m", f"flows.{flow}"]
    with open(root.parent / f"{flow}.log", "a") as log:
        return subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=subprocess.STDOUT)


def wait_for(path: Path, process: subprocess.Popen, limit_s: float = 240.0) -> None:
    """Returns when the file exists and the process still runs."""
    limit = time.monotonic() + limit_s
    while not path.exists():
        assert process.poll() is None, "the flow ended before the moment to kill it"
        assert time.monotonic() < limit, f"{path} did not appear"
        time.sleep(0.02)


def workers_below(folder: Path) -> list[str]:
    """Command lines of living processes that work in `folder` or below."""
    found = []
    for process in psutil.process_iter(["cwd", "cmdline", "status"]):
        where = process.info["cwd"]
        if where and Path(where).is_relative_to(folder) and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(" ".join(process.info["cmdline"] or []))
    return found


def kill_and_check(process: subprocess.Popen, root: Path) -> None:
    """kill -9; within ten seconds nothing works in the project any more."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    limit = time.monotonic() + 10
    while workers_below(root) and time.monotonic() < limit:
        time.sleep(0.1)
    assert workers_below(root) == []


def assert_sound(root: Path, folder: Path) -> None:
    """DVC sees nothing to do in `folder`, and every file of the cache has the hash that is its name."""
    assert json.loads(dvc(folder, "status", "--json")) == {}
    assert "uncommitted" not in json.loads(dvc(folder, "data", "status", "--json"))
    files = [p for p in (root / ".dvc" / "cache" / "files" / "md5").glob("??/*") if not p.name.endswith(".tmp")]
    assert files
    for path in files:
        with open(path, "rb") as stream:
            digest = hashlib.file_digest(stream, "md5").hexdigest()
        assert path.parent.name + path.name.removesuffix(".dir") == digest


def finish(flow: str, root: Path, environment: dict[str, str]) -> None:
    """Runs the flow to its end."""
    process = start(flow, root, environment)
    assert process.wait(timeout=280) == 0, (root.parent / f"{flow}.log").read_text()[-3000:]


def moments(flow: str, root: Path) -> tuple[Path, Path]:
    """(the folder where the flow builds, the file that appears when training starts)."""
    folder = root if flow == "reproduce" else workshop_folder(root, "retrain")
    return folder, folder / "data" / "checkpoints" / "started"


@pytest.mark.parametrize("flow", ["reproduce", "retrain"])
def test_killed_during_train(flow, model_project, prefect_environment):
    root = model_project
    folder, started = moments(flow, root)
    for n in range(ROUNDS):
        write_params(root, lr=0.01 + 0.001 * n, steps=1500)
        run(root, "git", "commit", "--quiet", "--all", "--allow-empty", "--message", f"round {n}")
        started.unlink(missing_ok=True)
        process = start(flow, root, prefect_environment)
        wait_for(started, process)
        time.sleep(random.Random(n).uniform(0.0, 1.0))
        kill_and_check(process, root)
        write_params(root, lr=0.01 + 0.001 * n, steps=1)
        run(root, "git", "commit", "--quiet", "--all", "--message", f"round {n}, shorter")
        finish(flow, root, prefect_environment)
        assert_sound(root, folder)
    if flow == "retrain":
        assert read_network(root / "data" / "promoted" / "generator")


@pytest.mark.parametrize("flow", ["reproduce", "retrain"])
def test_killed_during_a_commit(flow, model_project, prefect_environment):
    """train.json is the last file that training writes; what follows is DVC hashing and caching its outs."""
    root = model_project
    folder, _ = moments(flow, root)
    for n in range(ROUNDS):
        write_params(root, lr=0.02 + 0.001 * n, log_interval=BALLAST_MB)
        run(root, "git", "commit", "--quiet", "--all", "--message", f"round {n}")
        written = folder / "data" / "metrics" / "train.json"
        written.unlink(missing_ok=True)
        process = start(flow, root, prefect_environment)
        wait_for(written, process)
        time.sleep(random.Random(n).uniform(0.0, 1.5))
        kill_and_check(process, root)
        finish(flow, root, prefect_environment)
        assert_sound(root, folder)
    if flow == "retrain":
        assert read_network(root / "data" / "promoted" / "generator")


def test_two_retrains_together(model_project, prefect_environment):
    root = model_project
    for n in range(ROUNDS):
        write_params(root, lr=0.05 - 0.001 * n, steps=100)
        run(root, "git", "commit", "--quiet", "--all", "--message", f"round {n}")
        (root / "incoming" / "rows.txt").write_text(f"day {n + 2}")
        both = [start("retrain", root, prefect_environment) for _ in range(2)]
        assert [process.wait(timeout=280) for process in both] == [0, 0], (root.parent / "retrain.log").read_text()
        assert_sound(root, workshop_folder(root, "retrain"))
        assert len(registry.history(root)) == n + 1
        trained_on = read_network(root / "data" / "promoted" / "generator")[1]["trained_on"]
        assert trained_on.startswith(f"day {n + 2}")
    log = (root.parent / "retrain.log").read_text()
    assert log.count("retrain: Skipped: another retrain is at work") + log.count("retrain: Unchanged: ") == ROUNDS


def test_a_worse_model_stays_out_and_an_unchanged_project_builds_nothing(model_project, prefect_environment):
    root = model_project
    finish("retrain", root, prefect_environment)
    first = registry.promoted(root)
    finish("retrain", root, prefect_environment)
    write_params(root, lr=0.5)
    run(root, "git", "commit", "--quiet", "--all", "--message", "worse")
    finish("retrain", root, prefect_environment)
    assert registry.promoted(root) == first
    log = (root.parent / "retrain.log").read_text()
    assert "retrain: Unchanged: data, code and parameters are those of the last run" in log
    assert "worse by 49" in log and f"not promoted; v0.1.0 ({first.revision[:12]}) stays" in log
    assert len(dvc(root, "exp", "list", "--all-commits", "--name-only").split()) >= 2
