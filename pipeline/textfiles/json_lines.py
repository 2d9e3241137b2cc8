"""JSON lines as a table: one object a line, its names are columns; missing cells are written in place.

The names are those of all lines, in the order in which they appear. null, a name that a line lacks, NaN and the words
for missing are missing cells. A column with a list or an object is copied as it is, and not filled.

Shapes: N rows of a part, C columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from json.decoder import scanstring
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.textfiles.columns import TextColumn
from pipeline.textfiles.delimited import doubtful_notes
from pipeline.textfiles.encodings import Encoding, TableFileError, detect_encoding, explained, open_text
from pipeline.textfiles.numerals import Marks
from pipeline.textfiles.records import Stamps, TextTable, line_end
from pipeline.textfiles.words import MissingWords

if TYPE_CHECKING:
    import pandas as pd

_SPACE = " \t\r\n"
_DECODER = json.JSONDecoder()


class JsonColumn(TextColumn):
    """A column of JSON values, given as their texts; None where a line lacks the name. kind: nested in addition."""

    texts = nested = 0

    def add(self, texts: list[str | None], line: int = 0, quoted: int = 0) -> None:
        self.rows += len(texts)
        for text in texts:
            if text is None or text in ("null", "NaN"):
                self.missing[""] += 1
            elif text[0] in "{[":
                self.nested += 1
            elif text[0] == '"':
                said = json.loads(text)
                if self.words.holds(said.strip()):
                    self.missing[said.strip()] += 1
                else:
                    self.texts += 1
                    self.strangers[said] += len(self.strangers) < 8 or said in self.strangers
            elif text in ("true", "false"):
                self.truths += 1
            else:
                super().add([text], line)
                self.rows -= 1

    @property
    def known(self) -> int:
        return self.numbers + self.texts + self.truths + self.nested

    def settle(self, where: str = "the file") -> list[str]:
        if self.nested:
            self.kind = "nested"
            return [f"column {self.name!r} holds lists or objects: it is copied as it is."]
        if self.texts or self.truths and self.numbers:
            self.kind = "text"
            return []
        if self.truths:
            self.kind = "boolean"
            return []
        self.padded_zeros = 0
        return super().settle(where)

    def _value(self, text: str | None) -> Any:
        if text is None or text in ("null", "NaN"):
            return None
        if self.kind == "nested":
            return text
        if text[0] == '"':
            said = json.loads(text)
            return None if self.words.holds(said.strip()) else said
        if self.kind == "boolean":
            return text == "true"
        return text if self.kind == "text" else super()._value(text)

    def cell(self, value: Any) -> str:
        """`value` as JSON."""
        if self.kind in ("integer", "decimal"):
            return self.text(value)
        if self.kind == "boolean" or isinstance(value, bool):
            return "true" if value else "false"
        if self.kind == "empty" and isinstance(value, int | float):
            return self.text(value)
        return json.dumps(self.text(value), ensure_ascii=False)


@dataclass
class JsonRecord:
    """A line: its text and the places of its values; places is None for a blank line."""

    line: int
    raw: str
    places: dict[str, tuple[int, int]] | None

    @property
    def is_row(self) -> bool:
        return self.places is not None

    def cell(self, name: str) -> str | None:
        place = self.places.get(name)
        return self.raw[place[0] : place[1]] if place else None

    def written(self, cells: dict[str, str]) -> str:
        """The line with other texts for some values, and further names at its end where it lacks them."""
        pieces = [(*self.places[name], cell) for name, cell in cells.items() if name in self.places]
        added = [
            f"{json.dumps(name, ensure_ascii=False)}: {cell}" for name, cell in cells.items() if name not in self.places
        ]
        if added:
            close = self.raw.rindex("}")
            pieces.append((close, close, (", " if self.places else "") + ", ".join(added)))
        out = self.raw
        for start, end, cell in sorted(pieces, reverse=True):
            out = out[:start] + cell + out[end:]
        return out


@dataclass
class JsonLines(TextTable):
    """An opened file, with the interface of DelimitedFile."""

    path: Path
    encoding: Encoding
    columns: list[JsonColumn] = field(default_factory=list)
    rows: int = 0
    end: str = "\n"
    notes: list[str] = field(default_factory=list)

    @staticmethod
    def open(path: Path, encoding: str, words: MissingWords) -> JsonLines:
        """Reads all of the file once. Raises TableFileError naming a line that is not one JSON object."""
        table = JsonLines(Path(path), detect_encoding(path, encoding))
        found: dict[str, JsonColumn] = {}
        for record in table.records():
            if record.places is None:
                continue
            for name in record.places:
                if name not in found:
                    found[name] = JsonColumn(name, Marks(), words.of(name))
                    found[name].add([None] * table.rows)
            for name, column in found.items():
                column.add([record.cell(name)], record.line)
            table.rows += 1
        if not table.rows or not found:
            raise TableFileError(
                f"{Path(path).name}: must hold rows and columns. Got {table.rows} rows, {len(found)} columns."
            )
        table.columns = list(found.values())
        for column in table.columns:
            table.notes += column.settle(Path(path).name)
        table.notes += doubtful_notes(table.columns)
        return table

    @property
    def said(self) -> str:
        return f"{self.path.name}: {self.rows} rows, {len(self.columns)} columns; JSON lines, {self.encoding.name}"

    def records(self) -> Iterator[JsonRecord]:
        with explained(self.path, self.encoding), open_text(self.path, self.encoding) as lines:
            for number, line in enumerate(lines, 1):
                yield JsonRecord(number, line, _places(line, self.path.name, number) if line.strip() else None)

    def values(self, part: list[JsonRecord]) -> list[list[Any]]:
        rows = [r for r in part if r.places is not None]
        return [column.values([r.cell(column.name) for r in rows]) for column in self.columns]

    def frame(self, part: list[JsonRecord]) -> pd.DataFrame:
        import pandas as pd

        values = zip(self.columns, self.values(part), strict=True)
        return pd.DataFrame({c.name: c.series(v) for c, v in values if c.kind != "nested"})

    def filled_text(self, part: list[JsonRecord], filled: pd.DataFrame, stamps: Stamps | None = None) -> str:
        """The text of a part with its missing cells taken from `filled` (N rows), the other cells as they are."""
        new: dict[int, dict[str, str]] = {}
        for column, values in zip(self.columns, self.values(part), strict=True):
            if column.name not in filled.columns:
                continue
            given = filled[column.name]
            known, cells = given.notna().to_numpy(), given.astype(object).to_numpy()
            for row, value in enumerate(values):
                if value is None and known[row]:
                    new.setdefault(row, {})[column.name] = column.cell(cells[row])
        out, row = [], 0
        for record in part:
            if record.places is None:
                out.append(record.raw if stamps is None or stamps.lines else "")
                continue
            text = record.written(new[row]) if row in new else record.raw
            out.append(_stamped(text, stamps, row, bool(record.places or row in new)) if stamps else text)
            row += 1
        return "".join(out)


def _stamped(text: str, stamps: Stamps, row: int, filled: bool) -> str:
    pairs = zip(stamps.names, stamps.of_row(row), strict=True)
    front = ", ".join(f"{json.dumps(name, ensure_ascii=False)}: {value}" for name, value in pairs)
    start = text.index("{") + 1
    text = text if text.endswith(("\n", "\r")) else text + "\n"
    return text[:start] + front + (", " if filled else "") + text[start:]


def _places(line: str, name: str, number: int) -> dict[str, tuple[int, int]]:
    """Name → (start, end) of its value in a line. Raises TableFileError where the line is not one JSON object."""
    try:
        return _object(line)
    except (ValueError, IndexError) as error:
        raise TableFileError(
            f'{name}, line {number}: must be one JSON object, such as {{"age": 31}}. Got {line[:40].strip()!r} ({error}).'
        ) from error


def _object(line: str) -> dict[str, tuple[int, int]]:
    places: dict[str, tuple[int, int]] = {}
    at = _after_space(line, 0)
    if line[at] != "{":
        raise ValueError("no object")
    at = _after_space(line, at + 1)
    while line[at] != "}":
        if line[at] != '"':
            raise ValueError(f"a name was expected at character {at + 1}")
        key, at = scanstring(line, at + 1)
        at = _after_space(line, at)
        if line[at] != ":":
            raise ValueError(f"a colon was expected at character {at + 1}")
        start = _after_space(line, at + 1)
        _, end = _DECODER.raw_decode(line, start)
        if key in places:
            raise ValueError(f"the name {key!r} is given twice")
        places[key] = (start, end)
        at = _after_space(line, end)
        if line[at] == ",":
            at = _after_space(line, at + 1)
        elif line[at] != "}":
            raise ValueError(f"a comma was expected at character {at + 1}")
    if line[at + 1 : len(line) - len(line_end(line))].strip():
        raise ValueError("something follows the object")
    return places


def _after_space(line: str, at: int) -> int:
    while line[at] in _SPACE:
        at += 1
    return at
