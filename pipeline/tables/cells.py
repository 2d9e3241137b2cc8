"""The cells of one column, in one form whatever they came in: dense, distinct values and places, known or not.

    cells = Cells(series)
    cells.known                 # (N,) bool
    cells.distinct, cells.place # Python values, and which of them each cell holds; −1 where missing

Shapes: N rows, D distinct values.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from pipeline.tables.dtypes import dense
from pipeline.tables.values import level_key, plain


class Cells:
    """Cells of a column. gap: (N,) bool, cells that count as missing although they hold something."""

    def __init__(self, series: pd.Series, gap: np.ndarray | None = None) -> None:
        self.series = dense(series)
        self.known = self.series.notna().to_numpy(dtype=bool)
        if gap is not None:
            self.known = self.known & ~gap

    def __len__(self) -> int:
        return len(self.known)

    @property
    def dtype(self) -> Any:
        return self.series.dtype

    @cached_property
    def unhashable(self) -> str:
        """The type of a cell that cannot be compared, such as a list; "" where there is none."""
        if self.dtype != object:
            return ""
        found = next((v for v in self.series[self.known] if not isinstance(v, Hashable) or not _hashes(v)), None)
        return "" if found is None else type(found).__name__

    @cached_property
    def _found(self) -> tuple[list[Any], np.ndarray]:
        if isinstance(self.dtype, pd.CategoricalDtype):
            place = np.where(self.known, self.series.cat.codes.to_numpy().astype(np.int64), -1)
            return _used([plain(v) for v in self.dtype.categories], place)
        if self.dtype == object:
            return _distinct_objects(self.series, self.known)
        place, values = pd.factorize(self.series)
        return _used([plain(v) for v in values], np.where(self.known, place, -1))

    @property
    def distinct(self) -> list[Any]:
        """D Python values, in order of first appearance (of a category dtype: of its categories)."""
        return self._found[0]

    @property
    def place(self) -> np.ndarray:
        """(N,) int64 place among `distinct`; −1 where missing."""
        return self._found[1]

    @cached_property
    def counts(self) -> np.ndarray:
        """(D,) int64 how often each distinct value occurs."""
        return np.bincount(self.place[self.place >= 0], minlength=len(self.distinct))

    @cached_property
    def all_text(self) -> bool:
        """Whether there is a known cell, and all are Python strings."""
        if isinstance(self.dtype, np.dtype) and self.dtype.kind in "iufbmM":
            return False
        return bool(self.distinct) and all(isinstance(v, str) for v in self.distinct)

    def spread(self, function: Callable[[Any], float]) -> np.ndarray:
        """(N,) float64: `function` of each cell's value, asked once a distinct value; NaN where missing."""
        found = np.array([function(v) for v in self.distinct] + [np.nan], float)
        return found[self.place]

    def without(self, gap: np.ndarray) -> Cells:
        """The cells with those of `gap` (N,) counted as missing too."""
        return Cells(self.series, ~self.known | gap) if gap.any() else self


def _hashes(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _distinct_objects(series: pd.Series, known: np.ndarray) -> tuple[list[Any], np.ndarray]:
    kind = pd.api.types.infer_dtype(series[known], skipna=True)
    if kind in ("string", "boolean", "integer"):  # of one type: pandas is fast, and 1 does not meet True
        place, values = pd.factorize(series)
        return _used([plain(v) for v in values], np.where(known, place, -1))
    seen: dict[Any, int] = {}
    values, place = [], np.full(len(series), -1, np.int64)
    for row in np.flatnonzero(known):
        value = plain(series.iat[row])
        found = seen.setdefault(level_key(value), len(values))
        if found == len(values):
            values.append(value)
        place[row] = found
    return values, place


def _used(values: list[Any], place: np.ndarray) -> tuple[list[Any], np.ndarray]:
    """Only the values that a known cell holds, in their order."""
    used = np.unique(place[place >= 0])
    if len(used) == len(values):
        return values, place.astype(np.int64)
    again = np.full(len(values) + 1, -1, np.int64)
    again[used] = np.arange(len(used))
    return [values[i] for i in used], again[place]
