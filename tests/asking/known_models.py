"""Models set by hand whose every conditional is known, in place of a fitted one."""

from __future__ import annotations

import numpy as np
import pandas as pd

from pipeline.base.data_groups import TableParams
from pipeline.rows.bins import bin_of
from pipeline.rows.schema import Schema
from pipeline.tables.codec import TableCodec, fit_codec


class JointTable:
    """p over the choices of a few columns as one array; every conditional by summing it. Counts the rows it is asked."""

    def __init__(self, schema: Schema, joint: np.ndarray) -> None:
        self.schema, self.joint = schema, joint / joint.sum()
        self.rows_asked = 0

    def probabilities(self, rows: np.ndarray, observed: np.ndarray | None = None) -> np.ndarray:
        observed = ~np.isnan(rows) if observed is None else observed
        self.rows_asked += len(rows)
        out = np.zeros((len(rows), self.schema.n_features))
        choices = self.choices(np.where(observed, rows, np.nan))
        for n, row in enumerate(choices):
            index = tuple(slice(None) if c < 0 else slice(c, c + 1) for c in row)
            left = self.joint[index]
            for column, choice in enumerate(row):
                if choice < 0:
                    axes = tuple(a for a in range(left.ndim) if a != column)
                    p = left.sum(axes)
                    part = slice(self.schema.offsets[column], self.schema.offsets[column + 1])
                    out[n, part] = p / p.sum() if p.sum() > 0 else 1 / len(p)
        return out

    def choices(self, rows: np.ndarray) -> np.ndarray:
        """(N, C) int64 category or bin of each cell, −1 where missing."""
        out = np.full(rows.shape, -1)
        for i, token in enumerate(self.schema.tokens):
            known = ~np.isnan(rows[:, i])
            codes = rows[known, i].astype(np.float64)
            out[known, i] = bin_of(codes, np.asarray(token.edges)) if token.binned else codes.astype(int)
        return out


def four_columns() -> tuple[JointTable, TableCodec, pd.DataFrame]:
    """A discrete joint of four dependent columns: words, whole numbers, words, booleans; its codec; a table of it."""
    rng = np.random.default_rng(7)
    frame = pd.DataFrame({
        "state": np.tile(["CA", "NY", "New York", "Texas-West"], 30),
        "age": np.tile([20, 30, 40, 50, 60], 24),
        "job": np.tile(["a", "b", "c"], 40),
        "smoker": np.tile([True, False], 60),
    })  # fmt: skip
    codec = fit_codec(frame, TableParams())
    widths = [t.width for t in codec.schema.tokens]
    joint = np.zeros(widths)
    whole = np.ix_(np.arange(4), np.arange(0, widths[1], 2), np.arange(3), np.arange(2))  # atoms; the gaps stay empty
    joint[whole] = rng.dirichlet(np.full(4 * 5 * 3 * 2, 0.5)).reshape(4, 5, 3, 2)
    return JointTable(codec.schema, joint), codec, frame


def gaussian(
    correlations: np.ndarray, bins: int = 24, names: tuple[str, ...] = ("x", "y", "z")
) -> tuple[JointTable, TableCodec]:
    """Standard normals with the correlations (C, C) on bins from −3 to 3, each bin with its probability at the middle."""
    rng = np.random.default_rng(0)
    names = names[: len(correlations)]
    frame = pd.DataFrame(rng.multivariate_normal(np.zeros(len(names)), correlations, 5000).clip(-3, 3), columns=names)
    codec = fit_codec(frame, TableParams(bins=bins))
    edges = np.linspace(-3, 3, bins + 1)
    tokens = tuple(
        type(t)(t.name, t.modality, t.group, t.columns, bins, t.position, 0.0, 1.0, tuple(edges.tolist()))
        for t in codec.schema.tokens
    )
    schema = Schema(tokens, codec.schema.columns, table=codec.schema.table)
    middle = (edges[:-1] + edges[1:]) / 2
    grid = np.stack(np.meshgrid(*[middle] * len(names), indexing="ij"), -1)
    inverse = np.linalg.inv(correlations)
    joint = np.exp(-0.5 * np.einsum("...i,ij,...j->...", grid, inverse, grid))
    return JointTable(schema, joint), TableCodec(schema)
