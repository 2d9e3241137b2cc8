"""Work in a thread beside the caller's: its result, its error, and that an error of the caller's does not wait for it."""

from __future__ import annotations

import threading
import time

import pytest

from pipeline.base.beside import Beside


def test_both_run_at_once_and_the_result_comes_back():
    met = threading.Barrier(2, timeout=20)

    def work() -> int:
        met.wait()
        return 7

    with Beside(work) as result:
        met.wait()  # neither could pass alone
        assert result() == 7 and result() == 7


def test_its_error_is_raised_where_the_result_is_asked_for():
    def work() -> None:
        raise ValueError("no trees")

    with pytest.raises(ValueError, match="no trees"), Beside(work) as result:
        result()


def test_ctrl_c_does_not_wait_for_it():
    over = threading.Event()
    started = time.perf_counter()
    with pytest.raises(KeyboardInterrupt), Beside(lambda: over.wait(60)):
        raise KeyboardInterrupt
    assert time.perf_counter() - started < 30
    over.set()
