"""A sweep on a Dask cluster of two worker processes: work is shared out, and a killed worker's experiment is run again."""

from __future__ import annotations

import csv
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.sweep import experiment_name
from tests.helpers.imports import ROOT
from tests.helpers.projects import dvc


def kill_a_training_worker(root: Path, cluster: subprocess.Popen, flow: subprocess.Popen) -> None:
    """kill -9 of the Dask worker that trains, once it does."""
    started = [root / ".dvc" / "tmp" / "workshops" / f"sweep-{i}" / "data" / "checkpoints" / "started" for i in (0, 1)]
    limit = time.monotonic() + 240
    while not any(path.exists() for path in started):
        assert flow.poll() is None and time.monotonic() < limit
        time.sleep(0.05)
    for process in psutil.Process(cluster.pid).children(recursive=True):
        if "train.py" in " ".join(process.cmdline()):
            worker = next(p for p in process.parents() if "multiprocessing" in " ".join(p.cmdline()))
            worker.kill()
            return
    pytest.fail("no worker trains")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_sweep_on_dask_outlives_one_of_its_workers(model_project, prefect_environment, tmp_path):
    root, log = model_project, tmp_path / "cluster.log"
    with open(log, "w") as errors:
        cluster = subprocess.Popen(
            [sys.executable, "-m", "tests.helpers.dask_cluster"],
            cwd=ROOT, env=prefect_environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
    try:
        address = cluster.stdout.readline().strip()
        command = [sys.executable, "-m", "flows.sweep", "-S", "train.lr=0.01,0.02", "-S", "train.steps=500,600"]
        command += ["--runner", "dask", "--address", address]
        flow = subprocess.Popen(
            command, cwd=root, env=prefect_environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        kill_a_training_worker(root, cluster, flow)
        output = flow.communicate(timeout=400)[0]
        assert flow.returncode == 0, output
        told = cluster.communicate("end\n", timeout=60)[0]
    finally:
        cluster.kill()
        cluster.wait()
    assert "workers with work: 2" in told
    with open(root / "data" / "sweeps" / "table.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    versions = [{"train.lr": lr, "train.steps": steps} for lr in (0.01, 0.02) for steps in (500, 600)]
    assert [row["experiment"] for row in rows] == [experiment_name(version) for version in versions]
    assert [float(row["quality"]) for row in rows] == [1.0, 1.0, 2.0, 2.0]
    assert set(dvc(root, "exp", "list", "--name-only").split()) == {row["experiment"] for row in rows}
    said = log.read_text()  # experiments run in the workers, and are told there
    assert "Ran experiment(s)" in said and "Ran experiment(s)" not in output
