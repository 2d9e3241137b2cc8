"""Rows a second of the task distribution: the Numba kernel against vectorised NumPy and torch, on the same threads.

    python -m benchmarks.task_sampling [--threads 1 2] [--rounds 12] [--families]

The workload is the default mixture of params.yaml over a 7×7 grid and a label (50 tokens) and a 32×32 grid
and a label (1025 tokens). All sides return the same arrays: role uint8, rank int16, family. Each side
runs at several batch sizes and is credited with its fastest; rounds alternate between the sides, and the
best round counts. More threads: Numba's own, a pool of batches for NumPy, torch's own. `numpy` finds
subsets by sorting keys, `numpy_argsort` by argsort, the usual way.

Prints one JSON object as its last line; `ratio` is the least ratio to either NumPy version, at the first
thread count, over 50 and 1025 tokens. Appends the table to benchmarks/results/task_sampling.csv.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import numba
import numpy as np
import torch

from benchmarks import numpy_tasks, torch_tasks
from benchmarks.measure import append, key
from kernels.task_sampling import FAMILIES, TaskSpec, sample_tasks
from kernels.task_sampling.threads import usable_threads
from pipeline.base.data_groups import TasksParams
from pipeline.base.machine import processor_name
from pipeline.rows.image_schema import image_label_schema
from pipeline.rows.task_spec import spec_from_schema

RESULTS = Path(__file__).parent / "results" / "task_sampling.csv"
BATCHES = {50: (4096, 8192, 16384, 65536), 1025: (1024, 4096, 16384)}
GRID = {50: 7, 1025: 32}


def spec_of(n_tokens: int, weights: dict[str, float] | None = None) -> TaskSpec:
    """The default task distribution over a square grid of patches and a label, or another mixture of families."""
    params = TasksParams(weights=weights) if weights else TasksParams()
    edge = GRID[n_tokens]
    return spec_from_schema(params, image_label_schema(edge, edge, 1, 1, 0, 1, ["a", "b"]))


def sides(spec: TaskSpec, rows: int, threads: int, pool: ThreadPoolExecutor) -> dict[str, Callable[[], object]]:
    """Name → a call that draws `rows` tasks with that many threads."""
    rngs = [np.random.Generator(np.random.SFC64([7, t])) for t in range(threads)]
    share = [rows // threads] * threads
    starts = count(0, rows)  # new rows in every call: repeated ones would teach the branch predictor

    def in_pool(subsets: Callable) -> Callable[[], object]:
        if threads == 1:
            return lambda: numpy_tasks.sample_tasks_numpy(spec, rows, rngs[0], subsets)
        return lambda: list(pool.map(lambda n, rng: numpy_tasks.sample_tasks_numpy(spec, n, rng, subsets), share, rngs))

    out = {
        "kernel": lambda: sample_tasks(spec, rows, seed=1, start=next(starts), threads=threads),
        "numpy": in_pool(numpy_tasks.subsets_by_sort),
        "numpy_argsort": in_pool(numpy_tasks.subsets_by_argsort),
    }
    if torch_tasks.supports(spec):
        generator = torch.Generator().manual_seed(0)
        out["torch"] = lambda: torch_tasks.sample_tasks_torch(spec, rows, generator)
    return out


def measure(spec: TaskSpec, threads: int, rounds: int) -> dict[str, tuple[float, int]]:
    """Name → (ns per row, batch) of the fastest batch size, the best of `rounds` alternating rounds."""
    torch.set_num_threads(threads)
    best: dict[str, tuple[float, int]] = {}
    with ThreadPoolExecutor(threads) as pool:
        for rows in BATCHES[spec.n_tokens]:
            calls = sides(spec, rows, threads, pool)
            for call in calls.values():
                call()
            for _ in range(rounds):
                for name, call in calls.items():
                    start = time.perf_counter()
                    call()
                    ns = (time.perf_counter() - start) / rows * 1e9
                    best[name] = min(best.get(name, (ns, rows)), (ns, rows))
    return best


def stamp_of_run() -> dict[str, str]:
    """The columns of the results file that say where a row comes from."""
    found = key()
    return {
        "date": found["date"],
        "commit": found["commit"],
        "cpu": processor_name(),
        "cores": str(os.cpu_count()),
        "load": found["load"],
        "python": found["python"],
        "numba": numba.__version__,
        "numpy": found["numpy"],
        "torch": found["torch"],
    }


def main() -> None:
    """Measures, prints a table and the JSON line, appends to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="thread counts to measure")
    parser.add_argument("--rounds", type=int, default=12, help="alternating rounds per batch size")
    parser.add_argument("--families", action="store_true", help="each family alone as well as the mixture")
    options = parser.parse_args()
    threads = [t for t in options.threads if t <= usable_threads()]
    mixtures = {"default": None} | ({f: {f: 1.0} for f in FAMILIES} if options.families else {})
    stamp, table, summary = stamp_of_run(), [], {}
    for mixture, weights in mixtures.items():
        for n_tokens in BATCHES:
            for n_threads in threads if mixture == "default" else threads[:1]:
                found = measure(spec_of(n_tokens, weights), n_threads, options.rounds)
                kernel = found["kernel"][0]
                for name, (ns, batch) in found.items():
                    line = {"mixture": mixture, "tokens": n_tokens, "threads": n_threads, "side": name, "batch": batch}
                    table.append(stamp | line | {"ns_per_row": f"{ns:.1f}", "kernel_ratio": f"{ns / kernel:.2f}"})
                    print(
                        f"{mixture:15} L={n_tokens:<5} {n_threads} thread(s) {name:14} {ns:9.1f} ns/row  ×{ns / kernel:.1f}"
                    )
                    if mixture == "default":
                        summary[f"{name}_ns_{n_tokens}_t{n_threads}"] = round(ns, 1)
                        summary[f"ratio_{name}_{n_tokens}_t{n_threads}"] = round(ns / kernel, 2)
    append(RESULTS, table)
    first = threads[0]
    ratio = min(summary[f"ratio_{side}_{n}_t{first}"] for n in BATCHES for side in ("numpy", "numpy_argsort"))
    print(json.dumps({"benchmark": "task_sampling", "ratio": ratio, "threads": first} | stamp | summary))


if __name__ == "__main__":
    main()
