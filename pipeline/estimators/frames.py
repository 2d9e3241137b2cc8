"""What users hand to an estimator — frames of any library, arrays of any dtype — as one pandas table, and back.

Names say which column is which, never positions: a frame with another order of columns is put in the order of `fit`,
and comes back in its own. An array has positions alone.

Shapes: N rows, C columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.validation import validate_data

from pipeline.tables.codec import column_names
from pipeline.tables.containers import in_library, is_frame, library_of, like, to_pandas
from pipeline.tables.errors import TableError


@dataclass(frozen=True)
class Given:
    """A table as it was given. frame: its columns in the order of `fit`, named by position 0…C−1. order: (C,) where each
    of X's columns stands in `frame`."""

    X: Any
    frame: pd.DataFrame
    order: np.ndarray


def read(estimator: Any, X: object, *, reset: bool) -> Given:
    """X for an estimator. reset: `fit` reads it, and names and number of columns are noted on the estimator.

    Raises TableError for columns that `fit` saw and X lacks, or has in addition, and for names that repeat; ValueError or
    TypeError, as scikit-learn words them, for what is no table.
    """
    if isinstance(X, np.ndarray) and X.dtype.names:
        return _read_frame(estimator, X, pd.DataFrame({n: X[n] for n in X.dtype.names}), reset)
    if is_frame(X):
        return _read_frame(estimator, X, to_pandas(X), reset)
    hidden = np.ma.getmaskarray(X) if isinstance(X, np.ma.MaskedArray) else None
    array = _array(estimator, np.asarray(X) if hidden is not None else X, reset)
    if reset:
        estimator._labels, estimator._library, estimator._axis_names = None, "pandas", [None]
    frame = pd.DataFrame(array, copy=hidden is not None)
    if hidden is not None and hidden.any():
        frame = frame.astype(object).mask(hidden)
        frame = frame.astype(float) if array.dtype.kind in "iuf" and not _large(array) else frame
    return Given(X, frame.set_axis(range(frame.shape[1]), axis=1), np.arange(frame.shape[1]))


def _large(array: np.ndarray) -> bool:
    return (
        array.dtype.kind in "iu"
        and array.dtype.itemsize == 8
        and bool(array.size)
        and np.abs(array.astype(float)).max() > 2**53
    )


def _array(estimator: Any, X: object, reset: bool) -> np.ndarray:
    if isinstance(X, list | tuple) and any(
        isinstance(v, str) or v is None for row in X if isinstance(row, list | tuple) for v in row
    ):
        X = np.array(X, dtype=object)  # each cell keeps its type; NumPy would write numbers as text
    array = validate_data(estimator, X, reset=reset, dtype=None, ensure_all_finite=False)
    if array.dtype.kind not in "OUSmMb":
        array = validate_data(estimator, X, reset=reset, dtype="numeric", ensure_all_finite="allow-nan")
    return array


def _read_frame(estimator: Any, X: Any, frame: pd.DataFrame, reset: bool) -> Given:
    names, count = column_names(frame), frame.shape[1]
    if reset:
        estimator._labels = list(frame.columns)
        estimator._library, estimator._axis_names = library_of(X), list(frame.columns.names)
        estimator.n_features_in_ = count
        if all(isinstance(label, str) for label in frame.columns):
            estimator.feature_names_in_ = np.asarray(names, dtype=object)
        elif hasattr(estimator, "feature_names_in_"):
            del estimator.feature_names_in_
        order = np.arange(count)
    elif estimator._labels is None:  # fitted on an array: positions alone
        validate_data(estimator, frame.set_axis(names, axis=1), reset=False, skip_check_array=True)
        order = np.arange(count)
    else:
        order = _places(estimator, names)
    inverse = np.empty(count, np.int64)
    inverse[order] = np.arange(count)
    return Given(X, frame.iloc[:, inverse].set_axis(range(count), axis=1), order)


def _places(estimator: Any, names: list[str]) -> np.ndarray:
    """(C,) the place in the fitted table of each of X's columns."""
    fitted = {str(label): i for i, label in enumerate(estimator._labels)}
    absent = [c for c in fitted if c not in set(names)]
    extra = [c for c in names if c not in fitted]
    if absent or extra:
        raise TableError(
            f"X must have the columns that fit saw, in any order. Missing: {absent[:20]}; in addition: {extra[:20]}. Add a "
            f"column without values for one that is missing, and drop those in addition."
        )
    return np.array([fitted[name] for name in names], np.int64)


def names_of(estimator: Any) -> list[str]:
    """(C,) names of the fitted columns as text; x0, x1, … of an array."""
    labels = estimator._labels
    return [f"x{i}" for i in range(estimator.n_features_in_)] if labels is None else [str(label) for label in labels]


def labels_out(estimator: Any) -> np.ndarray:
    """(C,) names of the columns as the fitted table has them."""
    out = np.empty(estimator.n_features_in_, dtype=object)
    out[:] = names_of(estimator) if estimator._labels is None else estimator._labels
    return out


def new(estimator: Any, rows: pd.DataFrame) -> Any:
    """Drawn rows, columns named by text, as a table of the fitted one's library with its names."""
    if estimator._labels is None or estimator._library != "pandas":
        return in_library(rows, estimator._library)
    labels = {str(label): label for label in estimator._labels}
    columns = pd.Index([labels[c] for c in rows.columns])
    columns.names = estimator._axis_names
    return rows.set_axis(columns, axis=1)


def back(estimator: Any, given: Given, filled: pd.DataFrame) -> Any:
    """`filled`, columns in the order of `fit`, as X was: its library, its order of columns, names, index and dtype.

    Where `set_output` asks for another library the columns come in the order of `fit`, for scikit-learn names them by
    position. A masked array comes back without a masked cell.
    """
    X, asked = given.X, _get_output_config("transform", estimator)["dense"]
    if isinstance(X, np.ndarray) and X.dtype.names:
        out = np.empty(len(X), X.dtype)
        for i, name in enumerate(X.dtype.names):
            out[name] = filled.iloc[:, given.order[i]].to_numpy()
        return out if asked == "default" else filled.set_axis(labels_out(estimator), axis=1)
    if not is_frame(X):
        return _array_like(X, filled)
    if isinstance(X, pd.DataFrame) and asked == "default":
        return _pandas_like(X, filled.iloc[:, given.order])
    if asked == "pandas":
        columns = (
            X.columns.take(np.argsort(given.order)) if isinstance(X, pd.DataFrame) else list(labels_out(estimator))
        )
        return filled.set_axis(columns, axis=1)
    if isinstance(X, pd.DataFrame):
        return in_library(filled.set_axis(names_of(estimator), axis=1), "polars")
    ordered = filled.iloc[:, given.order]
    source = given.frame.iloc[:, given.order]
    changed = [
        ordered.iloc[:, i] is not source.iloc[:, i] and not ordered.iloc[:, i].equals(source.iloc[:, i])
        for i in range(len(given.order))
    ]
    out = like(X, ordered.set_axis(list(column_names(to_pandas(X))), axis=1), changed)
    return out if asked == "default" else _in_order(out, estimator)


def _pandas_like(X: pd.DataFrame, filled: pd.DataFrame) -> pd.DataFrame:
    out = filled.set_axis(X.columns, axis=1)
    out.attrs = dict(X.attrs)
    return out


def _in_order(frame: Any, estimator: Any) -> Any:
    """A frame of another library as polars, columns in the order of `fit`."""
    import narwhals.stable.v2 as nw
    import polars

    return polars.from_arrow(nw.from_native(frame).select(names_of(estimator)).to_arrow())


def _array_like(X: Any, filled: pd.DataFrame) -> np.ndarray:
    source = np.asarray(X)
    columns = [filled.iloc[:, i].to_numpy() for i in range(filled.shape[1])]
    if source.dtype.kind in "OUS" or any(c.dtype == object for c in columns):
        out = np.empty((len(filled), len(columns)), dtype=object)
        for i, column in enumerate(columns):
            out[:, i] = column
        out = out.astype(source.dtype.kind) if source.dtype.kind in "US" else out
    else:
        out = np.stack(columns, 1)
        out = out.astype(source.dtype) if source.dtype.kind in "iufbmM" and not _loses(out, source.dtype) else out
    return np.ma.MaskedArray(out) if isinstance(X, np.ma.MaskedArray) else out


def _loses(out: np.ndarray, dtype: np.dtype) -> bool:
    """Whether a cell would change in `dtype`: a gap, or a fraction among integers."""
    if dtype.kind not in "iu" or out.dtype.kind not in "f":
        return False
    return bool(np.isnan(out).any() or (out != np.floor(out)).any())
