"""How far the draws of one row differ, token by token: 0, they all agree; 1, as far as the token allows.

Shapes: K draws, C columns, L tokens, H, W pixels.
"""

from __future__ import annotations

import numpy as np

from pipeline.rows.schema import Schema
from pipeline.rows.tokens import Token
from pipeline.tables.columns import Column


def token_spread(schema: Schema, draws: np.ndarray) -> np.ndarray:
    """(L,) float64 spread of each token over (K, C) draws of one row; NaN where a draw has no value.

    Patches: mean standard deviation of their pixels over half the pixel range (the most it can be). Categories: entropy
    of the drawn words over that of equal shares. Numbers: standard deviation over that of the training rows, at most 1.
    """
    return np.array([_spread(token, np.asarray(draws, np.float64)[:, list(token.columns)]) for token in schema.tokens])


def _spread(token: Token, cells: np.ndarray) -> float:
    if np.isnan(cells).any():
        return float("nan")
    if token.modality == "categorical":
        shares = np.bincount(cells[:, 0].astype(np.int64), minlength=token.width) / len(cells)
        shares = shares[shares > 0]
        return float(-(shares * np.log(shares)).sum() / np.log(max(2, token.width)))
    return float(min(1.0, cells.std(0).mean() / token.scale))


def spread_map(schema: Schema, spread: np.ndarray) -> np.ndarray:
    """(H, W) float64 spread of the patch that each pixel lies in, from (L,) `token_spread`."""
    out = np.full(len(schema.columns), np.nan)
    for i, token in enumerate(schema.tokens):
        out[list(token.columns)] = spread[i]
    return schema.images(out[None])[0, :, :, 0]


def cell_summary(schema: Schema, column: int, values: np.ndarray) -> dict[str, object]:
    """What K draws of one cell that is not a pixel say, for people: shares of words, or quantiles of a number.

    {"words": [[word, share], …] most frequent first} or {"mean": …, "low": …, "high": …}: 5 % and 95 % quantiles.
    Numbers of a table come in the units of the table.
    """
    token, name = schema.tokens[schema.token_of_column[column]], schema.columns[column]
    values = np.asarray(values, np.float64)
    if token.modality == "categorical":
        words = schema.categories.get(token.name, [str(i) for i in range(token.width)])
        codes, counts = np.unique(values.astype(np.int64), return_counts=True)
        order = np.argsort(-counts, kind="stable")
        return {"words": [[words[codes[i]], float(counts[i] / len(values))] for i in order]}
    if schema.table:
        known = Column.from_json(next(c for c in schema.table if c["name"] == name))
        values = float(known.origin) + values * known.scale
    low, high = np.quantile(values, [0.05, 0.95])
    return {"mean": float(values.mean()), "low": float(low), "high": float(high)}
