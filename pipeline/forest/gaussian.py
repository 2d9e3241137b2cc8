"""One Gaussian over numbers and categories of a table, fitted by EM to whatever cells are known.

Its conditional means are linear guesses of any cell from any others. Trees read them as further inputs, or learn what
they leave: linear tables, where trees alone need many rows, become easy.

Shapes: N rows, D dimensions (a number is one, a category one a level), L tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from kernels.task_sampling.threads import in_parallel
from pipeline.rows.schema import Schema

MOST_LEVELS = 32  # of a category that takes part
MOST_DIMENSIONS = 160  # further tokens are left out: an inverse a row grows with the cube
ITERATIONS, SETTLED = 40, 2e-3  # of EM, at most; it ends when no covariance moves by more
PRIOR_ROWS = 2.0  # pseudo-rows whose dimensions do not depend on one another
FEWEST_ROWS = 2.0  # rows a dimension; with fewer there is no Gaussian
REACH = 6.0  # standard deviations beyond which a number counts as the nearest of them


@dataclass(frozen=True)
class Gaussian:
    """mean (D,), precision (D, D), both of standardised dimensions; start (L + 1,): token i has dimensions
    start[i] … start[i + 1], none where it takes no part."""

    mean: np.ndarray
    precision: np.ndarray
    start: np.ndarray

    def read(self, rows: np.ndarray, schema: Schema) -> np.ndarray:
        """(N, D) float64 dimensions of (N, C) rows; NaN where missing."""
        return dimensions(rows, schema, self.start)

    def means(self, values: np.ndarray, observed: np.ndarray, threads: int = 1) -> np.ndarray:
        """(N, D) conditional means of every dimension that is not observed, given those that are.

        values: (N, D); observed: (N, L) bool tokens.
        """
        known = observed[:, np.repeat(np.arange(len(self.start) - 1), np.diff(self.start))]
        out = np.where(known, values, 0.0)
        bits = np.ascontiguousarray(np.packbits(observed, axis=1))
        order = np.argsort(bits.view(np.dtype((np.void, bits.shape[1])))[:, 0], kind="stable")  # one factor a pattern

        def fill(a: int, b: int) -> None:
            conditional_means(self.mean, self.precision, known, order[a:b], out)

        in_parallel(fill, len(out), 8 * known.shape[1] ** 2, threads)
        return out


def participating(schema: Schema) -> np.ndarray:
    """(L + 1,) int64 first dimension of each token: numbers first come, then categories of few levels, up to the most; what
    says that a cell is missing takes no part."""
    wanted = np.zeros(schema.n_tokens, np.int64)
    left = MOST_DIMENSIONS
    for numbers in (True, False):
        for i, token in enumerate(schema.tokens):
            size = 1 if token.binned else token.width
            apt = token.width > 1 and not token.gap_of
            if apt and token.binned == numbers and size <= min(left, MOST_LEVELS):
                wanted[i] = size
                left -= size
    return np.concatenate([[0], np.cumsum(wanted)])


def dimensions(rows: np.ndarray, schema: Schema, start: np.ndarray) -> np.ndarray:
    """(N, D) float64: numbers standardised within REACH, a category 1 at its level and 0 elsewhere; NaN where missing."""
    out = np.empty((len(rows), int(start[-1])))
    for i, token in enumerate(schema.tokens):
        values, own = rows[:, token.columns[0]].astype(np.float64), slice(start[i], start[i + 1])
        if start[i] == start[i + 1]:
            continue
        if token.binned:
            out[:, own] = ((values - token.center) / token.scale).clip(-REACH, REACH)[:, None]
        else:
            out[:, own] = np.where(np.isnan(values)[:, None], np.nan, values[:, None] == np.arange(token.width))
    return out


def fit_gaussian(rows: np.ndarray, schema: Schema, most_rows: int = 4000) -> Gaussian | None:
    """The Gaussian of (N, C) rows; the first most_rows count. None where rows are too few for its dimensions."""
    start = participating(schema)
    values = dimensions(rows[:most_rows], schema, start)
    n, d = values.shape
    if d < 2 or n < FEWEST_ROWS * d:
        return None
    known = ~np.isnan(values)
    count = known.sum(0).clip(min=1)
    filled = np.where(known, values, 0.0)
    mean = filled.sum(0) / count
    spread = (np.where(known, filled - mean, 0.0) ** 2).sum(0) / count + 1e-6
    covariance = np.diag(spread)
    for _ in range(ITERATIONS):
        precision = np.linalg.inv(covariance)
        first, second = moments(mean, precision, known, filled)
        new = first / n
        about = second / n - np.outer(new, new)
        diagonal = np.diag(about).clip(min=1e-6)
        about = (n * about + PRIOR_ROWS * np.diag(diagonal)) / (n + PRIOR_ROWS) + 1e-6 * np.eye(d)
        moved = np.abs(about - covariance).max()
        mean, covariance = new, about
        if moved < SETTLED:
            break
    return Gaussian(mean, np.linalg.inv(covariance), start)


@njit(cache=True, nogil=True)
def factorise(precision, known, hidden, factor):
    """How many entries known (D,) leaves open; their places go to hidden (D,), the Cholesky factor of their Λ_MM to
    factor (D, D)."""
    m = 0
    for i in range(len(known)):
        if not known[i]:
            hidden[m] = i
            m += 1
    for a in range(m):
        for b in range(a + 1):
            total = precision[hidden[a], hidden[b]]
            for k in range(b):
                total -= factor[a, k] * factor[b, k]
            factor[a, b] = np.sqrt(max(total, 1e-12)) if a == b else total / factor[b, b]
    return m


@njit(cache=True, nogil=True)
def fill_hidden(mean, precision, known, m, hidden, factor, row):
    """Fills the m hidden entries of row (D,) with x_M = μ_M − Λ_MM⁻¹ Λ_MS (x_S − μ_S); from `factorise`: hidden, factor."""
    pull = np.zeros(m)
    for a in range(m):
        i = hidden[a]
        for k in range(len(mean)):
            if known[k]:
                pull[a] -= precision[i, k] * (row[k] - mean[k])
    for a in range(m):
        for k in range(a):
            pull[a] -= factor[a, k] * pull[k]
        pull[a] /= factor[a, a]
    for a in range(m - 1, -1, -1):
        for k in range(a + 1, m):
            pull[a] -= factor[k, a] * pull[k]
        pull[a] /= factor[a, a]
    for a in range(m):
        row[hidden[a]] = mean[hidden[a]] + pull[a]


@njit(cache=True, nogil=True)
def invert(m, factor, inverse):
    """Λ_MM⁻¹ in the first m rows and columns of inverse (D, D), column by column from its factor (D, D)."""
    for column in range(m):
        for a in range(column, m):
            total = 1.0 if a == column else 0.0
            for k in range(column, a):
                total -= factor[a, k] * inverse[k, column]
            inverse[a, column] = total / factor[a, a]
        for a in range(column):
            inverse[a, column] = 0.0
        for a in range(m - 1, -1, -1):
            total = inverse[a, column]
            for k in range(a + 1, m):
                total -= factor[k, a] * inverse[k, column]
            inverse[a, column] = total / factor[a, a]


@njit(cache=True, nogil=True)
def conditional_means(mean, precision, known, order, out):
    """Fills the entries of out (N, D) that known (N, D) leaves open with their conditional means, in the rows `order`
    (n,); neighbours of one pattern share the factor."""
    d = len(mean)
    hidden, factor, m = np.empty(d, np.int64), np.empty((d, d)), 0
    for i in range(len(order)):
        n = order[i]
        if i == 0 or (known[n] != known[order[i - 1]]).any():
            m = factorise(precision, known[n], hidden, factor)
        fill_hidden(mean, precision, known[n], m, hidden, factor, out[n])


@njit(cache=True)
def moments(mean, precision, known, values):
    """((D,) sum of E x, (D, D) sum of E x xᵀ) over the rows, given what is known of values (N, D)."""
    d = len(mean)
    first, second = np.zeros(d), np.zeros((d, d))
    inverse, factor, hidden, row, m = np.empty((d, d)), np.empty((d, d)), np.empty(d, np.int64), np.empty(d), 0
    for n in range(len(values)):
        row[:] = values[n]
        if n == 0 or (known[n] != known[n - 1]).any():
            m = factorise(precision, known[n], hidden, factor)
            invert(m, factor, inverse)
        fill_hidden(mean, precision, known[n], m, hidden, factor, row)
        for i in range(d):
            first[i] += row[i]
            for k in range(d):
                second[i, k] += row[i] * row[k]
        for a in range(m):
            for b in range(m):
                second[hidden[a], hidden[b]] += inverse[a, b]
    return first, second
