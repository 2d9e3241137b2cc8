"""Drawing the unknown cells of rows one after the other, each from its distribution cut to what is allowed there.

Only p(choice | observed cells) of a model is used. Columns named first come first, in that order, in every row; the
others follow in a random order of each row. What is allowed of a column: a condition, and the bounds and
combinations that the rules leave given the cells known or drawn before it.

Shapes: N rows, C columns, W choices of a column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.asking.allowed import Allowed
from pipeline.asking.cut import Cut, cut
from pipeline.asking.passes import CHUNK_ROWS, Model, Questions
from pipeline.asking.rules import Rules, known_choices
from pipeline.asking.units import Units


@dataclass
class Sheet:
    """Rows on their way to being complete: rows (N, C) float32 codes, values (N, C) float64 in the columns' units; NaN where
    unknown. log_weight (N,): sum of the log masses of the cuts so far."""

    rows: np.ndarray
    values: np.ndarray
    log_weight: np.ndarray

    @staticmethod
    def blank(n: int, columns: int) -> Sheet:
        return Sheet(np.full((n, columns), np.nan, np.float32), np.full((n, columns), np.nan), np.zeros(n))

    def take(self, places: np.ndarray) -> Sheet:
        """A copy of the rows at `places`."""
        return Sheet(self.rows[places].copy(), self.values[places].copy(), self.log_weight[places].copy())


@dataclass(frozen=True)
class Drawer:
    """model, units: whose cells are drawn. where: column → what is allowed of it. rules: kept in every row.
    best: take the mean or most probable value of what is left instead of a draw."""

    model: Model
    units: Units
    where: dict[str, Allowed] = field(default_factory=dict)
    rules: Rules | None = None
    best: bool = False

    def fill(self, sheet: Sheet, targets: np.ndarray, rng: np.random.Generator, first: Sequence[int] = ()) -> None:
        """Draws the cells `targets` (N, C) into `sheet`, in place, and adds the log mass of each cut of a condition.

        first: places of columns that are drawn before all others. Where a cut leaves nothing, the whole distribution
        is drawn from, and the weight of the row is 0.
        """
        for start in range(0, len(targets), CHUNK_ROWS):
            part = slice(start, start + CHUNK_ROWS)
            chunk = Sheet(sheet.rows[part], sheet.values[part], sheet.log_weight[part])  # views: drawn in place
            self._fill_chunk(chunk, targets[part].copy(), rng, first)

    def _fill_chunk(self, sheet: Sheet, left: np.ndarray, rng: np.random.Generator, first: Sequence[int]) -> None:
        key = rng.random(left.shape)
        for place, column in enumerate(first):
            key[:, column] = place - len(first)
        while left.any():
            todo = np.flatnonzero(left.any(1))
            column = np.where(left[todo], key[todo], np.inf).argmin(1)
            asked, observed = Questions(self.model, sheet.rows[todo]), ~np.isnan(sheet.rows[todo])
            for c in np.unique(column):
                own = np.flatnonzero(column == c)
                p = asked.told(own, observed[own], [int(c)])[0]
                self._fill_cells(sheet, todo[own], int(c), p, rng)
            left[todo, column] = False

    def _fill_cells(self, sheet: Sheet, rows: np.ndarray, column: int, p: np.ndarray, rng: np.random.Generator) -> None:
        """The cells of one column in some rows, from p (n, W)."""
        unit = self.units.columns[column]
        settled = self._settled(sheet.values[rows], column)
        left = self._cut(sheet, rows, column, p)
        codes = left.best() if self.best else left.draw(rng)
        if unit.name in self.where:
            with np.errstate(divide="ignore"):
                sheet.log_weight[rows] += np.log(self._mass(sheet, rows, column, p, left, settled))
        nothing = np.isnan(codes)
        if nothing.any():
            whole = cut(unit, p[nothing])
            codes[nothing] = whole.best() if self.best else whole.draw(rng)
        values = np.where(np.isnan(settled), unit.value(codes), settled)
        sheet.values[rows, column] = values
        sheet.rows[rows, column] = np.where(np.isnan(settled), codes, unit.code(settled))

    def _mass(
        self, sheet: Sheet, rows: np.ndarray, column: int, p: np.ndarray, left: Cut, settled: np.ndarray
    ) -> np.ndarray:
        """(n,) mass of the condition on a column among the values that the rules leave; a settled value meets it or not."""
        if self.rules is None or not self.rules.columns[column]:
            return left.mass
        unit, kept = self.units.columns[column], self._cut(sheet, rows, column, p, conditions=False).mass
        share = np.divide(left.mass, kept, out=np.zeros_like(kept), where=kept > 0)
        return np.where(np.isnan(settled), share, self.where[unit.name].holds(unit.code(settled)))

    def _settled(self, values: np.ndarray, column: int) -> np.ndarray:
        """(n,) values that an equality leaves, NaN where none does or none that the column can hold."""
        out = np.full(len(values), np.nan)
        for rule in self.rules.linear if self.rules is not None else ():
            if column in rule.columns:
                found = rule.settles(column, values)
                out = np.where(np.isnan(out), found, out)
        return out

    def _cut(self, sheet: Sheet, rows: np.ndarray, column: int, p: np.ndarray, *, conditions: bool = True) -> Cut:
        unit = self.units.columns[column]
        allowed, low, high, mask = self.where.get(unit.name) if conditions else None, None, None, None
        if self.rules is not None:
            if unit.name in self.rules.single:
                single = self.rules.single[unit.name][1]
                allowed = single if allowed is None else allowed & single
            low, high = self._bounds(sheet.values[rows], column)
            choices = None
            for rule in self.rules.seen:
                if column in rule.columns:
                    choices = known_choices(self.units, sheet.rows[rows]) if choices is None else choices
                    found = rule.mask(column, choices, unit.token.width)
                    mask = found if mask is None else mask & found
        return cut(unit, p, allowed, low, high, mask)

    def _bounds(self, values: np.ndarray, column: int) -> tuple[np.ndarray | None, np.ndarray | None]:
        """Bounds (n,) in codes that the linear rules put on a column; None where none does."""
        own = [rule for rule in self.rules.linear if column in rule.columns]
        if not own:
            return None, None
        low, high = self._ranges()
        ends = [rule.bounds(column, values, low, high) for rule in own]
        unit = self.units.columns[column]
        return unit.code(np.max([e[0] for e in ends], 0)), unit.code(np.min([e[1] for e in ends], 0))

    def _ranges(self) -> tuple[np.ndarray, np.ndarray]:
        """((C,) lowest, (C,) highest value that each column can be drawn at, in its unit; infinite for categories)."""
        low, high = np.full(len(self.units.columns), -np.inf), np.full(len(self.units.columns), np.inf)
        for unit in self.units.columns:
            if unit.words is None:
                ends = unit.edges[[0, -1]]
                allowed = self.where.get(unit.name)
                if allowed is not None and not allowed.missing and len(allowed.intervals):
                    ends = np.clip(ends, allowed.intervals[0, 0], allowed.intervals[-1, 1])
                low[unit.column], high[unit.column] = unit.value(ends)
        return low, high
