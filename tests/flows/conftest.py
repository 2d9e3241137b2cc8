"""Small projects to run flows on."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.process import CHILD, end_group
from tests.flows import projects
from tests.imports import ROOT


@pytest.fixture
def small_project(tmp_path: Path) -> Path:
    """A fresh project of four stages."""
    return projects.small(tmp_path / "project")


@pytest.fixture
def model_project(tmp_path: Path) -> Path:
    """A fresh project with a model."""
    return projects.with_model(tmp_path / "project")


@pytest.fixture(scope="session")
def prefect_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of processes that talk to a Prefect server on loopback, which runs for the whole session."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    here = {k: v for k, v in os.environ.items() if k not in ("DO_NOT_TRACK", "BIGLEARN_ROOT")}
    environment = here | {
        "PREFECT_HOME": str(tmp_path_factory.mktemp("prefect")),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PYTHONPATH": str(ROOT),
        "PREFECT_LOGGING_LEVEL": "INFO",
    }
    command = [sys.executable, CHILD, "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        limit = time.monotonic() + 240
        while time.monotonic() < limit:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5):
                    break
            except OSError:
                time.sleep(0.5)
        yield environment | {"PREFECT_API_URL": f"http://127.0.0.1:{port}/api"}
    finally:
        end_group(server)
