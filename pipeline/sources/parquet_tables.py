"""A Parquet file as a source, row group by row group, and as an output that keeps types, index, metadata, compression.

A cell that was there keeps its Arrow value whatever its type; lists, structures and bytes are copied, as are the
columns of a pandas index.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.base.files import replaced_file
from pipeline.sources.blocks import Block, Source
from pipeline.sources.places import Place
from pipeline.sources.text_tables import stamped
from pipeline.textfiles.encodings import TableFileError
from pipeline.textfiles.records import Stamps
from pipeline.textfiles.words import MissingWords

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

GROUP_ROWS = 131_072  # of a block at most; a larger row group is several blocks
TRIED_CELLS = 4096  # of a column, to see whether its values repeat


class ParquetSource:
    """A Parquet file. Raises TableFileError for a file that is none, or has no rows."""

    def __init__(self, place: Place, words: MissingWords) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self.path, self.words = Path(place.path), words
        try:
            file = pq.ParquetFile(self.path)
        except (pa.ArrowException, OSError) as error:
            raise TableFileError(f"{self.path.name}: not a readable table: {_first_line(error)}") from error
        with file:
            self.schema, self.rows = file.schema_arrow, file.metadata.num_rows
            self.groups = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
            columns = file.metadata.num_columns
            self.compression = file.metadata.row_group(0).column(0).compression if self.groups and columns else "SNAPPY"
        if not self.rows or not len(self.schema):
            raise TableFileError(
                f"{self.path.name}: must hold rows and columns. Got {self.rows} rows, {len(self.schema)} columns."
            )
        repeated = sorted({n for n in self.schema.names if self.schema.names.count(n) > 1})
        if repeated:
            raise TableFileError(f"{self.path.name}: column names must not repeat. Got {repeated} more than once.")
        index = _index_columns(self.schema)
        copied = [f.name for f in self.schema if f.name not in index and not is_modelled(f.type)]
        self.copied = {*index, *copied}
        if not set(self.schema.names) - self.copied:
            raise TableFileError(f"{self.path.name}: must have a column of numbers, words or dates. Got none.")
        self.notes = [
            f"column {name!r} holds {self.schema.field(name).type}: it is copied as it is." for name in copied
        ]
        self.said = (
            f"{self.path.name}: {self.rows} rows, {len(self.schema)} columns, {len(self.groups)} row groups; Parquet"
        )

    @property
    def names(self) -> list[str]:
        return self.schema.names

    def blocks(self) -> Iterator[Block]:
        first = number = 0
        for group in range(len(self.groups)):
            for table in self._tables(group):
                yield Block(number, first, self.frame(table), table)
                first, number = first + len(table), number + 1

    def frames_at(self, chosen: np.ndarray) -> Iterator[pd.DataFrame]:
        """Frames of the rows `chosen` (n,), sorted; only these are made pandas, and only their row groups are read."""
        import numpy as np

        first = 0
        for group, rows in enumerate(self.groups):
            low, high = np.searchsorted(chosen, [first, first + rows])
            place = first
            for table in self._tables(group) if high > low else ():
                own = chosen[(chosen >= place) & (chosen < place + len(table))] - place
                yield self.frame(table.take(own))
                place += len(table)
            first += rows

    def frames(self, names: list[str]) -> Iterator[pd.DataFrame]:
        """All rows, in order, of some modelled columns; the others are not read."""
        import pandas as pd

        for group in range(len(self.groups)):
            for table in self._tables(group, names):
                yield pd.DataFrame({n: self._series(table.column(n), n) for n in names})

    def _tables(self, group: int, names: list[str] | None = None) -> Iterator[pa.Table]:
        """The tables of a row group, of at most GROUP_ROWS rows each, whole or of the columns `names`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema = self.schema if names is None else None
        try:
            with pq.ParquetFile(self.path, memory_map=False) as file:
                held: list[pa.RecordBatch] = []
                for batch in file.iter_batches(GROUP_ROWS, row_groups=[group], columns=names):
                    held.append(batch)
                    if sum(len(b) for b in held) >= GROUP_ROWS:
                        yield pa.Table.from_batches(held, schema)
                        held = []
                if held:
                    yield pa.Table.from_batches(held, schema)
        except (pa.ArrowException, OSError) as error:
            raise TableFileError(f"{self.path.name}, row group {group}: not readable: {_first_line(error)}") from error

    def frame(self, table: pa.Table) -> pd.DataFrame:
        """The typed columns that are modelled, missing as such."""
        import pandas as pd

        names = [n for n in self.schema.names if n not in self.copied]
        return pd.DataFrame({n: self._series(table.column(n), n) for n in names})

    def _series(self, column: pa.ChunkedArray, name: str) -> pd.Series:
        try:
            series = series_of(column, name)
        except _unreadable_kinds() as error:
            raise self._unreadable(column, name, error) from error
        words = self.words.of(name)
        if series.dtype == "str" and words.words:
            return series.mask(series.str.strip().isin(words._set - {""}))
        if series.dtype.kind in "fiu" and words._numbers:
            return series.mask(series.isin(words._numbers))
        if series.dtype.kind == "M" and words._dates:
            return series.mask(series.map(words.holds_date, na_action="ignore").fillna(False).astype(bool))
        return series

    def _unreadable(self, column: pa.ChunkedArray, name: str, error: Exception) -> TableFileError:
        what = f"column {name!r} must hold values that pandas reads. Got {column.type}: {_first_line(error)}"
        return TableFileError(f"{self.path.name}: {what}")

    def whole(self, block: Block, filled: pd.DataFrame) -> pd.DataFrame:
        """All columns of a block as pandas has them, filled, the index of pandas as columns. Raises TableFileError for a
        column, which may be one that is only copied, whose values pandas does not read."""
        table = self.filled(block, filled)
        try:
            return table.to_pandas(ignore_metadata=True)
        except _unreadable_kinds():
            for name in table.schema.names:
                try:
                    table.select([name]).to_pandas(ignore_metadata=True)
                except _unreadable_kinds() as error:
                    raise self._unreadable(table.column(name), name, error) from error
            raise

    def filled(self, block: Block, filled: pd.DataFrame) -> pa.Table:
        """The block's Arrow table with its missing cells taken from `filled`, the other cells as they are."""
        table = block.raw
        for name in filled.columns:
            if name in block.frame.columns:
                gaps = block.frame[name].isna().to_numpy() & filled[name].notna().to_numpy()
                if gaps.any():
                    place = table.schema.get_field_index(name)
                    new = _with_values(table.column(name), gaps, filled[name][gaps])
                    table = table.set_column(place, table.schema.field(place), new)
        return table


def _unreadable_kinds() -> tuple[type[Exception], ...]:
    """What pyarrow, pandas and pytz raise for values that pandas cannot hold."""
    import pyarrow as pa

    return ValueError, TypeError, KeyError, OverflowError, pa.ArrowException


def is_modelled(kind: pa.DataType) -> bool:
    """True for numbers, truth values, words, dates, times of dates and durations."""
    import pyarrow.types as t

    if t.is_dictionary(kind):
        return is_modelled(kind.value_type)
    plain = (t.is_integer, t.is_floating, t.is_boolean, t.is_decimal, t.is_string, t.is_large_string)
    return any(test(kind) for test in (*plain, t.is_string_view, t.is_date, t.is_timestamp, t.is_duration, t.is_null))


def series_of(column: pa.ChunkedArray, name: str) -> pd.Series:
    """A column as pandas: Int64, Float64 as float64, boolean, str, datetime64; the same type for every block."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.types as t

    kind = column.type
    if t.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if t.is_null(kind):
        return pd.Series([None] * len(column), dtype="str", name=name)
    if t.is_decimal(kind) or t.is_floating(kind):
        return pd.Series(column.cast(pa.float64()).to_numpy(), name=name, dtype="float64", copy=True)
    if t.is_integer(kind):
        target = "UInt64" if kind == pa.uint64() else "Int64"
        mapper = {pa.int64(): pd.Int64Dtype(), pa.uint64(): pd.UInt64Dtype()}.get
        return (
            column.cast(pa.uint64() if target == "UInt64" else pa.int64()).to_pandas(types_mapper=mapper).rename(name)
        )
    if t.is_boolean(kind):
        return column.to_pandas(types_mapper={pa.bool_(): pd.BooleanDtype()}.get).rename(name)
    if t.is_date(kind):
        column = column.cast(pa.timestamp("s")) if t.is_date32(kind) else column.cast(pa.timestamp("ms"))
    elif not t.is_temporal(kind):
        column.validate(full=True)  # text that is no UTF-8 would fail only where it is first looked at
        return column.to_pandas().astype("str").rename(name)
    return column.to_pandas().rename(name)


def _with_values(column: pa.ChunkedArray, gaps: Any, values: pd.Series) -> pa.ChunkedArray:
    """`column` with the cells of `gaps` set to `values`, in its own type; the others keep their Arrow values."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.types as t

    kind = column.type
    plain = kind.value_type if t.is_dictionary(kind) else kind
    new = pa.chunked_array([_cast(values, plain)])
    old = column.cast(plain) if t.is_dictionary(kind) else column
    place = np.arange(len(column))
    place[gaps] = len(column) + np.arange(int(gaps.sum()))
    out = pa.chunked_array([*old.chunks, *new.chunks], plain).take(pa.array(place))
    return out.cast(kind) if t.is_dictionary(kind) else out


def _cast(values: pd.Series, kind: pa.DataType) -> pa.Array:
    """Filled values in an Arrow type: whole where it is whole, rounded to its scale where it has one."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.types as t

    if t.is_null(kind):
        return pa.nulls(len(values))
    if t.is_integer(kind):
        return pa.array([int(round(v)) for v in values.astype(object)], kind)
    if t.is_decimal(kind):
        from decimal import Decimal

        step = Decimal(1).scaleb(-kind.scale)
        return pa.array([Decimal(repr(float(v))).quantize(step) for v in values], kind)
    if t.is_date(kind):
        return pa.array([pd.Timestamp(v).round("D").date() for v in values], pa.date32()).cast(kind)
    if t.is_temporal(kind):
        return pa.array(values, from_pandas=True).cast(kind, safe=False)
    if t.is_boolean(kind):
        return pa.array([bool(v) for v in values], kind)
    if t.is_floating(kind):
        return pa.array(values.astype(float).to_numpy()).cast(kind, safe=False)
    return pa.array([str(v) for v in values], pa.string()).cast(kind)


# -- output ------------------------------------------------------------------------------------------
class ParquetSink:
    """A Parquet file of the blocks of a source of any kind, a row group a block."""

    def __init__(self, stream: Any, source: Source, stamp_names: tuple[str, str] | None) -> None:
        self.stream, self.source, self.stamp_names = stream, source, stamp_names
        self.writer: Any = None
        self.compression = getattr(source, "compression", "SNAPPY")

    def write(self, block: Block, filled: pd.DataFrame, draw: int | None = None) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if isinstance(self.source, ParquetSource):
            table = self.source.filled(block, filled)
            if self.stamp_names:
                for place, values in enumerate(([draw] * len(table), range(block.first, block.first + len(table)))):
                    column = pa.array(values, pa.int64())
                    table = table.add_column(place, pa.field(self.stamp_names[place], pa.int64()), column)
        else:
            frame = self.source.whole(block, filled)
            if self.stamp_names:
                frame = stamped(frame, Stamps(self.stamp_names, draw, block.first, True))
            table = pa.Table.from_pandas(frame, None if self.writer is None else self.writer.schema, False)
        if self.writer is None:
            names = {"NONE": "UNCOMPRESSED"}
            compression = names.get(self.compression, self.compression)
            known = ("SNAPPY", "GZIP", "BROTLI", "ZSTD", "LZ4")
            self.writer = pq.ParquetWriter(
                self.stream,
                table.schema,
                compression=compression if compression in known else "NONE",
                use_dictionary=[n for n in table.schema.names if _repeats(table.column(n))],
            )
        self.writer.write_table(table, row_group_size=max(1, len(table)))

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()


def _repeats(column: pa.ChunkedArray) -> bool:
    """Whether values come again, so that a dictionary of them saves room; building one of all others takes most of the
    time of writing."""
    import pyarrow as pa
    import pyarrow.compute as pc

    some = column.slice(0, TRIED_CELLS)
    try:
        return len(pc.unique(some)) <= 0.5 * len(some)
    except pa.ArrowException:  # lists and structures
        return False


@contextmanager
def parquet_sink(place: Place, source: Source, stamp_names: tuple[str, str] | None) -> Iterator[ParquetSink]:
    """An output at `place` that takes the blocks of `source` and is there when all are written."""
    with replaced_file(place.path) as stream:
        sink = ParquetSink(stream, source, stamp_names)
        yield sink
        sink.close()


def _index_columns(schema: pa.Schema) -> list[str]:
    described = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
    return [c for c in described.get("index_columns", []) if isinstance(c, str) and c in schema.names]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".") + "."
