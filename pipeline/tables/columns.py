"""What a column of a table is: its kind and why, what its cells were made of, and what is done with it.

    column = inspect(frame)[0]                  # pipeline.tables.inspection
    column.kind, column.why, column.warnings    # "date", "text that %d.%m.%Y writes letter for letter", (…)
    column.text([3.25, None])                   # ["3.3", ""]: values as the column writes them

A Column goes into schema.json with the model (`to_json`, `from_json`), so a model that was loaded knows the same columns.

Shapes: N rows, n known.
"""

from __future__ import annotations

import datetime
import decimal
import math
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import pandas as pd

from pipeline.tables.dates import DateFormat
from pipeline.tables.dtypes import Memory
from pipeline.tables.numbers import Notation
from pipeline.tables.values import from_json, plain, to_json, word

MODELLED, COPIED, IGNORED, RENEWED = "modelled", "copied", "ignored", "renewed"
TREATMENTS = (MODELLED, COPIED, IGNORED, RENEWED)
COUNTED = ("date", "time", "duration", "period")
NUMBERS = ("float", "integer")
WORDS = ("category", "boolean")
KINDS = (*NUMBERS, "boolean", "category", "date", "time", "duration", "period", "id", "text", "ignore")


@dataclass(frozen=True)
class Column:
    """One column of a table, as it was when the model was fitted.

    name: its name as text, unique in the table. label: its name as the table has it.
    kind: one of KINDS. why: what told the kind, one clause. named: whether the user named the kind.
    treatment: modelled; copied (left as it is, gaps too), ignored (copied, as the user asked), renewed (an identifier:
    not modelled; its gaps and new rows get fresh values of the same pattern that no known row has).
    memory: what its cells were made of. rows, missing: how many cells, and how many of them are missing.
    marks: words and numbers that mean "missing" in it; usual: so do the usual words. found_marks: those that were found, and how often.
    levels, shares: of a category, the values that are modelled and how often each occurs; of a number or date with
    few distinct values, these. distinct: how many different known values there are.
    quantiles: 0, 25, 50, 75 and 100 % of the known numbers (counts of `unit` for dates), exact.
    decimals: of every known number; None: continuous. step: all are multiples of step·10^−decimals.
    notation: of numbers in text. format: of dates in text or digits. unit: of the counts of dates, durations, periods.
    origin, scale: a row holds (value − origin) / scale. odd: words among numbers are left alone instead of refused.
    patterns: of an identifier, pipeline.tables.ids. warnings: what `fit` tells the user. notes: what `inspect` adds.
    """

    name: str
    kind: str
    label: Any = None
    why: str = ""
    named: bool = False
    treatment: str = MODELLED
    memory: Memory = field(default_factory=Memory)
    rows: int = 0
    missing: int = 0
    marks: tuple[Any, ...] = ()
    usual: bool = True
    found_marks: tuple[tuple[Any, int], ...] = ()
    levels: tuple[Any, ...] = ()
    shares: tuple[float, ...] = ()
    distinct: int = 0
    quantiles: tuple[Any, ...] = ()
    decimals: int | None = None
    step: int = 1
    notation: Notation = field(default_factory=Notation)
    format: str = ""
    unit: str = ""
    origin: float | int = 0
    scale: float = 1.0
    odd: bool = False
    patterns: tuple[Any, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.treatment not in TREATMENTS:
            raise ValueError(f"Column {self.name!r}: no such kind or treatment: {self.kind!r}, {self.treatment!r}.")
        if not (math.isfinite(self.scale) and self.scale > 0 and math.isfinite(self.origin)):
            raise ValueError(f"Column {self.name!r}: 'scale' must be > 0 and 'origin' finite.")
        numbers = (*self.quantiles, *self.shares, *(() if self.kind in WORDS else self.levels))
        if not all(_is_finite(v) for v in numbers):
            raise ValueError(
                f"Column {self.name!r}: 'quantiles', 'shares' and levels of numbers must be finite numbers."
            )
        if self.format:
            DateFormat(self.format)

    @property
    def modelled(self) -> bool:
        return self.treatment == MODELLED

    @property
    def low(self) -> Any:
        """The least known number or count; None where there is none."""
        return self.quantiles[0] if self.quantiles else None

    @property
    def high(self) -> Any:
        return self.quantiles[-1] if self.quantiles else None

    def text(self, values: Any) -> list[str]:
        """The (N,) texts of cells of this column as a file holds them, "" for a missing one.

        values: a Series, array or list of cells of the column (what `transform` fills in, or what the table holds).
        Numbers get the column's decimals, marks and signs, dates its format, text is text.
        """
        return [self._text(plain(v)) for v in (values.astype(object) if isinstance(values, pd.Series) else values)]

    def _text(self, value: Any) -> str:
        if value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and math.isnan(value)):
            return ""
        if isinstance(value, str):
            return value
        if isinstance(value, bool):
            return str(value)
        if isinstance(value, int | float) and self.kind in NUMBERS:
            whole = self.kind == "integer" and (isinstance(value, int) or float(value).is_integer())
            return self.notation.write(int(value) if whole else float(value), self.decimals)
        if isinstance(value, datetime.datetime) and self.kind in ("date", "time"):
            return self._date_text(value)
        if isinstance(value, decimal.Decimal):
            return format(value, "f")
        return word(value)

    def _date_text(self, value: datetime.datetime) -> str:
        if self.format:
            return DateFormat(self.format).write(value)
        if self.unit in ("D", "M", "Y"):
            return value.strftime("%Y-%m-%d") if value.tzinfo is None else value.isoformat(sep=" ")
        return value.isoformat(sep=" ")

    # -- files -----------------------------------------------------------------------------------------
    def to_json(self) -> dict[str, Any]:
        """The fields that differ from their defaults, in JSON."""
        out: dict[str, Any] = {"name": self.name, "kind": self.kind}
        for entry in fields(self)[2:]:
            value = getattr(self, entry.name)
            if entry.name == "memory":
                out["memory"] = value.to_json()
            elif entry.name == "notation":
                if value != Notation():
                    out["notation"] = vars(value)
            elif entry.name == "found_marks":
                out |= {"found_marks": [[to_json(m), n] for m, n in value]} if value else {}
            elif value != entry.default:
                out[entry.name] = [to_json(v) for v in value] if entry.name in _TUPLES else to_json(value)
        return out

    @staticmethod
    def from_json(raw: dict[str, Any]) -> Column:
        """What `to_json` wrote. Raises ValueError naming the field that is wrong."""
        try:
            given = dict(raw)
            made: dict[str, Any] = {"memory": Memory.from_json(given.pop("memory", {}))}
            made["notation"] = Notation(**_checked_notation(given.pop("notation", {})))
            made["found_marks"] = tuple((from_json(m), _whole(n)) for m, n in given.pop("found_marks", []))
            for name, value in given.items():
                made[name] = tuple(from_json(v) for v in value) if name in _TUPLES else from_json(value)
                if name in _TYPES and (not isinstance(made[name], _TYPES[name]) or _is_wrong_bool(name, made[name])):
                    raise ValueError(f"{name!r} must not be {str(value)[:40]!r}")
            return Column(**made)
        except (TypeError, AttributeError, KeyError, ValueError, OverflowError) as error:
            raise ValueError(f"Not a column of a table: {error}.") from error


_TUPLES = ("marks", "levels", "shares", "quantiles", "patterns", "warnings", "notes")
_TYPES: dict[str, Any] = {
    **dict.fromkeys(("name", "kind", "why", "treatment", "format", "unit"), str),
    **dict.fromkeys(("rows", "missing", "distinct", "step"), int),
    **dict.fromkeys(("named", "odd", "usual"), bool),
    "decimals": int | None,
    "origin": int | float,
    "scale": int | float,
}


def _is_wrong_bool(name: str, value: Any) -> bool:
    return isinstance(value, bool) and name not in ("named", "odd", "usual")


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float | decimal.Decimal) and not isinstance(value, bool) and math.isfinite(value)


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"a count must be a whole number, not {str(value)[:40]!r}")
    return value


def _checked_notation(raw: dict[str, Any]) -> dict[str, Any]:
    for name, value in raw.items():
        if not isinstance(value, bool if name == "fixed" else str):
            raise ValueError(f"'notation.{name}' must not be {str(value)[:40]!r}")
    return raw


def step_size(column: Column) -> float:
    """The distance between neighbouring values that the column may hold, 0 where it is continuous."""
    return 0.0 if column.decimals is None else column.step * 10.0**-column.decimals


def quantiles_of(known: np.ndarray) -> tuple[Any, ...]:
    """0, 25, 50, 75 and 100 % of (n,) known numbers, each one of them."""
    ordered = np.sort(known, kind="stable")
    places = [0, (len(ordered) - 1) // 4, (len(ordered) - 1) // 2, 3 * (len(ordered) - 1) // 4, len(ordered) - 1]
    return tuple(plain(ordered[i]) for i in places)
