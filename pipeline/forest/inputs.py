"""What the trees of a column read: every other token as one number, and the Gaussian's guesses.

A number is its place among its bins (0 … 1), so that a random threshold cuts any distribution alike. A category is the
place of its level in an order of the column's own: by the mean of a number that is to be told, by the leading pattern
(correspondence analysis) of a category that is. A hidden token is HIDDEN_PLACE, below all.

Shapes: N rows, n samples, L tokens, K levels.
"""

from __future__ import annotations

import numpy as np

from pipeline.rows.bins import encode_bins
from pipeline.rows.schema import Schema

HIDDEN_PLACE = -0.25


def places(rows: np.ndarray, schema: Schema) -> np.ndarray:
    """(N, L) float32: the place of each number among its bins in 0 … 1, the code of a category; NaN where missing."""
    out = np.empty((len(rows), schema.n_tokens), np.float32)
    for i, token in enumerate(schema.tokens):
        values = rows[:, token.columns[0]]
        if token.binned:
            out[:, i] = encode_bins(values, np.asarray(token.edges)).sum(1) / token.width
        else:
            out[:, i] = values
    return out


def choices(rows: np.ndarray, schema: Schema) -> np.ndarray:
    """(N, L) int64 bin or category of every cell, −1 where missing."""
    out = np.full((len(rows), schema.n_tokens), -1, np.int64)
    for i, token in enumerate(schema.tokens):
        values = rows[:, token.columns[0]]
        known = ~np.isnan(values)
        if token.binned:
            read = encode_bins(values[known], np.asarray(token.edges)).sum(1)
            out[known, i] = np.floor(read).astype(np.int64).clip(0, token.width - 1)
        else:
            out[known, i] = values[known].astype(np.int64)
    return out


def level_order(levels: np.ndarray, width: int, told: np.ndarray, told_width: int) -> np.ndarray:
    """(K,) float32 place in 0 … 1 of each level of a category, by what the samples' choices say of another column.

    levels: (n,) int; told: (n,) int choices of the other column; told_width: 0 for a number, whose mean place orders;
    else its number of categories. Levels that never occur stand in the middle.
    """
    if width <= 2:
        return np.arange(width, dtype=np.float32)
    count = np.bincount(levels, minlength=width).astype(float)
    if told_width == 0:
        overall = told.mean() if len(told) else 0.0
        score = (np.bincount(levels, told, minlength=width) + overall) / (count + 1.0)
    else:
        table = np.zeros((width, told_width))
        np.add.at(table, (levels, told), 1.0)
        share = (table + table.sum(0) / max(1.0, table.sum())) / (count + 1.0)[:, None]
        centred = (share - share.mean(0)) * np.sqrt(count + 1.0)[:, None]
        score = np.linalg.svd(centred, full_matrices=False)[0][:, 0] / np.sqrt(count + 1.0)
    order = np.empty(width, np.float32)
    order[np.argsort(score, kind="stable")] = np.linspace(0, 1, width, dtype=np.float32)
    order[count == 0] = 0.5
    return order


def without_own(seen: np.ndarray, schema: Schema, token: int) -> np.ndarray:
    """(n, L) bool tokens that trees of `token` may read, of those seen (n, L): not itself, nor whether it is missing."""
    out = seen.copy()
    out[:, token] = False
    if schema.gap_tokens[token] >= 0:
        out[:, schema.gap_tokens[token]] = False
    return out


def inputs_of(
    place: np.ndarray, visible: np.ndarray, orders: list[np.ndarray | None], guesses: np.ndarray | None
) -> np.ndarray:
    """(n, L or L + G) float32 inputs: visible tokens' places (n, L), a category's through its order, others hidden; then
    the Gaussian's guesses (n, G)."""
    out = place.copy()
    for i, order in enumerate(orders):
        if order is not None:
            known = visible[:, i]
            out[known, i] = order[place[known, i].astype(np.int64)]
    out[~visible] = HIDDEN_PLACE
    return out if guesses is None else np.concatenate([out, guesses.astype(np.float32)], 1)
