"""Seconds of `log_density` and `surprise` on adult, beside the same answers from whole passes over all columns.

    DATA_MIRROR=… python -m benchmarks.asking_speed --rows 10000 --jobs 2     # on a quiet machine

A model of 6,000 rows of adult (15 columns; network of width 64 and depth 2, and a forest), 8 orders. The baseline asks the same questions
by `MixtureSampler.probabilities`, which answers for every column, on fewer rows and one thread; ratios are of CPU seconds a row on one
thread. --both: network and forest are both asked about every column, whatever the fit has chosen (the dearest case). --model: a
folder of a fitted imputer, in place of the fit.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable

import numpy as np

from benchmarks.imputation_data import read
from pipeline.asking.density import log_density
from pipeline.asking.surprise import surprise
from pipeline.estimators.frames import read as as_given
from pipeline.estimators.imputer import BigLearnImputer

FITTED_ROWS, BASELINE_ROWS, WARM_ROWS = 6000, 300, 20


class WholePasses:
    """A model without `questions`."""

    def __init__(self, model: object) -> None:
        self.schema, self.probabilities = model.schema, model.probabilities


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """(wall seconds, CPU seconds)."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Prints a line a question."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--both", action="store_true")
    parser.add_argument("--model", default="")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    frame, _ = read("adult")
    if args.model:
        imputer = BigLearnImputer.load(args.model)
    else:
        imputer = BigLearnImputer(steps=args.steps, progress=False).fit(frame.iloc[:FITTED_ROWS])
    if args.both:
        imputer.sampler_.pool.weight[:] = 0.5
    weight = imputer.sampler_.pool.weight
    print(f"network asked about {(weight > 0).sum()} of {len(weight)} columns, forest about {(weight < 1).sum()}")
    asked = frame.iloc[FITTED_ROWS : FITTED_ROWS + args.rows]
    rows = imputer._rows(as_given(imputer, asked, reset=False))
    of = np.ones(rows.shape[1], bool)
    whole = WholePasses(imputer.sampler_)
    questions = {
        "log_density, 8 orders": (
            lambda n: imputer.log_density(asked.iloc[:n]),
            lambda n: log_density(whole, rows[:n], of, ~of),
        ),
        "surprise": (lambda n: imputer.surprise(asked.iloc[:n]), lambda n: surprise(whole, rows[:n])),
    }
    for name, (fast, slow) in questions.items():
        imputer.n_jobs = 1
        fast(WARM_ROWS)
        base = timed(lambda slow=slow: slow(BASELINE_ROWS))[1] / BASELINE_ROWS
        one = timed(lambda fast=fast: fast(BASELINE_ROWS))[1] / BASELINE_ROWS
        imputer.n_jobs = args.jobs
        wall, cpu = timed(lambda fast=fast: fast(len(asked)))
        print(
            f"{name}: {len(asked)} rows, {args.jobs} threads: {wall:.1f} s, {cpu:.1f} CPU s; of {BASELINE_ROWS} rows "
            f"{1e3 * one:.2f} CPU ms a row, whole passes {1e3 * base:.2f}: {base / one:.1f} times",
            flush=True,
        )


if __name__ == "__main__":
    main()
