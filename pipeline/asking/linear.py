"""Linear rules between columns of numbers or dates: c₁x₁ + c₂x₂ + … + constant ≤ 0, < 0 or = 0, in the columns' units.

The bounds of a column follow from the known others, and for those not known yet from their ranges, so that a later
draw can still keep the rule.

Shapes: N rows, C columns.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.asking.scanner import Piece, wrong
from pipeline.asking.units import Unit, Units
from pipeline.tables.errors import TableError

TOLERANCE = 1e-6  # of the size of the terms
OPS = {ast.LtE: "<=", ast.Lt: "<", ast.GtE: ">=", ast.Gt: ">", ast.Eq: "=="}


@dataclass(frozen=True)
class Linear:
    """text: as the user wrote it. columns: places. factors: one a column. constant. op: "<=", "<" or "==" 0.

    gap: what `<` adds: the finest step where all columns are on grids, else 0 and the next number is meant.
    """

    text: str
    columns: tuple[int, ...]
    factors: tuple[float, ...]
    constant: float
    op: str
    gap: float

    def broken(self, values: np.ndarray) -> np.ndarray:
        """(N,) bool of (N, C) values in the columns' units; rows with an unknown cell of the rule do not break it."""
        terms = values[:, list(self.columns)] * np.asarray(self.factors)
        total = terms.sum(1) + self.constant
        slack = TOLERANCE * np.maximum(np.abs(terms).max(1), abs(self.constant))
        slack = np.minimum(slack, 0.5 * self.gap) if self.gap else slack
        with np.errstate(invalid="ignore"):  # unknown cells
            if self.op == "==":
                return np.abs(total) > slack
            return total > slack if self.op == "<=" else total >= (-0.5 * self.gap if self.gap else 0.0)

    def bounds(
        self, column: int, values: np.ndarray, low: np.ndarray, high: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """((N,) lowest, (N,) highest value of `column` that the rule leaves). low, high: (C,) range of each column."""
        least, most = np.full(len(values), self.constant), np.full(len(values), self.constant)
        own = 0.0
        for place, factor in zip(self.columns, self.factors, strict=True):
            if place == column:
                own = factor
                continue
            ends = np.array([low[place], high[place]]) * factor
            known = ~np.isnan(values[:, place])
            least += np.where(known, values[:, place] * factor, ends.min())
            most += np.where(known, values[:, place] * factor, ends.max())
        upper = -(least + (self.gap if self.op == "<" else 0.0))
        lower = -most if self.op == "==" else np.full(len(values), -np.inf)
        if self.op == "<" and not self.gap:
            upper = upper - TOLERANCE * np.maximum(np.abs(upper), 1e-30)
        upper, lower = upper / own, lower / own
        return (lower, upper) if own > 0 else (upper, lower)

    def settles(self, column: int, values: np.ndarray) -> np.ndarray:
        """(N,) float64: the value of `column` that an equality leaves where all its other cells are known; else NaN."""
        if self.op != "==":
            return np.full(len(values), np.nan)
        rest, own = np.full(len(values), self.constant), 1.0
        for place, factor in zip(self.columns, self.factors, strict=True):
            if place == column:
                own = factor
            else:
                rest += values[:, place] * factor
        return -rest / own + 0.0


def linear_rules(text: str, pieces: list[Piece], units: Units) -> list[Linear]:
    """The rules that a text of several columns states; a chain states several. Raises ConditionError with the character."""
    words, starts, length = [], [], 0
    for place, piece in enumerate(pieces[:-1]):
        word = f"_{place}" if piece.kind != "sign" else {"=": "==", "<>": "!="}.get(piece.value, piece.value)
        starts.append(length)
        words.append(word)
        length += len(word) + 1
    try:
        tree = ast.parse(" ".join(words), mode="eval").body
    except SyntaxError as error:
        place = (
            int(np.searchsorted(starts, error.offset - 1, "right")) - 1 if error.offset else len(pieces)
        )  # 0: the end
        at = pieces[min(place, len(pieces) - 1)].at
        raise wrong(text, at, "must be a rule like start <= end or a + b == total") from None
    if not isinstance(tree, ast.Compare) or not all(type(op) in OPS for op in tree.ops):
        raise wrong(text, pieces[0].at, "a rule must compare sums of columns by <=, <, >=, > or ==")
    sides = [tree.left, *tree.comparators]
    return [
        _rule(text, pieces, left, OPS[type(op)], right, units)
        for left, op, right in zip(sides[:-1], tree.ops, sides[1:], strict=True)
    ]


def _rule(text: str, pieces: list[Piece], left: ast.expr, op: str, right: ast.expr, units: Units) -> Linear:
    one, other = _sum(text, pieces, left, units), _sum(text, pieces, right, units)
    if op in (">=", ">"):
        one, other, op = other, one, {">=": "<=", ">": "<"}[op]
    factors = {k: one.get(k, 0.0) - other.get(k, 0.0) for k in one | other}
    constant = factors.pop("", 0.0)
    factors = {k: v for k, v in factors.items() if v}
    if not factors:
        raise wrong(text, pieces[0].at, "a rule must say something about a column")
    chosen = [units[name] for name in factors]
    scale = next((u.seconds for u in chosen if u.seconds), 1.0)
    if pieces and any(p.kind == "span" for p in pieces):
        if scale == 1.0:
            raise wrong(text, pieces[0].at, "a duration can only stand in a rule between dates")
        constant /= scale
    steps = [abs(f) * u.step for f, u in zip(factors.values(), chosen, strict=True)]
    gap = min(steps) if all(steps) else 0.0
    return Linear(text, tuple(u.column for u in chosen), tuple(factors.values()), constant, op, gap)


def _sum(text: str, pieces: list[Piece], node: ast.expr, units: Units) -> dict[str, float]:
    """Column → factor of a side of a rule; "" → its constant."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Sub):
        sign = 1.0 if isinstance(node.op, ast.Add) else -1.0
        one, other = _sum(text, pieces, node.left, units), _sum(text, pieces, node.right, units)
        return {k: one.get(k, 0.0) + sign * other.get(k, 0.0) for k in one | other}
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        one, other = _sum(text, pieces, node.left, units), _sum(text, pieces, node.right, units)
        if set(one) <= {""} or set(other) <= {""}:
            factor, rest = (one, other) if set(one) <= {""} else (other, one)
            return {k: factor.get("", 0.0) * v for k, v in rest.items()}
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return {k: -v for k, v in _sum(text, pieces, node.operand, units).items()}
    if isinstance(node, ast.Name):
        return _term(text, pieces[int(node.id[1:])], units)
    first = next((n for n in ast.walk(node) if isinstance(n, ast.Name)), None)
    at = pieces[int(first.id[1:])].at if first is not None else 1
    raise wrong(
        text, at, "a side of a rule must be a sum of columns, numbers and durations, each times a number at most"
    )


def _term(text: str, piece: Piece, units: Units) -> dict[str, float]:
    if piece.kind == "column":
        unit: Unit = units[piece.value]
        if unit.words is not None:
            raise wrong(text, piece.at, f"{piece.value!r} holds categories; compare them by a rule like (a, b) seen")
        return {piece.value: 1.0}
    if piece.kind == "number":
        return {"": float(piece.value)}
    if piece.kind == "span":
        try:
            return {"": pd.Timedelta(piece.value.replace("weeks", "W").replace("week", "W")).total_seconds()}
        except ValueError as error:
            raise wrong(text, piece.at, f"not a duration: {piece.value}") from error
    if piece.kind == "date":
        dates = [u for u in units.columns if u.seconds]
        if dates:
            try:
                return {"": float(dates[0].value(units.read(dates[0].name, piece.value)))}
            except TableError as error:
                raise wrong(text, piece.at, str(error)) from error
    raise wrong(text, piece.at, f"there must be a column, a number or a duration. Got {piece.value!r}")
