"""The distribution of one cell given the rest of its row: quantiles, intervals, means, probabilities. No draws.

    p = cell_probabilities(model, rows, column)     # (N, W), the cell itself hidden
    quantiles(token, p, [0.05, 0.5, 0.95])          # (N, 3), codes

Shapes: N rows, C columns, W choices of a column, Q quantiles.
"""

from __future__ import annotations

import numpy as np

from pipeline.asking.passes import Model, Questions, chunk_rows
from pipeline.rows.tokens import Token


def cell_probabilities(model: Model, rows: np.ndarray, column: int) -> np.ndarray:
    """(N, W) float64 p(choice of the column | the other known cells), whether the cell itself is known or not."""
    out = []
    size = chunk_rows(model.schema)
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        observed = ~np.isnan(part)
        observed[:, column] = False
        out.append(Questions(model, part).told(np.arange(len(part)), observed, [column])[0])
    width = model.schema.tokens[model.schema.token_of_column[column]].width
    return np.concatenate(out) if out else np.empty((0, width))


def quantiles(token: Token, probabilities: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """(N, Q) codes below which a number lies with each probability of `levels` (Q,): linear inside a bin."""
    edges, levels = np.asarray(token.edges, np.float64), np.asarray(levels, np.float64)
    below = np.cumsum(probabilities, 1)
    below /= below[:, -1:]
    out = np.empty((len(probabilities), len(levels)))
    for i, level in enumerate(levels):
        choice = np.minimum((below < level).sum(1), token.width - 1)[:, None]
        upto = np.take_along_axis(below, choice, 1)[:, 0]
        own = np.take_along_axis(probabilities, choice, 1)[:, 0]
        choice = choice[:, 0]
        share = 1 - np.divide(upto - level, own, out=np.zeros_like(own), where=own > 0)
        out[:, i] = edges[choice] + share.clip(0, 1) * (edges[choice + 1] - edges[choice])
    return out


def means(token: Token, probabilities: np.ndarray) -> np.ndarray:
    """(N,) mean code of a number."""
    edges = np.asarray(token.edges, np.float64)
    return probabilities @ ((edges[:-1] + edges[1:]) / 2) / probabilities.sum(1)


def deviations(token: Token, probabilities: np.ndarray) -> np.ndarray:
    """(N,) standard deviation of a number, in codes; the spread inside a bin included."""
    edges = np.asarray(token.edges, np.float64)
    middle, width = (edges[:-1] + edges[1:]) / 2, np.diff(edges)
    centre = means(token, probabilities)[:, None]
    second = probabilities * ((middle - centre) ** 2 + width**2 / 12)
    return np.sqrt(second.sum(1) / probabilities.sum(1))
