"""What a condition leaves of one column: categories, or closed intervals of numbers; and the way to combine them.

Bounds are codes as they are written: on the grid of the column, else float32 numbers, so that `< 5` ends at the number
just below 5 and every set is closed.

Shapes: W choices of a column, M intervals.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.asking.units import Unit

INFINITE = np.array([[-np.inf, np.inf]])


@dataclass(frozen=True)
class Allowed:
    """unit: of the column. words: (W,) bool of a category. intervals: (M, 2) of a number, rising and apart.
    missing: whether the cell must be left empty; then neither of the others says anything."""

    unit: Unit
    words: np.ndarray | None = None
    intervals: np.ndarray | None = None
    missing: bool = False

    def __and__(self, other: Allowed) -> Allowed:
        if self.missing or other.missing:
            return self if self.missing and other.missing else _nothing(self.unit)
        if self.words is not None:
            return Allowed(self.unit, words=self.words & other.words)
        pairs = [(max(a, c), min(b, d)) for a, b in self.intervals for c, d in other.intervals]
        return Allowed(self.unit, intervals=_joined(np.array([p for p in pairs if p[0] <= p[1]]).reshape(-1, 2)))

    def __or__(self, other: Allowed) -> Allowed:
        return ~(~self & ~other)

    def __invert__(self) -> Allowed:
        if self.words is not None:
            return Allowed(self.unit, words=~self.words)
        out, start = [], -np.inf
        for low, high in self.intervals:
            if low > start:
                out.append((start, next_to(self.unit, low, up=False)))
            start = next_to(self.unit, high, up=True)
        if start < np.inf:
            out.append((start, np.inf))
        return Allowed(self.unit, intervals=np.array(out).reshape(-1, 2))

    @property
    def empty(self) -> bool:
        """Whether no value at all is left."""
        if self.missing:
            return False
        return not (self.words.any() if self.words is not None else len(self.intervals))

    def holds(self, codes: np.ndarray) -> np.ndarray:
        """(N,) bool: whether known codes (N,) are in the set; False where NaN, unless the cell must be missing."""
        if self.missing:
            return np.isnan(codes)
        known = ~np.isnan(codes)
        if self.words is not None:
            return known & self.words[np.where(known, codes, 0).astype(np.int64)]
        written = self.unit.written(np.asarray(codes, np.float64))
        slack = 1e-3 * self.unit.code_step
        inside = (written[:, None] >= self.intervals[:, 0] - slack) & (written[:, None] <= self.intervals[:, 1] + slack)
        return known & inside.any(1)


def everything(unit: Unit) -> Allowed:
    """Every value of a column."""
    if unit.words is not None:
        return Allowed(unit, words=np.ones(unit.token.width, bool))
    return Allowed(unit, intervals=INFINITE)


def words_of(unit: Unit, places: list[int]) -> Allowed:
    """The categories at `places`."""
    return Allowed(unit, words=np.isin(np.arange(unit.token.width), places))


def interval(unit: Unit, low: float, high: float) -> Allowed:
    """The numbers of a column from `low` to `high`, codes, both included; ±infinity for no bound."""
    low, high = bounds_on_grid(unit, np.array([low]), np.array([high]))
    return Allowed(unit, intervals=np.array([[low[0], high[0]]]) if low[0] <= high[0] else np.empty((0, 2)))


def bounds_on_grid(unit: Unit, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds (n,) moved inwards to values that the column can hold: of its grid, or float32."""
    if unit.step:
        step, offset = unit.code_step, unit.offset
        low, high = np.ceil((low - offset) / step - 1e-6), np.floor((high - offset) / step + 1e-6)
        return low * step + offset, high * step + offset
    below, above = low.astype(np.float32), high.astype(np.float32)
    low = np.where(below < low, np.nextafter(below, np.float32(np.inf)), below).astype(np.float64)
    return low, np.where(above > high, np.nextafter(above, np.float32(-np.inf)), above).astype(np.float64)


def next_to(unit: Unit, bound: float, *, up: bool) -> float:
    """The value that the column can hold next to `bound`, a value that it can hold."""
    if np.isinf(bound):
        return bound
    if unit.step:
        return bound + (unit.code_step if up else -unit.code_step)
    return float(np.nextafter(np.float32(bound), np.float32(np.inf if up else -np.inf)))


def _nothing(unit: Unit) -> Allowed:
    return ~everything(unit)


def _joined(intervals: np.ndarray) -> np.ndarray:
    """Intervals (M, 2) in rising order, those that overlap joined."""
    out: list[list[float]] = []
    for low, high in intervals[np.argsort(intervals[:, 0])] if len(intervals) else []:
        if out and low <= out[-1][1]:
            out[-1][1] = max(out[-1][1], high)
        else:
            out.append([low, high])
    return np.array(out).reshape(-1, 2)
