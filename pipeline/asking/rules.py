"""Rules between columns: what they say, which rows break them, and the bounds they put on a column.

    Rules.read(["start <= end", "a + b == total", "(city, country) seen"], units)

* linear: sums of columns of numbers or dates and constants, compared by <=, <, >=, >, ==; a chain (a <= b <= c) is several.
* seen: combinations of categories (or numbers of few values) that the training rows have.
* one column and values: a condition, as in pipeline.asking.conditions.

A row breaks a rule only where all cells of the rule are known. Numbers are compared to one part in a million of their
size, since rows are float32.

Shapes: N rows, C columns, W choices of a column, U combinations.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from pipeline.asking.allowed import Allowed
from pipeline.asking.conditions import Condition
from pipeline.asking.linear import Linear, linear_rules
from pipeline.asking.passes import choices_of
from pipeline.asking.scanner import pieces_of, wrong
from pipeline.asking.units import Units


@dataclass(frozen=True)
class Seen:
    """text: as the user wrote it. columns: places of the columns. combinations: (U, k) int64 choices that were seen."""

    text: str
    columns: tuple[int, ...]
    combinations: np.ndarray

    def mask(self, column: int, choices: np.ndarray, width: int) -> np.ndarray:
        """(N, W) bool: choices of `column` that some seen combination has together with the known ones (N, C), −1 unknown."""
        place = self.columns.index(column)
        others = [k for k in range(len(self.columns)) if k != place]
        given = choices[:, [self.columns[k] for k in others]]
        distinct, back = np.unique(given, axis=0, return_inverse=True)
        out = np.zeros((len(distinct), width), bool)
        for row, known in enumerate(distinct):
            fits = ((self.combinations[:, others] == known) | (known < 0)).all(1)
            out[row, self.combinations[fits, place]] = True
        return out[back.ravel()]

    def broken(self, choices: np.ndarray) -> np.ndarray:
        """(N,) bool: rows whose known combination was not seen."""
        own = choices[:, list(self.columns)]
        distinct, back = np.unique(own, axis=0, return_inverse=True)
        known = {tuple(row) for row in self.combinations.tolist()}
        bad = np.array([min(row) >= 0 and tuple(row) not in known for row in distinct.tolist()], bool)
        return bad[back.ravel()]


@dataclass(frozen=True)
class Rules:
    """texts: as the user wrote them. linear, seen: read. single: column → (text, what its rules leave of it)."""

    units: Units
    texts: tuple[str, ...] = ()
    linear: tuple[Linear, ...] = ()
    seen: tuple[Seen, ...] = ()
    single: dict[str, tuple[str, Allowed]] = field(default_factory=dict)

    @staticmethod
    def read(texts: list[str], units: Units, learnt: dict[str, np.ndarray] | None = None) -> Rules:
        """The rules of `texts`. learnt: text of a `seen` rule → its combinations. Raises ConditionError with the character."""
        linear, seen, single = [], [], {}
        for text in texts:
            pieces = pieces_of(text, units.schema.columns)
            columns = list(dict.fromkeys(p.value for p in pieces if p.kind == "column"))
            if len(pieces) > 1 and pieces[-2].value == "seen" and pieces[-2].kind == "keyword":
                places = _seen_columns(text, pieces[:-2], units)
                seen.append(Seen(text, places, (learnt or {}).get(text, np.zeros((0, len(places)), np.int64))))
            elif len(columns) > 1:
                linear += linear_rules(text, pieces, units)
            else:
                for name, allowed in Condition(text, units).sets().items():
                    old = single.get(name)
                    single[name] = (f"{old[0]} and {text}", old[1] & allowed) if old else (text, allowed)
        return Rules(units, tuple(texts), tuple(linear), tuple(seen), single)

    def learnt_from(self, rows: np.ndarray) -> Rules:
        """These rules with the combinations of (N, C) training rows."""
        choices = known_choices(self.units, rows)
        out = []
        for rule in self.seen:
            own = choices[:, list(rule.columns)]
            out.append(replace(rule, combinations=np.unique(own[(own >= 0).all(1)], axis=0)))
        return replace(self, seen=tuple(out))

    def combinations(self) -> dict[str, np.ndarray]:
        """Text of each `seen` rule → its combinations (U, k), for `read`."""
        return {rule.text: rule.combinations for rule in self.seen}

    @property
    def columns(self) -> np.ndarray:
        """(C,) bool: the columns that some rule names."""
        out = np.zeros(len(self.units.columns), bool)
        for rule in (*self.linear, *self.seen):
            out[list(rule.columns)] = True
        for name in self.single:
            out[self.units[name].column] = True
        return out

    def broken(self, values: np.ndarray, rows: np.ndarray) -> dict[str, np.ndarray]:
        """Text → (N,) bool rows that break the rule. values (N, C): in their own units; rows (N, C): codes; NaN unknown."""
        out: dict[str, np.ndarray] = {}
        for rule in self.linear:
            out[rule.text] = out.get(rule.text, False) | rule.broken(values)
        if self.seen:
            choices = known_choices(self.units, rows)
            out |= {rule.text: rule.broken(choices) for rule in self.seen}
        for name, (text, allowed) in self.single.items():
            codes = self.units[name].code(values[:, self.units[name].column])
            out[text] = ~np.isnan(codes) & ~allowed.holds(codes)
        return out

    def breaks(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """(N,) bool: rows that break any rule."""
        found = self.broken(values, rows)
        return np.logical_or.reduce([np.zeros(len(rows), bool), *found.values()])


def known_choices(units: Units, rows: np.ndarray) -> np.ndarray:
    """(N, C) int64 choice of each cell, −1 where missing."""
    out = np.full(rows.shape, -1, np.int64)
    for unit in units.columns:
        known = ~np.isnan(rows[:, unit.column])
        out[known, unit.column] = choices_of(units.schema, unit.column, rows[known, unit.column])
    return out


def _seen_columns(text: str, pieces: list, units: Units) -> tuple[int, ...]:
    names = [p for p in pieces if not (p.kind == "sign" and p.value in "(),")]
    for piece in names:
        if piece.kind != "column":
            raise wrong(text, piece.at, f"before 'seen' there must be columns in parentheses. Got {piece.value!r}")
        unit = units[piece.value]
        if unit.words is None and (np.diff(unit.edges) > 0).any() and not few_values(unit):
            remedy = f"name its kind category (kinds={{{unit.name!r}: 'category'}})"
            raise wrong(
                text, piece.at, f"{unit.name!r} has too many values to have been seen in combinations; {remedy}"
            )
    if len(names) < 2:
        raise wrong(text, pieces[0].at if pieces else 1, "before 'seen' there must be two columns at least")
    return tuple(units[p.value].column for p in names)


def few_values(unit: object) -> bool:
    """Whether every bin that has mass is an atom."""
    mass, width = np.asarray(unit.token.mass), np.diff(unit.edges)
    return len(mass) == len(width) and not mass[width > 0].any()
