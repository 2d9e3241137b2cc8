"""Work in a thread beside the caller's.

with Beside(grow) as grown:
    train()
    forest = grown()        # waits; raises what `grow` raised
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Beside(Generic[T]):
    """Calls `work` in a thread of its own while the block runs. A block that ends by an error or Ctrl-C does not wait for it."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work, self._result, self._error = work, None, None
        self._thread = threading.Thread(target=self._run, daemon=True, name=getattr(work, "__name__", "beside"))

    def __enter__(self) -> Callable[[], T]:
        self._thread.start()
        return self._wait

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._thread.join()

    def _run(self) -> None:
        try:
            self._result = self._work()
        except BaseException as error:  # raised again where the result is asked for
            self._error = error

    def _wait(self) -> T:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._result
