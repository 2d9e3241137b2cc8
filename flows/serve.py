"""A working scheduler on one machine: Prefect's server and pages, the deployments of prefect.yaml, a worker.

    make serve                                # or: python -m flows.serve [--port 4200]

Everything listens on loopback alone. Ctrl-C ends the worker, its runs and the server. On several machines start
the same three parts by hand: docs/orchestration.md.
"""

from __future__ import annotations

import functools
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import typer

from flows.database import server_database
from flows.dvc_tasks import child_environment
from flows.process import child_command, end_group
from flows.show import REPORT_URL
from flows.temporary_server import wait_until_healthy
from pipeline.base.failures import one_line_errors
from pipeline.base.paths import Paths, default_root
from pipeline.base.streams import ready_streams

HOST = "127.0.0.1"
START_LIMIT_S = 300.0


def serve(root: Path, port: int) -> None:
    """Runs until interrupted. Raises RuntimeError when a part does not start, or ends by itself."""
    url = f"http://{HOST}:{port}"
    if _is_taken(port):
        raise RuntimeError(f"'port' must be free. Got {port}, where a server already listens.")
    with ExitStack() as stack:
        report = stack.enter_context(report_server(Paths(root).report))
        environment = os.environ | {
            "PREFECT_API_URL": f"{url}/api",
            REPORT_URL: report,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        }
        with server_database() as database:
            command = ("server", "start", "--host", HOST, "--port", str(port))
            server = stack.enter_context(_prefect(root, environment | database, *command))
            wait_until_healthy(f"{url}/api", server, START_LIMIT_S)
        _run_once(root, environment, sys.executable, "-m", "flows.scheduler")
        _run_once(root, environment, sys.executable, "-m", "flows.deployments")
        worker = stack.enter_context(
            _prefect(root, environment, "worker", "start", "--pool", "local", "--install-policy", "never")
        )
        print(f"Prefect's pages: {url} · report: {report} · Ctrl-C ends everything", flush=True)
        while (server.poll(), worker.poll()) == (None, None):
            time.sleep(1.0)
        raise RuntimeError(
            "The server or the worker must run on. Got the end of one: its last lines are above; start `make serve` again."
        )


@contextmanager
def report_server(folder: Path) -> Iterator[str]:
    """Address at which `folder` is served, read-only, while the context lasts."""
    handler = functools.partial(_QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer((HOST, 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://{HOST}:{server.server_address[1]}/index.html"
        finally:
            server.shutdown()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """No line a request."""


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
