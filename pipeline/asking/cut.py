"""A column's distribution cut to what is allowed in each row: the mass that is left, a draw, a best value.

A bin that a bound cuts counts by the share inside. On a grid, a written value owns half a step on either side.

Shapes: n rows, W choices of a column, M intervals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.asking.allowed import Allowed, bounds_on_grid, everything
from pipeline.asking.units import Unit

HALF_STEP = 0.499


@dataclass(frozen=True)
class Cut:
    """p (n, W): what is left of each choice, not normalised. low, high (n, M): ends of the allowed intervals in codes;
    None for a category. mass (n,): of all that is left, of 1."""

    unit: Unit
    p: np.ndarray
    low: np.ndarray | None
    high: np.ndarray | None

    @property
    def mass(self) -> np.ndarray:
        return self.p.sum(1)

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """(n,) codes as written, each drawn from what is left of its row; NaN where nothing is."""
        n, rest = len(self.p), self.mass > 0
        upto = np.cumsum(self.p, 1)
        aim = rng.random(n) * upto[:, -1]
        choice = np.minimum((upto <= aim[:, None]).sum(1), self.p.shape[1] - 1)
        if self.unit.words is not None:
            return np.where(rest, choice, np.nan)
        left, right = self._pieces(choice)
        size = np.maximum(right - left, 0.0)
        size = np.where((size.sum(1) == 0)[:, None], right >= left, size)
        upto = np.cumsum(size, 1)
        aim = rng.random(n) * upto[:, -1]
        piece = np.minimum((upto <= aim[:, None]).sum(1), left.shape[1] - 1)[:, None]
        low, high = np.take_along_axis(left, piece, 1)[:, 0], np.take_along_axis(right, piece, 1)[:, 0]
        with np.errstate(invalid="ignore"):  # rows of which nothing is left
            return np.where(rest, self._inside(low + rng.random(n) * (high - low)), np.nan)

    def best(self) -> np.ndarray:
        """(n,) codes as written: the mean of what is left of a number, the most probable category; NaN where nothing is."""
        rest = self.mass > 0
        if self.unit.words is not None:
            return np.where(rest, self.p.argmax(1), np.nan)
        parts = [_overlap(self.unit.edges, self.low[:, [m]], self.high[:, [m]]) for m in range(self.low.shape[1])]
        whole = np.maximum(sum(share for share, _ in parts), np.finfo(float).tiny)
        middle = sum(share * place for share, place in parts) / whole
        mean = np.divide((self.p * middle).sum(1), self.mass, out=np.full(len(rest), np.nan), where=rest)
        return np.where(rest, self._inside(mean), np.nan)

    def _pieces(self, choice: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(n, M) ends of the parts of one bin a row that are allowed; left > right where there is none."""
        edges = self.unit.edges
        return np.maximum(self.low, edges[choice, None]), np.minimum(self.high, edges[choice + 1, None])

    def _inside(self, codes: np.ndarray) -> np.ndarray:
        """Codes as written, float32; one that rounding moved out of its interval is moved back to the end of it."""
        written = self.unit.written(codes)
        if self.unit.step:
            return written
        written = written.astype(np.float32).astype(np.float64)
        out = np.maximum(self.low - written[:, None], written[:, None] - self.high)
        near = out.argmin(1)[:, None]
        low, high = np.take_along_axis(self.low, near, 1)[:, 0], np.take_along_axis(self.high, near, 1)[:, 0]
        return np.clip(written, low, high)


def cut(
    unit: Unit,
    p: np.ndarray,
    allowed: Allowed | None = None,
    low: np.ndarray | None = None,
    high: np.ndarray | None = None,
    mask: np.ndarray | None = None,
) -> Cut:
    """The distribution p (n, W) of a column cut to `allowed`, to [low, high] (n,) in codes, and to choices `mask` (n, W)."""
    allowed = everything(unit) if allowed is None else allowed
    p = p / np.maximum(p.sum(1, keepdims=True), np.finfo(float).tiny)
    if mask is not None:
        p = p * mask
    if unit.words is not None:
        return Cut(unit, p * allowed.words, None, None)
    n, static = len(p), allowed.intervals if len(allowed.intervals) else np.array([[np.inf, -np.inf]])
    low = np.full(n, -np.inf) if low is None else low
    high = np.full(n, np.inf) if high is None else high
    low, high = bounds_on_grid(unit, low, high)
    slack = HALF_STEP * unit.code_step
    lows, highs = np.maximum(static[:, 0], low[:, None]), np.minimum(static[:, 1], high[:, None])
    some = lows <= highs
    lows, highs = np.where(some, lows - slack, np.inf), np.where(some, highs + slack, -np.inf)
    share = sum(_overlap(unit.edges, lows[:, [m]], highs[:, [m]])[0] for m in range(len(static)))
    return Cut(unit, p * np.minimum(share, 1.0), lows, highs)


def _overlap(edges: np.ndarray, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((n, W) share of each bin inside [low, high] (n, 1), (n, W) middle of that part)."""
    left, right = np.maximum(edges[:-1], low), np.minimum(edges[1:], high)
    width, some = np.diff(edges), right >= left
    with np.errstate(invalid="ignore", over="ignore"):  # bounds at infinity
        share = np.where(width > 0, (right - left) / np.where(width > 0, width, 1.0), 1.0)
        middle = (left + right) / 2
    return np.where(some, share, 0.0), np.where(some, middle, 0.0)
