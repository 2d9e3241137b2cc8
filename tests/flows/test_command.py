"""Exit codes of a flow's command, and its end when something would wait for ever."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tests.helpers.imports import ROOT


def run(body: str) -> tuple[int, str, float]:
    """Exit code, standard error and seconds of a program that defines `main` and hands it to run_and_exit."""
    code = f"import sys, threading\nimport flows.command as c\nc.EXIT_LIMIT_S = 0.5\n{body}\nc.run_and_exit(main)"
    started = time.monotonic()
    environment = os.environ | {"PREFECT_API_URL": "http://127.0.0.1:9/api"}  # a configured server: none is started
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    return done.returncode, done.stderr, time.monotonic() - started


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("def main(): return 0", 0),
        ("def main(): pass", 0),
        ("def main(): return 1", 1),
        ("def main(): sys.exit(2)", 2),
        ("def main(): sys.exit('no')", 1),
        ("def main(): raise KeyboardInterrupt", 130),
    ],
)
def test_exit_codes(body, code):
    found, errors, _ = run(body)
    assert found == code
    assert ("a rerun goes on from the last checkpoint" in errors) == (code == 130)


def test_it_ends_although_a_thread_waits_for_ever():
    code, _, seconds = run("def main():\n    threading.Thread(target=threading.Event().wait).start()\n    return 1")
    assert code == 1 and seconds < 30


def test_ctrl_c_ends_it_although_main_does_not_end():
    body = (
        "import os, signal, time\n"
        "def main():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "        time.sleep(60)\n"
        "    except KeyboardInterrupt:\n"
        "        time.sleep(60)"
    )
    code, _, seconds = run(body)
    assert code == 130 and seconds < 30
