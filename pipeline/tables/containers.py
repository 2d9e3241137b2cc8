"""Tables of other libraries as pandas tables, and back: polars and Arrow frames, through narwhals.

Shapes: N rows, C columns.
"""

from __future__ import annotations

from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import pandas as pd
import pyarrow as pa

from pipeline.tables.errors import TableError, told_as


def is_frame(X: object) -> bool:
    """Whether X is a table with named columns: pandas, or another library's that narwhals knows."""
    return isinstance(X, pd.DataFrame) or _foreign(X) is not None


def _foreign(X: object) -> Any:
    if isinstance(X, pd.DataFrame | np.ndarray | list):
        return None
    found = nw.from_native(X, pass_through=True)
    if isinstance(found, nw.LazyFrame):
        raise TableError(f"A table must be in memory. Got a lazy {type(X).__name__}. Give its .collect().")
    return found if isinstance(found, nw.DataFrame) else None


def to_pandas(X: object) -> pd.DataFrame:
    """X as a pandas DataFrame; the columns of another library keep their types as Arrow's.

    Raises TableError for what is no table.
    """
    if isinstance(X, pd.DataFrame):
        return X
    frame = _foreign(X)
    if frame is None:
        raise TableError(f"A table must be a pandas, polars or Arrow table. Got {type(X).__name__}.")
    with told_as("The table cannot be read through Arrow", "Give its .to_pandas()."):
        return arrow_frame(frame.to_arrow())


def arrow_frame(table: pa.Table) -> pd.DataFrame:
    """A pandas DataFrame with the Arrow columns of `table`; dictionaries become pandas categories."""
    columns = {}
    for position, kind in enumerate(table.schema.types):
        column = table.column(position)
        if pa.types.is_dictionary(kind):
            columns[position] = column.to_pandas()
        else:
            columns[position] = pd.Series(
                pd.array(
                    column.combine_chunks() if column.num_chunks != 1 else column.chunk(0), dtype=pd.ArrowDtype(kind)
                )
            )
    return pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows)).set_axis(table.column_names, axis=1)


def library_of(X: object) -> str:
    """The library of a table: pandas, polars, pyarrow, …; pandas for an array."""
    frame = _foreign(X)
    return "pandas" if frame is None else frame.implementation.value


def in_library(frame: pd.DataFrame, library: str) -> Any:
    """A pandas table as one of `library`, as `library_of` names it. Raises TableError where that cannot be imported."""
    if library == "pandas":
        return frame
    with told_as(f"The table cannot be made one of {library}", f"Install {library}, or fit on a pandas table."):
        return nw.from_arrow(pa.Table.from_pandas(frame, preserve_index=False), backend=library).to_native()


def like(X: object, filled: pd.DataFrame, changed: list[bool] | None = None) -> Any:
    """`filled` as a table of X's library. changed: which columns differ from X's; the others are X's own.

    filled: has X's columns in X's order.
    """
    if isinstance(X, pd.DataFrame):
        return filled
    frame = _foreign(X)
    with told_as("The filled table cannot be written through Arrow", "Give the table's .to_pandas()."):
        columns = []
        for position, name in enumerate(frame.columns):
            own = frame[name]
            columns.append(
                own if changed is not None and not changed[position] else _column(own, filled.iloc[:, position])
            )
        return frame.select(*columns).to_native()


def _column(own: Any, series: pd.Series) -> Any:
    """A narwhals column like `own` that holds `series`."""
    backend = own.implementation
    kind = own.dtype
    array = pa.array(series.array) if isinstance(series.dtype, pd.ArrowDtype) else pa.array(series, from_pandas=True)
    made = nw.from_arrow(pa.table({own.name: array}), backend=backend)[own.name]
    return (
        made
        if made.dtype == kind or isinstance(series.dtype, pd.CategoricalDtype) and kind != nw.Enum
        else made.cast(kind)
    )
