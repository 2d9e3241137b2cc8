"""Seconds that the flow `reproduce` adds to `dvc repro`: a full run and one with nothing to do.

    python -m benchmarks.orchestration [--project nap] [--rounds 3] [--nap 1.0]
    python -m benchmarks.orchestration --project real [--rounds 1] [-S train.steps=300]

nap: a project with this repository's stages and their needs, each a nap that writes its outs, so that what is measured
is orchestration and not training. real: a clone of the last commit, its own stages with the overrides given; every full
run starts without outs, dvc.lock and cache. The flow starts its own temporary Prefect server. Rounds alternate between
the sides; the best run of a kind counts. CPU seconds include the server's. The flow runs stages beside one another where
the graph allows, `dvc repro` one after the other.

Prints one JSON object as its last line: `full_added_s`, `noop_added_s`, and `ratio`, flow over dvc for a full run.
Appends the table to benchmarks/results/orchestration.csv.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import yaml
from tqdm import tqdm

from benchmarks import measure
from flows.dvc_tasks import child_environment, stage_order
from pipeline.base.params import load_params, to_dict

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).parent / "results" / "orchestration.csv"
SIDES = {"dvc": ["-m", "dvc", "repro", "--quiet"], "flow": ["-m", "flows.reproduce"]}
KINDS = ("full", "noop", "noop", "noop")  # of a round; what is short is measured more often
NAP = "import pathlib, sys, time; time.sleep(float(sys.argv[1])); pathlib.Path(sys.argv[2]).write_text(sys.argv[3])"


def nap_project(root: Path, nap_s: float, value: str) -> None:
    """Writes a project whose stages take `nap_s` seconds each and need one another as this repository's do.

    Another `value` makes every stage stale.
    """
    (root / "nap.py").write_text(NAP)
    (root / "params.yaml").write_text("seed: 0\n")
    stages = {}
    for name, needs in stage_order(ROOT).items():
        command = f"python nap.py {nap_s} {name}.out {value}"
        stages[name] = {"cmd": command, "deps": [f"{n}.out" for n in needs], "outs": [f"{name}.out"]}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))


def real_project(root: Path, overrides: list[str]) -> None:
    """A clone of this repository's last commit in `root`, its params.yaml with the overrides."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(root)], check=True)
    params = load_params(root / "params.yaml", overrides)
    (root / "params.yaml").write_text(yaml.safe_dump(to_dict(params)))


def forget_results(root: Path) -> None:
    """Removes what a full run leaves: outs, metrics, checkpoints, dvc.lock, DVC's cache and run cache."""
    (root / "dvc.lock").unlink(missing_ok=True)
    for folder in (root / "data", root / ".dvc" / "cache", root / ".dvc" / "tmp"):
        shutil.rmtree(folder, ignore_errors=True)


def run_side(side: str, root: Path, environment: dict[str, str]) -> tuple[float, float]:
    """(wall seconds, CPU seconds) of one run in a process of its own, children included."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *SIDES[side]], cwd=root, env=environment, check=True, capture_output=True)
    wall_s, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def rounds(n: int, root: Path, scratch: Path, make_stale: Callable[[str], None]) -> list[dict[str, object]]:
    """One row a side, kind (full, no-op) and round: wall_s, cpu_s. `make_stale(label)` makes every stage stale."""
    rows = []
    environment = child_environment() | {"PREFECT_HOME": str(scratch / "prefect"), "PREFECT_LOGGING_LEVEL": "WARNING"}
    environment["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "300"
    with tqdm(total=len(SIDES) * len(KINDS) * (n + 1), unit="run") as bar:
        for number in range(n + 1):  # round 0 fills caches: Prefect makes its database, Python and Numba their code
            for side in SIDES:
                make_stale(f"{side}-{number}")
                for kind in KINDS:
                    wall_s, cpu_s = run_side(side, root, environment)
                    if number:
                        rows.append({"side": side, "kind": kind, "round": number, "wall_s": wall_s, "cpu_s": cpu_s})
                    bar.update()
    return rows


def measured(arguments: argparse.Namespace) -> list[dict[str, object]]:
    """The rows of the project that the arguments name."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch) / "project"
        if arguments.project == "real":
            real_project(root, arguments.set_param)
            return rounds(arguments.rounds, root, Path(scratch), lambda label: forget_results(root))
        root.mkdir()
        for command in (["git", "init", "--quiet"], [sys.executable, "-m", "dvc", "init", "--quiet"]):
            subprocess.run(command, cwd=root, check=True)
        return rounds(arguments.rounds, root, Path(scratch), lambda label: nap_project(root, arguments.nap, label))


def summary(rows: list[dict[str, object]]) -> dict[str, float]:
    """Best rounds and what the flow adds."""

    def best(side: str, kind: str, name: str) -> float:
        return min(float(r[name]) for r in rows if (r["side"], r["kind"]) == (side, kind))

    out = {f"{s}_{k}_{n}": best(s, k, n) for s in SIDES for k in ("full", "noop") for n in ("wall_s", "cpu_s")}
    for kind in ("full", "noop"):
        out[f"{kind}_added_s"] = out[f"flow_{kind}_wall_s"] - out[f"dvc_{kind}_wall_s"]
        out[f"{kind}_added_cpu_s"] = out[f"flow_{kind}_cpu_s"] - out[f"dvc_{kind}_cpu_s"]
    out["ratio"] = out["flow_full_wall_s"] / out["dvc_full_wall_s"]
    return {name: round(value, 2) for name, value in out.items()}


def save(rows: list[dict[str, object]], project: str) -> None:
    """Appends the rows, keyed by machine, versions, commit, date, load and project."""
    key = measure.key() | {"dvc": version("dvc"), "prefect": version("prefect"), "project": project}
    rounded = [{k: round(v, 2) if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    measure.append(RESULTS, [key | row for row in rounded])


def main() -> None:
    """Measures, saves, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--project", choices=("nap", "real"), default="nap")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--nap", type=float, default=1.0, help="seconds a stage of the nap project")
    parser.add_argument("-S", "--set-param", action="append", default=[], help="override of the real project")
    arguments = parser.parse_args()
    rows = measured(arguments)
    save(rows, " ".join([arguments.project, *arguments.set_param]))
    print(json.dumps(summary(rows) | {"load": round(os.getloadavg()[0], 1)}))


if __name__ == "__main__":
    main()
