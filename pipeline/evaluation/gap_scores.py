"""Scores of filled gaps of a table against the cells that were removed; pure functions.

    case = Case(train, test, train_mask, test_mask, categorical, label)
    scores = score(case, best, draws)          # best: DataFrame; draws: list of DataFrames, of case.seen("test") filled

Over the removed cells, numbers in standard deviations of the training rows, a category 0 where right, else 1:

* w1: one draw; mean over columns of the Wasserstein-1 distance (categories: total variation) of filled and true values.
* energy_score: E‖X − y‖ − ½E‖X − X'‖ over K draws (a point method has one), proper for distributions.
* energy_distance: one draw; two-sample energy distance between filled and true rows, at most 1,000.
* rmse, mae: of the mean of K draws. rmse_best, mae_best: of `best`. accuracy: of categories of `best`.
* coverage: share of numbers that rank neither first nor last among K draws, ties shared out; (K − 1)/(K + 1) is right.
* downstream: held-out rows whose label was removed: accuracy or R² of boosted trees fitted on the complete training
  rows and given the filled features (the label itself is never read).

Shapes: N rows, C columns, K draws, D one-hot columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from scipy.stats import wasserstein_distance
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor


@dataclass(frozen=True)
class Case:
    """A table cut in two, with cells removed. train, test: the complete frames; *_mask: (N, C) bool, removed cells.

    categorical: (C,) bool. label: position of the column that downstream scores predict; None: they are left out.
    """

    train: pd.DataFrame
    test: pd.DataFrame
    train_mask: np.ndarray
    test_mask: np.ndarray
    categorical: np.ndarray
    label: int | None

    def seen(self, part: str) -> pd.DataFrame:
        """The frame "train" or "test" with the removed cells missing; whole numbers become floats."""
        frame, mask = getattr(self, part), getattr(self, f"{part}_mask")
        return frame.mask(mask)


class Scale:
    """Turns frames of a case into comparable numbers: (N, C) cells, and (N, D) one-hot rows."""

    def __init__(self, case: Case) -> None:
        self.categorical = case.categorical
        self.words = [
            {w: i for i, w in enumerate(pd.concat([case.train, case.test]).iloc[:, j].dropna().unique())} if c else {}
            for j, c in enumerate(case.categorical)
        ]
        numbers = case.train.loc[:, ~case.categorical].astype(float)
        self.deviation = np.ones(len(case.categorical))
        self.deviation[~case.categorical] = numbers.std(ddof=0).replace(0.0, 1.0)
        self.range = np.ones(len(case.categorical))
        self.range[~case.categorical] = (numbers.max() - numbers.min()).replace(0.0, 1.0)

    def cells(self, frame: pd.DataFrame) -> np.ndarray:
        """(N, C): numbers in standard deviations, categories as codes."""
        columns = [
            frame.iloc[:, j].map(words).to_numpy(float) if words else frame.iloc[:, j].to_numpy(float)
            for j, words in enumerate(self.words)
        ]
        return np.stack(columns, 1) / self.deviation

    def differences(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """(N, C) differences of cells; 1 where categories differ."""
        return np.where(self.categorical, a != b, a - b)

    def one_hot(self, cells: np.ndarray) -> np.ndarray:
        """(N, D): Euclidean distances of these are 1 between two categories."""
        parts = [
            (cells[:, j : j + 1] == np.arange(len(w))) / np.sqrt(2) if w else cells[:, j : j + 1]
            for j, w in enumerate(self.words)
        ]
        return np.concatenate(parts, 1)


def score(case: Case, best: pd.DataFrame, draws: list[pd.DataFrame]) -> dict[str, float]:
    """All scores of one method on one case but the times."""
    scale, mask = Scale(case), case.test_mask
    truth, guess = scale.cells(case.test), scale.cells(best)
    samples = np.stack([scale.cells(d) for d in draws])
    numeric, category = mask & ~case.categorical, mask & case.categorical
    mean = samples.mean(0)
    out = {
        "w1": _w1(scale, samples[0], truth, mask),
        "energy_score": _energy_score(scale, samples, truth, mask),
        "energy_distance": _energy_distance(scale.one_hot(samples[0]), scale.one_hot(truth)),
        "rmse": np.sqrt(((mean - truth)[numeric] ** 2).mean()),
        "rmse_best": np.sqrt(((guess - truth)[numeric] ** 2).mean()),
        "rmse_minmax": np.sqrt((((mean - truth) * scale.deviation / scale.range)[numeric] ** 2).mean()),
        "mae": np.abs(mean - truth)[numeric].mean(),
        "mae_best": np.abs(guess - truth)[numeric].mean(),
    }
    if category.any():
        out["accuracy"] = (guess == truth)[category].mean()
    if len(samples) > 1:
        out["coverage"] = coverage(samples[:, numeric], truth[numeric])
        out["diversity"] = samples.std(0)[numeric].mean()
    return out | (_downstream(case, best) if case.label is not None else {})


def coverage(samples: np.ndarray, truth: np.ndarray) -> float:
    """Share of (n,) truths that rank neither first nor last among (K, n) draws and themselves; (K − 1)/(K + 1) is right.

    Ties are shared out evenly, as a random order of equals would: without that, a column of few values is covered
    almost always, by the truest draws too.
    """
    tied = np.abs(samples - truth) <= 1e-6
    below = ((samples < truth) & ~tied).sum(0)
    equal = tied.sum(0)
    extreme = (below == 0).astype(float) + (below + equal == len(samples))
    return float(1 - (extreme / (equal + 1)).mean())


def _w1(scale: Scale, drawn: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    distances = []
    for j, words in enumerate(scale.words):
        a, b = drawn[mask[:, j], j], truth[mask[:, j], j]
        if len(a) == 0:
            continue
        if words:
            shares = [np.bincount(x.astype(int), minlength=len(words)) / len(x) for x in (a, b)]
            distances.append(np.abs(shares[0] - shares[1]).sum() / 2)
        else:
            distances.append(wasserstein_distance(a, b))
    return float(np.mean(distances))


def _energy_score(scale: Scale, samples: np.ndarray, truth: np.ndarray, mask: np.ndarray) -> float:
    rows, k = mask.any(1), len(samples)

    def norm(a: np.ndarray, b: np.ndarray) -> float:
        return float(np.linalg.norm(np.where(mask, scale.differences(a, b), 0.0), axis=1)[rows].mean())

    to_truth = np.mean([norm(s, truth) for s in samples])
    between = [norm(samples[i], samples[j]) for i in range(k) for j in range(i)]
    return float(to_truth - (np.mean(between) / 2 if between else 0.0))


def _energy_distance(a: np.ndarray, b: np.ndarray, most: int = 1000) -> float:
    known = ~(np.isnan(a).any(1) | np.isnan(b).any(1))
    a, b = a[known][:most], b[known][:most]
    n = len(a)
    within = sum(cdist(x, x).sum() / (n * (n - 1)) for x in (a, b))
    return float(2 * cdist(a, b).mean() - within)


def _downstream(case: Case, best: pd.DataFrame) -> dict[str, float]:
    rows = case.test_mask[:, case.label] & case.test.iloc[:, case.label].notna().to_numpy()
    if rows.sum() < 20:
        return {}
    category = case.categorical[case.label]
    model = (HistGradientBoostingClassifier if category else HistGradientBoostingRegressor)(random_state=0)
    features = [_features(case, f, case.label) for f in (case.train, best[rows], case.test[rows])]
    target = case.train.iloc[:, case.label].to_numpy()
    truth = case.test.iloc[:, case.label].to_numpy()[rows]
    model.fit(features[0], target)
    return {"downstream": model.score(features[1], truth), "downstream_complete": model.score(features[2], truth)}


def _features(case: Case, frame: pd.DataFrame, label: int) -> np.ndarray:
    cells = Scale(case).cells(frame)
    return np.delete(cells, label, 1)
