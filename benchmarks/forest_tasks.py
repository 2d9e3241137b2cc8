"""What tasks, samples and trees are worth to the forest of a table, on rows that no other benchmark tests.

    DATA_MIRROR=… python -m benchmarks.forest_tasks letter [--rows 2000] [--columns 3] [--recipes broad:30:20000 few:60:20000]

Training and judged rows both come from the training part of the table; 30 % of the cells of both are removed at random
(benchmarks/imputation_data.py, seed 7). A recipe is tasks:trees:samples of a column. Tasks: broad, those of the network; few, those
of FOREST_WEIGHTS, most of which hide few cells; narrow, nothing but such. Forests are grown for some columns only, and asked in
one step, without a draw: given what a row shows, and given all of its other cells ("full").

Scores: ranked probability score (of a number in standard deviations) and accuracy of the first category, or RMSE of the numbers;
CPU seconds of growing. Rows go to benchmarks/results/forest_tasks.csv.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.imputation_data import make_case
from benchmarks.measure import append, key
from pipeline.base.params import Params
from pipeline.estimators.imputer import BigLearnImputer
from pipeline.estimators.presets import FOREST_TARGET_SHARE, FOREST_WEIGHTS, work_for
from pipeline.forest.forest import KINDS, Forest, smoothed
from pipeline.forest.growing import Growth, grow_forest
from pipeline.forest.inputs import choices
from pipeline.rows.schema import Schema
from pipeline.rows.task_spec import spec_from_schema
from pipeline.tables.codec import fit_codec
from pipeline.tables.inspection import wishes_from

RESULTS = Path(__file__).parent / "results" / "forest_tasks.csv"
SPLIT_SEED, JUDGED_ROWS, LEAF = 7, 700, 5
TASKS = {
    "broad": {},
    "few": {"weights": FOREST_WEIGHTS, "bert_target_share": FOREST_TARGET_SHARE},
    "narrow": {"weights": {"beta_random": 1.0}, "source_beta": [8.0, 1.0]},
}


def rows_of(table: str, count: int) -> tuple[Schema, Params, np.ndarray, np.ndarray, np.ndarray]:
    """(schema, parameters of a fit, (count, C) rows with gaps, (J, C) whole judged rows, (J, C) bool of their gaps)."""
    case = make_case(table, "mcar", SPLIT_SEED, count + JUDGED_ROWS)
    train = case.train.iloc[:count].mask(case.train_mask[:count]).reset_index(drop=True)
    imputer = BigLearnImputer(progress=False)
    params = imputer._params(work_for(*train.shape, "balanced", 0.1, imputer.get_params(deep=False)))
    codec = fit_codec(train, params.prepare.table, wishes_from(None, None, None, None, max_categories=256))
    judged = codec.rows(case.train.iloc[-JUDGED_ROWS:].reset_index(drop=True))
    return codec.schema, params, codec.rows(train), judged, case.train_mask[-JUDGED_ROWS:]


def grow(
    schema: Schema, params: Params, rows: np.ndarray, tokens: list[int], tasks: str, trees: int, samples: int
) -> Forest:
    """A forest whose trees are all for the named tokens; each of the others has one."""
    spec = spec_from_schema(replace(params.tasks, **TASKS[tasks]), schema, schema.missing(rows))
    shares = [{"raw": 0.0}] * schema.n_tokens
    for token in tokens:
        kinds = KINDS if schema.tokens[token].binned else KINDS[:2]
        shares[token] = dict.fromkeys(kinds, 1.0 / len(kinds))
    return grow_forest(rows, schema, spec, seed=0, growth=Growth(trees, most_samples=samples), shares=shares)


def judge(forest: Forest, rows: np.ndarray, gaps: np.ndarray, token: int, full: bool) -> tuple[float, float]:
    """(ranked probability score, accuracy of a category or RMSE of a number) of one token where it is a gap."""
    schema, t = forest.schema, forest.schema.tokens[token]
    known = choices(rows, schema)
    index = np.flatnonzero(gaps[:, t.columns[0]] & (known[:, token] >= 0))
    seen = known >= 0 if full else schema.observed_tokens(~gaps & ~np.isnan(rows))
    seen[:, token] = False
    view = forest.view(np.where(seen[:, schema.token_of_column], rows, np.nan).astype(np.float32), seen)
    told = forest.by_kind(view, index, token, list(forest.columns[token].trees), (LEAF,))
    kinds = [k for k in KINDS if (k, LEAF) in told]
    p = smoothed(np.mean([told[k, LEAF] for k in kinds], 0), np.asarray(t.mass or np.ones(t.width)))
    truth, value = known[index, token], rows[index, t.columns[0]]
    if not t.binned:
        right = truth[:, None] == np.arange(t.width)
        return ((p - right) ** 2).sum(1).mean() / 2, (p.argmax(1) == truth).mean()
    middle = (np.asarray(t.edges[:-1]) + np.asarray(t.edges[1:])) / 2
    reached = np.arange(t.width - 1) >= truth[:, None]
    ranked = ((p.cumsum(1)[:, :-1] - reached) ** 2 * np.diff(middle / t.scale)).sum(1).mean()
    return ranked, np.sqrt(((p @ middle - value) ** 2).mean()) / t.scale


def main() -> None:
    """Prints a line a recipe and keeps it; the last line is one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table")
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--columns", type=int, default=3, help="grown and judged: the first category, then numbers")
    parser.add_argument("--recipes", nargs="+", default=["broad:30:20000", "few:60:20000"])
    options = parser.parse_args()
    schema, params, rows, judged, gaps = rows_of(options.table, options.rows)
    binned = [i for i, t in enumerate(schema.tokens) if t.binned]
    tokens = [i for i, t in enumerate(schema.tokens) if not t.binned][:1]
    tokens += binned[3 : 3 + 5 * (options.columns - len(tokens)) : 5]
    found = []
    for recipe in options.recipes:
        tasks, trees, samples = recipe.split(":")
        started = time.process_time()
        forest = grow(schema, params, rows, tokens, tasks, int(trees), int(samples))
        line = {"table": options.table, "rows": options.rows, "recipe": recipe}
        line["cpu_s"] = round(time.process_time() - started, 1)
        for name, full in (("shown", False), ("full", True)):
            scores = [judge(forest, judged, gaps, token, full) for token in tokens]
            for group, point in (("category", "accuracy"), ("numbers", "rmse")):
                of_group = [
                    s for s, t in zip(scores, tokens, strict=True) if schema.tokens[t].binned == (group == "numbers")
                ]
                ranked, right = np.mean(of_group, 0).round(4).tolist() if of_group else ("", "")
                line |= {f"{name}_{group}_ranked": ranked, f"{name}_{group}_{point}": right}
        print(line, flush=True)
        found.append(key() | line)
    append(RESULTS, found)
    print(json.dumps({"benchmark": "forest_tasks", "recipes": len(found)} | key()))


if __name__ == "__main__":
    main()
