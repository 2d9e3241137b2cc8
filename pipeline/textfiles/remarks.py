"""Rows that people write below a table and that are none of its rows: its totals."""

from __future__ import annotations

from collections.abc import Iterable

TOTALS = frozenset(
    (
        "total", "totals", "grand total", "subtotal", "sum", "sums", "overall", "average", "mean", "summe", "gesamt", "gesamtsumme",
        "insgesamt", "durchschnitt", "mittelwert", "somme", "total général", "moyenne", "suma", "total general", "promedio",
        "totale", "media", "totaal", "totalt", "razem", "合計", "总计",
    )
)  # fmt: skip
"""What the first text of such a row says, in lower case."""


def total_of(cells: Iterable[object]) -> str:
    """What the first cell of a row that holds something says, where it says that the row sums up those above it; else ""."""
    first = next((c for c in cells if c is not None and str(c).strip()), None)
    word = first.strip().rstrip(":").strip().lower() if isinstance(first, str) else ""
    return word if word in TOTALS else ""


class Totals:
    """Which rows at the end of a table sum up the others: each says so in a word that no other row has.

    A word that two rows have, be they the last, is a category: long tables hold "Total" once a group.
    """

    def __init__(self) -> None:
        self.seen: set[str] = set()

    def may_be(self, cells: Iterable[object]) -> bool:
        """Whether the next row may be one, if no other follows than such ones."""
        word = total_of(cells)
        new = bool(word) and word not in self.seen
        self.seen.add(word)
        return new
