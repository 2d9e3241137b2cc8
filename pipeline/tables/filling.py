"""Puts values into the missing cells of a column, in its own dtype where that holds them; no other cell is touched.

Shapes: N rows, n missing.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd

from pipeline.tables import ids
from pipeline.tables.cells import Cells
from pipeline.tables.columns import Column
from pipeline.tables.dtypes import to_dtype
from pipeline.tables.errors import TableError
from pipeline.tables.values import word


def filled(series: pd.Series, gap: np.ndarray, values: list[Any] | np.ndarray, column: Column) -> pd.Series:
    """`series` (N,) with the cells of `gap` (N,) set to the (n,) values of `column`.

    Its dtype stays where it holds the values. Else, a column without a known cell gets the dtype that `fit` saw, an
    integer or boolean column a wider one, any other holds objects.
    """
    if not gap.any():
        return series
    values = list(values)
    if not column.memory.is_text and _holds_text(series, gap):
        values = column.text(values)
    for dtype in _dtypes(series, gap, values, column):
        out = _try(series, gap, values, dtype)
        if out is not None:
            return out
    raise TableError(f"Column {column.name!r}: its dtype {series.dtype} must hold {values[0]!r}. Give it dtype object.")


def _holds_text(series: pd.Series, gap: np.ndarray) -> bool:
    """Whether the known cells are text: new rows from a file of text, for a column of numbers or dates."""
    if isinstance(series.dtype, pd.StringDtype):
        return True
    return pd.api.types.is_object_dtype(series.dtype) and Cells(series, gap).all_text


def _dtypes(series: pd.Series, gap: np.ndarray, values: list[Any], column: Column) -> list[Any]:
    """Dtypes to try, the column's own first."""
    own = series.dtype
    empty = not (series.notna().to_numpy(dtype=bool) & ~gap).any()
    if empty and pd.api.types.is_object_dtype(own) and column.memory.name != "object":
        return [column.memory.dtype(), own]
    if isinstance(own, pd.CategoricalDtype):
        return [_with_levels(own, values, column), np.dtype(object)]
    return [own, *([column.memory.dtype()] if empty else []), np.dtype(object)]


def _with_levels(own: pd.CategoricalDtype, values: list[Any], column: Column) -> pd.CategoricalDtype:
    """The category dtype with the values that it lacks, in the order that `fit` saw where it knows all of them."""
    known = list(own.categories)
    lacking = list(dict.fromkeys(v for v in values if v is not None and v not in own.categories))
    if not lacking:
        return own
    fitted = list(column.memory.categories or ())
    if all(v in fitted for v in [*known, *lacking]):
        together = [v for v in fitted if v in known or v in lacking] if not own.ordered else fitted
        return pd.CategoricalDtype(pd.Index(together, dtype=_inner(own, together)), ordered=own.ordered)
    return pd.CategoricalDtype([*known, *lacking], ordered=own.ordered)


def _inner(own: pd.CategoricalDtype, values: list[Any]) -> Any:
    return None if isinstance(values[0], pd.Interval) else own.categories.dtype


def _try(series: pd.Series, gap: np.ndarray, values: list[Any], dtype: Any) -> pd.Series | None:
    """The filled series in `dtype`, or None where it does not hold the values or the known cells."""
    try:
        if isinstance(dtype, np.dtype) and dtype.kind in "iu" and any(float(v) != int(v) for v in values):
            return None
        if isinstance(dtype, np.dtype) and dtype.kind in "fiu" and any(isinstance(v, str | bool) for v in values):
            return None
        new = to_dtype(values, dtype)
        if dtype != series.dtype:
            base = pd.Series(series.array, index=series.index).astype(object)
            base[gap] = pd.Series(list(new.astype(object)), index=base.index[gap], dtype=object).array
            out = to_dtype(list(base), dtype)
            return pd.Series(out.array, index=series.index, name=series.name, dtype=out.dtype, copy=False)
        if isinstance(dtype, pd.SparseDtype):
            array = series.sparse.to_dense().to_numpy(copy=True)
            array[gap] = new.sparse.to_dense().to_numpy()
            return pd.Series(pd.arrays.SparseArray(array, dtype=dtype), index=series.index, name=series.name)
        array = series.array.copy()
        array[gap] = new.array
        out = pd.Series(array, index=series.index, name=series.name, dtype=dtype, copy=False)
        return out if not out[gap].isna().any() else None
    except (TypeError, ValueError, OverflowError, NotImplementedError, ArithmeticError):
        return None


def renewed(series: pd.Series, gap: np.ndarray, column: Column, rng: np.random.Generator) -> list[Any]:
    """(n,) fresh identifiers for the cells of `gap` (N,): none that `fit` saw, none that stands in `series`."""
    count = int(gap.sum())
    known = series[~gap]
    if not column.patterns:  # whole numbers go on after the largest
        numbers = pd.to_numeric(known, errors="coerce").dropna()
        first = max([int(column.high), *([int(numbers.max())] if len(numbers) else [])]) + 1
        fresh: list[Any] = list(range(first, first + count))
        return [str(v) for v in fresh] if column.memory.is_text else fresh
    if column.memory.cells == "UUID":
        return [ids.fresh_uuid(rng) for _ in range(count)]
    taken = {word(v) for v in known}
    source = ids.fresh(column.patterns, rng, taken)
    return [next(source) for _ in range(count)]


def tell_unfilled(column: Column, gap: np.ndarray) -> None:
    """Warns that the cells of `gap` stay missing."""
    if gap.any():
        cells = "cell stays" if gap.sum() == 1 else "cells stay"
        warnings.warn(
            f"Column {column.name!r}: {int(gap.sum())} missing {cells} missing, for {column.why}; fill it before, or name "
            f"another kind in 'kinds'.",
            UserWarning,
            stacklevel=4,
        )
