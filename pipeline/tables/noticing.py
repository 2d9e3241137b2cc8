"""What is odd about a column, in sentences: constant, nearly empty, marks for missing, outliers, row numbers.

`warnings` are told by `fit`; `notes` by `inspect` alone.

Shapes: D distinct values.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.rows.bins import is_gap
from pipeline.tables import ids, sentinels
from pipeline.tables.cells import Cells
from pipeline.tables.columns import Column
from pipeline.tables.moments import from_counts
from pipeline.tables.numbers import offsets
from pipeline.tables.values import word

NEARLY_EMPTY = 0.95  # share of missing cells from which a column is said to be
SMALL_MARK = 99  # a number below it is named by `inspect` alone: it is a value too often


def noticed(column: Column, cells: Cells) -> Column:
    """The column with what is odd about its cells."""
    told, notes = list(column.warnings), list(column.notes)
    if column.distinct == 1 and column.missing and column.kind in ("category", "boolean"):  # a cross in some cells
        only = repr(cells.distinct[0])
        told.append(f"{only} is its only value, and gaps get it; where an empty cell means no, write that in it")
    elif column.distinct == 1:
        notes.append("it is constant")
    if column.missing >= NEARLY_EMPTY * column.rows:
        notes.append(f"nearly empty: {column.rows - column.missing} known cells of {column.rows}")
    if column.kind == "category" and column.distinct > 2:
        found = sentinels.words(cells.distinct, cells.counts)
        told += [_may_be_missing(column, repr(text), count) for text, count in found]
        told += _alike(cells)
    if column.kind in ("float", "integer") and not column.odd:
        _about_numbers(column, cells, told, notes)
    return replace(column, warnings=tuple(told), notes=tuple(notes))


def odd_dates(column: Column, distinct: np.ndarray, counts: np.ndarray) -> Column:
    """The column of dates with a warning of each that looks like a mark; distinct, counts: (D,) counts of its unit."""
    if column.kind != "date" or column.unit not in ("D", "h", "m", "s", "ms", "us", "ns"):
        return column
    ends = [np.datetime64(int(v), column.unit).astype("M8[D]").item() for v in distinct[[0, -1]]]
    if not all(hasattr(day, "year") for day in ends):  # beyond the years that Python counts
        return column
    told = []
    for place, count in sentinels.dates(distinct, counts, ends):
        cell = from_counts([int(distinct[place])], column.kind, column.unit, column.format, column.memory)[0]
        text = cell if isinstance(cell, str) else str(ends[0 if place == 0 else -1])
        told.append(_may_be_missing(column, repr(text), count))
    return replace(column, warnings=(*column.warnings, *told))


def _alike(cells: Cells) -> list[str]:
    """A sentence about words that differ in capitals or spaces alone."""
    groups: dict[str, list[str]] = {}
    for text in cells.distinct:
        if isinstance(text, str):
            groups.setdefault(" ".join(text.casefold().split()), []).append(text)
    found = [group for group in groups.values() if len(group) > 1]
    if not found:
        return []
    more = f", and {len(found) - 1} more such" if len(found) > 1 else ""
    return [
        f"{', '.join(map(repr, found[0][:5]))} differ in capitals or spaces alone{more}: they count as different words"
    ]


def _about_numbers(column: Column, cells: Cells, told: list[str], notes: list[str]) -> None:
    found = offsets(column.name, cells, 0, 1.0, column.notation, odd=False)[cells.known]
    distinct, counts = np.unique(found, return_counts=True)
    marks = sentinels.numbers(distinct, counts)
    for value, count in marks:
        text = _may_be_missing(column, _number(value), count)
        (notes if abs(value) < SMALL_MARK else told).append(text)
    named = {value for value, _ in marks}
    lone = [pair for pair in sentinels.apart(distinct, counts) if pair[0] not in named]
    notes += [_may_be_missing(column, _number(value), count, "stands apart and ") for value, count in lone]
    wide = is_gap(distinct)
    if wide.any() and not marks and not lone:
        place = int(wide.argmax())
        low = place + 1 <= len(distinct) - place - 1
        value = distinct[place] if low else distinct[place + 1]
        notes.append(f"far from the others: {number_text(value)}")
    if column.kind == "integer" and ids.unique_enough(len(distinct), len(found)) and np.ptp(distinct) < 2 * len(found):
        notes.append(
            "every value differs and they follow one another: it may be a row number; kinds='ignore' leaves it out"
        )


def _may_be_missing(column: Column, shown: str, count: int, how: str = "") -> str:
    return f"{shown} ({count} cells) {how}may mean a missing cell; missing={{{column.name!r}: [{shown}]}} says so"


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else word(value)


def number_text(value: float) -> str:
    """A number as a sentence shows it."""
    return str(int(value)) if float(value).is_integer() and abs(value) < 1e15 else f"{value:.6g}"
