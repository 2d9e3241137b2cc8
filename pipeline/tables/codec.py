"""Tables of people: a DataFrame with mixed columns and missing cells ↔ rows, with dtypes kept.

    codec = fit_codec(frame, TableParams())
    rows = codec.rows(frame)                # (N, C) float32, NaN where missing
    back = codec.frame(rows)                # a DataFrame with the columns and dtypes of the first

The kind of a column is inferred, or named in params:

* float, integer: numbers; integer when every known value is whole.
* boolean, category: words and their codes. A word that the codec has not met, or that is rarer than the
  `max_categories` commonest, counts as missing where it is read and is never generated.
* date: days since the first one, whole where every known date is at midnight.
* ignore: not modelled.

All that is needed to come back is in the schema, so a codec can be rebuilt from a saved model: TableCodec(schema).

Shapes: N rows, C columns, K bins.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.base.data_groups import TableParams
from pipeline.rows.bins import encode_bins
from pipeline.rows.schema import Schema
from pipeline.rows.tokens import Token

KINDS = ("float", "integer", "boolean", "category", "date", "ignore")
DAY = pd.Timedelta(days=1)
FEW_BINS = 16  # no bin is wider than this part of the range of a column
LARGEST = 1e30  # size of a number; rows are float32
RELATIVE_SPREAD = 1e-4  # below this spread/size, float32 needs an origin


class TableError(ValueError):
    """A table, or a column of it, cannot be used; says which and why."""


@dataclass(frozen=True)
class TableCodec:
    """Both ways between DataFrames and rows of `schema` (made by `fit_codec`)."""

    schema: Schema

    def rows(self, frame: pd.DataFrame, missing: list[str] | None = None) -> np.ndarray:
        """(N, C) float32 rows of a table that has the schema's columns, in any order; further ones are not read.

        missing: texts that mean "no value"; None: the usual ones. Raises TableError for columns that are not there
        or cannot be read as their kind.
        """
        names = [str(c) for c in frame.columns]
        absent = [c for c in self.schema.columns if c not in names]
        if absent:
            raise TableError(f"The table must have the columns {list(self.schema.columns)}. Missing: {absent}.")
        out = np.empty((len(frame), len(self.schema.columns)), np.float32)
        for i, name in enumerate(self.schema.columns):
            cells = mark_missing(frame.iloc[:, names.index(name)], missing)
            out[:, i] = self._codes(name, cells)
        return out

    def frame(self, rows: np.ndarray, index: pd.Index | None = None) -> pd.DataFrame:
        """A DataFrame of (N, C) rows with the columns and dtypes of the fitted table; NaN cells stay missing."""
        rows = self.schema.check_rows(rows)
        columns = {name: self.values(name, rows[:, i]) for i, name in enumerate(self.schema.columns)}
        out = pd.DataFrame({k: pd.Series(v) for k, v in columns.items()})
        return out.set_axis(index) if index is not None else out

    def values(self, name: str, codes: np.ndarray, *, means: bool = False) -> pd.Series:
        """The (N,) values of one column in its original dtype; where that holds no missing value, a wider one.

        means: the codes are means, which are made whole only where the dtype demands it.
        """
        kind, dtype = self.schema.kinds[name].split(" ", 1)
        codes = np.asarray(codes, np.float64)
        if kind in ("category", "boolean"):
            words = [_unword(w, dtype) for w in self.schema.categories[name]]
            values = pd.Series([None if np.isnan(c) else words[int(c)] for c in codes], dtype=object)
        elif kind in ("date", "day"):
            values = self._dates(name, np.round(codes) if kind == "day" else codes)
            if not dtype.startswith("datetime64"):
                shown = values.dt.strftime("%Y-%m-%d" if kind == "day" else "%Y-%m-%dT%H:%M:%S")
                return shown.astype(_text_dtype(dtype))
        else:
            values = pd.Series(codes + self.schema.origins.get(name, 0.0))
            if kind == "integer" and not (means and "int" not in dtype.lower()):
                values = values.round()
        return _as_dtype(values, dtype)

    # -- inside ----------------------------------------------------------------------------------
    def _codes(self, name: str, cells: pd.Series) -> np.ndarray:
        kind = self.schema.kinds[name].split(" ", 1)[0]
        origin = self.schema.origins.get(name, 0.0)
        if kind in ("category", "boolean"):
            code = {w: i for i, w in enumerate(self.schema.categories[name])}
            place, distinct = _distinct(cells)
            codes = np.array([code.get(word(v), np.nan) for v in distinct] + [np.nan], np.float32)
            return codes[place]  # −1, a missing cell, reads the last
        if kind in ("date", "day"):
            return (_days(name, cells) - origin).astype(np.float32)
        return (_numbers(name, cells) - origin).astype(np.float32)

    def _dates(self, name: str, days: np.ndarray) -> pd.Series:
        seconds = (days + self.schema.origins.get(name, 0.0)) * 86400.0
        return pd.Series(pd.to_datetime(np.round(seconds), unit="s"))


def fit_codec(frame: pd.DataFrame, params: TableParams) -> TableCodec:
    """The codec of a table: kinds inferred where `params.kinds` names none, bins and shares from its known cells.

    Raises TableError for a table without rows or columns, a column without any value, names that repeat, or cells that
    do not fit a kind named in params.
    """
    if frame.shape[1] == 0 or len(frame) == 0:
        raise TableError(f"A table must have rows and columns. Got {len(frame)} rows and {frame.shape[1]} columns.")
    names = column_names(frame)
    _check_kinds(params, names)
    tokens, kinds, categories, origins, columns = [], {}, {}, {}, []
    for position, name in enumerate(names):
        cells = mark_missing(frame.iloc[:, position], params.missing)
        kind = params.kinds.get(name) or ("category" if name == params.label else infer_kind(cells))
        if kind == "ignore":
            continue
        if cells.isna().all():
            raise TableError(f"Column {name!r} must have at least one value. Drop it, or name its kind 'ignore'.")
        if kind in ("category", "boolean"):
            token, categories[name] = _category_token(name, cells, len(columns), params.max_categories)
        else:
            kind, values, origin = _column_numbers(name, kind, cells)
            if origin:
                origins[name] = origin
            token = _number_token(name, values, len(columns), params)
        kinds[name] = f"{kind} {frame.dtypes.iloc[position]}"
        tokens.append(token)
        columns.append(name)
    if not tokens:
        raise TableError("A table must have a column that is not ignored.")
    names = {"label": params.label, "categories": categories, "kinds": kinds, "origins": origins}
    return TableCodec(Schema(tuple(tokens), tuple(columns), **names))


def column_names(frame: pd.DataFrame) -> list[str]:
    """The names of the columns as text. Raises TableError when one repeats."""
    names = [str(c) for c in frame.columns]
    repeated = sorted({n for n in names if names.count(n) > 1})
    if repeated:
        raise TableError(f"Column names must not repeat. Got {repeated} more than once.")
    return names


def infer_kind(cells: pd.Series) -> str:
    """The kind of a column whose missing cells are NaN: one of KINDS but ignore."""
    known = cells.dropna()
    if pd.api.types.is_bool_dtype(cells.dtype) or (len(known) and known.map(lambda v: isinstance(v, bool)).all()):
        return "boolean"
    if pd.api.types.is_datetime64_any_dtype(cells.dtype):
        return "date"
    if isinstance(cells.dtype, pd.CategoricalDtype):
        return "category"
    numbers = pd.to_numeric(known, errors="coerce")
    if not numbers.isna().any():
        return "integer" if (numbers == numbers.round()).all() else "float"
    if known.map(lambda v: hasattr(v, "year")).all():
        return "date"
    texts = known.astype(str)
    looks_like_dates = texts.str.match(r"^\d{4}-\d{2}-\d{2}").all()
    if looks_like_dates and not pd.to_datetime(texts, format="ISO8601", errors="coerce").isna().any():
        return "date"
    return "category"


def mark_missing(cells: pd.Series, missing: list[str] | None = None) -> pd.Series:
    """`cells` with the texts that mean "no value" replaced by a missing value."""
    if pd.api.types.is_numeric_dtype(cells.dtype) or pd.api.types.is_datetime64_any_dtype(cells.dtype):
        return cells
    marks = set(TableParams().missing if missing is None else missing)
    place, distinct = _distinct(cells)
    found = np.array([isinstance(v, str) and v.strip() in marks for v in distinct] + [False])[place]
    return cells.mask(found) if found.any() else cells


def bin_edges(values: np.ndarray, bins: int) -> np.ndarray:
    """(K + 1,) float64 edges that do not decrease, for known values (n,) float32; equal neighbours are an atom.

    A column of at most `bins` distinct values is all atoms. Else values that fill a quantile bin alone are atoms, the
    other edges are quantiles, closer in the tails, and no bin is wider than 1/FEW_BINS of the range.
    """
    values = np.asarray(values, np.float64)
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) <= bins:
        return np.repeat(distinct, 2)
    atoms = distinct[counts > max(1.0, len(values) / bins)]
    rest = values[~np.isin(values, atoms)]
    levels = np.linspace(0, 1, bins + 1)
    tails = [level for level in (0.001, 0.002, 0.005, 0.01) if level * len(rest) >= 4]
    levels = np.unique(np.concatenate([levels, tails, 1 - np.array(tails)]))
    edges = np.unique(np.concatenate([np.quantile(rest, levels), atoms]))
    widest = (edges[-1] - edges[0]) / FEW_BINS
    fine = [np.linspace(a, b, int(np.ceil((b - a) / widest)) + 1)[:-1] for a, b in zip(edges, edges[1:], strict=False)]
    return np.sort(np.concatenate([*fine, edges[-1:], atoms]))


def date_numbers(cells: pd.Series) -> pd.Series:
    """Days since 1970 (UTC) of a column of dates, NaN where missing. Raises TableError naming a cell that is none."""
    return pd.Series(_days(str(cells.name), cells), index=cells.index, name=cells.name)


# -- columns -------------------------------------------------------------------------------------
def _check_kinds(params: TableParams, names: list[str]) -> None:
    for column, kind in params.kinds.items():
        if kind not in KINDS:
            raise TableError(f"The kind of column {column!r} must be one of {', '.join(KINDS)}. Got {kind!r}.")
    absent = sorted((set(params.kinds) | ({params.label} if params.label else set())) - set(names))
    if absent:
        raise TableError(f"Columns named in the parameters must be in the table, {names[:20]}. Got {absent}.")


def _category_token(name: str, cells: pd.Series, column: int, most: int) -> tuple[Token, list[str]]:
    counts = cells.dropna().map(word).astype(object).value_counts()
    if len(counts) > most:
        warnings.warn(
            f"Column {name!r} has {len(counts)} categories; the {most} commonest are modelled, the others count as "
            f"missing where they are read.",
            UserWarning,
            stacklevel=3,
        )
        counts = counts.iloc[:most]
    words = sorted(counts.index)
    mass = tuple(float(counts[w] / counts.sum()) for w in words)
    return Token(name, "categorical", name, (column,), len(words), (0, column), mass=mass), words


def _column_numbers(name: str, kind: str, cells: pd.Series) -> tuple[str, np.ndarray, float]:
    """(kind, known values minus origin float32, origin) of a column of numbers or dates."""
    if kind == "date":
        days = _days(name, cells)
        known = days[~np.isnan(days)]
        return (
            ("day" if (known == np.floor(known)).all() else "date"),
            (known - known[0]).astype(np.float32),
            float(known[0]),
        )
    numbers = _numbers(name, cells)
    known = numbers[~np.isnan(numbers)]
    size = np.abs(known).max()
    origin = float(np.floor(known.min())) if known.std() < RELATIVE_SPREAD * size else 0.0
    return kind, (known - origin).astype(np.float32), origin


def _number_token(name: str, values: np.ndarray, column: int, params: TableParams) -> Token:
    center, scale = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64)) or 1.0
    place = (0, column)
    if params.scaling == "standard":
        return Token(name, "numeric", name, (column,), 1, place, center, scale)
    edges = bin_edges(values, params.bins)
    bins = np.floor(encode_bins(values, edges).sum(1)).astype(int)
    counts = np.bincount(bins, minlength=len(edges) - 1).astype(float)
    if len(np.unique(edges)) * 2 > len(edges):  # else every value is an atom, and the gaps between stay empty
        counts += 0.5
    shares = {"edges": tuple(edges.tolist()), "mass": tuple((counts / counts.sum()).tolist())}
    return Token(name, "numeric", name, (column,), len(edges) - 1, place, center, scale, **shares)


# -- cells -----------------------------------------------------------------------------------------
def _numbers(name: str, cells: pd.Series) -> np.ndarray:
    """(N,) float64 of a column, NaN where missing. Raises TableError naming a cell that is no finite number."""
    numbers = pd.to_numeric(cells.astype(object).where(cells.notna(), None), errors="coerce")
    numbers = pd.Series(numbers, dtype=object).astype(float).to_numpy()
    wrong = np.isnan(numbers) & cells.notna().to_numpy()
    if wrong.any():
        raise TableError(f"Column {name!r} must hold numbers. Got {cells[wrong].iloc[0]!r} in row {wrong.argmax()}.")
    if np.isinf(numbers).any():
        raise TableError(f"Column {name!r} must hold finite numbers. Got an infinity.")
    size = np.abs(numbers[~np.isnan(numbers)]).max(initial=0.0)
    if size > LARGEST:
        raise TableError(f"Column {name!r} must hold numbers within ±{LARGEST:g}. Got one of size {size:g}.")
    return numbers


def _days(name: str, cells: pd.Series) -> np.ndarray:
    """(N,) float64 days since 1970 (UTC), NaN where missing. Raises TableError naming a cell that is no date."""
    dates = pd.to_datetime(cells, errors="coerce", utc=True, format=None if cells.dtype.kind == "M" else "ISO8601")
    wrong = dates.isna().to_numpy() & cells.notna().to_numpy()
    if wrong.any():
        raise TableError(f"Column {name!r} must hold dates. Got {cells[wrong].iloc[0]!r} in row {wrong.argmax()}.")
    return ((dates - pd.Timestamp(0, tz="UTC")) / DAY).to_numpy(float)


def _distinct(cells: pd.Series) -> tuple[np.ndarray, list]:
    """((N,) place of each cell among the distinct ones, −1 where missing; the distinct ones).

    A column of objects of several types keeps every cell apart, for 1 and True are equal but not the same word.
    """
    if cells.dtype == object and pd.api.types.infer_dtype(cells, skipna=True) not in ("string", "boolean", "integer"):
        known = cells.notna().to_numpy()
        return np.where(known, np.cumsum(known) - 1, -1), list(cells[known])
    place, distinct = pd.factorize(cells)
    return place, list(distinct)


def word(value: object) -> str:
    """The text of a category; whole numbers read alike whether a table holds them as integers or as floats."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, int | float | np.number):
        return str(int(value)) if float(value).is_integer() else str(float(value))
    return str(value)


def _unword(text: str, dtype: str) -> object:
    kind = pd.api.types.pandas_dtype(dtype) if dtype != "category" else None
    if dtype in ("bool", "boolean"):
        return text == "True"
    if kind is not None and pd.api.types.is_numeric_dtype(kind):
        return float(text) if "." in text or "e" in text else int(text)
    return text


def _text_dtype(dtype: str) -> str:
    return dtype if dtype in ("str", "string", "object", "category") else "object"


def _as_dtype(values: pd.Series, dtype: str) -> pd.Series:
    """`values` as `dtype`; integers and booleans with a missing value as float and object, as pandas does."""
    target = pd.api.types.pandas_dtype(dtype)
    if isinstance(target, pd.DatetimeTZDtype):
        return values.dt.tz_localize("UTC").astype(target)
    if values.isna().any() and isinstance(target, np.dtype) and target.kind in "iub":
        return values.astype(float if target.kind in "iu" else object)
    if pd.api.types.is_numeric_dtype(target) and values.dtype == object:
        values = pd.to_numeric(values)
    return values.astype(target)
