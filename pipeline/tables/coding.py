"""Cells of a column ↔ the numbers that a row holds.

    codes = codes_of(column, Cells(series))     # (N,) float64, NaN where missing or not known to the model
    cells = cells_of(column, codes)             # list of cells: numbers, text, dates … as the column's were

Shapes: N rows.
"""

from __future__ import annotations

import decimal
from typing import Any

import numpy as np

from pipeline.tables.cells import Cells
from pipeline.tables.columns import COUNTED, WORDS, Column
from pipeline.tables.describing import odd_cells
from pipeline.tables.errors import told_as
from pipeline.tables.moments import counts_of, from_counts, moments, periods, zone_of
from pipeline.tables.numbers import array_offsets, offsets
from pipeline.tables.values import level_key, word
from pipeline.tables.words import marked

EXACT = 4 * float(np.finfo(np.float32).eps)  # of a code: as near as this to a known value, it is that value


def known_cells(column: Column, series: Any) -> Cells:
    """The cells of a column of any table, with its marks counted as missing."""
    cells = Cells(series)
    return cells.without(marked(cells, column.marks, column.usual)) if not cells.unhashable else cells


def codes_of(column: Column, cells: Cells) -> np.ndarray:
    """(N,) float64 codes. Raises TableError naming a cell that does not fit the kind of the column."""
    remedy = "Give it the kind of cells that fit saw, or fit again."
    with told_as(f"Column {column.name!r} cannot be read as {column.kind}", remedy):
        if column.kind in WORDS:
            return _level_codes(column, cells)
        if column.odd:
            cells = cells.without(odd_cells(column, cells))
        if column.kind in COUNTED:
            return _counts(column, cells)
        return offsets(column.name, cells, column.origin, column.scale, column.notation, odd=False)


def _level_codes(column: Column, cells: Cells) -> np.ndarray:
    exact = {level_key(v): i for i, v in enumerate(column.levels)}
    by_text: dict[str, int] = {}
    for i, value in enumerate(column.levels):
        by_text[word(value)] = -1 if word(value) in by_text else i  # 1 and "1" are told apart by their type alone
    if column.kind == "boolean":
        exact |= {("number", int(v)): i for i, v in enumerate(column.levels) if isinstance(v, bool)}

    def code(value: Any) -> float:
        found = exact.get(level_key(value), by_text.get(word(value), -1))
        return float(found) if found >= 0 else np.nan

    return cells.spread(code)


def _counts(column: Column, cells: Cells) -> np.ndarray:
    out = np.full(len(cells), np.nan)
    if column.kind == "period":
        counts = periods(cells, column.unit)[cells.known]
    else:
        found = moments(column.name, column.kind, cells, column.format, zone_of(column.memory))[cells.known]
        counts = counts_of(found, column.unit, column.kind)
    out[cells.known] = array_offsets(counts, int(column.origin)) / column.scale
    return out


# -- back --------------------------------------------------------------------------------------------
def cells_of(column: Column, codes: np.ndarray, *, means: bool = False) -> list[Any] | np.ndarray:
    """(N,) cells of (N,) codes: an array for plain numbers, else a list; None (NaN in an array) where a code is NaN.

    means: the codes are means. A number comes with the decimals and steps of the column and inside its range, and is
    exactly a known value where it is as near as float32 can tell.
    """
    codes = np.asarray(codes, np.float64)
    if column.kind in WORDS:
        return [None if np.isnan(c) else column.levels[int(c)] for c in codes]
    known = ~np.isnan(codes)
    found = _numbers(column, codes[known], means)
    if column.kind in COUNTED:
        counts: list[int | None] = [None] * len(codes)
        for row, value in zip(np.flatnonzero(known), found, strict=True):
            counts[row] = int(value)
        return from_counts(counts, column.kind, column.unit, column.format, column.memory)
    return _typed(column, known, found)


def _numbers(column: Column, codes: np.ndarray, means: bool) -> np.ndarray:
    """(n,) numbers or counts of known codes: int64, float64, or objects where these would lose digits."""
    offset = codes * column.scale
    whole = column.kind in ("integer", *COUNTED) and float(column.origin).is_integer()
    if not whole:
        out = _rounded(column, float(column.origin) + offset)
    elif abs(int(column.origin)) < 2**62 and (not len(offset) or np.abs(offset).max() < 2**62):
        out = int(column.origin) + np.rint(offset).astype(np.int64)
        if column.step > 1:
            out = np.rint(out / column.step).astype(np.int64) * column.step
    else:
        out = np.array([int(column.origin) + round(v) for v in offset], dtype=object)
    if column.levels:
        out = _nearest_known(column, codes, out, means)
    if column.low is not None and len(out):
        low, high = (
            (float(column.low), float(column.high)) if out.dtype.kind == "f" else (int(column.low), int(column.high))
        )
        out = np.minimum(np.maximum(out, low), high)
    return out


def _rounded(column: Column, values: np.ndarray) -> np.ndarray:
    if column.decimals is None:
        return values
    unit = 10.0**column.decimals
    units = np.rint(values * unit / column.step) * column.step
    return np.round(units / unit, column.decimals)


def _nearest_known(column: Column, codes: np.ndarray, out: np.ndarray, means: bool) -> np.ndarray:
    """`out` with the known value where a code is that value's; the mean of text of digits is always a known one."""
    known = np.array([(v - _like(v, column.origin)) for v in column.levels], float) / column.scale
    place = np.abs(codes[:, None] - known[None]).argmin(1)
    always = means and column.memory.is_text and column.kind == "integer"
    near = np.abs(codes - known[place]) <= EXACT * np.maximum(np.abs(codes), np.abs(known).max(initial=0.0) * 1e-3)
    chosen = near | always
    if not chosen.any():
        return out
    values = np.array([_plain_number(v) for v in column.levels], dtype=out.dtype if out.dtype.kind in "fi" else object)
    return np.where(chosen, values[place], out)


def _like(value: Any, origin: float | int) -> Any:
    return decimal.Decimal(origin) if isinstance(value, decimal.Decimal) else origin


def _plain_number(value: Any) -> Any:
    return float(value) if isinstance(value, decimal.Decimal) else value


def _typed(column: Column, known: np.ndarray, found: np.ndarray) -> list[Any] | np.ndarray:
    """The (N,) cells of the n known numbers, in the type that the column's cells had."""
    cells, decimals = column.memory.cells, column.decimals
    if column.memory.is_text:
        write = column.notation.write
        texts = [write(int(v) if column.kind == "integer" else float(v), decimals) for v in found]
        return _spread(known, texts)
    if cells == "Decimal" or column.memory.name.startswith("decimal"):
        if decimals is None:
            return _spread(known, [decimal.Decimal(repr(float(v))) for v in found])
        unit = decimal.Decimal(1).scaleb(-decimals)
        return _spread(
            known, [decimal.Decimal(repr(v.item() if hasattr(v, "item") else v)).quantize(unit) for v in found]
        )
    if cells in ("int", "float", "mixed", "bool"):
        as_whole = {"int": True, "float": False}.get(cells, column.kind == "integer")
        return _spread(known, [int(round(v)) if as_whole else float(v) for v in found])
    if known.all():
        return found
    if found.dtype == object:
        return _spread(known, list(found))
    out = np.full(len(known), np.nan)
    out[known] = found
    return out


def _spread(known: np.ndarray, values: list[Any]) -> list[Any]:
    out: list[Any] = [None] * len(known)
    for row, value in zip(np.flatnonzero(known), values, strict=True):
        out[row] = value
    return out
