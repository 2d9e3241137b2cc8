"""What biglearn sees in the columns of a table, before anything is fitted.

columns = inspect(frame)                    # list of Column
print(table_of(columns))                    # as `biglearn inspect table.csv` prints it
"""

from __future__ import annotations

from typing import Any

from pipeline.tables.codec import describe_all
from pipeline.tables.columns import COUNTED, NUMBERS, Column
from pipeline.tables.describing import Wishes
from pipeline.tables.errors import TableError
from pipeline.tables.moments import UNIT_NAMES, shown_count
from pipeline.tables.values import word

WIDEST = 44  # characters of a cell of the printed table
FEW_VALUES = 12  # of whole numbers that may be codes
SHOWN_LEVELS = 4


def inspect(
    frame: Any,
    *,
    kinds: dict[str, str] | None = None,
    missing: list[Any] | dict[str, list[Any]] | None = None,
    formats: dict[str, str] | None = None,
    text_cells: str | None = None,
    max_categories: int = 256,
) -> list[Column]:
    """The Column of every column of a table: a pandas, polars or Arrow table.

    kinds: column → kind, where the inferred one is wrong. missing: words and numbers that mean a missing cell, for all
    columns or by column; None: the usual words. formats: column → format of its dates (%d.%m.%Y). text_cells: None where cells
    have types; else every cell is text, as in a CSV file, and this is the decimal mark of its numbers, with the mark of
    thousands if there is one: ".", ",", ".,", ",.". Raises TableError.
    """
    from pipeline.tables.containers import to_pandas

    wishes = wishes_from(kinds, missing, formats, text_cells, max_categories)
    return describe_all(to_pandas(frame), wishes)


def wishes_from(
    kinds: dict[str, str] | None,
    missing: list[Any] | dict[str, list[Any]] | None,
    formats: dict[str, str] | None,
    text_cells: str | None = None,
    max_categories: int = 256,
) -> Wishes:
    """The wishes of an estimator's arguments. Raises TableError for marks of numbers that are none."""
    if text_cells is not None and (
        not isinstance(text_cells, str) or text_cells[:1] not in (".", ",") or len(text_cells) > 2
    ):
        raise TableError(
            f"'text_cells' must be None, or a decimal mark . or , and a mark of thousands. Got {text_cells!r}."
        )
    for name, value, kind in (
        ("kinds", kinds, dict),
        ("formats", formats, dict),
        ("missing", missing, list | tuple | dict),
    ):
        if value is not None and not isinstance(value, kind):
            wanted = "a list, or a dict of column → list" if name == "missing" else "a dict of column → text"
            raise TableError(f"'{name}' must be None or {wanted}. Got {value!r}.")
    for name, marks in missing.items() if isinstance(missing, dict) else ():
        if isinstance(marks, str) or not isinstance(marks, list | tuple | set):
            raise TableError(f"'missing' of column {name!r} must be a list of words or numbers. Got {marks!r}.")
    by_column = {str(k): tuple(v) for k, v in missing.items()} if isinstance(missing, dict) else {}
    return Wishes(
        kinds={str(k): v for k, v in (kinds or {}).items()},
        missing=None if missing is None or isinstance(missing, dict) else tuple(missing),
        missing_in=by_column,
        formats={str(k): v for k, v in (formats or {}).items()},
        typed=text_cells is None,
        point=(text_cells or ".")[0],
        thousands=(text_cells or "")[1:],
        max_categories=max_categories,
    )


def table_of(columns: list[Column]) -> str:
    """A table of the columns, one a line, and below it what is odd about them."""
    head = ("column", "kind", "cells", "missing", "values", "treatment", "why")
    lines = [head, *(_line(c) for c in columns)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head) - 1)]
    text = [
        " ".join([*(cell.ljust(w) for cell, w in zip(line, widths, strict=False)), line[-1]]).rstrip() for line in lines
    ]
    text.insert(1, " ".join("-" * w for w in [*widths, max(len(line[-1]) for line in lines)]))
    told = [f"  {c.name}: {note}" for c in columns for note in (*c.warnings, *c.notes)]
    codes = [c.name for c in columns if _may_be_codes(c)]
    if codes:
        told.append(
            f"  {', '.join(codes)}: few whole numbers in a row. Where they are codes and not amounts, "
            f"kinds={{{codes[0]!r}: 'category', …}} fills in the likeliest code, not a mean"
        )
    return "\n".join([*text, *(["", "Look at:", *told] if told else [])])


def _line(column: Column) -> tuple[str, ...]:
    return (
        _short(column.name),
        column.kind,
        column.memory.shown,
        _missing(column),
        _short(_values(column)),
        column.treatment,
        column.why,
    )


def _missing(column: Column) -> str:
    if not column.missing:
        return "0"
    share = f"{column.missing} ({column.missing / column.rows:.1%})"
    marks = ", ".join(repr(m) for m, _ in column.found_marks[:3])
    return f"{share}: {marks}" if marks else share


def _values(column: Column) -> str:
    """The range of numbers and dates, the levels of a category."""
    if column.kind in COUNTED and column.quantiles:
        low, high = (shown_count(int(v), column.kind, column.unit) for v in (column.low, column.high))
        form = f", {column.format}" if column.format else ""
        return f"{low} … {high} ({UNIT_NAMES.get(column.unit, column.unit)}{form})"
    if column.kind in NUMBERS and column.quantiles:
        steps = (
            "" if column.decimals in (None, 0) else f" ({column.decimals} decimal{'s' if column.decimals > 1 else ''})"
        )
        few = f" ({column.distinct} values)" if not steps and 1 < column.distinct <= FEW_VALUES else ""
        return f"{_number(column, column.low)} … {_number(column, column.high)}{steps}{few}"
    if column.levels:
        common = sorted(zip(column.levels, column.shares, strict=True), key=lambda pair: -pair[1])
        names = ", ".join(f"{word(v)} {s:.0%}" for v, s in common[:SHOWN_LEVELS])
        return f"{column.distinct}: {names}" + (", …" if len(common) > SHOWN_LEVELS else "")
    return f"{column.distinct} different" if column.distinct else ""


def _may_be_codes(column: Column) -> bool:
    """Whether a column holds a few whole numbers that (nearly) follow one another; of two the mean is a code anyway."""
    if column.kind != "integer" or column.named or not column.modelled or not 3 <= column.distinct <= FEW_VALUES:
        return False
    return column.distinct >= 0.6 * (int(column.high) - int(column.low) + 1)


def _number(column: Column, value: Any) -> str:
    return column.text([value])[0] if column.decimals is not None else f"{float(value):.6g}"


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"
