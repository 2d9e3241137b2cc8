"""CPU seconds a step of the 25-GMM descent: the Numba kernel against torch autograd of the same step, one thread.

    python -m benchmarks.gmm25 [--rounds 5] [--steps 1000]

The workload is the tuned schedule of params.yaml (25 components, 100 samples): marginal steps, and joint
steps. Both sides draw their own samples, take the gradient, limit and update. The kernel takes 100 × as many
steps a round, so that both sides run long enough to time; rounds alternate and each side's best counts.
`torch_distributions` is the usual way to write the step in torch, `torch_written_out` the leanest
(benchmarks/torch_gmm25.py; tests/kernels/test_gmm_descent.py holds all gradients together).

Prints one JSON object as its last line; `ratio` is to the usual way and `ratio_leanest` to the leanest, on
marginal steps, the only ones of most of a run. Appends the table to benchmarks/results/gmm25.csv.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numba
import numpy as np
import torch

from benchmarks import torch_gmm25
from benchmarks.measure import append, key
from kernels.gmm import descend, start_parameters
from pipeline.base.params import load_params
from pipeline.simulate import tuned_schedule
from pipeline.simulation.gmm25 import AXIS, COMPONENTS, SCALE_CEILING, VARIANCE, Schedule

RESULTS = Path(__file__).parent / "results" / "gmm25.csv"
KERNEL_FACTOR = 100  # kernel steps a torch step
SIDES = {
    "torch_written_out": torch_gmm25.written_out,
    "torch_distributions": torch_gmm25.distributions,
}


def kernel_s(schedule: Schedule, outer: int, joint: bool) -> float:
    """CPU seconds a step of the Numba kernel over `outer` tasks."""
    parameters = start_parameters(0, COMPONENTS, np.float32(-5), np.float32(0.1))
    rates = np.full(outer, schedule.lr, np.float32)
    chance = np.full(outer, float(joint), np.float32)
    bounds = (schedule.gradient_limit, math.log(schedule.scale_floor), math.log(SCALE_CEILING))
    grid = AXIS.astype(np.float32), np.float32(1 / VARIANCE), np.array(bounds, np.float32)
    began = time.thread_time()
    descend(parameters, 0, rates, chance, 0, outer, schedule.inner, schedule.samples, *grid)
    return (time.thread_time() - began) / (outer * schedule.inner)


def torch_s(log_ratio, schedule: Schedule, outer: int, joint: bool) -> float:
    """CPU seconds a step of a torch version over `outer` tasks."""
    start = start_parameters(0, COMPONENTS, np.float32(-5), np.float32(0.1))
    model = torch_gmm25.Model(torch.from_numpy(start))
    began = time.process_time()
    torch_gmm25.descend(model, log_ratio, schedule, outer, joint, seed=0)
    return (time.process_time() - began) / (outer * schedule.inner)


def measure(schedule: Schedule, steps: int, rounds: int, joint: bool) -> dict[str, float]:
    """Side → least CPU seconds a step over alternating rounds."""
    outer = max(1, steps // schedule.inner)
    calls = {"kernel": lambda: kernel_s(schedule, outer * KERNEL_FACTOR, joint)}
    calls |= {name: lambda f=f: torch_s(f, schedule, outer, joint) for name, f in SIDES.items()}
    kernel_s(schedule, 1, joint)
    for log_ratio in SIDES.values():
        torch_s(log_ratio, schedule, 1, joint)
    best = dict.fromkeys(calls, math.inf)
    for _ in range(rounds):
        for name, call in calls.items():
            best[name] = min(best[name], call())
    return best


def main() -> None:
    """Measures, prints a table and the JSON line, appends to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5, help="alternating rounds")
    parser.add_argument("--steps", type=int, default=1000, help="torch steps a round")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the faster choice on tensors this small
    schedule = tuned_schedule(load_params().simulate)
    stamp = key() | {"numba": numba.__version__}
    table, summary = [], {}
    for task, joint in (("marginal", False), ("joint", True)):
        best = measure(schedule, options.steps, options.rounds, joint)
        for side, seconds in best.items():
            ratio = seconds / best["kernel"]
            table.append(
                stamp | {"task": task, "side": side, "us_per_step": f"{seconds * 1e6:.3f}", "ratio": f"{ratio:.1f}"}
            )
            print(f"{task:9} {side:20} {seconds * 1e6:10.2f} µs/step  ×{ratio:.0f}")
            summary[f"{side}_{task}_us"] = round(seconds * 1e6, 3)
            summary[f"ratio_{side}_{task}"] = round(ratio, 1)
    append(RESULTS, table)
    usual, leanest = (summary[f"ratio_{side}_marginal"] for side in ("torch_distributions", "torch_written_out"))
    print(json.dumps({"benchmark": "gmm25", "ratio": usual, "ratio_leanest": leanest} | stamp | summary))


if __name__ == "__main__":
    main()
