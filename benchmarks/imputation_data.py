"""Tables, splits and missing cells of benchmarks/imputation.py; every draw is a function of a seed.

Shapes: N rows, C columns.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.special import expit

from pipeline.base.data_groups import TableParams
from pipeline.evaluation.gap_scores import Case
from pipeline.tables.kinds import holds_words

HELD_OUT_SHARE = 0.3  # of the rows
MISSING_SHARE = 0.3  # of the cells that a mechanism may remove
UCI_MISSING_SHARE = 0.2
DIFFPUTER_TRAIN_SHARE, DIFFPUTER_SPLIT_SEED, DIFFPUTER_WHOLE = 0.7, 1234, 0.3
SLOPE = 2.0  # of the logistic mechanisms, per standard deviation


@dataclass(frozen=True)
class TableFile:
    """path: under DATA_MIRROR/tabular. label: the column that downstream scores predict."""

    path: str
    label: str


TABLES = {
    "yacht": TableFile("uci_regression/yacht.csv", ""),
    "energy": TableFile("uci_regression/energy.csv", ""),
    "concrete": TableFile("uci_regression/concrete.csv", ""),
    "wine": TableFile("uci_regression/wine-quality-red.csv", ""),
    "power": TableFile("uci_regression/power-plant.csv", ""),
    "letter": TableFile("blem/letter.csv.gz", "y"),
    "california": TableFile("california.csv.gz", ""),
    "adult": TableFile("adult_train.csv.gz", "salary"),
}
UCI_TABLES = {
    "letter": TableFile("gain/letter.csv.gz", ""),
    "concrete": TABLES["concrete"],
    "energy": TABLES["energy"],
}
DIFFPUTER_TABLES = ("letter", "california")  # whose published figures are known


def read(name: str, *, uci: bool = False) -> tuple[pd.DataFrame, str]:
    """(frame, label column) of a table; label: the named one, or the last column. Raises SystemExit without the data."""
    folder = os.environ.get("DATA_MIRROR")
    if not folder:
        raise SystemExit("The environment variable DATA_MIRROR must name the folder that holds tabular/.")
    table = (UCI_TABLES if uci else TABLES)[name]
    marks = TableParams().missing
    frame = pd.read_csv(Path(folder) / "tabular" / table.path, na_values=marks, skipinitialspace=True)
    label = table.label or str(frame.columns[-1])
    if table.label and not uci:
        frame[label] = "class " + frame[label].astype(str)  # a number would be read as one
    return frame, label


def make_case(name: str, mechanism: str, seed: int, max_rows: int) -> Case:
    """The case of (table, mechanism, seed): mcar, mar, mnar with held-out rows, or uci, diffputer, where train and test are one.

    max_rows: training rows at most; test rows at most half as many.
    """
    if mechanism == "diffputer":
        return diffputer_case(name, seed, max_rows)
    frame, label = read(name, uci=mechanism == "uci")
    rng = np.random.default_rng([seed, sorted(TABLES).index(name)])
    frame = frame.iloc[rng.permutation(len(frame))].reset_index(drop=True)
    categorical = np.array([holds_words(frame[c]) for c in frame])
    held_out = 0 if mechanism == "uci" else round(HELD_OUT_SHARE * len(frame))
    train, test = frame.iloc[held_out:], frame.iloc[:held_out]
    train, test = train.iloc[:max_rows].reset_index(drop=True), test.iloc[: max_rows // 2].reset_index(drop=True)
    whole = pd.concat([train, test], ignore_index=True)
    mask = remove_cells(whole, mechanism, rng) & whole.notna().to_numpy()
    position = list(frame.columns).index(label)
    if mechanism == "uci":
        return Case(train, train, mask, mask, categorical, position)
    return Case(train, test, mask[: len(train)], mask[len(train) :], categorical, position)


def diffputer_case(name: str, seed: int, max_rows: int) -> Case:
    """In-sample case of DiffPuter (Zhang et al., ICLR 2025): its split, and a mask by its rule of "MAR", 30 % of the cells.

    70 % of the rows without a gap. Three tenths of the columns, the label among those that may be drawn, stay whole; a random
    linear score of them, of variance 1, sets the logistic chance of every other cell. The label is then dropped.
    """
    frame, label = read(name)
    frame = frame.dropna()[[*(c for c in frame if c != label), label]].reset_index(drop=True)
    order = np.arange(len(frame))
    np.random.RandomState(DIFFPUTER_SPLIT_SEED).shuffle(order)
    frame = frame.iloc[order[: int(DIFFPUTER_TRAIN_SHARE * len(frame))]].iloc[:max_rows].reset_index(drop=True)
    rng = np.random.default_rng([seed, sorted(TABLES).index(name), 1])
    z, columns = standardised_codes(frame), frame.shape[1]
    whole = rng.permutation(columns)[: int(DIFFPUTER_WHOLE * columns)]
    score = z[:, whole] @ rng.normal(size=(len(whole), columns))
    score /= np.maximum(score.std(0), 1e-9)
    share = MISSING_SHARE / (1 - DIFFPUTER_WHOLE)
    mask = rng.random(z.shape) < np.stack([_chance(score[:, j], 1.0, share) for j in range(columns)], 1)
    mask[:, whole] = False
    values, mask = frame.drop(columns=label), mask[:, :-1]
    return Case(values, values, mask, mask, np.zeros(columns - 1, bool), None)


def remove_cells(frame: pd.DataFrame, mechanism: str, rng: np.random.Generator) -> np.ndarray:
    """(N, C) bool of cells to remove; every row keeps at least one.

    mcar, uci: each cell alike. mar: 30 % of the columns stay whole, and a random linear score of them sets the chance
    of each other cell. mnar: the chance of a cell rises or falls with its own value. Logistic, with SLOPE a standard
    deviation; the intercept meets the share.
    """
    n, c = frame.shape
    if mechanism in ("mcar", "uci"):
        mask = rng.random((n, c)) < (MISSING_SHARE if mechanism == "mcar" else UCI_MISSING_SHARE)
    else:
        z = standardised_codes(frame)
        sign = rng.choice([-1.0, 1.0], c)
        score = z * sign
        whole = np.zeros(c, bool)
        if mechanism == "mar":
            whole[rng.permutation(c)[: max(1, round(0.3 * c))]] = True
            score = z[:, whole] @ rng.normal(size=(int(whole.sum()), c))
            score /= np.maximum(score.std(0), 1e-9)
        mask = rng.random((n, c)) < np.stack([_chance(score[:, j]) for j in range(c)], 1)
        mask[:, whole] = False
    empty = mask.all(1)
    mask[empty, rng.integers(0, c, int(empty.sum()))] = False
    return mask


def standardised_codes(frame: pd.DataFrame) -> np.ndarray:
    """(N, C) float64: numbers in standard deviations, categories by their alphabetical code; missing cells 0."""
    columns = []
    for name in frame:
        values = frame[name]
        if not pd.api.types.is_numeric_dtype(values.dtype):
            values = values.astype("category").cat.codes.where(values.notna(), np.nan)
        values = values.to_numpy(float)
        columns.append((values - np.nanmean(values)) / (np.nanstd(values) or 1.0))
    return np.nan_to_num(np.stack(columns, 1))


def _chance(score: np.ndarray, slope: float = SLOPE, share: float = MISSING_SHARE) -> np.ndarray:
    """(N,) logistic chances whose mean is `share`."""
    shift = brentq(lambda b: expit(slope * score + b).mean() - share, -200, 200)
    return expit(slope * score + shift)
