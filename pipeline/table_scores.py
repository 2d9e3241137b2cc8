"""Scores of joint samples of a table against held-out rows; pure functions. Distances are in standard deviations.

Missing cells are left out of every score: a column's distance is over its known values, a correlation over the rows
that know both. Completions of tables are scored by `pipeline.scores.completion_scores`.

Shapes: N rows, C columns, F features.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline import metrics
from pipeline.schema import Schema

CORRELATED_FEATURES = 300  # correlations of wider rows (texts) are not compared


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


def correlations(rows: np.ndarray, schema: Schema) -> np.ndarray:
    """(F, F) correlations between features (numbers, and one indicator a category); 0 where a feature is constant."""
    rows = np.asarray(rows, np.float32)
    features = schema.encode(rows).astype(np.float64)
    features[schema.missing(rows)[:, schema.token_of_feature]] = np.nan
    return pd.DataFrame(features).corr(min_periods=2).fillna(0.0).to_numpy()


def correlation_distance(rows: np.ndarray, reference: np.ndarray, schema: Schema) -> float:
    """Mean absolute difference between the correlations of features of different tokens; 0…2."""
    between = schema.token_of_feature[:, None] != schema.token_of_feature[None]
    difference = np.abs(correlations(rows, schema) - correlations(reference, schema))
    return float(difference[between].mean()) if between.any() else 0.0


def table_scores(rows: np.ndarray, reference: np.ndarray, schema: Schema) -> dict[str, float]:
    """Scores of rows (N, C) against reference rows: those of the following that the table's columns allow.

    wasserstein_mean, wasserstein_max: over numeric columns. category_distance: mean total variation over categories.
    correlation_distance: see the function; absent beyond CORRELATED_FEATURES features.
    """
    out = {}
    numbers = list(column_distances(rows, reference, schema, ("numeric",)).values())
    if numbers:
        out |= {"wasserstein_mean": float(np.mean(numbers)), "wasserstein_max": float(np.max(numbers))}
    shares = category_distance(rows, reference, schema)
    if shares is not None:
        out["category_distance"] = shares
    if schema.n_features <= CORRELATED_FEATURES:
        out["correlation_distance"] = correlation_distance(rows, reference, schema)
    return out
