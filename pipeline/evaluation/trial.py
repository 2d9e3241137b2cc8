"""How well the gaps of a table would be filled: fitted on most of its rows, scored on cells hidden in the others.

    scores = trial(frame, BigLearnImputer(), seed=0)     # method → score → value

Held-out rows and hidden cells are drawn at random; all methods read the same rows with the same gaps, in both parts.

Shapes: N rows, C columns.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.base.streams import progress
from pipeline.estimators.imputer import BigLearnImputer
from pipeline.evaluation.cell_scores import cell_scores
from pipeline.evaluation.gap_scores import Case, score
from pipeline.evaluation.peers import mean_fill, missforest
from pipeline.tables.codec import describe_all
from pipeline.tables.coding import codes_of, known_cells
from pipeline.tables.columns import WORDS, Column
from pipeline.tables.describing import Wishes
from pipeline.tables.errors import TableError
from pipeline.tables.kinds import holds_words
from pipeline.tables.values import word

HELD_OUT_SHARE = 0.3  # of the rows
HIDDEN_SHARE = 0.3  # of the known cells
DRAWS = 10
SHOWN = ("w1", "energy_score", "rmse", "rmse_best", "accuracy", "coverage")
CELLS = "BigLearn, cell by cell"  # what the fitted model says of known cells given the rest of their rows


def trial(frame: pd.DataFrame, imputer: BigLearnImputer, seed: int, rows: int = 5000) -> dict[str, dict[str, float]]:
    """Method → score → value of `imputer` (fitted here), a MissForest-style chain, and means with commonest categories.

    rows: training rows, at most; half as many are scored. Scores: see pipeline.evaluation.gap_scores; w1 and energy_score judge
    draws, rmse their mean, rmse_best and accuracy the best guesses. Under CELLS: whether the probabilities of single cells are
    right and find wrong cells (pipeline.evaluation.cell_scores), on the scored rows. Raises TableError for a table that cannot be used.
    """
    case = hidden_case(frame, seed, rows)
    out = {}
    methods = {"BigLearn": None, "MissForest-style": missforest(seed), "mean, commonest": mean_fill()}
    with progress(methods.items(), "evaluate", unit="method") as bar:
        for name, method in bar:
            bar.set_postfix_str(name)
            seen, gaps = case.seen("train"), case.seen("test")
            if method is None:
                imputer.fit(seen)
                found = score(case, imputer.transform(gaps), imputer.sample(gaps, DRAWS))
                cells = cell_scores(imputer.sampler_, imputer.codec_.rows(case.test), seed).metrics()
            else:
                method.fit(seen)
                found = score(case, method.best(gaps), method.draw(gaps, DRAWS))
            out[name] = {k: round(float(found[k]), 4) for k in SHOWN if k in found}
    return out | {CELLS: {k: round(v, 4) for k, v in cells.items()}}


def hidden_case(frame: pd.DataFrame, seed: int, rows: int) -> Case:
    """A random split of the table with a random share of its known cells hidden; every row keeps one.

    Raises TableError for fewer than 10 rows.
    """
    if len(frame) < 10 or frame.shape[1] < 2:
        raise TableError(f"A trial needs at least 10 rows and 2 columns. Got {len(frame)} and {frame.shape[1]}.")
    columns = [c for c in describe_all(frame, Wishes()) if c.modelled]
    if len(columns) < 2:
        raise TableError(f"A trial needs at least 2 columns that are modelled. Got {[c.name for c in columns]}.")
    frame = pd.DataFrame({c.label: comparable(c, frame[c.label]) for c in columns})
    rng = np.random.default_rng([seed, 0x7121A])
    frame = frame.iloc[rng.permutation(len(frame))].reset_index(drop=True)
    held_out = round(HELD_OUT_SHARE * len(frame))
    parts = [frame.iloc[held_out:][:rows].reset_index(drop=True), frame.iloc[:held_out][: max(1, rows // 2)]]
    masks = []
    for part in parts:
        known = part.notna().to_numpy()
        mask = (rng.random(part.shape) < HIDDEN_SHARE) & known
        last = (known & ~mask).sum(1) == 0
        mask[last] = False
        masks.append(mask)
    categorical = np.array([holds_words(frame[c]) for c in frame])
    return Case(*parts, *masks, categorical, None)


def comparable(column: Column, series: pd.Series) -> pd.Series:
    """A column as numbers or words: dates become counts of their unit, truth values and categories their text."""
    cells = known_cells(column, series)
    if column.kind in WORDS:
        words = [word(v) for v in cells.distinct]
        found = [words[i] if i >= 0 else None for i in cells.place]
        return pd.Series(found, index=series.index, dtype=object)
    return pd.Series(float(column.origin) + codes_of(column, cells) * column.scale, index=series.index)
