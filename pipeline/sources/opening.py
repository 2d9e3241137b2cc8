"""Any table of people's, opened by what its path or address names; and whole tables as frames.

with open_source(place_of("sales.xlsx", table="2024")) as source: …
frame = read_frame("people.csv.gz")                 # pandas, NaN where missing
write_frame(Path("filled.parquet"), frame)
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.base.files import write_bytes, write_text
from pipeline.sources.blocks import Block, Sink, Source
from pipeline.sources.places import Place, place_of
from pipeline.textfiles.encodings import TableFileError
from pipeline.textfiles.reading import Reading
from pipeline.textfiles.words import USUAL, MissingWords

if TYPE_CHECKING:
    import pandas as pd


def say(sentence: str) -> None:
    """Tells the user, on stderr."""
    print(sentence, file=sys.stderr, flush=True)


@contextmanager
def open_source(place: Place, reading: Reading | None = None, tell: Callable[[str], object] = say) -> Iterator[Source]:
    """The table at `place`, open within the context; how it is read, and what its reader should know, goes to `tell`, a line each.

    Raises TableFileError (one line) for whatever keeps it from being read.
    """
    reading = reading or Reading()
    if place.path is not None and not place.path.is_file():
        raise TableFileError(f"There is no file {place.path}.")
    empty = reading.missing is not None and "" in reading.missing
    given = MissingWords(reading.missing or (), False, empty, reading.missing_in)
    with _connection(place) as connection:
        with explained(place):
            source = _opened(place, reading, given, connection)
        absent = [column for column, _ in reading.missing_in if column not in source.names]
        if absent:
            raise TableFileError(
                f"{place.name}: 'missing' must name columns of the table, {source.names[:20]}. Got {absent[0]!r}."
            )
        tell(source.said + ".")
        for note in source.notes:
            tell(f"note: {note}")
        yield source


def _connection(place: Place) -> AbstractContextManager:
    """The connection that reads from a server; for a file, nothing."""
    if place.kind != "postgres":
        return nullcontext()
    from pipeline.sources.postgres_tables import connected

    return connected(place)


def _opened(place: Place, reading: Reading, given: MissingWords, connection: Any) -> Source:
    if place.kind in ("delimited", "json"):
        from pipeline.sources.text_tables import TextSource

        return TextSource(place, reading, USUAL)
    if place.kind == "parquet":
        from pipeline.sources.parquet_tables import ParquetSource

        return ParquetSource(place, given)
    if place.kind == "excel":
        from pipeline.sources.workbooks import SheetSource

        usual = reading.words(USUAL) if reading.missing is None else given
        return SheetSource(place, usual)
    if place.kind == "sqlite":
        from pipeline.sources.sqlite_tables import SqliteSource

        return SqliteSource(place, given)
    from pipeline.sources.postgres_tables import PostgresSource

    return PostgresSource(place, given, connection)


@contextmanager
def explained(place: Place) -> Iterator[None]:
    """Turns what compression and file systems raise into one line on the table."""
    import lzma
    import zipfile
    import zlib

    try:
        yield
    except (TableFileError, FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, OSError) as error:
        text = str(error) or type(error).__name__
        raise TableFileError(f"{place.name}: not a readable table: {text}") from error


def check_sink(place: Place, force: bool) -> None:
    """Raises TableFileError where an output may not be written; asked before the work."""
    if place.query:
        raise TableFileError("An output must be a table, not a query.")
    if place.kind == "postgres":
        from pipeline.sources.postgres_tables import check_postgres

        check_postgres(place, force)
    elif place.kind == "sqlite":
        from pipeline.sources.sqlite_tables import check_sqlite

        check_sqlite(place, force)
    elif place.path.exists() and not force:
        raise TableFileError(f"{place.path} is already there; --force overwrites it.")
    elif place.path.is_dir():
        raise TableFileError(f"{place.path} must be a file. Got a folder.")


@contextmanager
def open_sink(
    place: Place, source: Source, stamps: tuple[str, str] | None = None, *, force: bool = False
) -> Iterator[Sink]:
    """An output at `place` for the blocks of `source`; nothing is there until all are written, nothing if one fails.

    stamps: names of two columns in front, for the draw and the row.
    """
    if place.kind in ("delimited", "json"):
        from pipeline.sources.text_tables import text_sink as opened
    elif place.kind == "parquet":
        from pipeline.sources.parquet_tables import parquet_sink as opened
    elif place.kind == "excel":
        from pipeline.sources.workbooks import sheet_sink as opened
    elif place.kind == "sqlite":
        from pipeline.sources.sqlite_tables import sqlite_sink

        with sqlite_sink(place, source, stamps, force) as sink:
            yield sink
        return
    else:
        from pipeline.sources.postgres_tables import postgres_sink

        with postgres_sink(place, source, stamps, force) as sink:
            yield sink
        return
    with opened(place, source, stamps) as sink:
        yield sink


# -- whole tables ------------------------------------------------------------------------------------
class GeneratedSource:
    """Rows that come from no table: blocks are written as they are given."""

    notes: tuple[str, ...] = ()

    def __init__(self, names: list[str], rows: int) -> None:
        self.names, self.rows = names, rows
        self.said = f"{rows} rows, {len(names)} columns"

    def blocks(self) -> Iterator[Block]:
        yield from ()

    def whole(self, block: Block, filled: pd.DataFrame) -> pd.DataFrame:
        return filled


def read_frame(
    data: str | Path | Place, reading: Reading | None = None, tell: Callable[[str], object] = say
) -> pd.DataFrame:
    """The whole table at a path, address or place; a Parquet file keeps its index. Raises TableFileError."""
    import pandas as pd

    place = data if isinstance(data, Place) else place_of(data)
    with open_source(place, reading, tell) as source, explained(place):
        if place.kind == "parquet":
            return _parquet_frame(place.path)
        parts = [source.whole(b, b.frame) for b in source.blocks()]
    return pd.concat(parts, ignore_index=True)


def _parquet_frame(path: Path) -> pd.DataFrame:
    """As pandas reads it, but whole numbers and truth values beside a gap stay what they are."""
    import pandas as pd
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    frame = table.to_pandas()
    names = [n for n in table.schema.names if n in frame.columns]
    for name in names:
        kind, column = str(table.schema.field(name).type), table.column(name)
        if column.null_count and (kind.startswith(("int", "uint")) or kind == "bool"):
            dtype = (
                pd.BooleanDtype()
                if kind == "bool"
                else pd.api.types.pandas_dtype(kind.replace("int", "Int").replace("uI", "UI"))
            )
            if frame[name].dtype != dtype:
                frame[name] = pd.Series(column.to_pandas(types_mapper=lambda _, d=dtype: d).array, index=frame.index)
    return frame


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Writes a whole table to a file of any kind, atomically; a Parquet file keeps an index that is not plain."""
    place = place_of(path)
    if place.kind == "parquet":
        buffer = io.BytesIO()
        frame.to_parquet(buffer)
        write_bytes(place.path, buffer.getvalue())
    elif place.kind == "delimited" and place.path.suffix.lower() in (".csv", ".tsv", ".tab", ".txt"):
        write_text(
            place.path, frame.to_csv(index=False, sep="\t" if place.path.suffix.lower() in (".tsv", ".tab") else ",")
        )
    else:
        with open_sink(place, GeneratedSource([str(c) for c in frame.columns], len(frame)), force=True) as sink:
            sink.write(Block(0, 0, frame, None), frame)
