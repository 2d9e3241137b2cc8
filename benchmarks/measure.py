"""What every benchmark shares: the key of its results, timing on a CPU and on a card, ceilings of a card, CSV rows."""

from __future__ import annotations

import csv
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from pipeline.base.machine import processor_name


def key(device: torch.device | None = None) -> dict[str, str]:
    """What a row of results depends on: machine, versions, commit, date, load."""
    on_card = device is not None and device.type == "cuda"
    out = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "commit": commit(),
        "hardware": torch.cuda.get_device_name(device) if on_card else f"{os.cpu_count()} cores, {processor_name()}",
        "load": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "torch": torch.__version__,
    }
    if on_card:
        import triton  # only where a card runs its kernels

        out["triton"] = triton.__version__
    return out


def commit() -> str:
    """Short hash of the checked-out commit, $BIGLEARN_COMMIT where there is no repository."""
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or os.environ.get("BIGLEARN_COMMIT", "unknown")


def append(path: Path, rows: list[dict], names: list[str] | None = None) -> None:
    """Adds rows to a results file, with a header when it is new. names: of the columns; None: those of the first row."""
    path.parent.mkdir(parents=True, exist_ok=True)
    new = not path.exists()
    with open(path, "a", newline="", encoding="utf8") as stream:
        writer = csv.DictWriter(stream, names or list(rows[0]), restval="")
        if new:
            writer.writeheader()
        writer.writerows(rows)


def rounds_ms(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Name → milliseconds of CPU time: the least of `rounds` alternating rounds. Time in which a shared machine ran
    something else does not count, and what it does to caches only adds."""
    best = dict.fromkeys(calls, float("inf"))
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.process_time()
            call()
            best[name] = min(best[name], (time.process_time() - start) * 1e3)
    return best


def stream_ms(call: Callable[[], object], budget_ms: float = 60.0) -> float:
    """Milliseconds of a call on a card as eager code meets it: the median over as many calls as fit the budget."""
    for _ in range(2):
        call()
    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    torch.cuda.synchronize()
    once_ms = (time.perf_counter() - start) * 1e3
    count = int(min(200, max(3, budget_ms / max(once_ms, 1e-3))))
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(count + 1)]
    marks[0].record()
    for mark in marks[1:]:
        call()
        mark.record()
    torch.cuda.synchronize()
    return statistics.median(a.elapsed_time(b) for a, b in zip(marks[:-1], marks[1:], strict=True))


def graph_ms(call: Callable[[], object], budget_ms: float = 60.0) -> float:
    """Milliseconds of a call on a card with no launch costs: some of them in a CUDA graph, replayed."""
    call()
    torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    torch.cuda.synchronize()
    repeats = int(min(8, max(1, 4e-3 / (time.perf_counter() - start))))
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        call()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(repeats):
            call()
    return stream_ms(graph.replay, budget_ms) / repeats


def ceilings() -> tuple[float, float]:
    """(FLOP/s of a bf16 matrix product of 8192³, bytes/s of a copy, read and written) measured on this card."""
    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    product_ms = stream_ms(lambda: a @ b, 40)
    source, target = (torch.empty(2**30, dtype=torch.uint8, device="cuda") for _ in range(2))
    copy_ms = stream_ms(lambda: target.copy_(source), 40)
    return 2 * 8192**3 / product_ms * 1e3, 2 * source.numel() / copy_ms * 1e3
