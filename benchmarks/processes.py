"""Training throughput of several processes against one, at the same batch of all, and the bytes they exchange.

    python -m benchmarks.processes [--processes 1 2] [--steps 150] [--rounds 2]

Each run trains the digits model, of the default or another width and batch, in fresh processes; rounds alternate and
the best counts. The all-reduce volume a step is that of both flat gradients: 2 (N − 1) / N × 4 bytes × parameters.

Prints one JSON object as its last line; `ratio` is the throughput of the most processes over that of one.
Appends to benchmarks/results/processes.csv.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.bounded_memory import workspace
from benchmarks.measure import append, key
from pipeline.base.files import write_text
from pipeline.base.params import merge_params
from pipeline.base.paths import Paths
from pipeline.model.network_files import tensors_from_file

RESULTS = Path(__file__).parent / "results" / "processes.csv"


def steps_per_s(where: Paths, processes: int, steps: int, batch_size: int, width: int) -> float:
    """Of one run, from train.json: the last log line, which leaves the start out."""
    write_text(
        where.params,
        f"network: {{width: {width}}}\n"
        f"train: {{steps: {steps}, batch_size: {batch_size}, processes: {processes}, log_interval: {steps // 2}, "
        f"sample_interval: {steps * 2}, checkpoint_interval: {steps * 2}}}\n",
    )
    environment = {**os.environ, "BIGLEARN_ROOT": str(where.root), "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-m", "pipeline.train"], env=environment, check=True)
    return json.loads((where.metrics / "train.json").read_text(encoding="utf8"))["steps_per_s"]


def parameters(where: Paths) -> int:
    """Numbers in both networks."""
    folders = (where.generator, where.models / "discriminator")
    return sum(t.numel() for f in folders for t in tensors_from_file(f / "model.safetensors").values())


def main() -> None:
    """Measures, prints the JSON line, appends to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--width", type=int, default=32)
    options = parser.parse_args()
    best = dict.fromkeys(options.processes, 0.0)
    with tempfile.TemporaryDirectory() as folder:
        where = workspace(Path(folder), merge_params({}), 0)
        for _ in range(options.rounds):
            for n in best:
                best[n] = max(best[n], steps_per_s(where, n, options.steps, options.batch_size, options.width))
        count = parameters(where)
    most = max(best)
    found = {f"steps_per_s_{n}": round(v, 2) for n, v in best.items()}
    found |= {"batch_size": options.batch_size, "width": options.width, "parameters": count}
    found |= {"megabytes_a_step": round(2 * (most - 1) / most * 4 * count / 1e6, 3), "processes": most}
    ratio = round(best[most] / best[min(best)], 3)
    append(RESULTS, [key() | found | {"ratio": ratio}])
    print(json.dumps({"benchmark": "processes", "ratio": ratio} | key() | found))


if __name__ == "__main__":
    main()
