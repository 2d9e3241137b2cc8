"""New rows with gaps as the table has them, under conditions and rules too. See pipeline.estimators.gap_mixture.

Shapes: N rows, C columns.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.asking.constrained import LEAST_MASS, Drawn, constrained_rows, filled_rows
from pipeline.asking.drawing import Drawer, Sheet
from pipeline.estimators.gap_mixture import GapSampler

if TYPE_CHECKING:
    import pandas as pd

AS_IN_THE_DATA = "as in the data"


class GapsMixin:
    """Needs the imputer's sampler_, gaps, and what RuledMixin has."""

    def _leaves_gaps(self, missing: str) -> bool:
        """Whether `generate` is to leave gaps. Raises ValueError for another word, and where the model has none."""
        word = str(missing).replace("-", " ")
        if word not in ("none", AS_IN_THE_DATA):
            raise ValueError(f"'missing' must be 'none' or {AS_IN_THE_DATA!r}. Got {missing!r}.")
        if word == "none":
            return False
        if not self.gaps:
            raise ValueError(
                f"missing={AS_IN_THE_DATA!r} must have a model that knows which cells are missing. Got one fitted with "
                f"gaps=False; fit BigLearnImputer(gaps=True), or `biglearn fit … --set gaps=true`."
            )
        return isinstance(self.sampler_, GapSampler)  # else no column has a gap in some rows

    def _generate_with_gaps(self, n: int, seed: int, where: Any, rules: Any, candidates: int) -> pd.DataFrame:
        drawer = self._drawer(where, rules)
        with self._threads():
            drawn = self._constrained(drawer, n, np.random.default_rng(seed), candidates)
            start, gaps = drawn.sheet, gaps_in(drawer, self.sampler_)
            gaps |= {drawer.units[name].column: False for name, allowed in drawer.where.items() if not allowed.missing}
            rows = self.sampler_.sample_with_gaps(n, seed, start.rows, gaps)
            for column in [c for c, lost in gaps.items() if lost]:
                rows[:, column] = np.nan
            sheet = Sheet(rows, np.where(np.isnan(start.values), drawer.units.values(rows), start.values), np.zeros(n))
            if drawer.rules is not None:
                sheet = kept(drawer, start, sheet, np.random.default_rng([seed, 0x6A]))
        return self._new_frame(drawer, replace(drawn, sheet=sheet), seed, told=bool(where))

    def _constrained(self, drawer: Drawer, n: int, rng: np.random.Generator, candidates: int) -> Drawn:
        """Rows in which the cells under conditions are drawn, and the mass of all conditions, those on gaps among them."""
        mass = gap_mass(drawer, self.sampler_)
        drawn = constrained_rows(drawer, n, rng, candidates)
        return replace(drawn, mass=drawn.mass * mass)


def gaps_in(drawer: Drawer, sampler: Any) -> dict[int, bool]:
    """Column → True, of the columns that the conditions want missing and that have a gap token."""
    if not isinstance(sampler, GapSampler):
        return {}
    having = {cell for cell, _ in sampler.pairs}
    wanted = (drawer.units[name].column for name, allowed in drawer.where.items() if allowed.missing)
    return {column: True for column in wanted if column in having}


def gap_mass(drawer: Drawer, sampler: Any) -> float:
    """The probability of the gaps that the conditions want; 1 where none is modelled. Raises ValueError where it is
    almost 0."""
    gaps = gaps_in(drawer, sampler)
    mass = sampler.gap_mass(gaps) if gaps else 1.0
    if mass < LEAST_MASS:
        raise ValueError(f"The conditions must hold for at least {LEAST_MASS:g} of the rows. Got a mass of {mass:.3g}.")
    return mass


def kept(drawer: Drawer, start: Sheet, sheet: Sheet, rng: np.random.Generator) -> Sheet:
    """`sheet` with the rows that break a rule drawn again under the rules, their gaps and the cells of `start` kept.

    Raises ValueError naming the rules where a row cannot keep them."""
    bad = np.flatnonzero(drawer.rules.breaks(sheet.values, sheet.rows))
    if not len(bad):
        return sheet
    targets = ~np.isnan(sheet.rows[bad]) & np.isnan(start.rows[bad])
    again = filled_rows(replace(drawer, where={}), start.take(bad), rng, targets=targets).sheet
    sheet.rows[bad], sheet.values[bad] = again.rows, again.values
    left = drawer.rules.breaks(sheet.values[bad], sheet.rows[bad]).sum()
    if left:
        names = list(drawer.rules.texts)
        raise ValueError(f"Every new row must keep the rules. {left} of {len(sheet.rows)} could not keep {names[:5]}.")
    return sheet
