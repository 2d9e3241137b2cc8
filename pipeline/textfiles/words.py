"""Texts that mean a missing cell."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from pipeline.textfiles.numerals import Marks, Number, read_number

LOOSE = (
    "-",
    "--",
    "---",
    ".",
    "..",
    "...",
    "–",
    "—",
    "*",
    "**",
)  # missing where all else in a column is a number or a date
USUAL = (
    "",
    "?",
    "NA",
    "N/A",
    "n/a",
    "#N/A",
    "#N/A N/A",
    "#NA",
    "<NA>",
    "NaN",
    "nan",
    "-NaN",
    "-nan",
    "null",
    "NULL",
    "Null",
    "(null)",
    "\\N",
    "N.A.",
    "n.a.",
    "None",
    "NaT",
    "1.#IND",
    "-1.#IND",
    "1.#QNAN",
    "-1.#QNAN",
    "#DIV/0!",
    "#NAME?",
    "#NULL!",
    "#NUM!",
    "#REF!",
    "#VALUE!",
)
"""What programs write for a missing cell: those of pandas, R, Excel and its errors, SQL and the UCI repository."""


@dataclass(frozen=True)
class MissingWords:
    """Texts that mean a missing cell. A number among them is met however it is written.

    loose: signs such as "-" do too, among numbers. empty: the empty text does, as it does in every text file.
    in_columns: (column, text) that means it in that column in addition; `of` gives the words of a column.
    """

    words: tuple[str, ...]
    loose: bool = True
    empty: bool = True
    in_columns: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "_set", {w.strip() for w in self.words} | {""})
        numbers = [read_number(w.strip(), Marks()) for w in self.words]
        object.__setattr__(self, "_numbers", {n.value for n in numbers if n is not None})
        object.__setattr__(self, "_dates", {d for d in map(_date, self._set) if d is not None})

    def of(self, column: str) -> MissingWords:
        """The words of one column."""
        own = tuple(word for name, word in self.in_columns if name == column)
        return MissingWords(self.words + own, self.loose, self.empty) if own else self

    def holds_date(self, value: datetime.date) -> bool:
        """True for a date, or a moment of its midnight, that is written as one of the words, e.g. 1900-01-01."""
        moment = (
            value if isinstance(value, datetime.datetime) else datetime.datetime(value.year, value.month, value.day)
        )
        return moment.replace(tzinfo=None) in self._dates

    def holds(self, text: str, number: Number | None = None) -> bool:
        if text in self._set or number is not None and number.value in self._numbers:
            return True
        return bool(self._dates) and _date(text) in self._dates

    def holds_or_may(self, text: str) -> bool:
        """True for a text that means missing, or would among numbers."""
        return self.holds(text) or self.loose and text in LOOSE


def _date(text: str) -> datetime.datetime | None:
    try:
        return datetime.datetime.fromisoformat(text) if "-" in text else None
    except ValueError:
        return None
