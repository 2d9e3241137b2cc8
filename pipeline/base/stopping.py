"""Asked to stop: SIGTERM and Ctrl-C become a flag that a loop reads between steps, so that it can save first.

Schedulers, `docker stop` and Kubernetes send SIGTERM and wait some seconds before SIGKILL.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(RuntimeError):
    """The run ended early because it was asked to. exit_code: what a shell shows for the signal, 128 + its number."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.signal_number = signal_number
        self.exit_code = 128 + signal_number


class StopRequest:
    """signal_number: the first signal that came, 0 until then."""

    def __init__(self) -> None:
        self.signal_number = 0

    def __bool__(self) -> bool:
        return self.signal_number != 0


@contextmanager
def stop_requests(on_stop: Callable[[], None] = lambda: None) -> Iterator[StopRequest]:
    """A StopRequest that SIGTERM and SIGINT set; each also calls `on_stop`. A second Ctrl-C ends the process at once.

    Outside the main thread, where Python lets nobody handle signals, it is never set.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return

    def handle(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and request.signal_number == signal.SIGINT:
            raise KeyboardInterrupt
        request.signal_number = request.signal_number or number
        on_stop()

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
