"""Rows of a stream drawn by several threads, each a part of them.

The threads live for one call and belong to Python: nothing stays behind that a fork could break (the threads of
Numba's `prange` end a forked child), and two callers may draw at once. The kernels let go of the interpreter's lock.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

LEAST_BYTES = 1 << 20  # a thread starts for no less: it would take longer to start than to draw


def usable_threads() -> int:
    """NUMBA_NUM_THREADS where it is set, else the cores that this process may use."""
    wanted = os.environ.get("NUMBA_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted) > 0:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_parallel(draw: Callable[[int, int], object], rows: int, row_bytes: int, threads: int | None = None) -> None:
    """Calls draw(first, end) for spans that cover 0 … rows, on at most `threads` threads (None: all usable ones).

    Raises what `draw` raises.
    """
    most = usable_threads() if threads is None else threads
    parts = max(1, min(most, rows * row_bytes // LEAST_BYTES))
    if parts == 1:
        draw(0, rows)
        return
    edges = [rows * i // parts for i in range(parts + 1)]
    with ThreadPoolExecutor(parts) as pool:
        for done in [pool.submit(draw, *span) for span in zip(edges, edges[1:], strict=False)]:
            done.result()
