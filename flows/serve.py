"""A working scheduler on one machine: Prefect's server and pages, the deployments of prefect.yaml, a worker.

    make serve                                # or: python -m flows.serve [--port 4200]

Everything listens on loopback alone. Ctrl-C ends the worker, its runs and the server. On several machines start
the same three parts by hand: docs/orchestration.md.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import typer

from flows.database import server_database
from flows.dvc_tasks import child_environment
from flows.process import child_command, end_group
from flows.reports import HOST, report_server
from flows.temporary_server import wait_until_healthy
from pipeline.base.failures import one_line_errors
from pipeline.base.paths import default_root
from pipeline.base.streams import ready_streams

START_LIMIT_S = 300.0


def serve(root: Path, port: int) -> None:
    """Runs until interrupted. Raises RuntimeError when a part does not start, or ends by itself."""
    url = f"http://{HOST}:{port}"
    if _is_taken(port):
        raise RuntimeError(f"'port' must be free. Got {port}, where a server already listens.")
    with ExitStack() as stack:
        reports = stack.enter_context(report_server(root, port + 1))
        environment = os.environ | {
            "PREFECT_API_URL": f"{url}/api",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        }
        with server_database() as database:
            command = ("server", "start", "--host", HOST, "--port", str(port))
            server = stack.enter_context(_prefect(root, environment | database, *command))
            wait_until_healthy(f"{url}/api", server, START_LIMIT_S)
        _run_once(root, environment, sys.executable, "-m", "flows.scheduler", reports)
        _run_once(root, environment, sys.executable, "-m", "flows.deployments")
        worker = stack.enter_context(
            _prefect(root, environment, "worker", "start", "--pool", "local", "--install-policy", "never")
        )
        print(f"Prefect's pages: {url} · report: {reports}/reproduce/ · Ctrl-C ends everything", flush=True)
        while (server.poll(), worker.poll()) == (None, None):
            time.sleep(1.0)
        raise RuntimeError(
            "The server or the worker must run on. Got the end of one: its last lines are above; start `make serve` again."
        )


@contextmanager
def _prefect(root: Path, environment: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen]:
    """A prefect command in its own process group, ended with the context and, at the latest, with this process."""
    environment = environment | {"PYTHONPATH": child_environment()["PYTHONPATH"]}
    child = subprocess.Popen(child_command("prefect", *arguments), cwd=root, env=environment, start_new_session=True)
    try:
        yield child
    finally:
        end_group(child)


def _run_once(root: Path, environment: dict[str, str], *command: str) -> None:
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, encoding="utf8", errors="replace",
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    print(done.stdout, end="", flush=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[1:])} failed: {done.stderr.strip()}")


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main(port: int = 4200) -> None:
    """Serves Prefect's pages, schedules and a worker on this machine until Ctrl-C."""
    for number in (signal.SIGTERM, signal.SIGINT):  # SIGINT too: a shell's background job starts with it ignored
        signal.signal(number, _interrupt)
    ready_streams()
    with one_line_errors("serve"):
        try:
            serve(default_root(), port)
        except KeyboardInterrupt:
            print("serve: stopped", flush=True)


if __name__ == "__main__":
    typer.run(main)
