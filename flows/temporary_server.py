"""A Prefect server for one flow: its API on loopback, without pages and schedules, ended with the flow.

Prefect starts one too where no server is set, but imports the whole server into the flow's process to do so and lets
Ctrl-C reach it before the flow has told it the end of the run. This one costs half as much and lives in its own session.
"""

from __future__ import annotations

import atexit
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import AbstractContextManager, ExitStack
from typing import BinaryIO

from flows.database import server_database
from flows.process import child_command, end_group

HOST = "127.0.0.1"


def use_prefect_server() -> str:
    """Address of the API that flows of this process use: the configured one, else a temporary server's.

    The temporary server is ended at the very end of the process, after Prefect has handed its last logs to it. Raises
    RuntimeError when it does not answer within server.ephemeral.startup_timeout_seconds.
    """
    from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings

    settings = get_current_settings()
    if settings.api.url:
        return settings.api.url
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    command = child_command("flows.temporary_server", str(port))
    said = tempfile.TemporaryFile()  # noqa: SIM115  it is the server's until this process ends
    with server_database() as database:
        environment = os.environ | database | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        child = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=said, stderr=said, start_new_session=True
        )
        atexit.register(end_group, child)
        import dvc.repo  # noqa: F401  the flow needs it, and the server takes seconds to start

        api = f"http://{HOST}:{port}/api"
        wait_until_healthy(api, child, settings.server.ephemeral.startup_timeout_seconds, said)
    atexit.register(_entered(temporary_settings({PREFECT_API_URL: api})).close)
    return api


def _entered(context: AbstractContextManager) -> ExitStack:
    stack = ExitStack()
    stack.enter_context(context)
    return stack


def wait_until_healthy(api: str, server: subprocess.Popen, limit_s: float, said: BinaryIO | None = None) -> None:
    """Returns when the server answers. Raises RuntimeError when it does not within `limit_s` seconds, or has ended.

    said: the file that holds what the server wrote, for the message.
    """
    limit = time.monotonic() + limit_s
    while time.monotonic() < limit and server.poll() is None:
        try:
            with urllib.request.urlopen(f"{api}/health", timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.05)
    why = "" if said is None else _last_words(said)
    if server.poll() is not None:
        raise RuntimeError(
            f"the Prefect server at {api} ended with code {server.returncode} before it answered{why}; its database "
            "is in PREFECT_HOME, and `biglearn doctor` checks the installation"
        )
    raise RuntimeError(
        f"the Prefect server did not answer at {api} within {limit_s:g} s{why}; on a slow machine set "
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"
    )


def _last_words(said: BinaryIO) -> str:
    """`: <the last line that names an error>` of what a server wrote, or ""."""
    said.seek(0)
    lines = [line.strip() for line in said.read().decode("utf8", "replace").splitlines() if line.strip()]
    named = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return f": {(named or lines)[-1][:300]}" if lines else ""


def main() -> None:
    """Serves until ended; the one argument is the port."""
    import uvicorn
    from prefect.server.api.server import create_app

    app = create_app(ephemeral=True, final=True)
    uvicorn.run(app, host=HOST, port=int(sys.argv[1]), log_level="error", lifespan="on")


if __name__ == "__main__":
    main()
