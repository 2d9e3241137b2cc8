"""What the cells of a column were made of, kept so that filled and generated cells are made of the same.

memory = remember(series)                    # pandas dtype, and the Python type of the cells of an object column
again = to_dtype(values, memory.dtype())     # a Series of that dtype, wider where a value is missing
"""

from __future__ import annotations

import base64
import datetime
import decimal
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.tables.values import from_json, plain, to_json

CELL_TYPES: dict[str, type] = {  # the first that fits names the type of a cell
    "bool": bool,
    "int": int,
    "float": float,
    "str": str,
    "Decimal": decimal.Decimal,
    "Timestamp": pd.Timestamp,
    "datetime": datetime.datetime,
    "date": datetime.date,
    "time": datetime.time,
    "Timedelta": pd.Timedelta,
    "timedelta": datetime.timedelta,
}


@dataclass(frozen=True)
class Memory:
    """The dtype of a column.

    name: as pandas prints it. cells: for a column of objects, the type of its cells, one of CELL_TYPES, another type's
    name, or "mixed". zone: of datetime objects. categories, ordered: of a category dtype. arrow: its Arrow type.
    fill: of a sparse dtype. storage: of a string dtype, "storage na".
    """

    name: str = "object"
    cells: str = ""
    zone: str = ""
    categories: tuple[Any, ...] | None = None
    ordered: bool = False
    inner: str = ""
    arrow: str = ""
    fill: Any = None
    storage: str = ""

    def dtype(self) -> Any:
        """The pandas dtype. Raises ValueError where this pandas does not know it."""
        try:
            if self.arrow:
                return pd.ArrowDtype(_arrow_type(self.arrow))
            if self.categories is not None:
                return pd.CategoricalDtype(_categories(self.categories, self.inner), self.ordered)
            if self.name.startswith("Sparse"):
                return pd.SparseDtype(self.inner, np.nan if self.fill is None else self.fill)
            if self.storage:
                return _string_dtype(*self.storage.split(" "))
            return pd.api.types.pandas_dtype(self.name)
        except (TypeError, ValueError, NotImplementedError, AttributeError, ImportError) as error:
            raise ValueError(f"{self.name!r} is no dtype that this pandas knows: {error}") from error

    @property
    def shown(self) -> str:
        """The dtype as people read it: object of Decimal, category of 4."""
        if self.categories is not None:
            return f"{'ordered ' if self.ordered else ''}category of {len(self.categories)}"
        return f"object of {self.cells}" if self.name == "object" and self.cells else self.name

    @property
    def is_text(self) -> bool:
        """Whether the cells are Python strings."""
        return (
            self.cells == "str" or self.name in ("str", "string") or self.name.startswith(("string[", "large_string["))
        )

    def to_json(self) -> dict[str, Any]:
        """The fields that say something, in JSON."""
        raw = {k: v for k, v in vars(self).items() if v not in ("", None, False) and k not in ("categories", "fill")}
        if self.categories is not None:
            raw["categories"] = [to_json(v) for v in self.categories]
        return raw if self.fill is None else raw | {"fill": to_json(self.fill)}

    @staticmethod
    def from_json(raw: dict[str, Any]) -> Memory:
        """What `to_json` wrote. Raises ValueError or TypeError for anything else."""
        fields = dict(raw)
        if "categories" in fields:
            fields["categories"] = tuple(from_json(v) for v in fields["categories"])
        if "fill" in fields:
            fields["fill"] = from_json(fields["fill"])
        for name, value in fields.items():
            kind = {"categories": tuple, "ordered": bool, "fill": object}.get(name, str)
            if not isinstance(value, kind):
                raise ValueError(f"{name!r} of a dtype must be {kind.__name__}. Got {str(value)[:40]!r}.")
        return Memory(**fields)


def remember(series: pd.Series) -> Memory:
    """The memory of a column."""
    dtype = series.dtype
    name = str(dtype)
    if isinstance(dtype, pd.CategoricalDtype):
        kept = tuple(plain(v) for v in dtype.categories)
        return Memory(name, categories=kept, ordered=bool(dtype.ordered), inner=str(dtype.categories.dtype))
    if isinstance(dtype, pd.ArrowDtype):
        return Memory(name, arrow=_arrow_text(dtype.pyarrow_dtype))
    if isinstance(dtype, pd.SparseDtype):
        fill = plain(dtype.fill_value)
        return Memory(name, inner=str(dtype.subtype), fill=None if pd.isna(fill) else fill)
    if isinstance(dtype, pd.StringDtype):
        return Memory(name, storage=f"{dtype.storage} {'NA' if dtype.na_value is pd.NA else 'nan'}")
    if not pd.api.types.is_object_dtype(dtype):
        return Memory(name)
    known = series[series.notna()]
    types = Counter(map(cell_type, known))
    cells = next(iter(types)) if len(types) == 1 else "mixed" if types else ""
    zones = (
        {str(v.tzinfo) for v in known if getattr(v, "tzinfo", None)} if cells in ("datetime", "Timestamp") else set()
    )
    return Memory(name, cells, zone=zones.pop() if len(zones) == 1 else "UTC" if zones else "")


def cell_type(value: Any) -> str:
    """The name of the type of a cell."""
    value = plain(value)
    return next((name for name, kind in CELL_TYPES.items() if isinstance(value, kind)), type(value).__name__)


def dense(series: pd.Series) -> pd.Series:
    """A sparse or Arrow-backed column as the ordinary pandas column with the same cells."""
    dtype = series.dtype
    if isinstance(dtype, pd.SparseDtype):
        return series.sparse.to_dense()
    if isinstance(dtype, pd.ArrowDtype):
        return _from_arrow(series, dtype.pyarrow_dtype)
    return series


def _from_arrow(series: pd.Series, kind: pa.DataType) -> pd.Series:
    if pa.types.is_boolean(kind):
        return series.astype("boolean")
    if pa.types.is_integer(kind):
        return series.astype(str(kind).replace("uint", "UInt").replace("int", "Int"))
    if pa.types.is_floating(kind):
        return series.astype("float32" if pa.types.is_float32(kind) else "float64")
    if pa.types.is_timestamp(kind):
        return series.astype(f"datetime64[{kind.unit}, {kind.tz}]" if kind.tz else f"datetime64[{kind.unit}]")
    if pa.types.is_duration(kind):
        return series.astype(f"timedelta64[{kind.unit}]")
    cells = series.array.__arrow_array__().to_pylist()
    return pd.Series(cells, index=series.index, dtype=object, name=series.name)


def to_dtype(values: list[Any], dtype: Any) -> pd.Series:
    """(N,) `values`, None where missing, as a Series of `dtype`; integers with a gap as float, booleans as objects.

    Raises what pandas raises where a value does not fit.
    """
    series = pd.Series(values, dtype=object)
    gap = series.isna()
    if isinstance(dtype, pd.ArrowDtype):
        array = pa.array([None if g else v for g, v in zip(gap, values, strict=True)], type=dtype.pyarrow_dtype)
        return pd.Series(pd.array(array, dtype=dtype))
    if isinstance(dtype, pd.SparseDtype):
        return series.astype(float if dtype.subtype.kind == "f" else dtype.subtype).astype(dtype)
    if isinstance(dtype, np.dtype) and dtype.kind in "iu":
        return series.astype(float) if gap.any() else series.astype(dtype)
    if isinstance(dtype, np.dtype) and dtype.kind == "b":
        return series if gap.any() else series.astype(bool)
    if isinstance(dtype, np.dtype) and dtype.kind == "f":
        return series.astype(float).astype(dtype)
    if isinstance(dtype, np.dtype) and dtype.kind in "US":
        return series
    if pd.api.types.is_object_dtype(dtype):
        return series
    if isinstance(dtype, pd.CategoricalDtype):
        return pd.Series(pd.Categorical(series, dtype=dtype))
    return series.where(~gap, None).astype(dtype)


def _categories(values: tuple[Any, ...], inner: str) -> pd.Index:
    if inner.startswith("interval"):
        return pd.IntervalIndex(values) if values else pd.Index([], dtype=inner)
    if inner.startswith(("datetime64", "timedelta64", "period")):
        return pd.Index(list(values), dtype=inner)
    return pd.Index(list(values), dtype=object if "pyarrow" in inner else inner)


def _string_dtype(storage: str, missing: str) -> pd.StringDtype:
    return pd.StringDtype(storage, na_value=np.nan) if missing == "nan" else pd.StringDtype(storage)


def _arrow_text(kind: pa.DataType) -> str:
    return base64.b64encode(pa.schema([pa.field("x", kind)]).serialize().to_pybytes()).decode("ascii")


def _arrow_type(text: str) -> pa.DataType:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text, validate=True))).field(0).type
