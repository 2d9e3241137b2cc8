"""Peak memory and throughput of training on a data set far larger than memory, against a small one.

    python -m benchmarks.bounded_memory [--gigabytes 20] [--steps 300]

The large set is a sparse file of tokens with the digits schema (65 bytes a row: 308 million rows at 20 GB), so it
takes no room on the disk; its checksum is verified like any other before training. Both runs train the default
digits model in a process of their own. The reader's share is the time that building batches takes of a step's.

Prints one JSON object as its last line; `ratio` is the throughput on the large set over that on the small one.
Appends to benchmarks/results/bounded_memory.csv.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.measure import append, key
from kernels.task_sampling import TaskBank, write_bank
from pipeline import prepare
from pipeline.batches import BatchReader
from pipeline.files import sha256, write_json, write_text
from pipeline.params import Params, merge_params
from pipeline.paths import Paths
from pipeline.row_file import RowFile
from pipeline.schema import Schema
from pipeline.tasks import spec_from_schema

RESULTS = Path(__file__).parent / "results" / "bounded_memory.csv"


def workspace(root: Path, params: Params, large_bytes: int) -> Paths:
    """A workspace with tokens and a bank; large_bytes > 0: of a sparse token file instead of the digits."""
    where = Paths(root)
    prepare.run(params, where)
    if large_bytes:
        columns = np.load(where.tokens / "train.npy", mmap_mode="r", allow_pickle=False).shape[1]
        shape = (large_bytes // columns, columns)
        np.lib.format.open_memmap(where.tokens / "train.npy", mode="w+", dtype=np.uint8, shape=shape)
        summary = json.loads((where.tokens / "summary.json").read_text(encoding="utf8"))
        summary |= {"train_rows": shape[0], "train_sha256": sha256(where.tokens / "train.npy")}
        write_json(where.tokens / "summary.json", summary)
    schema = Schema.load(where.tokens / "schema.json")
    write_bank(where.tasks / "train", spec_from_schema(params.tasks, schema), params.tasks.train_rows, params.seed)
    return where


def trained(where: Paths, steps: int) -> dict[str, float]:
    """What train.json says of a run in a process of its own."""
    write_text(where.params, f"train: {{steps: {steps}, sample_interval: {steps}, log_interval: {steps}}}\n")
    environment = {**os.environ, "BIGLEARN_ROOT": str(where.root), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "pipeline.train"], env=environment, check=True)
    return json.loads((where.metrics / "train.json").read_text(encoding="utf8"))


def reader_ms(where: Paths, params: Params, batches: int = 200) -> float:
    """Milliseconds to build one batch, read at new places each time."""
    rows = RowFile(where.tokens / "train.npy")
    schema, bank = Schema.load(where.tokens / "schema.json"), TaskBank.open(where.tasks / "train")
    read = BatchReader(rows, schema, bank, params.train.batch_size, 0, minibatch_group=params.train.minibatch_group)
    read(0)
    started = time.perf_counter()
    for step in range(1, batches + 1):
        read(step)
    return (time.perf_counter() - started) / batches * 1e3


def main() -> None:
    """Measures both, prints the JSON line, appends to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=20.0)
    parser.add_argument("--steps", type=int, default=300)
    options = parser.parse_args()
    params, found = merge_params({}), {}
    for name, size in (("small", 0), ("large", int(options.gigabytes * 1e9))):
        with tempfile.TemporaryDirectory() as folder:
            where = workspace(Path(folder), params, size)
            metrics, read_ms = trained(where, options.steps), reader_ms(where, params)
            step_ms = 1e3 / metrics["steps_per_s"]
            found |= {
                f"{name}_bytes": (where.tokens / "train.npy").stat().st_size,
                f"{name}_peak_rss_mb": metrics["peak_rss_mb"],
                f"{name}_steps_per_s": round(metrics["steps_per_s"], 2),
                f"{name}_reader_ms": round(read_ms, 3),
                f"{name}_reader_share": round(read_ms / step_ms, 4),
            }
    ratio = round(found["large_steps_per_s"] / found["small_steps_per_s"], 3)
    append(RESULTS, [key() | found | {"ratio": ratio}])
    print(json.dumps({"benchmark": "bounded_memory", "ratio": ratio} | key() | found))


if __name__ == "__main__":
    main()
