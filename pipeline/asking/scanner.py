"""Text of conditions and rules → pieces: columns, values, operators, each with its place in the text.

Columns are recognised by their names as the table has them, blanks and signs included; `name` in backticks also works.
Values are numbers, dates, durations, quoted text, or bare words. Nothing is ever evaluated.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

KEYWORDS = ("and", "or", "not", "in", "is", "between", "missing", "known", "seen")
DATE = r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)?"
SPAN = r"(?:\d+(?:\.\d+)?\s*(?:weeks?|days?|hours?|minutes?|seconds?|min|[wdhms])\b\s*)+"
NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?!\w)"
PIECES = re.compile(
    rf"(?P<text>'[^']*'|\"[^\"]*\")|(?P<column>`[^`]*`)|(?P<date>{DATE}(?!\w))|(?P<span>{SPAN})|(?P<number>{NUMBER})"
    r"|(?P<word>\w+)|(?P<sign><=|>=|==|!=|<>|[-+*=<>(),\[\]{}])"
)


class ConditionError(ValueError):
    """A condition or rule cannot be read; says what is wrong and at which character."""


@dataclass(frozen=True)
class Piece:
    """kind: column, text, date, span, number, word, keyword, sign or end. value: its text without quotes. at: its first
    character in the whole, from 1. upto: the one after its last."""

    kind: str
    value: str
    at: int
    upto: int


def wrong(text: str, at: int, what: str) -> ConditionError:
    """The error of a text at a character, counted from 1, in one line."""
    return ConditionError(f"{' '.join(text.split())!r}, at character {at}: {what}")


def pieces_of(text: str, columns: tuple[str, ...]) -> list[Piece]:
    """The pieces of a condition or rule, an end piece last. Raises ConditionError at a character that begins none."""
    names, out, place = sorted(set(columns) - set(KEYWORDS), key=len, reverse=True), [], 0
    while True:
        while place < len(text) and text[place].isspace():
            place += 1
        if place == len(text):
            return [*out, Piece("end", "the end", place + 1, place + 1)]
        name = next((n for n in names if n and _stands_at(text, place, n)), None)
        found = PIECES.match(text, place)
        if name is not None and (found is None or found.end() <= place + len(name)):
            out.append(Piece("column", name, place + 1, place + len(name) + 1))
            place += len(name)
            continue
        if found is None:
            raise wrong(text, place + 1, f"{text[place]!r} has no meaning here; text with signs must be in quotes")
        out.append(_piece(text, found, columns))
        place = found.end()


def value_text(text: str, pieces: list[Piece]) -> str:
    """The value that neighbouring pieces spell: one in quotes without them, else the text from the first to the last."""
    if len(pieces) == 1:
        return pieces[0].value
    return text[pieces[0].at - 1 : pieces[-1].upto - 1]


def _piece(text: str, found: re.Match[str], columns: tuple[str, ...]) -> Piece:
    kind, value = found.lastgroup, found.group()
    at, upto = found.start() + 1, found.end() + 1
    if kind == "column":
        value = value[1:-1]
        if value not in columns:
            raise wrong(text, at, f"there must be a column {value!r}. The columns are {', '.join(columns[:30])}")
    elif kind == "text":
        value = value[1:-1]
    elif kind == "word" and value.lower() in KEYWORDS:
        kind, value = "keyword", value.lower()
    elif kind == "span":
        value = value.strip()
    return Piece(kind, value, at, upto)


def _stands_at(text: str, place: int, name: str) -> bool:
    """Whether a name stands in the text at `place` as a whole, not as a part of a longer word."""
    if not text.startswith(name, place):
        return False
    before, after = text[place - 1 : place], text[place + len(name) : place + len(name) + 1]
    inside = (before and (before.isalnum() or before == "_") and (name[0].isalnum() or name[0] == "_")) or (
        after and (after.isalnum() or after == "_") and (name[-1].isalnum() or name[-1] == "_")
    )
    return not inside
