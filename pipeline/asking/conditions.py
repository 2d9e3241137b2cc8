"""Conditions on rows as people write them → what they leave of each column.

    parse_conditions(["age between 30 and 40", "state in CA, New York", "income is missing"], units)

A condition compares one column with values: ==, != (= works too), <, <=, >, >=, chains (18 <= age < 65), in, not in, between … and …, is
missing, is known; a column of booleans stands for itself. `and` joins conditions on any columns, `or` and `not`
conditions on one column. Values are written as in the table: numbers, dates, durations, text with or without quotes.
The text is rewritten so that Python's parser gives its structure; only the nodes named here are accepted, and nothing
is evaluated.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.asking.allowed import Allowed, everything, interval, next_to, words_of
from pipeline.asking.scanner import ConditionError, Piece, pieces_of, value_text, wrong
from pipeline.asking.units import Units
from pipeline.tables.errors import TableError

ORDERS = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
MIRRORED = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}
IN_VALUES = ("column", "text", "date", "span", "number", "word")


@dataclass(frozen=True)
class Leaf:
    """A column, or a value as the user wrote it, and its first character in the text, from 1."""

    is_column: bool
    text: str
    at: int


def parse_conditions(where: str | Sequence[str], units: Units) -> dict[str, Allowed]:
    """Column → what all conditions together leave of it. Raises ConditionError naming the text, the character, the fault."""
    out: dict[str, Allowed] = {}
    for text in [where] if isinstance(where, str) else where:
        out = _both(out, Condition(text, units).sets())
    for name, allowed in out.items():
        if allowed.empty:
            raise ConditionError(f"The conditions on {name!r} must leave a value. Together they leave none.")
    return out


class Condition:
    """One text on its way to sets."""

    def __init__(self, text: str, units: Units) -> None:
        self.text, self.units = text, units
        self.leaves: list[Leaf] = []

    def sets(self) -> dict[str, Allowed]:
        """Column → what the text leaves of it."""
        words, places = self._rewritten(pieces_of(self.text, self.units.schema.columns))
        starts = np.cumsum([0, *(len(w) + 1 for w in words)])
        try:
            tree = ast.parse(" ".join(words), mode="eval")
        except SyntaxError as error:
            word = (
                int(np.searchsorted(starts, error.offset - 1, "right")) - 1 if error.offset else len(places)
            )  # 0: the end
            at = places[min(word, len(places) - 1)]
            raise wrong(self.text, at, "must be a condition like age >= 30 or state in CA, NY") from None
        return self._sets(tree.body)

    # -- the text in the form of Python --------------------------------------------------------------------
    def _rewritten(self, pieces: list[Piece]) -> tuple[list[str], list[int]]:
        """(words of Python, the character of the user's text that each stands for)."""
        out, at, i = [], [], 0

        def add(*words: str) -> None:
            out.extend(words)
            at.extend([pieces[i].at] * len(words))

        while pieces[i].kind != "end":
            piece = pieces[i]
            if piece.kind == "keyword" and piece.value == "is":
                i = self._about_missing(pieces, i, add)
            elif piece.kind == "keyword" and piece.value == "between":
                end = self._end_of_value(pieces, i + 1)
                if pieces[end].value != "and" or pieces[end].kind != "keyword":
                    raise wrong(self.text, pieces[end].at, "after 'between' there must be two values joined by 'and'")
                last = self._end_of_value(pieces, end + 1)
                low, high = self._value(pieces[i + 1 : end]), self._value(pieces[end + 1 : last])
                add("in", "[", "[", low, ",", high, "]", "]")
                i = last
            elif piece.kind == "keyword" and piece.value == "in" and pieces[i + 1].value not in ("(", "[", "{"):
                i = self._bare_list(pieces, i, add)
            elif piece.kind in IN_VALUES or (piece.kind == "sign" and piece.value in "+-"):
                end = self._end_of_value(pieces, i)
                add(self._value(pieces[i:end]))
                i = end
            elif piece.kind == "keyword" and piece.value not in ("and", "or", "not", "in"):
                raise wrong(self.text, piece.at, f"{piece.value!r} has no meaning here; as text it must be in quotes")
            else:
                brackets = {"[": "(", "{": "(", "]": ")", "}": ")", "=": "==", "<>": "!="}
                add(brackets.get(piece.value, piece.value))
                i += 1
        add("")
        return out, at

    def _about_missing(self, pieces: list[Piece], i: int, add: object) -> int:
        negated = pieces[i + 1].value == "not"
        last = i + 1 + negated
        if pieces[last].value not in ("missing", "known"):
            raise wrong(self.text, pieces[last].at, "after 'is' there must be 'missing' or 'known'")
        add("is", *(["not"] if (pieces[last].value == "known") != negated else []), "None")
        return last + 1

    def _bare_list(self, pieces: list[Piece], i: int, add: object) -> int:
        add("in", "(")
        while True:
            end = self._end_of_value(pieces, i + 1)
            add(self._value(pieces[i + 1 : end]), ",")
            if pieces[end].value != ",":
                add(")")
                return end
            i = end

    def _end_of_value(self, pieces: list[Piece], i: int) -> int:
        """The place after the value that begins at piece `i`. Raises ConditionError where none does."""
        end = i
        while pieces[end].kind in IN_VALUES or (pieces[end].kind == "sign" and pieces[end].value in "+-*"):
            end += 1
        if end == i:
            raise wrong(self.text, pieces[i].at, f"there must be a value. Got {pieces[i].value}")
        return end

    def _value(self, pieces: list[Piece]) -> str:
        column = len(pieces) == 1 and pieces[0].kind == "column"
        self.leaves.append(Leaf(column, value_text(self.text, pieces), pieces[0].at))
        return f"_{len(self.leaves) - 1}"

    # -- the tree ------------------------------------------------------------------------------------------
    def _sets(self, node: ast.expr) -> dict[str, Allowed]:
        if isinstance(node, ast.BoolOp):
            parts = [self._sets(value) for value in node.values]
            if isinstance(node.op, ast.And):
                out = parts[0]
                for part in parts[1:]:
                    out = _both(out, part)
                return out
            return self._of_one(parts, node, lambda a, b: a | b, "or")
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return self._of_one([self._sets(node.operand)], node, None, "not")
        if isinstance(node, ast.Compare):
            return self._compared(node)
        if isinstance(node, ast.Name) and self._leaf(node).is_column:
            unit = self.units[self._leaf(node).text]
            if unit.words is not None and set(unit.words) <= {"True", "False"}:
                return {unit.name: self._words(unit, [node])}
        at = self._at(node)
        raise wrong(self.text, at, "must compare a column with a value, like age >= 30 or state in CA, NY")

    def _of_one(self, parts: list[dict], node: ast.expr, join: object, word: str) -> dict[str, Allowed]:
        names = sorted({name for part in parts for name in part})
        if len(names) != 1:
            remedy = "Ask for each alternative by itself" if word == "or" else "Negate each condition by itself"
            raise wrong(self.text, self._at(node), f"'{word}' must stay within one column. Got {names}. {remedy}")
        sets = [part[names[0]] for part in parts]
        if any(s.missing for s in sets):
            raise wrong(self.text, self._at(node), f"'is missing' cannot be combined with '{word}'")
        out = sets[0] if join else ~sets[0]
        for other in sets[1:]:
            out = join(out, other)
        return {names[0]: out}

    def _compared(self, node: ast.Compare) -> dict[str, Allowed]:
        out: dict[str, Allowed] = {}
        sides = [node.left, *node.comparators]
        for left, op, right in zip(sides[:-1], node.ops, sides[1:], strict=True):
            out = _both(out, self._pair(left, op, right))
        return out

    def _pair(self, left: ast.expr, op: ast.cmpop, right: ast.expr) -> dict[str, Allowed]:
        if not self._is_column(left) and self._is_column(right) and type(op) not in (ast.In, ast.NotIn):
            left, right, op = right, left, MIRRORED.get(type(op), type(op))()
        if not self._is_column(left):
            names = ", ".join(self.units.schema.columns[:30])
            raise wrong(self.text, self._at(left), f"there must be a column of the model: {names}")
        unit = self.units[self._leaf(left).text]
        if isinstance(op, ast.Is | ast.IsNot):
            return {unit.name: everything(unit) if isinstance(op, ast.IsNot) else Allowed(unit, missing=True)}
        if self._is_column(right) and (unit.words is None or self._leaf(right).text not in unit.words):
            raise wrong(self.text, self._at(right), "two columns are compared by a rule (rules=…), not by a condition")
        if isinstance(op, ast.In | ast.NotIn) and isinstance(right, ast.List):
            found = self._between(unit, right.elts[0])
        elif unit.words is not None:
            found = self._of_words(unit, op, right)
        else:
            found = self._of_numbers(unit, op, right)
        return {unit.name: ~found if isinstance(op, ast.NotIn | ast.NotEq) else found}

    def _between(self, unit: object, pair: ast.expr) -> Allowed:
        if unit.words is not None:
            raise wrong(self.text, self._at(pair), f"{unit.name!r} is a category; it can be == or in, not between")
        return interval(unit, *(self._code(unit, value) for value in pair.elts))

    def _of_words(self, unit: object, op: ast.cmpop, right: ast.expr) -> Allowed:
        if type(op) in ORDERS:
            raise wrong(
                self.text, self._at(right), f"{unit.name!r} is a category; it can be == or in, not {ORDERS[type(op)]}"
            )
        return self._words(unit, self._values(right))

    def _of_numbers(self, unit: object, op: ast.cmpop, right: ast.expr) -> Allowed:
        if type(op) in ORDERS:
            bound = self._code(unit, right)
            if isinstance(op, ast.Gt | ast.GtE):
                found = interval(unit, bound, np.inf)
                strict, low = isinstance(op, ast.Gt), found.intervals[0, 0]
                return interval(unit, next_to(unit, low, up=True), np.inf) if strict and low == bound else found
            found = interval(unit, -np.inf, bound)
            strict, high = isinstance(op, ast.Lt), found.intervals[0, 1]
            return interval(unit, -np.inf, next_to(unit, high, up=False)) if strict and high == bound else found
        out = ~everything(unit)
        for value in self._values(right):
            code = self._code(unit, value)
            out = out | interval(unit, code, code)
        return out

    def _words(self, unit: object, nodes: list[ast.expr]) -> Allowed:
        if len(nodes) == 1 and self._is_column(nodes[0]) and self._leaf(nodes[0]).text == unit.name:
            return words_of(unit, [unit.words.index("True")] if "True" in unit.words else [])
        return words_of(unit, [int(self._code(unit, node)) for node in nodes])

    def _code(self, unit: object, node: ast.expr) -> float:
        if not isinstance(node, ast.Name):
            raise wrong(self.text, self._at(node), "there must be one value")
        leaf = self._leaf(node)
        try:
            return self.units.read(unit.name, leaf.text)
        except TableError as error:
            raise wrong(self.text, leaf.at, str(error)) from error

    def _values(self, node: ast.expr) -> list[ast.expr]:
        return list(node.elts) if isinstance(node, ast.Tuple) else [node]

    def _is_column(self, node: ast.expr) -> bool:
        return isinstance(node, ast.Name) and self._leaf(node).is_column

    def _leaf(self, node: ast.Name) -> Leaf:
        return self.leaves[int(node.id[1:])]

    def _at(self, node: ast.expr) -> int:
        names = [n for n in ast.walk(node) if isinstance(n, ast.Name)]
        return min((self._leaf(n).at for n in names), default=1)


def _both(one: dict[str, Allowed], other: dict[str, Allowed]) -> dict[str, Allowed]:
    return one | {name: one[name] & s if name in one else s for name, s in other.items()}
