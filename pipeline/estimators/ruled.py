"""What BigLearnImputer draws under conditions and rules: new rows, filled rows; rules learnt at fit.

Shapes: N rows, C columns, K draws.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils.validation import check_is_fitted

from pipeline.asking.conditions import parse_conditions
from pipeline.asking.constrained import CANDIDATES, Drawn, filled_rows, new_rows
from pipeline.asking.drawing import Drawer, Sheet
from pipeline.asking.finding import proposals
from pipeline.asking.rules import Rules
from pipeline.asking.units import Units
from pipeline.estimators.frames import Given, names_of, new
from pipeline.estimators.gapped import GapsMixin, gap_mass, gaps_in
from pipeline.tables.coding import known_cells

Where = str | Sequence[str] | None
LEARN = "learn"


class RuledMixin(GapsMixin):
    """Drawing under conditions and rules. Needs the imputer's codec_, sampler_, rules, and the reading of X."""

    def generate(
        self,
        n: int,
        random_state: int | None = None,
        where: Where = None,
        rules: Sequence[str] | None = None,
        candidates: int = CANDIDATES,
        missing: str = "none",
    ) -> pd.DataFrame:
        """`n` new rows drawn from the joint distribution of the modelled columns; identifiers are fresh ones.

        Library, names and dtypes are those of the table that `fit` saw. Rows are whole by default, whatever the table
        lacks. missing: "as in the data" leaves gaps as the table has them, drawn together with the values; it needs
        BigLearnImputer(gaps=True).
        where: conditions that every row meets, as "age >= 30", "state in CA, NY", "income is missing". One constrained
        column is exact; with several, rows are chosen among `candidates` a row by weight. rules: between columns, as
        "start <= end", beside those of `fit`. The result's `attrs` tell under conditions their mass, the candidates
        and the effective sample size. Raises ValueError with the character for what cannot be read, with the mass for
        conditions that almost no row meets.
        """
        check_is_fitted(self, "sampler_")
        if not isinstance(n, Integral) or n < 1:
            raise ValueError(f"'n' must be a whole number of at least 1. Got {n!r}.")
        seed = self._seed(random_state)
        if self._leaves_gaps(missing):
            return self._generate_with_gaps(int(n), seed, where, rules, _checked(candidates))
        if not where and not rules and not self._rules:
            with self._threads():
                rows = self.sampler_.sample(int(n), seed)
            return new(self, self.codec_.new_frame(rows, seed))
        drawer = self._drawer(where, rules)
        with self._threads():
            drawn = new_rows(drawer, int(n), np.random.default_rng(seed), _checked(candidates))
        drawn = replace(drawn, mass=drawn.mass * gap_mass(drawer, self.sampler_))
        return self._new_frame(drawer, drawn, seed, told=bool(where))

    def _new_frame(self, drawer: Drawer, drawn: Drawn, seed: int, *, told: bool) -> pd.DataFrame:
        """Drawn rows as a table of the fitted one's library; told: with what the draw cost."""
        frame = self.codec_.new_frame(drawn.sheet.rows, seed)
        for unit in drawer.units.columns:  # what an equality settled, to full precision
            cells = frame[unit.name]
            if unit.words is None and not unit.step and not unit.seconds and cells.dtype == np.float64:
                frame[unit.name] = drawn.sheet.values[:, unit.column]
        return self._told(new(self, frame), drawn) if told else new(self, frame)

    def _sample_where(
        self,
        given: Given,
        rows: np.ndarray,
        seeds: np.ndarray,
        where: Where,
        rules: Sequence[str] | None,
        candidates: int,
    ) -> list:
        """A filled copy of X for each seed, under conditions, and rules beside those of `fit`."""
        drawer = self._drawer(where, rules)
        values = drawer.units.exact(given.frame.set_axis(names_of(self), axis=1))
        self._tell_broken(drawer, values, rows)
        out = []
        for seed in seeds:
            sheet = Sheet(rows.copy(), values.copy(), np.zeros(len(rows)))
            with self._threads():
                drawn = filled_rows(drawer, sheet, np.random.default_rng(int(seed)), _checked(candidates))
            settled = self._with_settled(given, drawer, drawn.sheet.values)
            out.append(self._told(self._back(settled, drawn.sheet.rows, int(seed)), drawn))
        return out

    # -- rules of fit ----------------------------------------------------------------------------------------
    @property
    def _rules(self) -> list[str]:
        """The rules of `fit`: given, or found where they were to be learnt."""
        return self.found_rules_ if self.rules == LEARN else _texts(self.rules or [])

    def _learn_rules(self, given: Given, rows: np.ndarray) -> None:
        """Reads the rules, learns their combinations, and warns of training rows that break one; before any training."""
        self.seen_: dict[str, list] = {}
        self.broken_rules_: dict[str, list[int]] = {}
        units = Units(self.codec_) if self.rules else None
        values = units.exact(given.frame.set_axis(names_of(self), axis=1)) if units else None
        self.found_rules_ = [p.text for p in proposals(units, values, rows)] if self.rules == LEARN else []
        if not self._rules:
            return
        rules = Rules.read(self._rules, units).learnt_from(rows)
        self.seen_ = {text: found.tolist() for text, found in rules.combinations().items()}
        broken = rules.broken(values, rows)
        self.broken_rules_ = {text: np.flatnonzero(bad).tolist() for text, bad in broken.items()}
        for text, bad in self.broken_rules_.items():
            if bad:
                warnings.warn(
                    f"{len(bad)} of {len(rows)} training rows break the rule {text!r}, among them rows {bad[:5]}. "
                    f"They are learnt from all the same; drawn rows keep the rule.",
                    UserWarning,
                    stacklevel=3,
                )

    def _keep_rules(
        self, given: Given, rows: np.ndarray, filled: np.ndarray, seed: int, *, best: bool
    ) -> tuple[Given, np.ndarray]:
        """(the table, (N, C) filled rows), in which rows that break a rule of `fit` are filled again, under the rules."""
        if not self._rules:
            return given, filled
        drawer = self._drawer(None, None, best=best)
        values = drawer.units.exact(given.frame.set_axis(names_of(self), axis=1))
        self._tell_broken(drawer, values, rows)
        whole = np.where(np.isnan(rows), drawer.units.values(filled), values)
        bad = np.flatnonzero(drawer.rules.breaks(whole, filled) & np.isnan(rows).any(1))
        if not len(bad):
            return given, filled
        sheet = Sheet(rows[bad].copy(), values[bad].copy(), np.zeros(len(bad)))
        out = filled.copy()
        drawn = filled_rows(drawer, sheet, np.random.default_rng([seed, 0x2E1E])).sheet
        out[bad], whole[bad] = drawn.rows, drawn.values
        return self._with_settled(given, drawer, whole), out

    def _with_settled(self, given: Given, drawer: Drawer, values: np.ndarray) -> Given:
        """The table with numbers that an equality settles beyond the range of their column, which else would end there."""
        frame, names = given.frame, names_of(self)
        for unit in drawer.units.columns:
            rules = drawer.rules.linear if drawer.rules is not None else ()
            if unit.seconds or not any(r.op == "==" and unit.column in r.columns for r in rules):
                continue
            place, column = names.index(unit.name), self.codec_.modelled[unit.column]
            low, high = unit.value(unit.edges[[0, -1]])
            own = values[:, unit.column]
            cells = frame.iloc[:, place]
            far = ((own < low) | (own > high)) & ~known_cells(column, cells).known
            if far.any() and pd.api.types.is_numeric_dtype(cells.dtype):
                filled = cells.copy()
                filled[far] = np.round(own[far]) if column.kind == "integer" else own[far]
                frame = frame.copy(deep=False) if frame is given.frame else frame
                frame.isetitem(place, filled)
        return given if frame is given.frame else replace(given, frame=frame)

    def _drawer(self, where: Where, rules: Sequence[str] | None, *, best: bool = False) -> Drawer:
        units = Units(self.codec_)
        extra = [text for text in _texts(rules or []) if text not in self._rules]
        every = Rules.read([*self._rules, *extra], units, _arrays(self.seen_))
        for rule in every.seen:
            if rule.text not in self.seen_:
                raise ValueError(
                    f"The rule {rule.text!r} must be known to `fit`, which learns its combinations: "
                    f"BigLearnImputer(rules=[{rule.text!r}])."
                )
        conditions = parse_conditions(where, units) if where else {}
        drawer = Drawer(self.sampler_, units, conditions, every if every.texts else None, best)
        gaps = gaps_in(drawer, self.sampler_)
        return replace(drawer, model=self.sampler_.given(gaps)) if gaps else drawer

    @staticmethod
    def _tell_broken(drawer: Drawer, values: np.ndarray, rows: np.ndarray) -> None:
        """Warns of known cells that break a rule or a condition; they are left as they are."""
        broken = drawer.rules.broken(values, rows) if drawer.rules is not None else {}
        for name, allowed in drawer.where.items():
            cells = rows[:, drawer.units[name].column]
            broken[f"the condition on {name}"] = ~np.isnan(cells) & ~allowed.holds(cells)
        for text, bad in broken.items():
            if bad.any():
                places = np.flatnonzero(bad)
                warnings.warn(
                    f"Known cells of {len(places)} rows break {text!r}, among them rows {places[:5].tolist()}. "
                    f"They are left as they are.",
                    UserWarning,
                    stacklevel=4,
                )

    @staticmethod
    def _told(frame: Any, drawn: Drawn) -> Any:
        """`frame`, a pandas one with what the draw cost in its attrs."""
        if not isinstance(frame, pd.DataFrame):
            return frame
        frame.attrs |= {
            "mass": drawn.mass,
            "candidates": drawn.candidates,
            "effective_sample_size": drawn.effective_sample_size,
        }
        return frame


def _texts(rules: str | Sequence[str]) -> list[str]:
    return [rules] if isinstance(rules, str) else list(rules)


def _arrays(seen: dict[str, list]) -> dict[str, np.ndarray]:
    return {text: np.asarray(found, np.int64).reshape(len(found), -1) for text, found in seen.items()}


def _checked(candidates: int) -> int:
    if not isinstance(candidates, Integral) or candidates < 1:
        raise ValueError(f"'candidates' must be a whole number of at least 1. Got {candidates!r}.")
    return int(candidates)
