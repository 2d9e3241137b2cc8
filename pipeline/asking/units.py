"""Between a table as people write it and the codes of a model: units, grids, and the reading of single values.

A number's value is origin + scale · code. Dates, times and durations count days here, whatever the table counts, so that
two columns compare; periods, months and years count themselves. Written values lie on a grid where a column has
decimals or counts whole units.

Shapes: N rows, C columns.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.rows.schema import Schema
from pipeline.rows.tokens import Token
from pipeline.tables.codec import TableCodec, level_words
from pipeline.tables.coding import codes_of, known_cells
from pipeline.tables.columns import COUNTED, WORDS, Column, step_size
from pipeline.tables.errors import TableError
from pipeline.tables.values import word

SECONDS_A_DAY = 86400.0
SECONDS = {"D": SECONDS_A_DAY, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


@dataclass(frozen=True)
class Unit:
    """How the codes of one column read.

    name: the column's. column: its place in rows. token: its choices. words: of a category, else None.
    origin, scale: value = origin + scale · code. step: distance of neighbouring written values, of the value; 0: any
    value. seconds: of one unit of the value where it is time; 0: it is none.
    """

    name: str
    column: int
    token: Token
    words: tuple[str, ...] | None
    origin: float = 0.0
    scale: float = 1.0
    step: float = 0.0
    seconds: float = 0.0

    @property
    def edges(self) -> np.ndarray:
        """(W + 1,) float64 edges of the bins, in codes."""
        return np.asarray(self.token.edges, np.float64)

    @property
    def code_step(self) -> float:
        """`step` in codes."""
        return self.step / self.scale

    @property
    def offset(self) -> float:
        """The code of a value on the grid, the nearest to code 0; 0 where there is no grid."""
        if not self.step:
            return 0.0
        return (round(self.origin / self.step) * self.step - self.origin) / self.scale

    def value(self, codes: np.ndarray) -> np.ndarray:
        """The values of codes (n,), float64; categories as they are."""
        return self.origin + self.scale * np.asarray(codes, np.float64)

    def code(self, values: np.ndarray) -> np.ndarray:
        """The codes of values (n,), float64."""
        return (np.asarray(values, np.float64) - self.origin) / self.scale

    def written(self, codes: np.ndarray) -> np.ndarray:
        """Codes (n,) as they will be written: on the grid of the column."""
        if not self.step:
            return codes
        return np.round((codes - self.offset) / self.code_step) * self.code_step + self.offset


class Units:
    """The units of every column of a table's codec; reads values and tables."""

    def __init__(self, codec: TableCodec) -> None:
        """Raises ValueError for a model that is none of a table's columns, each a token of choices."""
        check_askable(codec.schema)
        self.codec, self.schema = codec, codec.schema
        self.columns = tuple(_unit(codec, i, column) for i, column in enumerate(codec.modelled))

    def __getitem__(self, name: str) -> Unit:
        """The unit of a column. Raises ValueError that lists the columns."""
        if name not in self.schema.columns:
            raise ValueError(f"There must be a column {name!r} in the model. It has {list(self.schema.columns)[:30]}.")
        return self.columns[self.schema.columns.index(name)]

    def read(self, name: str, text: str) -> float:
        """The code of one value as a user writes it. Raises TableError naming what the column may hold."""
        unit = self[name]
        if unit.words is not None:
            return float(_place_of_word(unit, text))
        column = self.codec.column(name)
        code = np.nan
        for cell in _readings(column, text):
            try:
                code = float(codes_of(column, known_cells(column, pd.Series([cell], dtype=object)))[0])
            except TableError:
                continue
            if not np.isnan(code):
                break
        if np.isnan(code):
            kind = "numbers" if column.kind not in COUNTED else f"{column.kind}s"
            raise TableError(f"Column {name!r} must hold {kind}. Got {text!r}.")
        written = float(unit.written(np.array([code]))[0])
        if not unit.step:
            return float(np.float32(code))  # as rows hold it, so that == finds it
        return written if abs(written - code) < 1e-3 * unit.code_step else code

    def exact(self, frame: pd.DataFrame) -> np.ndarray:
        """(N, C) float64 values of a table to full precision, codes of categories; NaN where missing or not known."""
        names = [str(c) for c in frame.columns]
        out = np.empty((len(frame), len(self.columns)))
        for unit, column in zip(self.columns, self.codec.modelled, strict=True):
            cells = known_cells(column, frame.iloc[:, names.index(unit.name)])
            out[:, unit.column] = unit.value(codes_of(column, cells))
        return out

    def values(self, rows: np.ndarray) -> np.ndarray:
        """(N, C) float64 values of rows (N, C), codes of categories."""
        return np.stack([unit.value(rows[:, unit.column]) for unit in self.columns], 1)


def _unit(codec: TableCodec, place: int, column: Column) -> Unit:
    token = codec.schema.tokens[codec.schema.token_of_column[place]]
    if column.kind in WORDS:
        return Unit(column.name, place, token, tuple(level_words(column)))
    if column.kind not in COUNTED:
        return Unit(column.name, place, token, None, float(column.origin), column.scale, step_size(column))
    seconds = 0.0 if column.kind == "period" else SECONDS.get(column.unit, 0.0)
    days = seconds / SECONDS_A_DAY if seconds else 1.0
    origin, scale = float(column.origin) * days, column.scale * days
    return Unit(column.name, place, token, None, origin, scale, days, SECONDS_A_DAY if seconds else 0.0)


def check_askable(schema: Schema) -> None:
    """Raises ValueError unless every token is one column with choices, as in a table."""
    other = [t.name for t in schema.tokens if not t.discrete or len(t.columns) != 1]
    if other:
        raise ValueError(
            f"Such a question needs a model of a table, whose every column has bins or categories. Got one with the "
            f"token {other[0]!r}, as models of images have; draw from it with Sampler.complete instead."
        )


def _readings(column: Column, text: str) -> list[object]:
    """What a text may stand for in a column: as the table writes it, and as a date, duration or number of its own."""
    out: list[object] = [text]
    for make in {"duration": (pd.Timedelta,), "date": (pd.Timestamp,)}.get(column.kind, (float,)):
        try:
            out.append(make(text))
        except (ValueError, TypeError, OverflowError):
            continue
    return out


def _place_of_word(unit: Unit, text: str) -> int:
    for wanted, known in ((word(text), unit.words), (text.lower(), [w.lower() for w in unit.words])):
        places = [i for i, w in enumerate(known) if w == wanted]
        if len(places) == 1:
            return places[0]
    raise TableError(f"Column {unit.name!r} must hold one of {', '.join(map(repr, unit.words[:20]))}. Got {text!r}.")
