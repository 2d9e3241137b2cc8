"""Delimited text and JSON lines as a source, and as an output: the text of every cell that was there stays."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from pipeline.base.files import replaced_file
from pipeline.sources.blocks import BLOCK_ROWS, Block, Source
from pipeline.sources.places import Place
from pipeline.textfiles.delimited import DelimitedFile
from pipeline.textfiles.encodings import TableFileError, compressed
from pipeline.textfiles.json_lines import JsonLines
from pipeline.textfiles.reading import Reading
from pipeline.textfiles.records import Stamps

if TYPE_CHECKING:
    import pandas as pd


class TextSource:
    """A delimited text or JSON lines."""

    def __init__(self, place: Place, reading: Reading, missing: tuple[str, ...]) -> None:
        if place.kind == "json":
            words = reading.words(missing, loose=False)
            self.table: DelimitedFile | JsonLines = JsonLines.open(place.path, reading.encoding, words)
        else:
            self.table = DelimitedFile.open(place.path, reading, missing)
        self.kind, self.rows, self.notes, self.said = place.kind, self.table.rows, self.table.notes, self.table.said

    @property
    def names(self) -> list[str]:
        return self.table.names

    def blocks(self) -> Iterator[Block]:
        first = 0
        for number, part in enumerate(self.table.parts(BLOCK_ROWS)):
            frame = self.table.frame(part)
            count = sum(record.is_row for record in part)
            yield Block(number, first, frame.reindex(range(count)) if not frame.shape[1] else frame, part)
            first += count

    def whole(self, block: Block, filled: pd.DataFrame) -> pd.DataFrame:
        """All columns of a block, filled; those that are copied as their text."""
        values = zip(self.table.columns, self.table.values(block.raw), strict=True)
        out = {c.name: c.series(v) for c, v in values if c.name not in block.frame.columns and c.kind == "nested"}
        finest = {c.name: c.format.most_decimals for c in self.table.columns if c.kind == "decimal" and not c.mantissa}
        for name in block.frame.columns:
            out[name] = filled[name] if name in filled.columns else block.frame[name]
            out[name] = out[name].round(finest[name]) if name in finest else out[name]
        return block.frame.assign(**out)[[n for n in self.names if n in out]]


class SameText:
    """An output in the dialect of its source, cells that were there byte for byte."""

    def __init__(self, stream: BinaryIO, source: TextSource, stamp_names: tuple[str, str] | None) -> None:
        self.stream, self.table, self.stamp_names = stream, source.table, stamp_names
        stream.write(source.table.encoding.mark)

    def write(self, block: Block, filled: pd.DataFrame, draw: int | None = None) -> None:
        stamps = Stamps(self.stamp_names, draw, block.first, draw == 0) if self.stamp_names else None
        text = self.table.filled_text(block.raw, filled, stamps)
        try:
            self.stream.write(text.encode(self.table.encoding.name))
        except UnicodeEncodeError as error:
            raise TableFileError(
                f"{self.table.path.name}: a filled cell must be text of the encoding {error.encoding}. "
                f"Got {error.object[error.start : error.end]!r}."
            ) from error


class NewText:
    """A delimited text in UTF-8, or JSON lines, of a source of another kind."""

    def __init__(self, stream: BinaryIO, place: Place, source: Source, stamp_names: tuple[str, str] | None) -> None:
        self.stream, self.source, self.stamp_names, self.kind = stream, source, stamp_names, place.kind
        self.separator = "\t" if ".tsv" in place.path.suffixes or ".tab" in place.path.suffixes else ","
        self.begun = False

    def write(self, block: Block, filled: pd.DataFrame, draw: int | None = None) -> None:
        stamps = Stamps(self.stamp_names, draw, block.first, True) if self.stamp_names else None
        if isinstance(self.source, TextSource) and self.source.kind == self.kind == "delimited":
            self.stream.write(self._delimited(self.source.table.texts(block.raw, filled), stamps).encode())
            return
        frame = self.source.whole(block, filled)
        if stamps is not None:
            frame = stamped(frame, stamps)
        if self.kind == "json":
            text = frame.to_json(orient="records", lines=True, date_format="iso", force_ascii=False)
        else:
            text = frame.to_csv(index=False, sep=self.separator, header=not self.begun, lineterminator="\n")
        self.begun = True
        self.stream.write(text.encode())

    def _delimited(self, rows: list[list[str]], stamps: Stamps | None) -> str:
        out = io.StringIO()
        writer = csv.writer(out, delimiter=self.separator, lineterminator="\n")
        if not self.begun:
            writer.writerow([*(stamps.names if stamps else ()), *self.source.names])
            self.begun = True
        for row, cells in enumerate(rows):
            writer.writerow([*(stamps.of_row(row) if stamps else ()), *cells])
        return out.getvalue()


def stamped(frame: pd.DataFrame, stamps: Stamps) -> pd.DataFrame:
    """`frame` with the columns of the draw and the row in front."""
    frame = frame.reset_index(drop=True)
    frame.insert(0, stamps.names[1], range(stamps.first_row, stamps.first_row + len(frame)))
    frame.insert(0, stamps.names[0], stamps.draw)
    return frame


@contextmanager
def text_sink(place: Place, source: Source, stamp_names: tuple[str, str] | None) -> Iterator[SameText | NewText]:
    """An output at `place` that takes the blocks of `source` and is there when all are written."""
    with replaced_file(place.path) as file, compressed(file, place.path) as stream:
        if isinstance(source, TextSource) and source.kind == place.kind and _same_separator(place.path, source):
            yield SameText(stream, source, stamp_names)
        else:
            yield NewText(stream, place, source, stamp_names)


def _same_separator(path: Path, source: TextSource) -> bool:
    """A .csv may be separated by anything, a .tsv by tabs alone."""
    tabbed = ".tsv" in path.suffixes or ".tab" in path.suffixes
    if source.kind == "json" or ".txt" in path.suffixes:
        return True
    was = source.table.path.suffixes
    return (source.table.dialect.separator == "\t") == tabbed or (not tabbed and ".csv" in was)
