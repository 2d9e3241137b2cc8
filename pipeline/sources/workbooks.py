"""A sheet of an Excel workbook as a source, and as an output in which nothing but the missing cells is changed.

Titles above the names and totals below the rows are no part of the table. A cell with a formula is never written to; its value is the one that
Excel saved. Kept by openpyxl: formats, widths, other sheets, formulas; not kept: what it cannot read (shapes, some
pictures), which is said before anything is written.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import TYPE_CHECKING, Any

from pipeline.base.files import replaced_file
from pipeline.sources.blocks import BLOCK_ROWS, Block, Source
from pipeline.sources.objects import ObjectColumn
from pipeline.sources.places import Place
from pipeline.sources.sheet_layout import layout_of
from pipeline.sources.text_tables import stamped
from pipeline.textfiles.delimited import told_apart
from pipeline.textfiles.encodings import TableFileError
from pipeline.textfiles.records import Stamps
from pipeline.textfiles.words import MissingWords

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS, LONGEST_TEXT = 1_048_576, 32_767  # of a sheet, of a cell
ERRORS = ("#N/A", "#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!")


class SheetSource:
    """One sheet. Raises TableFileError for a file that is no workbook, a sheet that is not there or not named."""

    def __init__(self, place: Place, words: MissingWords) -> None:
        self.place, self.words = place, words
        values = self._load(values=True)
        self.sheet = self._chosen(values, place.table)
        sheet = values[self.sheet]
        rows = [list(r) for r in sheet.iter_rows(values_only=True)]
        found = layout_of(rows)
        if found is None:
            raise TableFileError(f"{place.path.name}, sheet {self.sheet!r}: must have a row of names. Got none.")
        names, body = found.names, found.body
        if not body:
            raise TableFileError(
                f"{place.path.name}, sheet {self.sheet!r}: must hold rows and columns. Got 0 rows, {len(names)} columns."
            )
        self.top, self.left, self.rows, self.values = found.top + 2, found.left + 1, len(body), body
        told, notes = told_apart(["" if n is None else str(n).strip() for n in names])
        self.notes = found.notes + notes
        self.columns = [ObjectColumn(name, words.of(name)) for name in told]
        self.formulas = self._formulas(values)
        for place_, column in enumerate(self.columns):
            column.add(_known(r[place_]) for r in body)
            self.notes += column.settle()
        if self.formulas:
            self.notes.append(f"{len(self.formulas)} cells hold formulas: they are read, and never written to.")
        self.said = f"{place.path.name}: {self.rows} rows, {len(told)} columns; sheet {self.sheet!r}"

    def _load(self, *, values: bool) -> Any:
        import warnings

        import openpyxl

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # openpyxl names parts of a file that it leaves out; said below
                macros = self.place.path.suffix.lower() == ".xlsm" and not values
                return openpyxl.load_workbook(self.place.path, data_only=values, keep_vba=macros)
        except FileNotFoundError:
            raise
        except MemoryError:
            raise
        except Exception as error:  # openpyxl, its parser of XML and zipfile raise nearly every kind there is
            said = " ".join(str(error).split()) or type(error).__name__
            raise TableFileError(
                f"{self.place.path.name}: not a readable table: it must be an Excel workbook ({said[:200]}). Save it again "
                "with the program that made it."
            ) from error

    def _chosen(self, workbook: Any, name: str) -> str:
        sheets = [s.title for s in workbook.worksheets]
        if name:
            if name not in sheets:
                raise TableFileError(
                    f"{self.place.path.name}: must have the sheet {name!r} (--table). It has {sheets}."
                )
            return name
        full = [s.title for s in workbook.worksheets if s.max_row > 1 or s.max_column > 1 or s["A1"].value is not None]
        if len(full) > 1:
            raise TableFileError(f"{self.place.path.name}: one sheet must be chosen (--table). It has {full}.")
        if not full:
            raise TableFileError(f"{self.place.path.name}: must hold rows and columns. Got empty sheets {sheets}.")
        return full[0]

    def _formulas(self, values: Any) -> set[tuple[int, int]]:
        """(row, column) of the cells of the table that hold formulas; merged cells are refused."""
        sheet = self._load(values=False)[self.sheet]
        last = self.top + self.rows - 1, self.left + len(self.columns) - 1
        for merged in sheet.merged_cells.ranges:
            if merged.max_row >= self.top and merged.min_row <= last[0] and merged.min_col <= last[1]:
                raise TableFileError(
                    f"{self.place.path.name}, sheet {self.sheet!r}: cells of the table must not be merged. Got {merged}."
                )
        cells = sheet.iter_rows(self.top, last[0], self.left, last[1])
        return {(c.row, c.column) for row in cells for c in row if c.data_type == "f"}

    @property
    def names(self) -> list[str]:
        return [c.name for c in self.columns]

    def blocks(self) -> Iterator[Block]:
        import pandas as pd

        for number, first in enumerate(range(0, self.rows, BLOCK_ROWS)):
            rows = self.values[first : first + BLOCK_ROWS]
            series = {
                c.name: c.series([_known(r[i]) for r in rows]) for i, c in enumerate(self.columns) if c.kind != "copied"
            }
            yield Block(number, first, pd.DataFrame(series, index=range(len(rows))), rows)

    def whole(self, block: Block, filled: pd.DataFrame) -> pd.DataFrame:
        return whole_of(self.columns, block, filled)


def whole_of(columns: list[ObjectColumn], block: Block, filled: pd.DataFrame) -> pd.DataFrame:
    """All columns of a block of rows of values, filled."""
    import pandas as pd

    out = {}
    for place, column in enumerate(columns):
        if column.name in block.frame.columns:
            out[column.name] = filled[column.name] if column.name in filled.columns else block.frame[column.name]
        else:
            out[column.name] = pd.Series([r[place] for r in block.raw], dtype=object)
    return pd.DataFrame(out)


def filled_rows(columns: list[ObjectColumn], block: Block, filled: pd.DataFrame) -> list[list[Any]]:
    """The rows of a block with the missing values taken from `filled`, the others the very values that were there."""
    rows = [list(r) for r in block.raw]
    for place, column in enumerate(columns):
        if column.name in filled.columns:
            given = filled[column.name]
            known, cells = given.notna().to_numpy(), given.astype(object).to_numpy()
            for i, row in enumerate(rows):
                if known[i] and column.is_missing(row[place]):
                    row[place] = column.value(cells[i])
    return rows


def _known(value: Any) -> Any:
    """A value of a cell; an error of a formula says nothing."""
    import datetime as dt

    if value in ERRORS:
        return None
    return value.isoformat() if isinstance(value, dt.time) else value


# -- output ------------------------------------------------------------------------------------------
class SameSheet:
    """The workbook of a source with the missing cells of its sheet written."""

    def __init__(self, stream: Any, source: SheetSource) -> None:
        self.stream, self.source = stream, source
        self.workbook = source._load(values=False)
        self.sheet = self.workbook[source.sheet]

    def write(self, block: Block, filled: pd.DataFrame, draw: int | None = None) -> None:
        source = self.source
        rows = filled_rows(source.columns, block, filled)
        for i, (old, new) in enumerate(zip(block.raw, rows, strict=True)):
            for j, (before, after) in enumerate(zip(old, new, strict=True)):
                at = source.top + block.first + i, source.left + j
                if before is not after and at not in source.formulas and source.columns[j].is_missing(_known(before)):
                    self._set(at, after, source.columns[j].kind)

    def _set(self, at: tuple[int, int], value: Any, kind: str) -> None:
        cell = self.sheet.cell(*at)
        plain = not cell.has_style or cell.number_format == "General"
        cell.value = value
        if isinstance(value, str):
            cell.data_type = "s"  # a text that begins with = stays a text
        if plain and kind in ("date", "decimal", "integer"):
            for row in range(self.source.top, self.source.top + self.source.rows):  # as another cell of the column
                other = self.sheet.cell(row, at[1])
                if row != at[0] and other.value is not None:
                    cell.number_format = copy(other.number_format)
                    break

    def close(self) -> None:
        self.workbook.save(self.stream)


class NewSheet:
    """A workbook of one sheet with the table of a source of any kind."""

    def __init__(self, stream: Any, place: Place, source: Source, stamp_names: tuple[str, str] | None) -> None:
        import openpyxl

        if source.rows >= MOST_ROWS:
            raise TableFileError(
                f"A sheet must hold fewer than {MOST_ROWS} rows. Got {source.rows}: write another kind."
            )
        self.stream, self.source, self.stamp_names = stream, source, stamp_names
        self.workbook = openpyxl.Workbook(write_only=True)
        self.sheet = self.workbook.create_sheet(place.table or "table")
        self.sheet.append([*(stamp_names or ()), *source.names])

    def write(self, block: Block, filled: pd.DataFrame, draw: int | None = None) -> None:
        frame = self.source.whole(block, filled)
        if self.stamp_names:
            frame = stamped(frame, Stamps(self.stamp_names, draw, block.first, True))
        for row in frame.astype(object).where(frame.notna(), None).itertuples(index=False, name=None):
            self.sheet.append([_cell(v, self.sheet) for v in row])

    def close(self) -> None:
        self.workbook.save(self.stream)


def _cell(value: Any, sheet: Any) -> Any:
    """A value as a cell of a new sheet; a text stays a text, whatever it begins with."""
    import datetime as dt

    from openpyxl.cell import WriteOnlyCell
    from openpyxl.utils.exceptions import IllegalCharacterError

    if hasattr(value, "to_pydatetime"):
        value = value.to_pydatetime()
    if hasattr(value, "item"):
        value = value.item()
    if getattr(value, "tzinfo", None) is not None:
        value = value.isoformat()
    if value is None or isinstance(value, bool | int | float | dt.datetime | dt.date | dt.timedelta):
        return value
    text = str(value)
    if len(text) > LONGEST_TEXT:
        raise TableFileError(f"A cell of a sheet must hold at most {LONGEST_TEXT} characters. Got {len(text)}.")
    try:
        cell = WriteOnlyCell(sheet, text)
    except IllegalCharacterError as error:
        raise TableFileError(f"A cell of a sheet must not hold control characters. Got {text[:40]!r}.") from error
    cell.data_type = "s"
    return cell


@contextmanager
def sheet_sink(place: Place, source: Source, stamp_names: tuple[str, str] | None) -> Iterator[SameSheet | NewSheet]:
    """A workbook at `place` that takes the blocks of `source` and is there when all are written."""
    with replaced_file(place.path) as stream:
        same = isinstance(source, SheetSource) and not stamp_names and place.table in ("", source.sheet)
        if same:
            lost = _not_kept(source.place.path)
            if lost:
                print(
                    f"note: openpyxl does not keep {', '.join(lost)} of {source.place.path.name} in {place.path.name}."
                )
        sink = SameSheet(stream, source) if same else NewSheet(stream, place, source, stamp_names)
        yield sink
        sink.close()


def _not_kept(path: Any) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    kinds = {"xl/drawings/": "shapes and pictures", "xl/charts/": "charts", "xl/pivotTables/": "pivot tables"}
    return [what for start, what in kinds.items() if any(n.startswith(start) for n in names)]
