"""Imputation of held-out rows: BigLearnImputer against its peers on eight tables, same splits and masks in one run.

    DATA_MIRROR=… python -m benchmarks.imputation [--tables yacht energy] [--methods biglearn missforest]
        [--mechanisms mcar uci mar mnar diffputer] [--jobs 2] [--max-rows 5000] [--seconds 480] [--results FILE] [--resume]

Protocols (method of the tables in benchmarks/imputation_data.py):

* mcar, mar, mnar: 30 % of the rows are held out, 30 % of the cells removed from both parts by that mechanism. Every
  method is fitted on the incomplete training rows and fills the held-out ones without refitting.
* uci: 20 % of the cells removed at random, the same rows filled, all of the table (20,000 rows); rmse_minmax is the
  figure that GAIN and EMFlow report.
* diffputer: california and letter without their labels, 70 % of the rows, 30 % of the cells removed by its kind of MAR, the same
  rows filled; mae and rmse (of the mean of the draws), mae_best and rmse_best (of best) are in the units that it reports.

Scores: pipeline/evaluation/gap_scores.py, over 10 draws; and:

* fit_s, best_s, draw_s: wall seconds of one thread; draw_s per draw. cpu_s: of the job. Imports and the compilation of
  the task sampler, which happens once in an installation, are not counted.

Rows go to benchmarks/results/imputation.csv, or another file, as they finish. Of one mechanism the longest jobs start
first, by the times of earlier runs, and with --seconds none starts that is not expected to end by then. The last line
is one JSON object: per table ranks, and `ratio`, the median over tables of missforest's fit_s / ours best_s.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import time
import warnings
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from benchmarks.imputation_data import DIFFPUTER_TABLES, TABLES, UCI_TABLES, make_case
from benchmarks.measure import append, key
from pipeline.evaluation.gap_scores import score

RESULTS = Path(__file__).parent / "results" / "imputation.csv"
DRAWS = 10
MECHANISMS = ("mcar", "uci", "mar", "mnar", "diffputer")
IN_SAMPLE = {
    "uci": UCI_TABLES,
    "diffputer": DIFFPUTER_TABLES,
}  # protocols that fill the training rows, and their tables
IN_SAMPLE_ROWS = 20_000
GUESSES_S: dict[tuple[str, ...], float] = {
    ("adult", "boosting"): 110.0,
    ("letter", "boosting"): 80.0,
    ("letter", "missforest"): 90.0,
    ("letter", "biglearn"): 150.0,
    ("letter", "boosting", "uci"): 120.0,
    ("letter", "missforest", "uci"): 260.0,
    ("letter", "biglearn", "uci"): 320.0,
    ("letter", "knn", "uci"): 80.0,
    ("letter", "iterative_draw", "uci"): 80.0,
}  # CPU seconds of jobs that no earlier run tells: (table, method) or (table, method, mechanism)
SLOWER = 1.3  # how much longer than expected a job may take
METHOD_NAMES = ("biglearn", "missforest", "boosting", "iterative", "iterative_draw", "knn", "mean")
ON_REQUEST = ("network", "forest", "hyperimpute")  # parts of biglearn; and what needs an environment of its own
SCORES = (
    "w1", "energy_score", "energy_distance", "rmse", "rmse_best", "rmse_minmax", "mae", "mae_best", "accuracy", "coverage",
    "diversity", "downstream", "downstream_complete", "fit_s", "best_s", "draw_s", "cpu_s",
)  # fmt: skip
Job = tuple[str, str, str, int, int]  # table, mechanism, method, seed, max_rows


def run_job(job: Job) -> dict[str, object]:
    """The scores of one method on one case; runs in a process of its own with one thread."""
    from benchmarks.imputation_methods import METHODS  # imported in the worker, after the thread limits are set

    warnings.simplefilter("ignore")
    table, mechanism, name, seed, max_rows = job
    case = make_case(table, mechanism, seed, max_rows)
    method = METHODS[name](seed)
    cpu, started = cpu_seconds(), time.perf_counter()
    method.fit(case.seen("train"))
    fitted = time.perf_counter()
    best = method.best(case.seen("test"))
    guessed = time.perf_counter()
    draws = method.draw(case.seen("test"), DRAWS)
    drawn = time.perf_counter()
    used = cpu_seconds() - cpu
    times = {"fit_s": fitted - started, "best_s": guessed - fitted, "draw_s": (drawn - guessed) / len(draws)}
    scores = score(case, best, draws) | times | {"cpu_s": used}
    stamp = {"table": table, "mechanism": mechanism, "method": name, "seed": seed, "max_rows": max_rows}
    shape = {"train_rows": len(case.train), "test_rows": len(case.test), "columns": case.train.shape[1]}
    return stamp | shape | {k: round(float(scores[k]), 5) for k in SCORES if k in scores}


def cpu_seconds() -> float:
    """CPU seconds of this process and of those that it has started and that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


# -- the run ---------------------------------------------------------------------------------------
def jobs_of(options: argparse.Namespace) -> list[Job]:
    """Every job, mechanism after mechanism as named, the longest of each first."""
    out = []
    for mechanism in options.mechanisms:
        whole = mechanism in IN_SAMPLE and options.max_rows >= 5000
        rows = max(IN_SAMPLE_ROWS, options.max_rows) if whole else options.max_rows
        tables = [t for t in options.tables if t in IN_SAMPLE.get(mechanism, TABLES)]
        out += [(t, mechanism, m, options.seed, rows) for m in options.methods for t in tables]
    expected = expected_seconds(out)
    return sorted(out, key=lambda job: (options.mechanisms.index(job[1]), -expected[job]))


def expected_seconds(jobs: list[Job]) -> dict[Job, float]:
    """Seconds that each job should take: the longest run of the same table and method so far, or a guess."""
    known: dict[tuple[str, ...], float] = {}
    for row in recorded(RESULTS):
        for place in ((row["table"], row["method"]), (row["table"], row["method"], row["mechanism"])):
            known[place] = max(known.get(place, 0.0), float(row["cpu_s"]))
    out = {}
    for job in jobs:
        table, mechanism, method, *_ = job
        place = (table, method, mechanism)
        guess = GUESSES_S.get(place) or known.get(place[:2]) or GUESSES_S.get(place[:2], 20.0)
        out[job] = known.get(place, guess)
    return out


def recorded(path: Path, wanted: set[Job] | None = None) -> list[dict[str, object]]:
    """Rows of a results file, of the wanted jobs alone where given; the last of each job counts."""
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf8") as stream:
        rows = {job_of(r): r for r in csv.DictReader(stream)}
    return [r for job, r in rows.items() if wanted is None or job in wanted]


def job_of(row: dict[str, object]) -> Job:
    """The job that a row of results belongs to."""
    return row["table"], row["mechanism"], row["method"], int(row["seed"]), int(row["max_rows"])


def write_row(path: Path, row: dict[str, object]) -> None:
    """Appends one result; the columns are fixed, so that rows of different methods line up."""
    names = [*key(), "table", "mechanism", "method", "seed", "max_rows", "train_rows", "test_rows", "columns", *SCORES]
    append(path, [row], names)


def warm_up() -> None:
    """Imports and compiles what every job needs, so that no job is charged for it."""
    from benchmarks.imputation_methods import METHODS  # imported in the worker, after the thread limits are set

    frame = pd.DataFrame({"a": np.arange(40.0), "b": [f"b{i % 2}" for i in range(40)]})
    imputer = METHODS["biglearn"](0)
    imputer.imputer.set_params(steps=2, max_epochs=1)
    imputer.fit(frame.mask(np.eye(40, 2, dtype=bool)))


def next_job(waiting: list[Job], expected: dict[Job, float], left_s: float) -> Job | None:
    """The first waiting job that should end within `left_s` seconds, taken from the list; None: there is none."""
    for i, job in enumerate(waiting):
        if SLOWER * expected[job] <= left_s:
            return waiting.pop(i)
    return None


def run_jobs(jobs: list[Job], workers: int, seconds: float, results: Path) -> tuple[list[dict[str, object]], list[str]]:
    """(rows of the jobs that finished, faults of those that failed); none starts that should not end in `seconds`."""
    started, stamp, rows, waiting, faults = time.monotonic(), key(), [], list(jobs), []
    expected = expected_seconds(jobs)
    with get_context("spawn").Pool(1) as pool:
        pool.apply(warm_up)  # one process compiles, the others read its cache
    with (
        ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=warm_up) as pool,
        tqdm(total=len(jobs), unit="job") as bar,
    ):
        running = {}
        while True:
            while len(running) < workers and (
                job := next_job(waiting, expected, seconds - (time.monotonic() - started))
            ):
                running[pool.submit(run_job, job)] = job
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running.pop(future)
                bar.update()
                if future.exception() is not None:  # the others go on; main ends with an error
                    faults.append(f"{' '.join(map(str, job))}: {future.exception()!r}")
                    tqdm.write(faults[-1])
                    continue
                row = stamp | future.result()
                write_row(results, row)
                rows.append(row)
                shown = ("w1", "energy_score", "rmse", "fit_s", "best_s")
                tqdm.write(" ".join(job[:3]) + "  " + "  ".join(f"{s} {row[s]}" for s in shown if s in row))
    if waiting:
        print(f"{len(waiting)} jobs were not started within {seconds:.0f} s; run again with --resume")
    return rows, faults


def summary(rows: list[dict[str, object]]) -> dict[str, object]:
    """Ranks of biglearn per mechanism (1: best), shares within 10 % of the best RMSE, and speed beside missforest."""
    out: dict[str, object] = {}
    for mechanism in MECHANISMS:
        cases = {}
        for r in rows:
            if r["mechanism"] == mechanism:
                cases.setdefault(r["table"], {})[r["method"]] = r
        full = {t: m for t, m in cases.items() if "biglearn" in m and len(m) > 1}
        if not full:
            continue
        out[f"{mechanism}_tables"] = len(full)
        for name in ("w1", "energy_score", "energy_distance"):
            ranks = {
                t: 1 + sum(float(o[name]) < float(m["biglearn"][name]) for o in m.values()) for t, m in full.items()
            }
            out[f"{mechanism}_{name}_best_or_second"] = sum(r <= 2 for r in ranks.values())
            out[f"{mechanism}_{name}_ranks"] = ranks
        for name in ("rmse", "rmse_best"):
            near = [
                float(m["biglearn"][name]) <= 1.1 * min(float(o["rmse"]) for o in m.values()) for m in full.values()
            ]
            out[f"{mechanism}_{name}_within_10_percent"] = sum(near)
        speed = {
            t: float(m["missforest"]["fit_s"]) / float(m["biglearn"]["best_s"])
            for t, m in full.items()
            if "missforest" in m
        }
        if speed:
            out[f"{mechanism}_speed_ratio"] = {t: round(s, 1) for t, s in speed.items()}
            out.setdefault("ratio", round(float(np.median(list(speed.values()))), 1))
    return out | {"cpu_s_total": round(sum(float(r["cpu_s"]) for r in rows), 1)}


def main() -> None:
    """Runs the jobs, prints the summary as the last line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=list(TABLES))
    parser.add_argument("--methods", nargs="+", default=list(METHOD_NAMES), choices=METHOD_NAMES + ON_REQUEST)
    parser.add_argument("--mechanisms", nargs="+", default=list(MECHANISMS), choices=MECHANISMS)
    parser.add_argument("--jobs", type=int, default=1, help="processes, one thread each")
    parser.add_argument("--max-rows", type=int, default=5000, help="training rows at most; test rows half as many")
    parser.add_argument("--seconds", type=float, default=1e9, help="no job starts that should not end by then")
    parser.add_argument("--results", type=Path, default=RESULTS, help="file that rows are added to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="leave out jobs that are in the results file")
    options = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ[name] = "1"  # read by the worker processes when they start
    jobs = wanted = jobs_of(options)
    if options.resume:
        done = {job_of(r) for r in recorded(options.results)}
        jobs = [j for j in wanted if j not in done]
    rows, faults = run_jobs(jobs, options.jobs, options.seconds, options.results)
    rows += recorded(options.results, set(wanted) - set(jobs))
    print(json.dumps({"benchmark": "imputation", "jobs": len(rows)} | summary(rows) | key()))
    if faults:
        raise SystemExit("\n".join(faults))


if __name__ == "__main__":
    main()
