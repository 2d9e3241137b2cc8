"""How likely a row is, or a part of it given another part: log-densities by the chain rule.

    log_density(model, rows, of, given, orders=8, seed=0)           # (N,) nats a row

In an order of the columns, log p(x) is the sum of log p(x_j | those before it), each exact. The result is the logarithm
of the mean density over random orders, the same ones for every row: a mixture of densities is a density, whereas a mean
of logarithms is only a bound of one (Uria et al. 2014, orderless NADE). An order is cut into blocks of neighbours, and each
block is taken in all its orders: the mean density p̄ of a part A of a block, S being known, is the mean over its last column
j of p̄(A − j) p(j | S, A − j). One pass at S and A serves every column that comes next, so a block of b columns costs
2^b − 1 passes and stands for b! orders.

A number counts with the density of its bin in the units of the data, so the sum changes with those units; a category,
and a value that the column holds as an atom (a bin of width 0), count with their probability; on a grid (whole numbers,
decimals) an atom is spread over one step. Missing cells are left out: they are marginalised, not filled.

Shapes: N rows, C columns.
"""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np

from pipeline.asking.passes import (
    BEYOND,
    UNSEEN,
    Model,
    Questions,
    beyond,
    choices_of,
    chunk_rows,
)

LARGEST_BLOCK = 2  # with more, passes are better spent on further orders (docs/decisions/tables.md)


def log_density(
    model: Model,
    rows: np.ndarray,
    of: np.ndarray,
    given: np.ndarray,
    orders: int = 8,
    seed: int = 0,
    strange: np.ndarray | None = None,
    scale: np.ndarray | None = None,
    step: np.ndarray | None = None,
) -> np.ndarray:
    """(N,) float64 log p(known cells of the columns `of` | known cells of the columns `given`), nats in data units.

    rows: (N, C) codes, NaN where missing. of, given: (C,) bool, apart. orders: random orders that are averaged over, at
    least; 1: a single one.
    strange: (N, C) bool cells whose word the model has never met: they count with probability 1e-6. So does a value
    between known atoms; a number beyond the outermost bin shares 1 % of that bin's mass, falling off as a Cauchy
    density. scale: (C,) of a code in the units of the data; None: 1. step: (C,) in codes, of columns whose values lie on a
    grid, 0 for others: there an atom counts as spread over one step and no bin as narrower, so that atoms and bins of
    one column compare; None: no grids. A row without any known cell of `of` has log-density 0.
    """
    rng = np.random.default_rng([seed, 0xDE45])
    columns = np.flatnonzero(of)
    size, count = blocks_and_chains(orders)
    chains = [rng.permutation(columns) for _ in range(count if len(columns) > size else 1)]
    out = np.empty(len(rows))
    for start in range(0, len(rows), chunk_rows(model.schema)):
        part = slice(start, start + chunk_rows(model.schema))
        asked = Questions(model, rows[part])
        logs = np.stack([_along(model, asked, rows[part], chain, given, size) for chain in chains])
        out[part] = np.logaddexp.reduce(logs, axis=0) - np.log(len(chains))
    for column in columns:
        out -= _widening(model, column, rows[:, column], scale, step)
    if strange is not None:
        out += np.log(UNSEEN) * (strange & of).sum(1)
    return out


def log_of_cells(model: Model, column: int, probabilities: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(N,) log-density, nats in data units, of known codes (N,) of a column with (N, W) probabilities of its choices."""
    token = model.schema.tokens[model.schema.token_of_column[column]]
    choice, far = choices_of(model.schema, column, codes), beyond(model.schema, column, codes)
    p = np.maximum(np.take_along_axis(probabilities, choice[:, None], 1)[:, 0], UNSEEN)
    if not token.binned:
        return np.log(p)
    width = np.diff(token.edges)[choice]
    inside = np.log(p) - np.log(np.where(width > 0, width, 1.0))
    outside = np.log(p * BEYOND * 2 / (np.pi * token.scale)) - np.log1p(far**2)
    return np.where(far > 0, outside, inside)


def _widening(
    model: Model, column: int, codes: np.ndarray, scale: np.ndarray | None, step: np.ndarray | None
) -> np.ndarray:
    """(N,) log of what each known cell's bin is wider by in the units of the data, grids counted; 0 for categories."""
    token = model.schema.tokens[model.schema.token_of_column[column]]
    if not token.binned:
        return np.zeros(len(codes))
    known = ~np.isnan(codes)
    filled = np.where(known, codes, token.edges[0])
    inside = beyond(model.schema, column, filled) == 0
    width = np.diff(token.edges)[choices_of(model.schema, column, filled)]
    grid = 0.0 if step is None else step[column]
    out = np.where(inside & (width < grid), np.log(max(grid, 1e-300)) - np.log(np.where(width > 0, width, 1.0)), 0.0)
    unit = 0.0 if scale is None else np.log(scale[column])
    return known * (out + unit * (~inside | (width > 0) | (grid > 0)))


def blocks_and_chains(orders: int) -> tuple[int, int]:
    """(columns of a block, random orders of all columns that are cut into blocks) that stand for at least `orders` orders."""
    size = next(b for b in range(1, LARGEST_BLOCK + 1) if factorial(b) >= orders or b == LARGEST_BLOCK)
    return size, -(-orders // factorial(size))


def _along(
    model: Model, asked: Questions, rows: np.ndarray, chain: np.ndarray, given: np.ndarray, size: int
) -> np.ndarray:
    """(n,) log-density of rows (n, C) in one order, in blocks of `size` columns, each in all its orders."""
    known, every = ~np.isnan(rows), np.arange(len(rows))
    observed, out = known & given, np.zeros(len(rows))
    for start in range(0, len(chain), size):
        block = chain[start : start + size].tolist()
        parts = {(): np.zeros(len(rows))}  # part of the block → its log mean density
        for length in range(len(block)):
            terms: dict[tuple[int, ...], list[np.ndarray]] = {}
            for part in combinations(block, length):
                then = observed.copy()
                then[:, part] = known[:, part]
                rest = [c for c in block if c not in part]
                for column, log in zip(rest, _logs(model, asked, rows, every, then, np.array(rest)).T, strict=True):
                    grown = tuple(c for c in block if c in part or c == column)
                    terms.setdefault(grown, []).append(parts[part] + log)
            parts = {part: np.logaddexp.reduce(logs, axis=0) - np.log(len(logs)) for part, logs in terms.items()}
        out += parts[tuple(block)]
        observed[:, block] = known[:, block]
    return out


def _logs(
    model: Model, asked: Questions, rows: np.ndarray, index: np.ndarray, observed: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """(n, k) log-density of the cells of `columns` (k,) in the rows `index` (n,), each given `observed` (n, C), from one
    pass; 0 where missing."""
    known = ~np.isnan(rows[index][:, columns])
    out, some = np.zeros(known.shape), np.flatnonzero(known.any(1))
    if not len(some):
        return out
    for place, (column, p) in enumerate(zip(columns, asked.told(index[some], observed[some], columns), strict=True)):
        own = known[some, place]
        out[some[own], place] = log_of_cells(model, column, p[own], rows[index[some[own]], column])
    return out
