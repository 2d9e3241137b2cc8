"""Finding wrong cells: average precision of `surprise` beside isolation forest, PCA and boosted trees per column.

    DATA_MIRROR=… python -m benchmarks.wrong_cells --rows 3000 --steps 400

2 % of the known cells of adult, california and letter are swapped with the same column's cell of another row, where that
differs; each method is fitted on the table with the wrong cells in it and ranks all known cells.

Shapes: N rows, C columns.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, IsolationForest
from sklearn.metrics import average_precision_score
from sklearn.model_selection import cross_val_predict

from benchmarks.imputation_data import read
from pipeline.asking.cells import cell_probabilities
from pipeline.asking.passes import choices_of
from pipeline.estimators.imputer import BigLearnImputer

TABLES = ("adult", "california", "letter")
SWAPPED_SHARE = 0.02


def swapped(frame: pd.DataFrame, rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    """(the table with wrong cells, (N, C) bool which are wrong)."""
    out, wrong = frame.copy(), np.zeros(frame.shape, bool)
    for c, name in enumerate(frame.columns):
        chosen = np.flatnonzero((rng.random(len(frame)) < SWAPPED_SHARE) & frame[name].notna().to_numpy())
        known = np.flatnonzero(frame[name].notna().to_numpy())
        values = frame[name].iloc[rng.choice(known, len(chosen))].to_numpy()
        differs = values != frame[name].iloc[chosen].to_numpy()
        column = frame[name].astype(object)
        column.iloc[chosen[differs]] = values[differs]
        out[name], wrong[chosen[differs], c] = column.astype(frame[name].dtype), True
    return out, wrong


def numeric(frame: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """((N, F) standardised numbers and one-hot words, gaps at the mean; (F,) the column of each)."""
    parts, owner = [], []
    for c, name in enumerate(frame.columns):
        cells = frame[name]
        if pd.api.types.is_numeric_dtype(cells.dtype):
            part = cells.to_numpy(float)[:, None]
        else:
            part = pd.get_dummies(cells, dtype=float).to_numpy()
        part = (part - np.nanmean(part, 0)) / np.maximum(np.nanstd(part, 0), 1e-9)
        parts.append(np.nan_to_num(part))
        owner += [c] * part.shape[1]
    return np.concatenate(parts, 1), np.array(owner)


def by_forest(frame: pd.DataFrame, seed: int) -> np.ndarray:
    x, _ = numeric(frame)
    score = -IsolationForest(random_state=seed).fit(x).score_samples(x)
    return np.repeat(score[:, None], frame.shape[1], 1)


def by_components(frame: pd.DataFrame, seed: int) -> np.ndarray:
    x, owner = numeric(frame)
    model = PCA(0.9, random_state=seed).fit(x)
    error = (x - model.inverse_transform(model.transform(x))) ** 2
    return np.stack([error[:, owner == c].mean(1) for c in range(frame.shape[1])], 1)


def by_boosted_trees(frame: pd.DataFrame, seed: int) -> np.ndarray:
    """Squared residual over its mean, or −log p, of two-fold predictions of each column from the others."""
    out = np.zeros(frame.shape)
    codes = pd.DataFrame({
        n: f if pd.api.types.is_numeric_dtype(f.dtype) else f.astype("category").cat.codes.where(f.notna()).astype(float)
        for n, f in frame.items()
    })  # fmt: skip
    for c, name in enumerate(frame.columns):
        known = frame[name].notna().to_numpy()
        x, y = codes.drop(columns=name)[known].to_numpy(), codes[name][known].to_numpy()
        settings = {"max_iter": 40, "random_state": seed, "early_stopping": False}
        if pd.api.types.is_numeric_dtype(frame[name].dtype):
            residual = y - cross_val_predict(HistGradientBoostingRegressor(**settings), x, y, cv=2)
            out[known, c] = 0.5 * residual**2 / max((residual**2).mean(), 1e-12)
        else:
            y = np.where(pd.Series(y).map(pd.Series(y).value_counts()) > 3, y, -1)  # each fold needs every class
            p = cross_val_predict(HistGradientBoostingClassifier(**settings), x, y, cv=2, method="predict_proba")
            out[known, c] = -np.log(np.maximum(p[np.arange(len(y)), np.searchsorted(np.unique(y), y)], 1e-6))
    return out


def by_biglearn(frame: pd.DataFrame, seed: int, steps: int) -> dict[str, np.ndarray]:
    """The public surprise, and what it leaves out: −log p alone, and −log of p over the column's own share."""
    imputer = BigLearnImputer(steps=steps, progress=False, random_state=seed).fit(frame)
    rows, schema, sampler = imputer.codec_.rows(frame), imputer.codec_.schema, imputer.sampler_.networks_alone()
    plain, ratio = np.zeros(frame.shape), np.zeros(frame.shape)
    for c, token in enumerate(schema.tokens):
        known = np.flatnonzero(~np.isnan(rows[:, c]))
        p = cell_probabilities(sampler, rows[known], c)
        choice = choices_of(schema, c, rows[known, c])
        plain[known, c] = -np.log(np.maximum(p[np.arange(len(known)), choice], 1e-6))
        ratio[known, c] = plain[known, c] + np.log(np.maximum(np.asarray(token.mass)[choice], 1e-6))
    return {"surprise": imputer.surprise(frame).to_numpy(), "−log p": plain, "−log p / share": ratio}


def main() -> None:
    """Prints a line a table and method: average precision, CPU seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tables", default=",".join(TABLES))
    args = parser.parse_args()
    for name in args.tables.split(","):
        frame, _ = read(name)
        frame = frame.sample(args.rows, random_state=args.seed).reset_index(drop=True)
        frame, wrong = swapped(frame, np.random.default_rng(args.seed))
        known = frame.notna().to_numpy()
        print(f"{name}: {len(frame)} rows, share of wrong cells {wrong[known].mean():.4f}", flush=True)
        for method in (by_forest, by_components, by_boosted_trees, by_biglearn):
            start = time.process_time()
            found = method(frame, args.seed, args.steps) if method is by_biglearn else method(frame, args.seed)
            seconds = time.process_time() - start
            for title, score in (found if isinstance(found, dict) else {method.__name__: found}).items():
                quality = average_precision_score(wrong[known], np.nan_to_num(score)[known])
                print(f"{name:12} {title:18} {quality:.3f}  {seconds:.0f} CPU s", flush=True)


if __name__ == "__main__":
    main()
