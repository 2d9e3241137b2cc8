"""Passes of a model for many rows: equal questions are asked once, and only what is needed is computed.

Shapes: N rows, n rows of a question, C columns, L tokens, F features, W choices of a column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from pipeline.rows.bins import bin_of
from pipeline.rows.schema import Schema

CHUNK_ROWS, CHUNK_CELLS = 4096, 2**16  # of a table at a time
NEARLY = 0.9  # share of different questions from which equal ones are not looked for
UNSEEN = 1e-6  # probability of a value that no training row had and the model gives none
BEYOND = 0.01  # share of the outermost bin that values beyond it get, as half a Cauchy distribution


class Model(Protocol):
    """What every question needs of a model: p(choice | observed cells), (N, F), and its schema."""

    schema: Schema

    def probabilities(self, rows: np.ndarray, observed: np.ndarray | None = None) -> np.ndarray:
        """(N, F) p(choice of a token | observed cells) at every token not observed."""


class Told(Protocol):
    """Rows that a model has read once, to be asked about a few tokens at a time."""

    def told(self, index: np.ndarray, seen: np.ndarray, tokens: tuple[int, ...]) -> list[np.ndarray]:
        """(n, W) probabilities of each token in the rows `index` (n,), given the tokens seen (n, L) there."""


class WholePasses:
    """`Told` of any model by passes over all tokens: what faster ways are tested against."""

    def __init__(self, model: Model, rows: np.ndarray) -> None:
        self.model, self.rows = model, rows

    def told(self, index: np.ndarray, seen: np.ndarray, tokens: tuple[int, ...]) -> list[np.ndarray]:
        schema = self.model.schema
        observed = seen[:, schema.token_of_column]
        p = self.model.probabilities(np.where(observed, self.rows[index], np.nan).astype(np.float32), observed)
        return [p[:, schema.offsets[t] : schema.offsets[t + 1]] for t in tokens]


class Questions:
    """Questions about the columns of some rows; a model with a method `questions` (rows → Told) reads them itself.

    rows: (N, C) codes, NaN where missing; about CHUNK_ROWS of them.
    """

    def __init__(self, model: Model, rows: np.ndarray) -> None:
        rows = rows.astype(np.float32) + np.float32(0)  # −0 and 0 are one value
        self.schema = model.schema
        self.asked = model.questions(rows) if hasattr(model, "questions") else WholePasses(model, rows)
        places = [np.unique(column, return_inverse=True)[1].ravel() for column in rows.T]
        self.place = np.stack(places, 1).astype(np.int64) + 1  # of each cell among the column's values; 0: not observed
        self.order = np.argsort(-self.place.max(0, initial=0), kind="stable")
        self.column_of_token = np.array([t.columns[0] for t in self.schema.tokens])

    def told(self, index: np.ndarray, observed: np.ndarray, columns: Sequence[int]) -> list[np.ndarray]:
        """(n, W) float64 p(choice | observed cells) of each column in the rows `index` (n,); observed: (n, C) bool."""
        tokens = tuple(int(self.schema.token_of_column[c]) for c in columns)
        seen = observed[:, self.column_of_token]
        first, place = self._different(index, observed)
        if first is None:
            return self.asked.told(index, seen, tokens)
        return [p[place] for p in self.asked.told(index[first], seen[first], tokens)]

    def _different(self, index: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
        """((m,) places of questions that differ, None for all; (n,) which of them each question is)."""
        given = np.where(observed, self.place[index], 0)
        group, first = np.zeros(len(index), np.int64), np.zeros(min(1, len(index)), np.int64)
        for column in self.order:
            if given[:, column].any():
                keys = group * (len(self.place) + 1) + given[:, column]
                _, first, group = np.unique(keys, return_index=True, return_inverse=True)
                if len(first) > NEARLY * len(index):
                    return None, group
        return first, group


def chunk_rows(schema: Schema) -> int:
    """How many rows are read at a time: fewer of wide tables."""
    return int(np.clip(CHUNK_CELLS // len(schema.columns), 64, CHUNK_ROWS))


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
