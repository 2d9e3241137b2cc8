"""Modes and divergences of the 25-GMM over many seeds: the tuned schedule beside the paper's and joint matching.

    python -m benchmarks.gmm25_seeds [--seeds 64] [--first 0] [--threads 2] [--schedules tuned paper joint]

The tuned schedule is the one in params.yaml. Prints one JSON object as its last line and appends a row per seed and
schedule to benchmarks/results/gmm25_seeds.csv.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import numba
from tqdm import tqdm

from benchmarks.measure import append, key
from pipeline.base.params import load_params
from pipeline.simulate import tuned_schedule
from pipeline.simulation.gmm25 import COMPONENTS, JOINT_ONLY, PAPER, Run, run_seeds

RESULTS = Path(__file__).parent / "results" / "gmm25_seeds.csv"
FIELDS = ("seed", "covered_modes", "misshapen", "kl_pq", "kl_qp", "limited_entries", "cpu_s")


def summary(runs: list[Run], steps: int) -> dict[str, float]:
    """Numbers of one schedule over its seeds."""
    modes = [run.covered_modes for run in runs]
    return {
        "steps": steps,
        "seeds": len(runs),
        "all_modes": sum(n == COMPONENTS for n in modes),
        "modes_mean": round(statistics.mean(modes), 3),
        "modes_min": min(modes),
        "modes_max": max(modes),
        "misshapen": sum(run.misshapen for run in runs),
        "kl_pq_median": round(statistics.median(run.kl_pq for run in runs), 9),
        "kl_pq_max": round(max(run.kl_pq for run in runs), 6),
        "cpu_s_mean": round(statistics.mean(run.cpu_s for run in runs), 3),
    }


def main() -> None:
    """Runs every schedule, prints a table and the JSON line, appends to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=64, help="number of seeds")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--threads", type=int, default=2, help="runs at a time")
    parser.add_argument(
        "--schedules", nargs="+", choices=["tuned", "paper", "joint"], default=["tuned", "paper", "joint"]
    )
    options = parser.parse_args()
    seeds = range(options.first, options.first + options.seeds)
    schedules = {"tuned": tuned_schedule(load_params().simulate), "paper": PAPER, "joint": JOINT_ONLY}
    schedules = {name: schedules[name] for name in options.schedules}
    stamp, table, found = key() | {"numba": numba.__version__}, [], {}
    with tqdm(total=len(seeds) * len(schedules), unit="run") as bar:
        for name, schedule in schedules.items():
            runs = run_seeds(schedule, seeds, options.threads, on_done=lambda _: bar.update())
            table += [stamp | {"schedule": name} | {f: f"{getattr(run, f):.6g}" for f in FIELDS} for run in runs]
            found[name] = summary(runs, schedule.steps)
    append(RESULTS, table)
    for name, numbers in found.items():
        print(f"{name:6} " + ", ".join(f"{k} {v}" for k, v in numbers.items()))
    flat = {f"{name}_{k}": v for name, numbers in found.items() for k, v in numbers.items()}
    print(json.dumps({"benchmark": "gmm25_seeds"} | stamp | flat))


if __name__ == "__main__":
    main()
