"""Commands in a process group: their lines, their deadline, nothing left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from flows.dvc_tasks import child_environment
from flows.process import DeadlineExceeded, child_command, ended_together, stream

PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', {!r}])"
CHILD = "import os, pathlib, time; pathlib.Path('pid').write_text(str(os.getpid())); time.sleep(60)"


def run(code: str, folder: Path, timeout_s: float = 30.0) -> tuple[int, list[str]]:
    """Exit code and lines of a Python program."""
    lines: list[str] = []
    return stream([sys.executable, "-u", "-c", code], folder, lines.append, timeout_s=timeout_s), lines


def is_gone(pid: int) -> bool:
    """True when the process has ended, reaped or not, within three seconds."""
    limit = time.monotonic() + 3
    while time.monotonic() < limit:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.05)
    return False


def test_lines_of_both_streams_and_the_exit_code(tmp_path):
    code, lines = run("import sys; print('one'); print('two ü', file=sys.stderr); sys.exit(3)", tmp_path)
    assert (code, lines) == (3, ["one", "two ü"])


def test_a_last_line_without_an_end_and_bytes_that_are_not_utf8(tmp_path):
    code, lines = run(r"import sys; sys.stdout.buffer.write(b'\xff ok\nlast')", tmp_path)
    assert (code, lines) == (0, ["� ok", "last"])


def test_progress_is_thinned_out_and_lines_are_not(tmp_path):
    code, lines = run("for i in range(500): print(i, end='\\r')\nfor i in range(20): print('line', i)", tmp_path)
    assert code == 0
    assert lines == ["0"] + [f"line {i}" for i in range(20)]


def test_a_deadline_ends_the_whole_group(tmp_path):
    started = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"ran longer than 1.5 s and was ended"):
        run(PARENT.format(CHILD), tmp_path, timeout_s=1.5)
    assert time.monotonic() - started < 20
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_an_exception_in_the_reader_ends_the_group(tmp_path):
    def refuse(line: str) -> None:
        raise KeyboardInterrupt

    code = CHILD.replace("time.sleep", "print('go', flush=True); time.sleep")  # its number is written before it speaks
    with pytest.raises(KeyboardInterrupt):
        stream([sys.executable, "-u", "-c", code], tmp_path, refuse, timeout_s=30)
    assert is_gone(int((tmp_path / "pid").read_text()))


def test_a_dvc_child_dies_with_its_parent():
    """kill -9 of the process that started it: no cleanup of ours runs, the kernel ends it."""
    holder = (
        "import subprocess, sys, time\n"
        "code = 'from pipeline.base.parent import die_with_parent; die_with_parent(); print(1, flush=True); import time; time.sleep(60)'\n"
        "child = subprocess.Popen([sys.executable, '-c', code], stdout=subprocess.PIPE)\n"
        "child.stdout.readline()\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with psutil.Popen([sys.executable, "-c", holder], stdout=-1, text=True) as parent:
        pid = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
        assert is_gone(pid)


def test_a_child_whose_parent_died_before_it_could_ask_ends_at_once():
    command, environment = child_command("platform"), child_environment()
    assert subprocess.run(command, env=environment, capture_output=True).returncode == 0
    command[2] = "0"  # number of the process that started it: another than its parent's now
    assert subprocess.run(command, env=environment, capture_output=True).returncode == -signal.SIGTERM


def test_an_interrupt_ends_what_other_threads_wait_for_and_starts_nothing_new(tmp_path):
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(run(CHILD, tmp_path)[0]))
    with pytest.raises(KeyboardInterrupt), ended_together():
        thread.start()
        while not (tmp_path / "pid").exists():
            time.sleep(0.02)
        raise KeyboardInterrupt
    thread.join(timeout=30)
    assert codes == [-signal.SIGTERM]
    with pytest.raises(RuntimeError, match="is not started: its flow was interrupted"):
        run("print(1)", tmp_path)
    with ended_together():
        assert run("print(1)", tmp_path) == (0, ["1"])
