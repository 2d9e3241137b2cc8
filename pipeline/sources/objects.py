"""Columns of values that have types already, from a workbook or a database: what they are, and how they are written.

column = ObjectColumn("rent", MissingWords(()))
column.add([1200, None, 950.5]); column.settle()
column.value(1012.3333)                             # 1012.3: no finer than what is there
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from pipeline.textfiles.words import MissingWords

DATES = (dt.datetime, dt.date)


@dataclass
class ObjectColumn:
    """kind, after `settle`: integer, decimal, boolean, date, text, mixed (words and numbers), copied or empty."""

    name: str
    words: MissingWords
    kind: str = "empty"
    gaps: int = 0
    met: set[str] = field(default_factory=set)
    decimals: int = 0
    days: bool = True  # every date is at midnight
    plain_dates: bool = False

    def add(self, values: Iterable[Any]) -> None:
        """Takes note of further values."""
        for value in values:
            kind = self.kind_of(value)
            if kind is None:
                self.gaps += 1
                continue
            self.met.add(kind)
            if kind == "decimal":
                self.decimals = max(self.decimals, _decimals(value))
            elif kind == "date":
                self.plain_dates = self.plain_dates or not isinstance(value, dt.datetime)
                self.days = self.days and not (isinstance(value, dt.datetime) and value.time() != dt.time())

    def kind_of(self, value: Any) -> str | None:
        """The kind of one value; None where it is missing."""
        if value is None or isinstance(value, float | Decimal) and value != value:
            return None
        if isinstance(value, bool):
            return "boolean"
        if isinstance(value, int):
            return None if value in self.words._numbers else "integer"
        if isinstance(value, float | Decimal):
            return None if value in self.words._numbers else "decimal"
        if isinstance(value, DATES):
            return None if self.words._dates and self.words.holds_date(value) else "date"
        if isinstance(value, str):
            return None if self.words.holds(value.strip()) and (value or self.words.empty) else "text"
        return "copied"

    def settle(self) -> list[str]:
        """Decides what the column is; sentences for its reader."""
        if not self.met:
            self.kind = "empty"
        elif "copied" in self.met:
            self.kind = "copied"
            return [f"column {self.name!r} holds values that are no numbers, words or dates: it is copied as it is."]
        elif self.met <= {"integer", "decimal"}:
            self.kind = "decimal" if "decimal" in self.met else "integer"
        elif len(self.met) == 1:
            self.kind = next(iter(self.met))
        else:
            self.kind = "mixed"
            return [f"column {self.name!r} mixes {' and '.join(sorted(self.met))} values: it is read as words."]
        return []

    def is_missing(self, value: Any) -> bool:
        return self.kind_of(value) is None

    def series(self, values: list[Any]) -> Any:
        """A pandas Series of `values`, missing where they say nothing."""
        import pandas as pd

        known = [None if self.kind_of(v) is None else v for v in values]
        if self.kind == "integer":
            return pd.Series(known, dtype="Int64", name=self.name)
        if self.kind == "decimal":
            return pd.Series([None if v is None else float(v) for v in known], dtype="float64", name=self.name)
        if self.kind == "boolean":
            return pd.Series(known, dtype="boolean", name=self.name)
        if self.kind == "date":
            return pd.Series(pd.to_datetime(pd.Series(known, dtype="object"), utc=False), name=self.name)
        return pd.Series([None if v is None else str(v) for v in known], dtype="str", name=self.name)

    def value(self, filled: Any) -> Any:
        """A filled value as the column holds its values."""
        if self.kind == "integer":
            return int(round(filled))
        if self.kind == "decimal":
            return round(float(filled), self.decimals) if self.decimals < 15 else float(filled)
        if self.kind == "boolean":
            return bool(filled)
        if self.kind == "date":
            moment = filled.to_pydatetime() if hasattr(filled, "to_pydatetime") else filled
            if self.days:
                moment = (moment + dt.timedelta(hours=12)).replace(hour=0, minute=0, second=0, microsecond=0)
            return moment.date() if self.plain_dates and self.days else moment.replace(microsecond=0)
        if hasattr(filled, "item"):
            filled = filled.item()
        return filled.to_pydatetime() if hasattr(filled, "to_pydatetime") else filled


def _decimals(value: float | Decimal) -> int:
    text = repr(value) if isinstance(value, float) else str(value)
    return 17 if "e" in text or "E" in text else len(text.partition(".")[2].rstrip("0"))
