"""Commands of `biglearn` in tests: in this process, through the interpreter, and interrupted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from typer.testing import CliRunner

from pipeline.app.cli import app
from tests.helpers.imports import ROOT

TALKATIVE = """
from pipeline.base import streams
streams.LINE_INTERVAL_S = 0.5  # else the first line of progress comes after half a minute
from pipeline.app.cli import main
main()
"""


def biglearn(*arguments: object) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of one command."""
    result = CliRunner().invoke(app, [str(a) for a in arguments], catch_exceptions=False)
    return result.exit_code, result.stdout, result.stderr


def real(*arguments: object, **environment: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "pipeline.app.cli", *map(str, arguments)]
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


def interrupted(arguments: list[object], sign: str) -> tuple[int, str]:
    """(exit code, stderr) of a command whose process group gets Ctrl-C once `sign` is on its stderr."""
    command = [sys.executable, "-u", "-c", TALKATIVE, *map(str, arguments)]
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
        # tests that a shell started in the background hand on that Ctrl-C is ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        seen = b""
        while sign.encode() not in seen:
            piece = os.read(process.stderr.fileno(), 4096)
            assert piece, f"ended before {sign!r}: {seen.decode()}"
            seen += piece
        os.killpg(process.pid, signal.SIGINT)
        seen += process.communicate(timeout=120)[1]
    finally:
        process.kill()
    return process.returncode, seen.decode()
