"""A table or query of a SQLite file as a source, and a new table as an output: values that were there stay what they were.

place_of("shop.sqlite", table="orders")
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.base.files import replaced_path
from pipeline.sources.blocks import BLOCK_ROWS, Block, Source
from pipeline.sources.objects import ObjectColumn
from pipeline.sources.places import Place
from pipeline.sources.text_tables import stamped
from pipeline.sources.workbooks import filled_rows, whole_of
from pipeline.textfiles.delimited import told_apart
from pipeline.textfiles.encodings import TableFileError
from pipeline.textfiles.records import Stamps
from pipeline.textfiles.words import MissingWords

if TYPE_CHECKING:
    import pandas as pd


class SqliteSource:
    """A table or query. NULL is missing, and the words that the user names; an empty text is a value."""

    def __init__(self, place: Place, words: MissingWords) -> None:
        self.place, self.words = place, words
        if not place.path.is_file():
            raise TableFileError(f"There is no file {place.path}.")
        with self._opened() as database:
            self.table = "" if place.query else self._chosen(database)
            self.select = place.query or f"SELECT * FROM {quoted(self.table)}"
            cursor = database.execute(self.select)
            if cursor.description is None:
                raise TableFileError(f"{place.name}: 'query' must be a SELECT. Got {place.query!r}.")
            told, self.notes = told_apart([d[0] for d in cursor.description])
            self.columns, self.rows = [ObjectColumn(name, words.of(name)) for name in told], 0
            while rows := cursor.fetchmany(BLOCK_ROWS):
                for column, values in zip(self.columns, zip(*rows, strict=True), strict=True):
                    column.add(values)
                self.rows += len(rows)
            self.types = self._types(database)
        if not self.rows:
            raise TableFileError(f"{place.name}: must hold rows and columns. Got 0 rows, {len(told)} columns.")
        for column in self.columns:
            self.notes += column.settle()
        what = f"table {self.table!r}" if self.table else "query"
        self.said = f"{place.path.name}: {self.rows} rows, {len(told)} columns; SQLite, {what}"

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(f"{self.place.path.resolve().as_uri()}?mode=ro", uri=True)) as database:
                yield database
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise TableFileError(f"{self.place.name}: not readable with SQLite: {error}.") from error

    def _chosen(self, database: sqlite3.Connection) -> str:
        found = database.execute("SELECT name FROM sqlite_schema WHERE type IN ('table', 'view')").fetchall()
        names = [n for (n,) in found if not n.startswith("sqlite_")]
        if self.place.table and self.place.table in names:
            return self.place.table
        if self.place.table or len(names) != 1:
            got = f"{self.place.table!r}, and there are" if self.place.table else "none chosen of"
            raise TableFileError(f"{self.place.path.name}: a table must be chosen (--table). Got {got} {names[:20]}.")
        return names[0]

    def _types(self, database: sqlite3.Connection) -> list[str]:
        if not self.table:
            return [""] * len(self.columns)
        return [row[2] for row in database.execute(f"PRAGMA table_info({quoted(self.table)})")]

    @property
    def names(self) -> list[str]:
        return [c.name for c in self.columns]

    def blocks(self) -> Iterator[Block]:
        import pandas as pd

        with self._opened() as database:
            cursor, first, number = database.execute(self.select), 0, 0
            while rows := cursor.fetchmany(BLOCK_ROWS):
                series = {
                    c.name: c.series(list(v))
                    for c, v in zip(self.columns, zip(*rows, strict=True), strict=True)
                    if c.kind != "copied"
                }
                yield Block(number, first, pd.DataFrame(series, index=range(len(rows))), rows)
                first, number = first + len(rows), number + 1

    def whole(self, block: Block, filled: pd.DataFrame) -> pd.DataFrame:
        return whole_of(self.columns, block, filled)


def quoted(name: str) -> str:
    """A name as SQL quotes it."""
    return '"' + name.replace('"', '""') + '"'


# -- output ------------------------------------------------------------------------------------------
class SqliteSink:
    """A new table of the rows of a source of any kind."""

    def __init__(self, database: sqlite3.Connection, table: str, source: Source, stamps: tuple | None) -> None:
        self.database, self.table, self.source, self.stamp_names = database, table, source, stamps
        self.begun = False

    def write(self, block: Block, filled: pd.DataFrame, draw: int | None = None) -> None:
        if isinstance(self.source, SqliteSource):
            rows: Any = filled_rows(self.source.columns, block, filled)
            if self.stamp_names:
                rows = [[draw, block.first + i, *row] for i, row in enumerate(rows)]
            types = self.source.types
        else:
            frame = self.source.whole(block, filled)
            if self.stamp_names:
                frame = stamped(frame, Stamps(self.stamp_names, draw, block.first, True))
            types = [_type(frame[c]) for c in frame][len(self.stamp_names or ()) :]
            frame = frame.astype(object).where(frame.notna(), None)
            rows = [[_plain(v) for v in row] for row in frame.itertuples(index=False, name=None)]
        if not self.begun:
            self._create(types)
        marks = ", ".join("?" * len(rows[0])) if rows else ""
        self.database.executemany(f"INSERT INTO {quoted(self.table)} VALUES ({marks})", rows)

    def _create(self, types: list[str]) -> None:
        stamps = [f"{quoted(n)} INTEGER" for n in self.stamp_names or ()]
        columns = [f"{quoted(n)} {t}" for n, t in zip(self.source.names, types, strict=True)]
        self.database.execute(f"CREATE TABLE {quoted(self.table)} ({', '.join([*stamps, *columns])})")
        self.begun = True


def _type(series: pd.Series) -> str:
    return {"i": "INTEGER", "u": "INTEGER", "b": "BOOLEAN", "f": "REAL", "M": "TIMESTAMP"}.get(
        series.dtype.kind, "TEXT"
    )


def _plain(value: Any) -> Any:
    if hasattr(value, "isoformat"):
        return value.isoformat(sep=" ") if hasattr(value, "hour") else value.isoformat()
    if hasattr(value, "item"):
        value = value.item()
    return value if value is None or isinstance(value, int | float | str | bytes) else str(value)


@contextmanager
def sqlite_sink(place: Place, source: Source, stamps: tuple[str, str] | None, force: bool) -> Iterator[SqliteSink]:
    """A table at `place` that takes the blocks of `source`: a new one, in a file of its own or among others.

    A database that is there is changed in one transaction; a table that is there only with `force`.
    """
    table = place.table or "filled"
    if not place.path.exists():
        with replaced_path(place.path) as path, explained_sqlite(place), closing(_connected(path)) as database:
            yield SqliteSink(database, table, source, stamps)
            database.execute("COMMIT")
        return
    with closing(_connected(place.path)) as database, explained_sqlite(place):
        if force:
            database.execute(f"DROP TABLE IF EXISTS {quoted(table)}")
        yield SqliteSink(database, table, source, stamps)
        database.execute("COMMIT")


def check_sqlite(place: Place, force: bool) -> None:
    """Raises TableFileError where a table of that name is there and may not be replaced; asked before the work."""
    if not place.path.exists() or force:
        return
    with (
        explained_sqlite(place),
        closing(sqlite3.connect(f"{place.path.resolve().as_uri()}?mode=ro", uri=True)) as base,
    ):
        found = base.execute("SELECT type FROM sqlite_schema WHERE name = ?", [place.table or "filled"]).fetchone()
    if found:
        raise TableFileError(
            f"{place.path.name} already has a {found[0]} {place.table or 'filled'!r}; --force overwrites it."
        )


def _connected(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None)
    database.execute("BEGIN IMMEDIATE")
    return database


@contextmanager
def explained_sqlite(place: Place) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning, OverflowError) as error:
        raise TableFileError(f"{place.path.name}: not written with SQLite: {error}.") from error
