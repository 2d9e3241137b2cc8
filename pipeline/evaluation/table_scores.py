"""Scores of joint samples of a table against held-out rows; pure functions. Distances are in standard deviations.

Missing cells are left out of every score: a column's distance is over its known values, a correlation over the rows
that know both. Completions of tables are scored by `pipeline.evaluation.image_scores.completion_scores`.

Shapes: N rows, C columns, F numbers and categories.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from pipeline.evaluation import metrics
from pipeline.rows.cells import category_counts
from pipeline.rows.row_file import Rows, chunks
from pipeline.rows.schema import Schema

CORRELATED = 500  # numbers and categories, at most: the correlations of wider rows (texts) are not compared


def column_distances(
    rows: Rows, reference: Rows, schema: Schema, modalities: tuple[str, ...] = ("numeric", "categorical")
) -> dict[str, float]:
    """Column → its distance: Wasserstein-1 in standard deviations for a number; for a category the total variation,
    half the sum of absolute differences between shares. Columns without two known values on a side are left out.
    Categories are counted in chunks; for numbers both must be arrays."""
    out = {}
    codes = [category_counts(schema, x) if "categorical" in modalities else {} for x in (rows, reference)]
    for token in schema.tokens:
        for column in token.columns if token.modality in modalities else ():
            if token.modality == "categorical":
                a, b = (counts[column] for counts in codes)
                if min(a.sum(), b.sum()) >= 2:
                    out[schema.columns[column]] = float(np.abs(a / a.sum() - b / b.sum()).sum() / 2)
                continue
            a, b = (_known(x[:, column]) for x in (rows, reference))
            if min(len(a), len(b)) >= 2:
                distance = metrics.wasserstein_distances(a[:, None], b[:, None])[0]
                out[schema.columns[column]] = float(distance / token.scale)
    return out


def category_distance(rows: Rows, reference: Rows, schema: Schema) -> float | None:
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

    A constant one correlates with nothing: 0. Rows are expanded chunk by chunk.
    """
    owner = indicators(rows[:1], schema)[1]
    between = owner[:, None] != owner[None]
    if not between.any():
        return 0.0

    def expanded(table: Rows) -> Iterator[np.ndarray]:
        for part in chunks(table, len(owner)):
            yield indicators(part, schema)[0]

    a, b = (pairwise_correlations(expanded(x)) for x in (rows, reference))
    return float(np.abs(a - b)[between].mean())


def pairwise_correlations(parts: Iterable[np.ndarray]) -> np.ndarray:
    """(F, F) correlation of each two columns of the (n, F) parts over the rows that know both; 0 where a column is
    constant there or fewer than two rows do. Values count from the first known one of their column, so that a
    constant is exactly 0 and sums of squares lose little."""
    origin = None
    for part in parts:
        if origin is None:
            count = total = square = product = 0.0
            origin = np.full(part.shape[1], np.nan)
        origin = np.where(np.isnan(origin), _first_known(part), origin)
        known = ~np.isnan(part)
        x, seen = np.where(known, part - origin, 0.0), known.astype(np.float64)
        count = count + seen.T @ seen
        total = total + x.T @ seen  # (i, j): sum of i over the rows that know i and j
        square = square + (x**2).T @ seen
        product = product + x.T @ x
    n = np.maximum(count, 1)
    spread = (square - total**2 / n).clip(0)
    scale = np.sqrt(spread * spread.T)
    covariance = product - total * total.T / n
    valid = (count >= 2) & (scale > 0)
    return np.where(valid, covariance / np.where(valid, scale, 1.0), 0.0).clip(-1, 1)


def _first_known(part: np.ndarray) -> np.ndarray:
    """(F,) the first value of each column that is not NaN; NaN where there is none."""
    known = ~np.isnan(part)
    return np.where(known.any(0), part[known.argmax(0), np.arange(part.shape[1])], np.nan)


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
