"""Small tables without collapse: fits the imputer on a few hundred rows, then asks whether generated rows differ and are new.

    DATA_MIRROR=/folder python -m benchmarks.small_table                 # yacht, 308 rows

Three sides in one run: generated rows; held-out real rows; copies of training rows with a little noise (what the tests
must find). Default settings of BigLearnImputer. Last line: JSON whose `ratio` is the diversity of the generated rows
over that of the held-out ones; `draw_diversity` is the mean standard deviation, in standard deviations of the column,
of ten draws of the removed cells of held-out rows.

Duplicates: a row within TOLERANCE standard deviations of a training row in every column. yacht is a full grid of 22 hulls
× 14 speeds, each once: a held-out row can never repeat a training row's inputs (duplicate_rate_real is 0 by design),
while a fresh draw from the same population does in 216/308 = 70 % of the cases. So what held-out rows do is not chance
there. Chance is what the generated rows themselves do to rows that the model may or may not have seen: the training rows
are swapped at random with held-out ones (duplicate_p, and nearer_train_share, which asks both sides alike).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist

from benchmarks.imputation_data import TABLES, make_case, standardised_codes
from benchmarks.measure import append, key
from pipeline.estimators.imputer import BigLearnImputer
from pipeline.evaluation.duplicates import NEAR_SHARE, duplicate_scores, duplicate_test, mean_pairwise_distance

RESULTS = Path(__file__).parent / "results" / "small_table.csv"
COPY_NOISE = 0.01  # of the standard deviation
TOLERANCE = 0.05  # of the standard deviation; 99.999 % of the noisy cells lie within it


def main() -> None:
    """Fits, measures, prints a table and the JSON line, appends to the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", default="yacht", choices=list(TABLES))
    parser.add_argument("--rows", type=int, default=500, help="training rows at most")
    parser.add_argument("--samples", type=int, default=2000, help="generated rows")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    case = make_case(options.table, "mcar", options.seed, options.rows)
    started = time.process_time()
    imputer = BigLearnImputer(random_state=options.seed).fit(case.train)
    fit_cpu_s = time.process_time() - started
    generated = imputer.generate(options.samples, random_state=options.seed + 1)
    draws = imputer.sample(case.seen("test"), draws=10)
    whole = pd.concat([case.train, generated, case.test, *draws], ignore_index=True)
    cells = standardised_codes(whole)
    n, m = len(case.train), len(case.test)
    train, made, real, drawn = np.split(cells, np.cumsum([n, options.samples, m]))
    noise = np.random.default_rng(options.seed).normal(0, COPY_NOISE, train.shape)
    sides = {"generated": made, "held_out_real": real[: m // 2], "noisy_copies": train + noise}
    stamp = key() | {"table": options.table, "train_rows": n, "held_out_rows": m, "seed": options.seed}
    table, summary = [], {"fit_cpu_s": round(fit_cpu_s, 1)}
    for name, rows in sides.items():
        others = real[m // 2 :] if name == "held_out_real" else real
        scores = duplicate_scores(rows, train, others)
        scores |= duplicate_test(rows, train, others, TOLERANCE, np.random.default_rng(options.seed))
        scores["diversity"] = mean_pairwise_distance(rows)
        scores["exact_duplicates"] = float((cdist(rows, train, "chebyshev") < 1e-6).any(1).mean())
        table.append(stamp | {"side": name} | {k: round(v, 4) for k, v in scores.items()})
        print(f"{name:13} " + "  ".join(f"{k} {v:.3f}" for k, v in scores.items()))
        summary |= {f"{name}_{k}": round(v, 4) for k, v in scores.items()}
    append(RESULTS, table)
    spread = drawn.reshape(10, m, -1).std(0)[case.test_mask]
    summary["draw_diversity"] = round(float(spread.mean()), 4)
    ratio = round(summary["generated_diversity"] / summary["held_out_real_diversity"], 3)
    print(json.dumps({"benchmark": "small_table", "ratio": ratio, "chance_near_rate": NEAR_SHARE} | stamp | summary))


if __name__ == "__main__":
    main()
