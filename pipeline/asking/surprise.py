"""Which cells look wrong: how much less probable a cell is, given all others of its row, than such cells usually are.

Shapes: N rows, C columns.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from pipeline.asking.passes import (
    BEYOND,
    UNSEEN,
    Model,
    Questions,
    beyond,
    choices_of,
    chunk_rows,
    of_column,
)

AGAINST = ("entropy", "column")


def surprise(model: Model, rows: np.ndarray, strange: np.ndarray | None = None, against: str = "entropy") -> np.ndarray:
    """(N, C) float64 nats: −log p(choice of a cell | the other known cells of its row) less what is usual.

    The choice is the category, the bin or the atom that the value lies in, so the result does not depend on units.
    against: what is usual. "entropy": the expectation of −log p under the model, so that 0 is as probable as ever.
    "column": −log p of the choice when nothing is known of the row; the difference is the log-odds of a cell that came
    from another row, so it finds swapped cells best, and 0 means that the rest of the row says nothing of the cell.
    NaN where the cell is missing. strange: (N, C) bool cells whose word the model has never met: their probability counts
    as 1e-6, and as usual counts 1, as it does for numbers beyond the outermost bin.
    """
    if against not in AGAINST:
        raise ValueError(f"'against' must be one of {', '.join(AGAINST)}. Got {against!r}.")
    out = np.full(rows.shape, np.nan)
    strange = np.zeros(rows.shape, bool) if strange is None else strange
    empty = np.full((1, rows.shape[1]), np.nan, np.float32)
    alone = model.probabilities(empty, np.zeros(empty.shape, bool)) if against == "column" else None
    for start in range(0, len(rows), chunk_rows(model.schema)):
        part = slice(start, start + chunk_rows(model.schema))
        known, asked = ~np.isnan(rows[part]), Questions(model, rows[part])
        for column in range(rows.shape[1]):
            some = np.flatnonzero(known[:, column] | strange[part][:, column])
            if len(some):
                observed = known[some]
                observed[:, column] = False
                p = asked.told(some, observed, [column])[0]
                out[start + some, column] = _of_column(model, rows[part][some], known[some], column, p, alone)
    return out


def cell_probabilities_of_all(model: Model, rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(column, (N, W) p of its choices given the other known cells of each row), column by column."""
    size = chunk_rows(model.schema)
    parts = [rows[start : start + size] for start in range(0, len(rows), size)]
    asked = [Questions(model, part) for part in parts]
    for column in range(rows.shape[1]):
        found = []
        for part, questions in zip(parts, asked, strict=True):
            observed = ~np.isnan(part)
            observed[:, column] = False
            found.append(questions.told(np.arange(len(part)), observed, [column])[0])
        yield column, np.concatenate(found)


def _of_column(
    model: Model, rows: np.ndarray, known: np.ndarray, column: int, p: np.ndarray, alone: np.ndarray | None
) -> np.ndarray:
    """(n,) surprise of one column with probabilities p (n, W); alone: (1, F) p of every choice when nothing is known, or
    None for the entropy."""
    codes = np.where(known[:, column], rows[:, column], 0.0)
    choice, far = choices_of(model.schema, column, codes), beyond(model.schema, column, codes)
    own = np.take_along_axis(p, choice[:, None], 1)[:, 0]
    own = np.where(far > 0, own * BEYOND / (1 + far**2), own)
    own = np.maximum(np.where(known[:, column], own, 0.0), UNSEEN)
    if alone is None:
        return -np.log(own) + (p * np.log(np.maximum(p, np.finfo(float).tiny))).sum(1)
    share = of_column(model.schema, alone, column)[0, choice]
    return -np.log(own) + np.log(np.where(known[:, column] & (far == 0), np.maximum(share, UNSEEN), 1.0))
