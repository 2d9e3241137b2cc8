"""A Prefect server on loopback for tests, and the environment of processes that talk to it."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from flows.process import child_command, end_group
from flows.temporary_server import wait_until_healthy
from tests.helpers.imports import ROOT

START_LIMIT_S = 240.0


def free_port() -> int:
    """A port of loopback on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def prefect_server(home: Path) -> Iterator[dict[str, str]]:
    """The environment of flows that report to a server of this project's kind, which ends with the context."""
    port = free_port()
    here = {k: v for k, v in os.environ.items() if k not in ("DO_NOT_TRACK", "BIGLEARN_ROOT")}
    environment = here | {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PYTHONPATH": str(ROOT),
        "PREFECT_LOGGING_LEVEL": "INFO",
    }
    command = child_command("flows.temporary_server", str(port))
    server = subprocess.Popen(command, env=environment, cwd=ROOT, stdin=subprocess.DEVNULL, start_new_session=True)
    try:
        api = f"http://127.0.0.1:{port}/api"
        wait_until_healthy(api, server, START_LIMIT_S)
        yield environment | {"PREFECT_API_URL": api}
    finally:
        end_group(server)
