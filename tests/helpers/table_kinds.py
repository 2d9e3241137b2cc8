"""Made columns of every kind that people's tables hold, for tests: name → n cells without a gap, and a value that is a gap."""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

START = datetime.datetime(2024, 2, 28)


def _choice(rng: np.random.Generator, values: list[Any], n: int) -> list[Any]:
    return [values[i] for i in rng.integers(0, len(values), n)]


def _days(rng: np.random.Generator, n: int) -> pd.DatetimeIndex:
    return pd.Timestamp("2024-02-28") + pd.to_timedelta(rng.integers(0, 400, n), unit="D")


def _arrow(values: list[Any], kind: pa.DataType) -> pd.Series:
    return pd.Series(pd.array(values, dtype=pd.ArrowDtype(kind)))


COLUMNS: dict[str, Callable[[np.random.Generator, int], pd.Series]] = {
    "float": lambda r, n: pd.Series(r.normal(50, 9, n)),
    "float32": lambda r, n: pd.Series(r.normal(50, 9, n).astype(np.float32)),
    "one decimal": lambda r, n: pd.Series(np.round(r.normal(50, 9, n), 1)),
    "whole float": lambda r, n: pd.Series(r.integers(0, 9, n).astype(float)),
    "tiny": lambda r, n: pd.Series(r.uniform(1, 2, n) * 1e-40),
    "huge": lambda r, n: pd.Series(r.uniform(1, 2, n) * 1e40),
    "offset": lambda r, n: pd.Series(101325.0 + r.normal(0, 0.001, n)),
    "Int64": lambda r, n: pd.Series(r.integers(-5, 99, n)).astype("Int64"),
    "large Int64": lambda r, n: pd.Series(2**60 + r.integers(0, 10**6, n)).astype("Int64"),
    "UInt8": lambda r, n: pd.Series(r.integers(0, 255, n)).astype("UInt8"),
    "Float64": lambda r, n: pd.Series(r.normal(size=n)).astype("Float64"),
    "boolean": lambda r, n: pd.Series(r.random(n) < 0.5).astype("boolean"),
    "string": lambda r, n: pd.Series(_choice(r, ["Ayr", "Bude", "Cork"], n)).astype("string"),
    "str": lambda r, n: pd.Series(_choice(r, ["red", "blue"], n), dtype="str"),
    "codes": lambda r, n: pd.Series(_choice(r, ["00501", "02139", "10001"], n), dtype=object),
    "number text": lambda r, n: pd.Series([str(v) for v in r.integers(20, 60, n)], dtype=object),
    "decimal text": lambda r, n: pd.Series([f"{v:.2f}" for v in r.normal(20, 3, n)], dtype=object),
    "percent text": lambda r, n: pd.Series([f"{v}%" for v in r.integers(0, 100, n)], dtype=object),
    "date text": lambda r, n: pd.Series(_days(r, n).strftime("%d.%m.%Y"), dtype=object),
    "time text": lambda r, n: pd.Series([f"{v // 60:02d}:{v % 60:02d}" for v in r.integers(0, 1440, n)], dtype=object),
    "bool objects": lambda r, n: pd.Series([bool(v) for v in r.random(n) < 0.5], dtype=object),
    "int objects": lambda r, n: pd.Series([int(v) for v in r.integers(0, 9, n)], dtype=object),
    "large int objects": lambda r, n: pd.Series([2**70 + int(v) for v in r.integers(0, 99, n)], dtype=object),
    "Decimal": lambda r, n: pd.Series([decimal.Decimal(int(v)) / 100 for v in r.integers(100, 9999, n)], dtype=object),
    "date objects": lambda r, n: pd.Series(list(_days(r, n).date), dtype=object),
    "time objects": lambda r, n: pd.Series([datetime.time(int(h), 30) for h in r.integers(0, 24, n)], dtype=object),
    "mixed": lambda r, n: pd.Series(_choice(r, [1, "1", True, "A", 2.5], n), dtype=object),
    "UUID": lambda r, n: pd.Series([uuid.UUID(bytes=r.bytes(16), version=4) for _ in range(n)], dtype=object),
    "id text": lambda r, n: pd.Series([f"C-{v:05d}" for v in r.permutation(99999)[:n]], dtype=object),
    "categories": lambda r, n: pd.Series(pd.Categorical(_choice(r, list("SML"), n), ["S", "M", "L", "XL"], ordered=True)),
    "int categories": lambda r, n: pd.Series(pd.Categorical(_choice(r, [10, 20, 30], n))),
    "bands": lambda r, n: pd.Series(pd.cut(r.uniform(0, 10, n), [0, 3, 6, 10])),
    "intervals": lambda r, n: pd.Series(pd.arrays.IntervalArray(_choice(r, [pd.Interval(0, 1), pd.Interval(1, 5)], n))),
    "days": lambda r, n: pd.Series(_days(r, n)),
    "seconds": lambda r, n: pd.Series(pd.Timestamp("2024-05-01") + pd.to_timedelta(r.integers(0, 10**6, n), unit="s")),
    "months": lambda r, n: pd.Series(pd.to_datetime([f"20{y:02d}-{m:02d}-01" for y, m in zip(r.integers(0, 30, n), r.integers(1, 13, n), strict=True)])),
    "local days": lambda r, n: pd.Series(_days(r, n)).dt.tz_localize("Europe/Berlin"),
    "far years": lambda r, n: pd.Series(_choice(r, list(np.array(["0001-01-01", "9999-12-31", "2024-01-05"], "M8[s]")), n)).astype("M8[s]"),
    "durations": lambda r, n: pd.Series(pd.to_timedelta(r.integers(0, 90, n), unit="m")),
    "quarters": lambda r, n: pd.Series(pd.period_range("2019Q1", periods=24, freq="Q")[r.integers(0, 24, n)]),
    "sparse": lambda r, n: pd.Series(pd.arrays.SparseArray(r.poisson(0.5, n).astype(float), fill_value=0.0)),
    "arrow int": lambda r, n: _arrow(r.integers(0, 99, n).tolist(), pa.int64()),
    "arrow text": lambda r, n: _arrow(_choice(r, ["x", "y"], n), pa.string()),
    "arrow date": lambda r, n: _arrow(list(_days(r, n).date), pa.date32()),
    "arrow decimal": lambda r, n: _arrow([decimal.Decimal(int(v)) / 100 for v in r.integers(100, 9999, n)], pa.decimal128(9, 2)),
    "arrow moment": lambda r, n: _arrow(list(_days(r, n).tz_localize("UTC")), pa.timestamp("us", tz="UTC")),
    "constant": lambda r, n: pd.Series([7.0] * n),
    "one level": lambda r, n: pd.Series(["NZ"] * n, dtype="category"),
    "outlier": lambda r, n: pd.Series(np.where(np.arange(n) == 1, 0.0, 1.7e9 + r.uniform(0, 500, n))),
}  # fmt: skip


def with_gaps(series: pd.Series, gap: np.ndarray) -> pd.Series:
    """The column with the cells of `gap` missing, in its own dtype."""
    if isinstance(series.dtype, pd.SparseDtype):
        return pd.Series(pd.arrays.SparseArray(series.sparse.to_dense().mask(gap).to_numpy(), dtype=series.dtype))
    return series.mask(gap, None) if series.dtype == object else series.mask(gap)


def same_cells(one: pd.Series, other: pd.Series, where: np.ndarray) -> bool:
    """Whether the cells of `where` are equal, types included."""
    pairs = zip(one[where].astype(object), other[where].astype(object), strict=True)
    return all(type(a) is type(b) and a == b for a, b in pairs)
