"""A table or query of PostgreSQL as a source, and a new table as an output; values travel as the server's own text.

    place_of("postgresql://me@host/shop", table="orders")

COPY writes every type as text that reads back to the same value, so what was there is copied exactly: numeric with
its scale, time zones, arrays, JSON. Types are kept; keys, defaults and comments of the table are not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pipeline.sources.blocks import BLOCK_ROWS, Block, Source
from pipeline.sources.places import Place
from pipeline.sources.text_tables import stamped
from pipeline.textfiles.columns import TextColumn
from pipeline.textfiles.delimited import told_apart
from pipeline.textfiles.encodings import TableFileError
from pipeline.textfiles.numerals import Marks
from pipeline.textfiles.records import Stamps
from pipeline.textfiles.words import MissingWords

if TYPE_CHECKING:
    import pandas as pd

WHOLE, REAL, TRUTH = ("int2", "int4", "int8"), ("float4", "float8", "numeric"), ("bool",)
WORDS = ("text", "varchar", "bpchar", "name", "uuid", "date", "timestamp", "timestamptz")


class ServerColumn(TextColumn):
    """A column whose kind its type says; texts are the server's, None is NULL."""

    server_type = ""

    def add(self, texts: list[str | None], line: int = 0, quoted: int = 0) -> None:
        known = [t for t in texts if t is not None]
        self.missing[""] += len(texts) - len(known)
        if self.server_type in WHOLE + REAL:
            super().add(known, line)
        else:
            self.stranger_cells += len(known)
            named = [t for t in known if self.words.holds(t.strip()) and (t or self.words.empty)]
            self.missing.update(named)
        self.rows = 0

    def settle(self, where: str = "the file") -> list[str]:
        kinds = {"integer": WHOLE, "decimal": REAL, "boolean": TRUTH, "text": WORDS}
        self.kind = next((k for k, types in kinds.items() if self.server_type in types), "copied")
        if not self.numbers and not self.stranger_cells:
            self.kind = "empty"
        super_kind, self.padded_zeros = self.kind, 0
        if self.kind in ("integer", "decimal"):
            super().settle(where)
        self.kind = super_kind
        return [f"column {self.name!r} is of type {self.server_type}: it is copied."] if self.kind == "copied" else []

    def _value(self, text: str | None) -> Any:
        if text is None or text == "NaN" and self.kind == "decimal":
            return None
        if self.kind in ("integer", "decimal"):
            return super()._value(text)
        if self.kind == "boolean":
            return text == "t"
        return None if self.words.holds(text.strip()) and (text or self.words.empty) else text

    def text(self, value: Any) -> str:
        return ("t" if value else "f") if self.kind == "boolean" else super().text(value)


class PostgresSource:
    """A table or query, read in one transaction, so that both passes see the same rows in the same order."""

    def __init__(self, place: Place, words: MissingWords, connection: Any) -> None:
        from psycopg import sql

        self.place = place
        if not place.table and not place.query:
            raise TableFileError(f"{place.name}: a table or a query must be given (--table, --query). Got neither.")
        self.connection = connection
        with explained_postgres(place):
            self.connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            self.connection.execute("SET synchronize_seqscans = off")
            select = (
                sql.SQL(place.query) if place.query else sql.SQL("SELECT * FROM {}").format(identifier(place.table))
            )
            self.select = select
            cursor = self.connection.execute(sql.SQL("SELECT * FROM ({}) AS source LIMIT 0").format(select))
            told, self.notes = told_apart([d.name for d in cursor.description])
            result = cursor.pgresult
            self.oids = [(result.ftype(i), result.fmod(i)) for i in range(result.nfields)]
            self.columns = [ServerColumn(name, Marks(), words.of(name)) for name in told]
            self.types = []
            for column, oid in zip(self.columns, self.oids, strict=True):
                row = self.connection.execute(
                    "SELECT format_type(t.oid, %s), t.typname, t.typtype FROM pg_type t WHERE t.oid = %s",
                    (oid[1], oid[0]),
                ).fetchone()
                self.types.append(row[0])
                column.server_type = "text" if row[2] == "e" else row[1]
            self.rows = 0
            for rows in self._parts():
                for column, values in zip(self.columns, zip(*rows, strict=True), strict=True):
                    column.add(list(values))
                self.rows += len(rows)
        if not self.rows or not told:
            raise TableFileError(
                f"{place.name}: must hold rows and columns. Got {self.rows} rows, {len(told)} columns."
            )
        for column in self.columns:
            self.notes += column.settle()
        self.said = f"{place.name}: {self.rows} rows, {len(told)} columns; PostgreSQL"

    @property
    def names(self) -> list[str]:
        return [c.name for c in self.columns]

    def _parts(self) -> Iterator[list[tuple]]:
        from psycopg import sql

        part: list[tuple] = []
        with self.connection.cursor().copy(sql.SQL("COPY ({}) TO STDOUT").format(self.select)) as copy:
            for row in copy.rows():
                part.append(row)
                if len(part) == BLOCK_ROWS:
                    yield part
                    part = []
        if part:
            yield part

    def blocks(self) -> Iterator[Block]:
        import pandas as pd

        first = 0
        with explained_postgres(self.place):
            for number, rows in enumerate(self._parts()):
                columns = zip(self.columns, zip(*rows, strict=True), strict=True)
                series = {c.name: c.series(c.values(v)) for c, v in columns if c.kind != "copied"}
                yield Block(number, first, pd.DataFrame(series, index=range(len(rows))), rows)
                first += len(rows)

    def whole(self, block: Block, filled: pd.DataFrame) -> pd.DataFrame:
        import pandas as pd

        out = {}
        for place, name in enumerate(self.names):
            if name in block.frame.columns:
                out[name] = filled[name] if name in filled.columns else block.frame[name]
            else:
                out[name] = pd.Series([r[place] for r in block.raw], dtype="str")
        return pd.DataFrame(out)

    def filled(self, block: Block, filled: pd.DataFrame) -> list[list[str | None]]:
        """The rows of a block as the server's texts, missing ones taken from `filled`."""
        rows = [list(r) for r in block.raw]
        for place, column in enumerate(self.columns):
            if column.name in filled.columns:
                given = filled[column.name]
                known, cells = given.notna().to_numpy(), given.astype(object).to_numpy()
                for i, row in enumerate(rows):
                    if known[i] and column._value(row[place]) is None:
                        row[place] = column.text(cells[i])
        return rows


def connected(place: Place) -> Any:
    """A connection to the server of `place`. Raises TableFileError for an address that does not answer."""
    try:
        import psycopg
    except ImportError as error:
        raise TableFileError("PostgreSQL needs the package psycopg: pip install 'psycopg[binary]'.") from error
    with explained_postgres(place):
        return psycopg.connect(place.url, connect_timeout=15)


def identifier(table: str) -> Any:
    """A table's name, with its schema where it has one, as SQL quotes it."""
    from psycopg import sql

    return sql.Identifier(*table.split(".", 1))


@contextmanager
def explained_postgres(place: Place) -> Iterator[None]:
    import psycopg

    try:
        yield
    except (psycopg.Error, psycopg.Warning) as error:
        text = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TableFileError(f"{place.name}: PostgreSQL says: {text}.") from error


# -- output ------------------------------------------------------------------------------------------
class PostgresSink:
    """A new table of the rows of a source of any kind, filled by COPY."""

    def __init__(self, connection: Any, place: Place, source: Source, stamps: tuple[str, str] | None) -> None:
        self.connection, self.place, self.source, self.stamp_names = connection, place, source, stamps
        self.begun = False

    def write(self, block: Block, filled: pd.DataFrame, draw: int | None = None) -> None:
        if isinstance(self.source, PostgresSource):
            rows: Any = self.source.filled(block, filled)
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
        from psycopg import sql

        with self.connection.cursor().copy(sql.SQL("COPY {} FROM STDIN").format(identifier(self.place.table))) as copy:
            for row in rows:
                copy.write_row(row)

    def _create(self, types: list[str]) -> None:
        from psycopg import sql

        names = [*(self.stamp_names or ()), *self.source.names]
        every = ["bigint"] * len(self.stamp_names or ()) + list(types)
        columns = [sql.SQL("{} {}").format(sql.Identifier(n), sql.SQL(t)) for n, t in zip(names, every, strict=True)]
        create = sql.SQL("CREATE TABLE {} ({})").format(identifier(self.place.table), sql.SQL(", ").join(columns))
        self.connection.execute(create)
        self.begun = True


def _type(series: pd.Series) -> str:
    kinds = {"i": "bigint", "u": "numeric", "b": "boolean", "f": "double precision", "M": "timestamp"}
    return kinds.get(series.dtype.kind, "text")


def _plain(value: Any) -> Any:
    if hasattr(value, "to_pydatetime"):
        return value.to_pydatetime()
    if hasattr(value, "item"):
        return value.item()
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def check_postgres(place: Place, force: bool) -> None:
    """Raises TableFileError where the table is not named, or is there and may not be replaced; before the work."""
    if not place.table:
        raise TableFileError(f"{place.name}: the new table must be named (--into). Got none.")
    with connected(place) as connection, explained_postgres(place):
        name = identifier(place.table).as_string(connection)
        if connection.execute("SELECT to_regclass(%s)", [name]).fetchone()[0] is not None and not force:
            raise TableFileError(f"{place.name} is already there; --force overwrites it.")


@contextmanager
def postgres_sink(place: Place, source: Source, stamps: tuple[str, str] | None, force: bool) -> Iterator[PostgresSink]:
    """A new table at `place`, there when all blocks are written: one transaction."""
    from psycopg import sql

    connection = connected(place)
    with explained_postgres(place), connection:
        if force:
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(identifier(place.table)))
        yield PostgresSink(connection, place, source, stamps)
