"""Tokens that say whether a cell is missing, and the tasks that teach them.

A gap token of a column is a category of its own: 0 known, 1 missing. It is known in every training row. Two things would
mislead: in training the cell of a target is always known, so its own gap token would always say "known"; and a cell is
never shown where it is missing, so that it is not shown would say "missing". So in every task, of a column x and its gap
token m:

    x target          m hidden
    x source          m source or hidden
    m target          x hidden, known or not
    x cannot be shown m source, saying "missing", where the task asks for x or shows it

What is not shown then says nothing that is not said by another token.

Shapes: N rows, L tokens.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from kernels.task_sampling import HIDDEN, SOURCE, TARGET, Tasks, apply_missing
from pipeline.rows.schema import Schema
from pipeline.rows.tokens import Token


def with_missing(
    tasks: Tasks, missing: np.ndarray, schema: Schema, *, seed: int = 0, numbers: np.ndarray | None = None
) -> Tasks:
    """`apply_missing`, with the roles of gap tokens and their columns as the head of this file says. missing: (N, L) bool."""
    pairs = pairs_of(schema)
    if not pairs:
        return apply_missing(tasks, missing, seed=seed, numbers=numbers)
    role, asked = tasks.role.copy(), np.zeros(tasks.role.shape, bool)
    for cell, gap in pairs:
        x, m, lost = tasks.role[:, cell], tasks.role[:, gap], missing[:, cell]
        asked[:, gap] = (m == TARGET) & (x != SOURCE)
        role[asked[:, gap], cell] = HIDDEN
        other = ~asked[:, gap]
        role[other & ~lost & ((x == TARGET) | (m == TARGET)), gap] = HIDDEN
        role[other & lost & (x != HIDDEN), gap] = SOURCE
    role = apply_missing(replace(tasks, role=role), missing, seed=seed, numbers=numbers).role.copy()
    for cell, gap in pairs:  # rows whose targets were all missing have got new ones
        role[(role[:, gap] == TARGET) & ~asked[:, gap], gap] = SOURCE
        role[(role[:, cell] == TARGET), gap] = HIDDEN
    return replace(tasks, role=role)


def shown(role: np.ndarray, schema: Schema) -> np.ndarray:
    """(N, L) bool tokens that a model may read which is asked for one target at a time and hides its own gap token: the
    sources, and "known" of every target."""
    out = role == SOURCE
    for cell, gap in pairs_of(schema):
        out[:, gap] |= role[:, cell] == TARGET
    return out


def pairs_of(schema: Schema) -> list[tuple[int, int]]:
    """(token of a column, its gap token), of every column that has one."""
    return [(int(i), int(gap)) for i, gap in enumerate(schema.gap_tokens) if gap >= 0]


def with_gap_tokens(schema: Schema, missing: np.ndarray) -> Schema:
    """`schema` with a gap token behind all others for every token that some rows miss and some have; missing: (N, L)."""
    tokens, columns = list(schema.tokens), list(schema.columns)
    for i in np.flatnonzero(missing.any(0) & ~missing.all(0)):
        name, share = schema.tokens[i].name, float(missing[:, i].mean())
        own = f"{name} is missing"
        while own in columns:
            own += "_"
        place = (0, len(columns))
        mass = (1.0 - share, share)
        tokens.append(Token(own, "categorical", own, (len(columns),), 2, place, mass=mass, gap_of=name))
        columns.append(own)
    return replace(schema, tokens=tuple(tokens), columns=tuple(columns))


def gaps_of(rows: np.ndarray, schema: Schema) -> np.ndarray:
    """(N, C + G) float32: the rows (N, C) of a table, then for each gap token of `schema` 1 where its cell is missing."""
    lost = np.isnan(rows[:, [schema.tokens[cell].columns[0] for cell, _ in pairs_of(schema)]])
    return np.concatenate([rows, lost], 1).astype(np.float32)


def without_gap_tokens(schema: Schema) -> Schema:
    """`schema` without its gap tokens, which stand behind all others."""
    tokens = tuple(t for t in schema.tokens if not t.gap_of)
    return replace(schema, tokens=tokens, columns=schema.columns[: len(tokens)])
