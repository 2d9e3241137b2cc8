"""No process of a run, Prefect and DVC included, reaches for an address beyond this machine."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.helpers.imports import ROOT

GUARD = """import os, socket
_connect, _look_up = socket.socket.connect, socket.getaddrinfo
LOCAL = ("127.", "::1", "localhost", "0.0.0.0")
def note(host):
    with open(os.environ["NETWORK_LOG"], "a") as stream:
        stream.write(f"{host}\\n")
def connect(self, address):
    if isinstance(address, tuple) and not str(address[0]).startswith(LOCAL):
        note(address[0])
        raise OSError("no network")
    return _connect(self, address)
def getaddrinfo(host, *arguments, **named):
    if host is not None and not str(host).startswith(LOCAL):
        note(host)
        raise socket.gaierror("no network")
    return _look_up(host, *arguments, **named)
socket.socket.connect, socket.getaddrinfo = connect, getaddrinfo
"""


@pytest.mark.slow(short=True)
def test_a_run_with_a_temporary_server_needs_no_network(small_project, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(GUARD)
    log = tmp_path / "network.log"
    here = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "DO_NOT_TRACK", "CI"))}
    environment = here | {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
        "NETWORK_LOG": str(log),
        "PREFECT_HOME": str(tmp_path / "prefect"),
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "240",
    }
    probe = "import socket; s = socket.socket(); s.connect(('192.0.2.1', 9))"
    assert subprocess.run([sys.executable, "-c", probe], env=environment, capture_output=True).returncode == 1
    assert log.read_text() == "192.0.2.1\n"  # the guard works
    log.unlink()
    command = [sys.executable, "-m", "flows.reproduce"]
    done = subprocess.run(command, cwd=small_project, env=environment, capture_output=True, text=True, timeout=290)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "d: ran" in done.stdout
    assert not log.exists(), log.read_text()
