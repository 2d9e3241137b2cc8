"""A delimited text file as a table: its dialect detected and said, its cells read, missing ones written in place.

    table = DelimitedFile.open(Path("sales.csv"), Reading())
    print(table.said)                                   # one line: separator, decimal mark, encoding, header
    for records in table.parts(16384):
        frame = table.frame(records)                    # typed, NaN where missing
        text = table.filled_text(records, filled)       # the same text with the missing cells written

Opening reads the whole file once, in constant memory: what a column is depends on all of its cells.

Shapes: N rows of a part, C columns.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.textfiles.columns import TextColumn
from pipeline.textfiles.detecting import detect_dialect
from pipeline.textfiles.encodings import Encoding, TableFileError, detect_encoding, explained, open_text
from pipeline.textfiles.numerals import detect_marks
from pipeline.textfiles.reading import Reading
from pipeline.textfiles.records import (
    Dialect,
    Record,
    Stamps,
    TextTable,
    cell_of,
    is_quoted,
    line_end,
    records,
    value_of,
)
from pipeline.textfiles.remarks import Totals, total_of
from pipeline.textfiles.words import MissingWords

if TYPE_CHECKING:
    import pandas as pd

SAMPLE_CHARACTERS = 1 << 18
SCANNED = 8192  # rows at a time in the first pass
NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar", " ": "spaces", "": "none (one column)"}


@dataclass
class DelimitedFile(TextTable):
    """An opened file. names: of the columns, told apart. rows: their number. notes: sentences for its reader."""

    path: Path
    encoding: Encoding
    dialect: Dialect
    columns: list[TextColumn]
    rows: int = 0
    end: str = "\n"
    notes: list[str] = field(default_factory=list)
    short: tuple[int, int] = (0, 0)  # rows with fewer cells than columns, and the line of the first
    below: int = 0  # first line below the table: remarks of one cell after a blank line

    @staticmethod
    def open(path: Path, reading: Reading, usual: tuple[str, ...]) -> DelimitedFile:
        """Detects, reads all of the file once and settles what its columns are; usual: words for missing.

        Raises TableFileError, naming the line, for rows with more cells than the header, quotes that are never closed,
        numbers in two styles, text that its encoding cannot be.
        """
        path = Path(path)
        encoding = detect_encoding(path, reading.encoding)
        with explained(path, encoding), open_text(path, encoding) as lines:
            sample = _sample(lines)
        given = reading.dialect()
        if ".tsv" in path.suffixes and "separator" not in given:
            given["separator"] = "\t"
        dialect = detect_dialect(sample, given, path.name)
        ends = Counter(line_end(line) for line in sample[:1000])
        table = DelimitedFile(path, encoding, dialect, [], end=ends.most_common(1)[0][0] or "\n")
        table._name_columns(sample, reading, reading.words(usual))
        table._scan()
        return table

    @property
    def said(self) -> str:
        """How the file is read, in one line."""
        marks, d = self.columns[0].marks, self.dialect
        parts = [f"separator {NAMES.get(d.separator, repr(d.separator))}"]
        numeric = any(c.fractions or c.grouped for c in self.columns)
        if numeric and (marks.decimal == "," or marks.thousands):
            grouped = f", thousands {marks.thousands!r}" if marks.thousands else ""
            parts.append(f"decimal {'comma' if marks.decimal == ',' else 'point'}{grouped}")
        parts.append(self.encoding.name + (" with a mark" if self.encoding.mark else ""))
        parts[-1] += " (a guess)" if self.encoding.guessed else ""
        if d.quote not in ('"', "") or d.escape:
            parts.append(f"quote {d.quote}" + (f", escape {d.escape}" if d.escape else ""))
        if d.comment:
            parts.append(f"comments {d.comment}")
        if d.skipped:
            parts.append(f"{d.skipped} lines above the table")
        parts.append("header" if d.header else "no header")
        return f"{self.path.name}: {self.rows} rows, {len(self.columns)} columns; {', '.join(parts)}"

    # -- reading -----------------------------------------------------------------------------------
    def records(self) -> Iterator[Record]:
        """Every record of the file but its header's cells: header and other lines come as records without cells."""
        with explained(self.path, self.encoding), open_text(self.path, self.encoding) as lines:
            header = self.dialect.header
            for record in records(lines, self.dialect, self.path.name):
                if header and record.cells is not None:
                    header = False
                    record = replace(record, raw=record.text(), cells=None, header=True)
                elif self.below and record.line >= self.below and record.cells is not None:
                    record = replace(record, raw=record.text(), cells=None)
                yield record

    def _above_remarks(self) -> Iterator[Record]:
        """The rows; lines of one cell that follow a blank line and end the file are none, nor are totals that end it; noted."""
        held: list[Record] = []
        blank = wide = False  # a blank line before; a row before
        totals = Totals()
        for record in self.records():
            if record.cells is None:
                blank = blank or not (record.header or record.raw.strip())
                continue
            several = len(self.columns) > 1
            total = totals.may_be(value_of(c, self.dialect) for c in record.cells)
            if several and ((blank or held) and len(record.cells) == 1 or wide and total):
                held.append(record)
                continue
            yield from held
            held, blank, wide = [], False, True
            yield record
        self.below = held[0].line if held else 0
        if held:
            total = total_of(value_of(c, self.dialect) for c in held[0].cells)
            one = "holds totals" if total else "is a remark"
            many = "and following hold totals or remarks" if total else "and following are remarks"
            what = one if len(held) == 1 else many
            self.notes.append(f"line {self.below} {what} below the table: no row, and left as it is.")

    def values(self, part: list[Record]) -> list[list[Any]]:
        """C lists of what the cells of N rows say: int, float, bool or str, None where missing."""
        d, width = self.dialect, len(self.columns)
        rows = [r.cells if len(r.cells) == width else _padded(r.cells, width) for r in part if r.cells is not None]
        out = []
        for column, cells in zip(self.columns, zip(*rows, strict=True) if rows else [()] * width, strict=True):
            out.append(column.values([value_of(c, d) for c in cells]))
        return out

    def frame(self, part: list[Record]) -> pd.DataFrame:
        """The typed table of a part, NaN where missing."""
        import pandas as pd

        values = self.values(part)
        out = {c.name: c.series(v) for c, v in zip(self.columns, values, strict=True)}
        if self.dialect.trailing:
            out.popitem()  # what follows the last separator is no column
        return pd.DataFrame(out)

    # -- writing -----------------------------------------------------------------------------------
    def filled_text(self, part: list[Record], filled: pd.DataFrame, stamps: Stamps | None = None) -> str:
        """The text of a part with its missing cells taken from `filled` (N rows), the other cells as they are."""
        new = self._new_cells(part, filled)
        out, row = [], 0
        for record in part:
            if record.cells is None:
                if stamps is None or stamps.lines:
                    out.append(self._joined(stamps.names, record) if stamps and record.header else record.text())
                continue
            record = self._written(record, new[row]) if row in new else record
            out.append(self._joined(stamps.of_row(row), record) if stamps else record.text())
            row += 1
        return "".join(out)

    def _joined(self, first: tuple, record: Record) -> str:
        """A record's text with further cells before it, and a line end."""
        separator = (self.dialect.separator or ",") + self.dialect.pad
        text = record.text() if record.text().endswith(("\n", "\r")) else record.text() + self.end
        return "".join(f"{value}{separator}" for value in first) + text

    def _new_cells(self, part: list[Record], filled: pd.DataFrame) -> dict[int, dict[int, str]]:
        """Row → column → the text of what was missing and is known in `filled`."""
        values = self.values(part)
        new: dict[int, dict[int, str]] = {}
        for place, column in enumerate(self.columns):
            gaps = [i for i, v in enumerate(values[place]) if v is None]
            if gaps and column.name in filled.columns:
                given = filled[column.name]
                known = given.notna().to_numpy()
                cells = given.astype(object).to_numpy()
                for row in gaps:
                    if known[row]:
                        new.setdefault(row, {})[place] = column.text(cells[row])
        return new

    def texts(self, part: list[Record], filled: pd.DataFrame) -> list[list[str]]:
        """N lists of what the cells say, as text: for a file of another dialect."""
        new, out, d = self._new_cells(part, filled), [], self.dialect
        for row, record in enumerate(r for r in part if r.cells is not None):
            cells = [value_of(c, d) for c in _padded(record.cells, len(self.columns))]
            for place, text in new.get(row, {}).items():
                cells[place] = text
            out.append(cells)
        return out

    def _written(self, record: Record, values: dict[int, str]) -> Record:
        cells = list(record.cells)
        last = max(values)
        cells += [self.dialect.pad] * (last + 1 - len(cells))
        for place, value in values.items():
            column = self.columns[place]
            quoted = column.quoted * 2 > column.known and column.quoted > 0
            try:
                cells[place] = cell_of(value, self.dialect, cells[place], quoted=quoted, first=place == 0)
            except ValueError as error:
                raise TableFileError(f"{self.path.name}: column {column.name!r}: {error}.") from error
        return record.with_cells(cells)

    # -- inside ------------------------------------------------------------------------------------
    def _name_columns(self, sample: list[str], reading: Reading, words: MissingWords) -> None:
        d = self.dialect
        rows = [r for r in records(sample, d, self.path.name) if r.cells is not None]
        first = rows[0]
        names = [value_of(c, d).strip() if d.header else "" for c in first.cells]
        if d.trailing and d.header:
            names.append("")
        body = rows[1:] if d.header else rows
        cells = [[value_of(r.cells[i], d).strip() for r in body if len(r.cells) > i] for i in range(len(names))]
        cells = [[c for c in own if not words.holds_or_may(c)] for own in cells]
        marks = detect_marks(cells, d.separator, reading.decimal, reading._plain("thousands"))
        told, self.notes = told_apart(names, d.header)
        self.notes = self.notes[:-1] if d.trailing and d.header else self.notes
        self.columns = [TextColumn(name, marks, words.of(name)) for name in told]

    def _scan(self) -> None:
        d, width = self.dialect, len(self.columns)
        rows = self._above_remarks()
        while part := list(itertools.islice(rows, SCANNED)):
            for record in part:
                if len(record.cells) != width:
                    self._ragged(record, width)
            cells = [r.cells if len(r.cells) == width else _padded(r.cells, width) for r in part]
            for column, own in zip(self.columns, zip(*cells, strict=True), strict=True):
                quoted = sum(is_quoted(c, d) for c in own if len(c) > 2) if d.quote else 0
                column.add([value_of(c, d) for c in own], part[0].line, quoted)
            self.rows += len(part)
        if not self.rows:
            raise TableFileError(f"{self.path.name}: must hold rows and columns. Got 0 rows, {width} columns.")
        for column in self.columns:
            self.notes += column.settle(self.path.name)
        self.notes += doubtful_notes(self.columns)
        if self.short[0]:
            self.notes.append(
                f"rows with fewer cells than columns: {self.short[0]}, the first in line {self.short[1]}; "
                "the cells that they lack are missing."
            )

    def _ragged(self, record: Record, width: int) -> None:
        if len(record.cells) > width:
            raise TableFileError(
                f"{self.path.name}, line {record.line}: a row must have {width} cells, as the "
                f"{'header has' if self.dialect.header else 'first row has'}. Got {len(record.cells)}. "
                "Mend the line, or name the separator or quote (--separator, --quote)."
            )
        self.short = (self.short[0] + 1, self.short[1] or record.line)


def doubtful_notes(columns: list[TextColumn]) -> list[str]:
    """Sentences on words such as NA and None that were read as missing among words, where they may be values.

    They may where the file has another way to say missing, or where all words are codes of two letters.
    """
    ways = {w for c in columns for w in c.missing}
    out = []
    for column in columns:
        for word, count in column.doubtful().items():
            codes = all(len(w) == len(word) and w.isalpha() for w in column.strangers)
            if codes or len(ways) > 1 or count >= 0.1 * (column.known + count):
                out.append(
                    f"column {column.name!r}: {word!r} ({count} cells) is read as missing. If it is a value, name the "
                    "words that do mean missing (--missing; --missing '' for empty cells alone)."
                )
    return out


def told_apart(names: list[str], header: bool = True) -> tuple[list[str], list[str]]:
    """(names without repetition, sentences that say which were changed); an empty name becomes column<number>."""
    out: list[str] = []
    notes = []
    for place, name in enumerate(names, 1):
        told = name or f"column{place}"
        number = 2
        while told in out or told != name and told in names:
            told, number = f"{name or f'column{place}'}_{number}", number + 1
        if told != name and header:
            what = f"has the name {name!r} of another" if name else "has no name"
            notes.append(f"column {place} {what}; it is called {told!r} here.")
        out.append(told)
    return out, notes


def _padded(cells: list[str], width: int) -> list[str]:
    return cells + [""] * (width - len(cells))


def _sample(lines: Any) -> list[str]:
    """The first whole lines of a text."""
    out, size = [], 0
    for line in lines:
        out.append(line)
        size += len(line)
        if size > SAMPLE_CHARACTERS and len(out) > 1:
            break
    return out
