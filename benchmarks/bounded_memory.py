"""Peak memory and throughput of training on a data set far larger than memory, against a small one; and peak memory
of the stages prepare and evaluate, and of `biglearn impute`.

    python -m benchmarks.bounded_memory [--gigabytes 20] [--steps 300]
    python -m benchmarks.bounded_memory --stages prepare evaluate --gigabytes 4
    python -m benchmarks.bounded_memory --stages impute --gigabytes 20         # needs twice as much room on the disk

The large set is a sparse file of tokens with the digits schema (65 bytes a row: 308 million rows at 20 GB), so it
takes no room on the disk; its checksum is verified like any other before training. Both runs train the default
digits model in a process of their own. The reader's share is the time that building batches takes of a step's.

Prints one JSON object as its last line; `ratio` is the throughput on the large set over that on the small one.
Appends to benchmarks/results/bounded_memory.csv.

prepare reads a .npy file of that many bytes (28×28 images, sparse) and writes as many bytes of tokens; evaluate sees
that many bytes of training tokens and a twentieth as many held-out ones, the digits over and over. Each runs in a
process of its own, against the same stage on the digits; `ratio` is the peak memory on the large set over that on the
small one, the most of the stages. Appends to benchmarks/results/bounded_memory_stages.csv.

impute fills a Parquet table of that many bytes (benchmarks/large_table.py: 25 columns of numbers, words, dates and notes,
gaps in 1 % of the rows, row groups of 1,048,576 rows) with a network as small as they come, so that reading and writing
are most of the work; the small table is one row group.
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

from benchmarks.large_table import write_table
from benchmarks.measure import append, key
from kernels.task_sampling import TaskBank, write_bank
from pipeline import prepare
from pipeline.base.files import sha256, write_json, write_rows, write_text
from pipeline.base.params import Params, merge_params, to_dict
from pipeline.base.paths import Paths
from pipeline.model.generator import Generator
from pipeline.model.sampler import Sampler
from pipeline.rows.row_file import RowFile
from pipeline.rows.schema import Schema
from pipeline.rows.task_spec import spec_from_schema
from pipeline.training.batches import BatchReader

RESULTS = Path(__file__).parent / "results" / "bounded_memory.csv"
STAGE_RESULTS = RESULTS.with_name("bounded_memory_stages.csv")
GAP_SHARE = 0.01  # of the rows of the table for impute
SMALLEST = ["model=network", "steps=50", "width=16", "depth=1"]  # settings of the imputer
HELD_OUT_SHARE = 0.05  # bytes of held-out rows, of those of training rows, in evaluate


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


def peak_of_stage(where: Paths, stage: str, settings: str) -> tuple[float, float]:
    """(peak resident MB, seconds) of a stage in a process of its own. Raises RuntimeError when it fails."""
    write_text(where.params, settings)
    return peak_of(["-m", f"pipeline.{stage}"], where.root)


def peak_of(arguments: list[str], root: Path) -> tuple[float, float]:
    """(peak resident MB, seconds) of a Python process of its own. Raises RuntimeError when it fails."""
    environment = {**os.environ, "BIGLEARN_ROOT": str(root), "OMP_NUM_THREADS": "1"}
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *arguments], env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(arguments[:3])} ended with {os.waitstatus_to_exitcode(status)}")
    print(f"{usage.ru_utime + usage.ru_stime:.0f} CPU s", flush=True)
    return usage.ru_maxrss / 1024, time.perf_counter() - started


def measure_impute(folder: Path, size_bytes: int) -> tuple[float, float, int]:
    """(peak MB, seconds, bytes it reads) of `biglearn impute` on a made table."""
    folder.mkdir(parents=True)
    write_table(folder / "table.parquet", size_bytes, GAP_SHARE)
    settings = [word for setting in SMALLEST for word in ("--set", setting)]
    table, filled = str(folder / "table.parquet"), str(folder / "filled.parquet")
    command = ["-m", "pipeline.app.cli", "impute", table, "-o", filled, "--fit-rows", "20000", *settings]
    return *peak_of(command, folder), (folder / "table.parquet").stat().st_size


def tiled(path: Path, size_bytes: int) -> None:
    """Makes the tokens in `path` that large, its rows over and over."""
    rows = np.load(path, allow_pickle=False)
    copies = -(-size_bytes // rows.nbytes)
    write_rows(path, (copies * len(rows), rows.shape[1]), rows.dtype, (rows for _ in range(copies)))


def measure_stage(stage: str, folder: Path, size_bytes: int) -> tuple[float, float, int]:
    """(peak MB, seconds, bytes it reads) of a stage, or of impute. size_bytes 0: on the digits, or one row group."""
    if stage == "impute":
        return measure_impute(folder, size_bytes)
    where, params, settings = Paths(folder), merge_params({}), "seed: 0\n"
    if stage == "prepare":
        if not size_bytes:
            return *peak_of_stage(where, stage, settings), 0
        where.raw.mkdir(parents=True)
        shape = (size_bytes // 784, 28, 28)
        np.lib.format.open_memmap(where.raw / "x.npy", mode="w+", dtype=np.uint8, shape=shape)
        settings = "dataset: {name: npz, path: x.npy}\n"
        return *peak_of_stage(where, stage, settings), (where.raw / "x.npy").stat().st_size
    prepare.run(params, where)
    schema = Schema.load(where.tokens / "schema.json")
    Sampler.save(where.generator, Generator(schema, params.network), schema, to_dict(params.network), 512)
    files = [where.tokens / f"{name}.npy" for name in ("train", "test")]
    if size_bytes:
        tiled(files[0], size_bytes)
        tiled(files[1], int(size_bytes * HELD_OUT_SHARE))
    return *peak_of_stage(where, stage, settings), sum(f.stat().st_size for f in files)


def measure_stages(stages: list[str], size_bytes: int) -> None:
    """Measures each stage on the digits and on the large set; prints and appends."""
    found: dict[str, float] = {}
    for stage in stages:
        peaks = []
        for name, size in (("small", 0), ("large", size_bytes)):
            with tempfile.TemporaryDirectory() as folder:
                peak_mb, wall_s, read_bytes = measure_stage(stage, Path(folder) / "work", size)
            peaks.append(peak_mb)
            row = {"stage": stage, "size": name, "bytes": read_bytes, "peak_rss_mb": round(peak_mb, 1)}
            append(STAGE_RESULTS, [key() | row | {"wall_s": round(wall_s, 1)}])
            found |= {f"{stage}_{name}_peak_rss_mb": row["peak_rss_mb"], f"{stage}_{name}_bytes": read_bytes}
        found[f"{stage}_ratio"] = round(peaks[1] / peaks[0], 3)
    ratio = max(v for k, v in found.items() if k.endswith("_ratio"))
    print(json.dumps({"benchmark": "bounded_memory_stages", "ratio": ratio} | key() | found))


def main() -> None:
    """Measures both, prints the JSON line, appends to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=20.0)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--stages", nargs="+", choices=["prepare", "evaluate", "impute"], default=[])
    options = parser.parse_args()
    if options.stages:
        measure_stages(options.stages, int(options.gigabytes * 1e9))
        return
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
