"""Tables of people: a DataFrame with mixed columns and missing cells ↔ rows, with dtypes kept.

    codec = fit_codec(frame, TableParams())
    rows = codec.rows(frame)                # (N, C) float32, NaN where missing
    back = codec.frame(rows)                # a DataFrame with the columns and dtypes of the first

What each column is stands in codec.columns (pipeline.tables.columns). Words that the codec has not met, or that are rarer
than the `max_categories` commonest, count as missing where they are read and are never generated.

All that is needed to come back is in the schema, so a codec can be rebuilt from a saved model: TableCodec(schema).

Shapes: N rows, C modelled columns, K bins.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd

from pipeline.base.data_groups import TableParams
from pipeline.rows.bins import encode_bins
from pipeline.rows.schema import Schema
from pipeline.rows.tokens import Token
from pipeline.tables.bins import bin_edges, bin_shares
from pipeline.tables.coding import cells_of, codes_of, known_cells
from pipeline.tables.columns import RENEWED, WORDS, Column
from pipeline.tables.describing import Wishes, describe
from pipeline.tables.dtypes import to_dtype
from pipeline.tables.errors import TableError
from pipeline.tables.filling import filled, renewed, tell_unfilled
from pipeline.tables.values import word


@dataclass(frozen=True)
class TableCodec:
    """Both ways between DataFrames and rows of `schema` (made by `fit_codec`)."""

    schema: Schema

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """Every column of the fitted table, in its order, those that are not modelled too."""
        if not self.schema.table:
            raise TableError("This schema describes no table. Fit the model again, on a table.")
        found = tuple(Column.from_json(raw) for raw in self.schema.table)
        _check_fit(self.schema, found)
        return found

    @cached_property
    def modelled(self) -> tuple[Column, ...]:
        """The columns of the rows, in their order."""
        by_name = {c.name: c for c in self.columns}
        return tuple(by_name[name] for name in self.schema.columns)

    def column(self, name: str) -> Column:
        """The column of that name. Raises KeyError."""
        return next(c for c in self.columns if c.name == name)

    def rows(self, frame: pd.DataFrame) -> np.ndarray:
        """(N, C) float32 rows of a table that has the schema's columns, in any order; further ones are not read.

        Raises TableError for columns that are not there or cannot be read as their kind.
        """
        names = [str(c) for c in frame.columns]
        absent = [c for c in self.schema.columns if c not in names]
        if absent:
            raise TableError(f"The table must have the columns {list(self.schema.columns)}. Missing: {absent}.")
        out = np.empty((len(frame), len(self.schema.columns)), np.float32)
        for i, column in enumerate(self.modelled):
            out[:, i] = codes_of(column, known_cells(column, frame.iloc[:, names.index(column.name)]))
        return out

    def frame(self, rows: np.ndarray, index: pd.Index | None = None) -> pd.DataFrame:
        """A DataFrame of (N, C) rows with the columns and dtypes of the fitted table; NaN cells stay missing."""
        rows = self.schema.check_rows(rows)
        columns = {name: self.values(name, rows[:, i]) for i, name in enumerate(self.schema.columns)}
        out = pd.DataFrame({k: pd.Series(v) for k, v in columns.items()})
        return out.set_axis(index) if index is not None else out

    def new_frame(self, rows: np.ndarray, seed: int) -> pd.DataFrame:
        """`frame` of (N, C) drawn rows, with fresh identifiers for the columns that have them."""
        out = self.frame(rows)
        gap = np.ones(len(out), bool)
        for place, column in enumerate(c for c in self.columns if c.modelled or c.treatment == RENEWED):
            if column.treatment == RENEWED:
                blank = pd.Series([None] * len(out), dtype=object)
                values = renewed(blank, gap, column, _rng(seed, column))
                out.insert(place, column.name, to_dtype(values, column.memory.dtype()))
        return out

    def values(self, name: str, codes: np.ndarray, *, means: bool = False) -> pd.Series:
        """The (N,) values of one column in its original dtype; where that holds no missing value, a wider one.

        means: the codes are means, which are made whole, or of so many decimals, where every known value is.
        """
        column = self.column(name)
        return to_dtype(list(cells_of(column, codes, means=means)), column.memory.dtype())

    def filled(self, frame: pd.DataFrame, rows: np.ndarray, seed: int, *, means: bool = False) -> pd.DataFrame:
        """`frame`, whose columns are named as the fitted ones, with its missing cells taken from (N, C) `rows`.

        Columns that are not modelled stay as they are, which a UserWarning says; identifiers get fresh values of `seed`.
        """
        place = {name: i for i, name in enumerate(self.schema.columns)}
        out = {}
        for position, column in enumerate(self.columns):
            series = frame.iloc[:, position]
            gap = ~known_cells(column, series).known
            if column.modelled and gap.any():
                series = filled(series, gap, cells_of(column, rows[gap, place[column.name]], means=means), column)
            elif column.treatment == RENEWED and gap.any():
                rng = _rng(seed, column, series)
                series = filled(series, gap, renewed(series, gap, column, rng), column)
            elif not column.named:
                tell_unfilled(column, gap)
            out[position] = series
        whole = pd.DataFrame(out, index=frame.index, copy=False)
        return whole.set_axis(frame.columns, axis=1)


def fit_codec(frame: pd.DataFrame, params: TableParams, wishes: Wishes | None = None) -> TableCodec:
    """The codec of a table: kinds inferred where `params.kinds` names none, bins and shares from its known cells.

    wishes: what the user says of the columns; None: as `params` says. Warns of what is odd about a column. Raises TableError
    for a table without rows or columns, names that repeat, or cells that do not fit a kind that was named.
    """
    columns = describe_all(frame, wishes or wishes_of(params))
    tokens, names, categories = [], [], {}
    for position, column in enumerate(columns):
        if not column.modelled:
            continue
        if column.kind in WORDS:
            categories[column.name] = level_words(column)
            token = _category_token(column, len(names))
        else:
            token = _number_token(column, frame.iloc[:, position], len(names), params)
        tokens.append(token)
        names.append(column.name)
    if not tokens:
        raise TableError("A table must have a column that is modelled. Got: " + _what_is_done(columns))
    for column in columns:
        for text in column.warnings:
            warnings.warn(f"Column {column.name!r}: {text}.", UserWarning, stacklevel=2)
    table = tuple(c.to_json() for c in columns)
    return TableCodec(Schema(tuple(tokens), tuple(names), label=params.label, categories=categories, table=table))


def describe_all(frame: pd.DataFrame, wishes: Wishes) -> list[Column]:
    """The Column of every column. Raises TableError for a table without rows or columns, and names that repeat."""
    if frame.shape[1] == 0 or len(frame) == 0:
        raise TableError(f"A table must have rows and columns. Got {len(frame)} rows and {frame.shape[1]} columns.")
    names = column_names(frame)
    wishes.check(names)
    return [describe(n, frame.iloc[:, i], wishes, frame.columns[i]) for i, n in enumerate(names)]


def wishes_of(params: TableParams) -> Wishes:
    """What params.yaml says of the columns."""
    usual = list(params.missing) == TableParams().missing
    return Wishes(
        kinds=dict(params.kinds),
        missing=None if usual else tuple(params.missing),
        missing_in={name: tuple(marks) for name, marks in params.missing_in.items()},
        formats=dict(params.formats),
        label=params.label,
        max_categories=params.max_categories,
    )


def column_names(frame: pd.DataFrame) -> list[str]:
    """The names of the columns as text. Raises TableError when one repeats."""
    names = [str(c) for c in frame.columns]
    repeated = sorted({n for n in names if names.count(n) > 1})
    if repeated:
        raise TableError(f"Column names must not repeat. Got {repeated} more than once. Rename all but one.")
    return names


def level_words(column: Column) -> list[str]:
    """The words of a category, each once: 1 and "1" become 1 and '1'."""
    texts = [word(v) for v in column.levels]
    return [t if texts.count(t) == 1 else repr(v) for t, v in zip(texts, column.levels, strict=True)]


def _check_fit(schema: Schema, columns: tuple[Column, ...]) -> None:
    """Raises TableError where the columns of a schema that was read are not those of its tokens."""
    names = [c.name for c in columns]
    modelled = [c for c in columns if c.modelled]
    if len(set(names)) != len(names) or {c.name for c in modelled} != set(schema.columns):
        raise TableError(f"A schema's table must describe its columns {list(schema.columns)[:20]}. Got {names[:20]}.")
    for column in modelled:
        token = schema.tokens[schema.token_of_column[schema.columns.index(column.name)]]
        width = len(column.levels) if column.kind in WORDS else None
        if (token.modality == "categorical") != (width is not None) or width not in (None, token.width):
            raise TableError(f"Column {column.name!r} must fit its token {token.name!r}. Got another kind or width.")


def _what_is_done(columns: list[Column]) -> str:
    return "; ".join(f"{c.name!r} is {c.treatment}, for {c.why}" for c in columns[:20]) + "."


def _rng(seed: int, column: Column, series: pd.Series | None = None) -> np.random.Generator:
    """Randomness of fresh identifiers: of the column, and of the rows beside which they will stand."""
    beside = "" if series is None else "|".join(map(str, series.head(64)))
    return np.random.default_rng([seed, 0x1D, *f"{column.name}|{beside}".encode("utf8", "surrogatepass")])


def _category_token(column: Column, place: int) -> Token:
    return Token(column.name, "categorical", column.name, (place,), len(column.levels), (0, place), mass=column.shares)


def _number_token(column: Column, series: pd.Series, place: int, params: TableParams) -> Token:
    codes = codes_of(column, known_cells(column, series))
    values = codes[~np.isnan(codes)].astype(np.float32)
    center, scale = float(values.mean(dtype=np.float64)), float(values.std(dtype=np.float64)) or 1.0
    where = (0, place)
    if params.scaling == "standard":
        return Token(column.name, "numeric", column.name, (place,), 1, where, center, scale)
    edges = bin_edges(values, params.bins)
    shares = bin_shares(np.floor(encode_bins(values, edges).sum(1)).astype(int), edges)
    share = {"edges": tuple(edges.tolist()), "mass": tuple(shares.tolist())}
    return Token(column.name, "numeric", column.name, (place,), len(edges) - 1, where, center, scale, **share)
