"""One pass of a model for many rows: equal questions are asked once.

Shapes: N rows, C columns, F features, W choices of a column.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from pipeline.rows.bins import bin_of
from pipeline.rows.schema import Schema

CHUNK_ROWS = 4096
UNSEEN = 1e-6  # probability of a value that no training row had and the model gives none
BEYOND = 0.01  # share of the outermost bin that values beyond it get, as half a Cauchy distribution


class Model(Protocol):
    """What every question needs of a model: p(choice | observed cells), (N, F), and its schema."""

    schema: Schema

    def probabilities(self, rows: np.ndarray, observed: np.ndarray | None = None) -> np.ndarray:
        """(N, F) p(choice of a token | observed cells) at every token not observed."""


def choice_probabilities(model: Model, rows: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """(N, F) float64 p(choice | observed cells), as the model's; rows that give the same cells are asked once."""
    given = np.where(observed, rows, np.nan).astype(np.float32) + np.float32(0)  # −0 and 0 are one value
    keys = np.ascontiguousarray(given).view(np.dtype((np.void, given.dtype.itemsize * given.shape[1])))[:, 0]
    _, first, place = np.unique(keys, return_index=True, return_inverse=True)
    if len(first) == len(given):
        return model.probabilities(given, observed)
    return model.probabilities(given[first], observed[first])[place.ravel()]


def of_column(schema: Schema, probabilities: np.ndarray, column: int) -> np.ndarray:
    """(N, W) p of the choices of one column, out of (N, F)."""
    token = schema.token_of_column[column]
    return probabilities[:, schema.offsets[token] : schema.offsets[token + 1]]


def choices_of(schema: Schema, column: int, codes: np.ndarray) -> np.ndarray:
    """(N,) int64 which choice each known code (N,) of a column is: its category or bin."""
    token = schema.tokens[schema.token_of_column[column]]
    codes = np.asarray(codes, np.float64)
    return bin_of(codes, np.asarray(token.edges)) if token.binned else codes.astype(np.int64)


def beyond(schema: Schema, column: int, codes: np.ndarray) -> np.ndarray:
    """(N,) float64 how far codes lie beyond the outermost edges, in standard deviations; 0 inside and for categories."""
    token = schema.tokens[schema.token_of_column[column]]
    if not token.binned:
        return np.zeros(len(codes))
    far = np.maximum(token.edges[0] - codes, codes - token.edges[-1])
    return np.maximum(far, 0.0) / token.scale
