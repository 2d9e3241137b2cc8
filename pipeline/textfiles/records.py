"""Records of a delimited text: every cell keeps its own text, so that a record is written back as it was read.

    for record in records(lines, dialect): ...
    record.text() == what was read, whatever quotes, spaces and line end it has

A line that is no row (title, comment, header, blank line) is a record without cells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

from pipeline.textfiles.encodings import TableFileError

LONGEST_RECORD = 1 << 20  # characters; beyond, a quote was never closed
BLANKS = " \t"


@dataclass(frozen=True)
class Dialect:
    """How a delimited text is written.

    separator: a character; " " for columns aligned by spaces; "" for one column. quote, escape: a character or
    nothing. space: a space follows each separator and belongs to no cell. comment: begins a line that is no row.
    header: the first row holds the names. skipped: lines before it that are no table. trailing: every row ends with
    a separator that begins no column.
    """

    separator: str = ","
    quote: str = '"'
    escape: str = ""
    space: bool = False
    comment: str = ""
    header: bool = True
    skipped: int = 0
    trailing: bool = False

    @property
    def pad(self) -> str:
        """What stands before a cell that follows another."""
        return " " if self.space else ""


@dataclass
class Record:
    """A row, or a line that is none (cells is None).

    line: its number in the file, from 1. cells: texts with their quotes and spaces. glue: what joins them, or one
    text more than there are cells: before, between and after. end: the line end.
    """

    line: int
    cells: list[str] | None
    glue: str | list[str] = ""
    end: str = ""
    raw: str = field(default="", repr=False)
    header: bool = False

    @property
    def is_row(self) -> bool:
        return self.cells is not None

    def text(self) -> str:
        """The record as it stands in the file."""
        if self.cells is None:
            return self.raw
        if isinstance(self.glue, str):
            return self.glue.join(self.cells) + self.end
        return "".join(g + c for g, c in zip(self.glue, self.cells, strict=False)) + self.glue[-1] + self.end

    def with_cells(self, cells: list[str]) -> Record:
        """The record with other texts in its cells, and further cells where there are more."""
        glue = self.glue
        if not isinstance(glue, str) and len(cells) > len(self.cells):
            glue = glue[:-1] + [" "] * (len(cells) - len(self.cells)) + glue[-1:]
        return replace(self, cells=cells, glue=glue)


@dataclass(frozen=True)
class Stamps:
    """Columns that are put before those of the file: the draw and the row. lines: write lines that are no rows too."""

    names: tuple[str, str]
    draw: int
    first_row: int
    lines: bool

    def of_row(self, row: int) -> tuple[int, int]:
        return self.draw, self.first_row + row


def line_end(line: str) -> str:
    """The line end of a line: "\\r\\n", "\\n", "\\r" or nothing."""
    return "\r\n" if line.endswith("\r\n") else line[-1] if line.endswith(("\n", "\r")) else ""


def records(lines: Iterable[str], dialect: Dialect, name: str = "the file") -> Iterator[Record]:
    """The records of a text; `lines` have their line ends. The header is a record with cells.

    Raises TableFileError naming the line where a quote is never closed.
    """
    number, following = 0, iter(lines)
    blanks = BLANKS if dialect.separator != "\t" else " "  # a line of tabs alone is a row of missing cells
    for line in following:
        number += 1
        first = number
        end = line_end(line)
        body = line[: len(line) - len(end)]
        if number <= dialect.skipped or not body.strip(blanks) or _is_comment(body, dialect):
            yield Record(first, None, raw=line)
            continue
        if dialect.quote and dialect.quote in body:
            cells = split_quoted(body, dialect)
            while cells is None:
                further = next(following, None)
                if further is None or len(line) + len(further) > LONGEST_RECORD:
                    raise TableFileError(
                        f"{name}, line {first}: a quote {dialect.quote} that is opened must be closed. "
                        "Mend it, or say that there are no quotes (--quote none)."
                    )
                number, line = number + 1, line + further
                end = line_end(line)
                body = line[: len(line) - len(end)]
                cells = split_quoted(body, dialect) if dialect.quote in further else None
            yield Record(first, cells, dialect.separator, end) if dialect.separator != " " else _spaced(first, line)
        elif dialect.separator == " ":
            yield _spaced(first, line)
        else:
            yield Record(first, body.split(dialect.separator) if dialect.separator else [body], dialect.separator, end)


class TextTable:
    """What text files of every kind have as tables. Needs `columns` and `records()`, whose records know if they are a row."""

    @property
    def names(self) -> list[str]:
        return [column.name for column in self.columns]

    def parts(self, rows: int) -> Iterator[list[Any]]:
        """Lists of records that hold `rows` rows each, the last fewer; lines that are no rows go with the next."""
        part, count = [], 0
        for record in self.records():
            part.append(record)
            count += record.is_row
            if count == rows:
                yield part
                part, count = [], 0
        if part:
            yield part


def _is_comment(body: str, dialect: Dialect) -> bool:
    return bool(dialect.comment) and body.startswith(dialect.comment)


def _spaced(number: int, line: str) -> Record:
    """A row whose columns are aligned by spaces or tabs."""
    end = line_end(line)
    parts = re.split(r"([ \t]+)", line[: len(line) - len(end)])
    cells, between = parts[::2], parts[1::2]
    before = between.pop(0) if not cells[0] else ""
    cells = cells[1:] if not cells[0] else cells
    after = between.pop() if not cells[-1] else ""
    cells = cells[:-1] if not cells[-1] else cells
    return Record(number, cells, [before, *between, after], end)


@lru_cache(32)
def _cell_pattern(dialect: Dialect) -> re.Pattern:
    quote, escape = re.escape(dialect.quote), re.escape(dialect.escape)
    other = f"[^{quote}{escape}]" if dialect.escape else f"[^{quote}]"
    escaped = f"|{escape}." if dialect.escape else ""
    inside = f"{quote}(?:{other}|{quote}{quote}{escaped})*+{quote}"
    rest = f"[^{re.escape(dialect.separator)}]*" if dialect.separator else ".*"
    pad = " *+" if dialect.space else ""
    return re.compile(f"{pad}(?:{inside}{rest}|(?!{quote}){rest})", re.DOTALL)


def split_quoted(body: str, dialect: Dialect) -> list[str] | None:
    """The cells of a row that holds quotes; None where one is open at its end."""
    pattern, cells, place = _cell_pattern(dialect), [], 0
    while True:
        found = pattern.match(body, place)
        if found is None:
            return None
        cells.append(found[0])
        place = found.end()
        if place == len(body):
            return cells
        place += 1  # the separator
        if place == len(body):
            return [*cells, ""]


# -- cells -------------------------------------------------------------------------------------------
def value_of(cell: str, dialect: Dialect) -> str:
    """What a cell says: without its quotes, and without the spaces that belong to the separator."""
    quote = dialect.quote
    inner = cell.lstrip(" ") if dialect.space else cell
    if not quote or not inner.startswith(quote) or len(inner) < 2:
        if dialect.space:
            return inner.rstrip(" ")
        return inner[1:] if inner[:1] == " " and inner[1:2] != " " else inner  # "a, b": a space after a separator
    close = inner.rfind(quote)
    if close == 0:
        return inner
    said = inner[1:close].replace(quote * 2, quote)
    if dialect.escape:
        said = re.sub(re.escape(dialect.escape) + "(.)", r"\1", said, flags=re.DOTALL)
    return said + inner[close + 1 :]


def is_quoted(cell: str, dialect: Dialect) -> bool:
    return bool(dialect.quote) and cell.lstrip(" ").startswith(dialect.quote)


def cell_of(value: str, dialect: Dialect, old: str = "", *, quoted: bool = False, first: bool = False) -> str:
    """The text of a cell that says `value`, in the place of the missing cell `old`, whose outer spaces stay.

    quoted: the column quotes its cells. first: of a row, where a comment could begin. Raises ValueError for a value
    that this dialect cannot write.
    """
    inner = old.strip(" ")
    before = old[: len(old) - len(old.lstrip(" "))] if inner else ""
    after = old[len(old.rstrip(" ")) :] if inner else ""
    if not inner and dialect.space and not first:
        before = old or " "
    if value == "" or _needs_quotes(value, dialect, first) or quoted:
        if dialect.quote:
            return before + _quoted(value, dialect) + after
        if value == "" or _needs_quotes(value, dialect, first):
            raise ValueError(f"a cell of a file without quotes cannot hold {value!r}; name a quote (--quote)")
    return before + value + after


def _needs_quotes(value: str, dialect: Dialect, first: bool) -> bool:
    marks = (dialect.separator or "\n") + "\r\n" + (BLANKS if dialect.separator == " " else "")
    return (
        any(c in value for c in marks)
        or bool(dialect.quote)
        and value.startswith(dialect.quote)
        or bool(dialect.escape)
        and dialect.escape in value
        or value != value.strip(BLANKS)
        or first
        and bool(dialect.comment)
        and value.startswith(dialect.comment)
    )


def _quoted(value: str, dialect: Dialect) -> str:
    quote, escape = dialect.quote, dialect.escape
    if escape:
        value = value.replace(escape, escape * 2).replace(quote, escape + quote)
    else:
        value = value.replace(quote, quote * 2)
    return f"{quote}{value}{quote}"
