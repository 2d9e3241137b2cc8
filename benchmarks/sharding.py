"""Memory and time of a training step whose processes share out the optimiser's state, against each keeping all of it.

    python -m benchmarks.sharding [--processes 4] [--width 512] [--depth 6] [--steps 4]

Starts the processes over gloo on this machine, twice: with train.sharding none and optimiser. Each trains the digits
schema for a few steps on batches of random rows; what is compared is the resident memory that a process has gained
since before the networks were made (the mean over processes after the last step, when activations are gone), beside
the bytes that the model of docs/scaling.md predicts. That both end with the same weights is tested elsewhere
(tests/training/test_distributed.py).

Prints one JSON object as its last line; `ratio` is the gained memory without sharding over that with it.
Appends to benchmarks/results/sharding.csv.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import torch

from benchmarks.measure import append, key
from kernels.task_sampling import TaskBank, write_bank
from pipeline.base.files import write_json
from pipeline.base.params import merge_params
from pipeline.rows.image_schema import image_label_schema
from pipeline.rows.task_spec import spec_from_schema
from pipeline.training import distributed
from pipeline.training.batches import BatchReader
from pipeline.training.build import build_step
from pipeline.training.sharding import Replicated, Sharded

RESULTS = Path(__file__).parent / "results" / "sharding.csv"
SCHEMA = image_label_schema(8, 8, 1, 2, 0.0, 16.0, [str(i) for i in range(10)])


def rss_mb() -> float:
    """Resident memory of this process now, without what its allocator keeps of memory already freed."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return psutil.Process().memory_info().rss / 2**20


def work(settings: dict, steps: int, folder: str) -> None:
    """What one process does: a few steps, after one of a tiny model that loads what PyTorch loads at its first step.

    Leaves what it measured in `folder`."""
    torch.set_num_threads(1)
    params, world = merge_params(settings), distributed.join(torch.device("cpu"))
    sharded = params.train.sharding == "optimiser"
    rows = np.random.default_rng(0).integers(0, 10, (256, len(SCHEMA.columns))).astype(np.uint8)
    reader = BatchReader(
        rows, SCHEMA, TaskBank.open(Path(folder) / "bank"), params.train.batch_size, 0, world.process, world.processes,
        params.train.minibatch_group,
    )  # fmt: skip
    sharing = Sharded(world.process, world.processes) if sharded else Replicated(world.average)
    tiny = replace(params, network=replace(params.network, width=8, depth=1))
    build_step(tiny, SCHEMA, torch.device("cpu"), 0, sharing=sharing)(reader(0), 0, 0)
    before = rss_mb()
    state = build_step(params, SCHEMA, torch.device("cpu"), 0, sharing=sharing)
    times = []
    for step in range(steps):
        started = time.perf_counter()
        state(reader(step), step, step)
        times.append(time.perf_counter() - started)
    found = {
        "gained_mb": rss_mb() - before,
        "step_s": float(np.median(times[1:])),
        "parameters_generator": state.flat_g.count,
        "parameters_discriminator": state.flat_d.count,
    }
    write_json(Path(folder) / params.train.sharding / f"{world.process}.json", found)
    world.barrier()
    distributed.leave()


def predicted_mb(generator: int, discriminator: int, processes: int) -> float:
    """Parameters and gradients whole; two moments of each network and the generator's average in `processes` parts."""
    return 4 * (2 * (generator + discriminator) + (3 * generator + 2 * discriminator) / processes) / 2**20


def main() -> None:
    """Measures, prints the JSON line, appends to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=4)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--depth", type=int, default=6)
    parser.add_argument("--steps", type=int, default=4)
    options = parser.parse_args()
    n, found = options.processes, {"processes": options.processes}
    with tempfile.TemporaryDirectory() as folder:
        for sharding in ("none", "optimiser"):
            settings = {
                "network": {"width": options.width, "depth": options.depth, "heads": 8, "mlp_ratio": 4.0},
                "train": {"sharding": sharding, "batch_size": 8 * n, "processes": n, "warmup_steps": 0, "lr": 1e-4},
            }
            params = merge_params(settings)
            write_bank(Path(folder) / "bank", spec_from_schema(params.tasks, SCHEMA), 512, 0)
            distributed.launch(work, (settings, options.steps, folder), n)
            each = [json.loads((Path(folder) / sharding / f"{i}.json").read_text(encoding="utf8")) for i in range(n)]
            sizes = each[0]["parameters_generator"], each[0]["parameters_discriminator"]
            found |= {
                "parameters": sum(sizes),
                f"{sharding}_gained_mb": round(float(np.mean([e["gained_mb"] for e in each])), 1),
                f"{sharding}_predicted_mb": round(predicted_mb(*sizes, 1 if sharding == "none" else n), 1),
                f"{sharding}_step_s": round(each[0]["step_s"], 3),
            }
    ratio = round(found["none_gained_mb"] / found["optimiser_gained_mb"], 3)
    append(RESULTS, [key() | found | {"ratio": ratio}])
    print(json.dumps({"benchmark": "sharding", "ratio": ratio} | key() | found))


if __name__ == "__main__":
    main()
