"""Scores of joint samples of a table against held-out rows; pure functions. Distances are in standard deviations.

Missing cells are left out of every score: a column's distance is over its known values, a correlation over the rows
that know both. Completions of tables are scored by `pipeline.scores.completion_scores`.

Shapes: N rows, C columns, F numbers and categories.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline import metrics
from pipeline.schema import Schema

CORRELATED = 500  # numbers and categories, at most: the correlations of wider rows (texts) are not compared


def column_distances(
    rows: np.ndarray, reference: np.ndarray, schema: Schema, modalities: tuple[str, ...] = ("numeric", "categorical")
) -> dict[str, float]:
    """Column → its distance: Wasserstein-1 in standard deviations for a number; for a category the total variation,
    half the sum of absolute differences between shares. Columns without two known values on a side are left out."""
    out = {}
    for token in schema.tokens:
        for column in token.columns if token.modality in modalities else ():
            a, b = (_known(x[:, column]) for x in (rows, reference))
            if min(len(a), len(b)) < 2:
                continue
            if token.modality == "categorical":
                shares = [metrics.class_shares(x.astype(np.int64), token.width) for x in (a, b)]
                out[schema.columns[column]] = float(np.abs(shares[0] - shares[1]).sum() / 2)
            else:
                distance = metrics.wasserstein_distances(a[:, None], b[:, None])[0]
                out[schema.columns[column]] = float(distance / token.scale)
    return out


def category_distance(rows: np.ndarray, reference: np.ndarray, schema: Schema) -> float | None:
    """Mean total variation over categorical columns, 0…1; None where there is none."""
    distances = column_distances(rows, reference, schema, ("categorical",))
    return float(np.mean(list(distances.values()))) if distances else None


def _known(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, np.float64)
    return values[~np.isnan(values)]


def indicators(rows: np.ndarray, schema: Schema) -> tuple[np.ndarray, np.ndarray]:
    """((N, F) float64: numbers as they are and one 0/1 column a category, NaN where missing; (F,) token of each)."""
    out, owner = [], []
    for i, token in enumerate(schema.tokens):
        values = np.asarray(rows, np.float64)[:, list(token.columns)]
        if token.modality == "categorical":
            values = np.where(np.isnan(values), np.nan, values == np.arange(token.width))
        out.append(values)
        owner += [i] * values.shape[1]
    return np.concatenate(out, 1), np.array(owner)


def correlation_distance(rows: np.ndarray, reference: np.ndarray, schema: Schema) -> float:
    """Mean absolute difference, 0…2, between the correlations of `indicators` of different tokens.

    A constant one correlates with nothing: 0.
    """
    (ours, owner), (theirs, _) = indicators(rows, schema), indicators(reference, schema)
    between = owner[:, None] != owner[None]
    if not between.any():
        return 0.0
    a, b = (pd.DataFrame(x).corr(min_periods=2).fillna(0.0).to_numpy() for x in (ours, theirs))
    return float(np.abs(a - b)[between].mean())


def table_scores(rows: np.ndarray, reference: np.ndarray, schema: Schema) -> dict[str, float]:
    """Scores of rows (N, C) against reference rows: those of the following that the table's columns allow.

    wasserstein_mean, wasserstein_max: over numeric columns. category_distance: mean total variation over categories.
    correlation_distance: see the function; absent for rows of more than CORRELATED numbers and categories.
    """
    out = {}
    numbers = list(column_distances(rows, reference, schema, ("numeric",)).values())
    if numbers:
        out |= {"wasserstein_mean": float(np.mean(numbers)), "wasserstein_max": float(np.max(numbers))}
    shares = category_distance(rows, reference, schema)
    if shares is not None:
        out["category_distance"] = shares
    if sum(t.width if t.modality == "categorical" else len(t.columns) for t in schema.tokens) <= CORRELATED:
        out["correlation_distance"] = correlation_distance(rows, reference, schema)
    return out
