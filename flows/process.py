"""A command in its own process group: output streamed line by line, deadline kept, nothing left behind."""

from __future__ import annotations

import os
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

PROGRESS_INTERVAL_S = 15.0  # of progress bars, which rewrite their line many times a second
GRACE_S = 20.0  # from SIGTERM to SIGKILL: training saves a checkpoint
_CHILD = str(Path(__file__).with_name("child.py"))
_POLL_S = 0.5
_LINE_END = re.compile(rb"[\r\n]")
_running: set[subprocess.Popen] = set()
_ending = threading.Event()


class DeadlineExceeded(RuntimeError):
    """The command ran longer than it may, and was ended."""


def child_command(*words: str) -> list[str]:
    """`python -m <words>` as a command of this process's child, which the kernel ends when this process dies."""
    return [sys.executable, _CHILD, str(os.getpid()), *words]


def stream(
    command: Sequence[str],
    folder: Path,
    log: Callable[[str], object],
    *,
    timeout_s: float,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Exit code of `command` run in `folder`; each line it prints goes to `log`, progress bars a few times a minute.

    On any exception, KeyboardInterrupt and cancellation included, the whole process group is ended first.
    Raises DeadlineExceeded after `timeout_s` seconds.
    """
    if _ending.is_set():
        raise RuntimeError(f"{' '.join(command)} is not started: its flow was interrupted")
    child = subprocess.Popen(
        list(command),
        cwd=folder,
        env=None if environment is None else dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    _running.add(child)
    try:
        for line in _lines(child, time.monotonic() + timeout_s):
            log(line)
        return child.wait()
    except DeadlineExceeded:
        end_group(child)
        raise DeadlineExceeded(f"{' '.join(command)} ran longer than {timeout_s:g} s and was ended") from None
    except BaseException:
        end_group(child)
        raise
    finally:
        _running.discard(child)
        child.stdout.close()


@contextmanager
def ended_together() -> Iterator[None]:
    """While it lasts, an exception in this thread (Ctrl-C, SIGTERM, cancellation) ends what `stream` runs in others.

    Tasks wait for their commands in threads of their own, which no signal reaches.
    """
    _ending.clear()
    try:
        yield
    except BaseException:
        _ending.set()
        for child in list(_running):
            end_group(child)
        raise


def end_group(child: subprocess.Popen, grace_s: float = GRACE_S) -> None:
    """Ends the child's process group: SIGTERM, then SIGKILL for whatever is left after `grace_s` seconds."""
    _signal_group(child.pid, signal.SIGTERM)
    limit = time.monotonic() + grace_s
    while time.monotonic() < limit:
        child.poll()  # reaps the leader, whose entry would keep the group alive
        if not _signal_group(child.pid, 0):
            return
        time.sleep(0.05)
    _signal_group(child.pid, signal.SIGKILL)
    child.wait()


def _signal_group(group: int, number: int) -> bool:
    """False when the group has no process left."""
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True


def _lines(child: subprocess.Popen, deadline: float) -> Iterator[str]:
    """Lines as they come; of those that end with a carriage return, one per PROGRESS_INTERVAL_S."""
    waiting, next_progress = b"", 0.0
    with selectors.DefaultSelector() as selector:
        selector.register(child.stdout, selectors.EVENT_READ)
        while True:
            if time.monotonic() > deadline:
                raise DeadlineExceeded
            if not selector.select(_POLL_S):
                continue
            chunk = os.read(child.stdout.fileno(), 1 << 16)
            waiting += chunk
            while found := _LINE_END.search(waiting):
                text = waiting[: found.start()].decode("utf8", "replace").strip()
                is_progress, waiting = found.group() == b"\r", waiting[found.end() :]
                if not text or (is_progress and time.monotonic() < next_progress):
                    continue
                if is_progress:
                    next_progress = time.monotonic() + PROGRESS_INTERVAL_S
                yield text
            if not chunk:
                if waiting.strip():
                    yield waiting.decode("utf8", "replace").strip()
                return
