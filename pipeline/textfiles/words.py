"""Texts that mean a missing cell."""

from __future__ import annotations

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
    "None",
    "NaT",
    "1.#IND",
    "-1.#IND",
    "1.#QNAN",
    "-1.#QNAN",
)
"""What programs write for a missing cell: those of pandas, R, Excel, SQL and the UCI repository."""


@dataclass(frozen=True)
class MissingWords:
    """Texts that mean a missing cell. A number among them is met however it is written.

    loose: signs such as "-" do too, among numbers. empty: the empty text does, as it does in every text file.
    """

    words: tuple[str, ...]
    loose: bool = True
    empty: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "_set", {w.strip() for w in self.words} | {""})
        numbers = [read_number(w.strip(), Marks()) for w in self.words]
        object.__setattr__(self, "_numbers", {n.value for n in numbers if n is not None})

    def holds(self, text: str, number: Number | None = None) -> bool:
        return text in self._set or number is not None and number.value in self._numbers

    def holds_or_may(self, text: str) -> bool:
        """True for a text that means missing, or would among numbers."""
        return self.holds(text) or self.loose and text in LOOSE
