"""Makes the Column of a column: what its cells are, how they become numbers, and what is odd about them.

Shapes: N rows, n known, D distinct values.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd

from pipeline.tables import ids, numbers, words
from pipeline.tables.cells import Cells
from pipeline.tables.columns import COPIED, COUNTED, IGNORED, KINDS, RENEWED, WORDS, Column, quantiles_of
from pipeline.tables.dates import DIGITS_ONLY, DateFormat, formats_of
from pipeline.tables.dtypes import remember
from pipeline.tables.errors import TableError, told_as
from pipeline.tables.kinds import Found, infer
from pipeline.tables.moments import counts_of, moments, periods, unit_of, zone_of
from pipeline.tables.noticing import noticed, odd_dates
from pipeline.tables.numbers import Notation, notation_of
from pipeline.tables.values import word

FEW_LEVELS = 64  # numbers with so few distinct values are kept exactly


@dataclass(frozen=True)
class Wishes:
    """What the user says of columns, by name. kinds: one of KINDS. missing: words and numbers that mean missing; None:
    the usual words. missing_in: the same for one column, instead. formats: of dates. label: column read as categories.
    typed: whether cells have types (a DataFrame) or all are text (a CSV file). point, thousands: marks of numbers in text.
    max_categories: the commonest that are modelled.
    """

    kinds: dict[str, str] = field(default_factory=dict)
    missing: tuple[Any, ...] | None = None
    missing_in: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    formats: dict[str, str] = field(default_factory=dict)
    label: str = ""
    typed: bool = True
    point: str = "."
    thousands: str = ""
    max_categories: int = 256

    def check(self, names: list[str]) -> None:
        """Raises TableError for a column that the table lacks, and a kind or format that does not exist."""
        for column, kind in self.kinds.items():
            if kind not in KINDS:
                raise TableError(f"The kind of column {column!r} must be one of {', '.join(KINDS)}. Got {kind!r}.")
        for column, form in self.formats.items():
            try:
                DateFormat(form)
            except ValueError as error:
                raise TableError(f"The format of column {column!r}: {error}") from error
        asked = {*self.kinds, *self.missing_in, *self.formats, *([self.label] if self.label else [])}
        absent = sorted(asked - set(names))
        if absent:
            raise TableError(f"Columns named in the parameters must be in the table, {names[:20]}. Got {absent}.")


def describe(name: str, series: pd.Series, wishes: Wishes, label: Any = None) -> Column:
    """The Column of one column. Raises TableError naming it where its cells do not fit a kind that the user named."""
    with told_as(
        f"Column {name!r} cannot be read", f"Name its kind in 'kinds', or 'ignore' it: kinds={{{name!r}: 'ignore'}}."
    ):
        return _describe(name, series, wishes, name if label is None else label)


def _describe(name: str, series: pd.Series, wishes: Wishes, label: Any) -> Column:
    memory, raw = remember(series), Cells(series)
    kind = wishes.kinds.get(name) or ("category" if name and name == wishes.label else "")
    base = Column(
        name, "ignore", label, memory=memory, rows=len(raw), missing=int((~raw.known).sum()), named=bool(kind)
    )
    if kind == "ignore":
        return replace(base, why="the user named it", treatment=IGNORED)
    if raw.unhashable:
        return _copied(base, infer(name, raw))
    marks, usual, told = _marks(name, raw, wishes)
    gap = words.marked(raw, marks, usual)
    cells = raw.without(gap)
    base = replace(
        base,
        marks=marks,
        usual=usual,
        found_marks=words.found_marks(raw, gap),
        missing=int((~cells.known).sum()),
        distinct=len(cells.distinct),
        warnings=(told,) if told else (),
    )
    if not cells.known.any():
        told = "it has no known value; it is left as it is"
        return replace(base, why="it has no known value", treatment=COPIED, warnings=(*base.warnings, told))
    found = infer(name, cells, typed=wishes.typed, point=wishes.point, thousands=wishes.thousands)
    if kind or name in wishes.formats:
        found = _as_named(name, kind or "date", found, cells, wishes)
    if found.kind in ("ignore", "text"):
        return _copied(base, found)
    base = replace(base, kind=found.kind, why=found.why, format=found.format, notation=found.notation, odd=found.odd)
    base = replace(base, warnings=(*base.warnings, *found.warnings), notes=found.notes)
    if base.kind == "period" and not _all_periods(cells):
        raise TableError(
            f"Column {name!r} must hold periods of one length. Got cells of dtype {cells.dtype}. Name another kind."
        )
    return noticed(_detailed(base, cells, wishes), cells)


def _marks(name: str, raw: Cells, wishes: Wishes) -> tuple[tuple[Any, ...], bool, str]:
    """(marks, whether the usual words are marks too, a warning or "")."""
    if name in wishes.missing_in:
        return wishes.missing_in[name], False, ""
    if wishes.missing is not None:
        return wishes.missing, False, ""
    notation = Notation(wishes.point, wishes.thousands)
    marks, told = words.usual_marks(raw, wishes.typed, lambda t: _reads(t, notation))
    return marks, True, told


def _reads(text: str, notation: Notation) -> bool:
    return (
        notation.number(text) is not None or bool(notation_of([text], notation.point)[1][0]) or bool(formats_of([text]))
    )


def _copied(base: Column, found: Found) -> Column:
    told = (
        ()
        if found.kind == "ignore" or base.named
        else ("every cell is a text of its own; it is not modelled and left as it is",)
    )
    return replace(
        base, kind=found.kind, why=found.why, treatment=COPIED, warnings=(*base.warnings, *(found.warnings or told))
    )


def _as_named(name: str, kind: str, found: Found, cells: Cells, wishes: Wishes) -> Found:
    """The kind that the user named, with what is needed to read it."""
    why = "the user named it"
    if kind == found.kind and name not in wishes.formats:
        return replace(found, why=why, warnings=(), notes=())
    texts = [word(v) for v in cells.distinct]
    if kind in ("float", "integer"):
        text_cells = [v for v in cells.distinct if isinstance(v, str)]
        return Found(kind, why, notation=notation_of(text_cells, wishes.point, wishes.thousands)[0])
    if kind in ("date", "time") and (
        cells.all_text or pd.api.types.is_numeric_dtype(cells.dtype) or name in wishes.formats
    ):
        form = wishes.formats.get(name) or next(
            iter(formats_of(texts) or [f for f in DIGITS_ONLY if _all_read(f, texts)]), ""
        )
        return Found(kind, why, format=form)
    return Found(kind, why)


def _all_read(form: str, texts: list[str]) -> bool:
    return all(DateFormat(form).read(t) for t in texts)


# -- what each kind adds ---------------------------------------------------------------------------
def _detailed(column: Column, cells: Cells, wishes: Wishes) -> Column:
    if column.kind == "id":
        return _identifier(column, cells)
    if column.kind in WORDS:
        return _category(column, cells, wishes.max_categories)
    if column.kind in COUNTED:
        return _counted(column, cells)
    return _numeric(column, cells)


def _all_periods(cells: Cells) -> bool:
    of_cells = [getattr(v, "freqstr", "") if isinstance(v, pd.Period) else "" for v in cells.distinct]
    return isinstance(cells.dtype, pd.PeriodDtype) or (len(set(of_cells)) == 1 and of_cells[0] != "")


def _identifier(column: Column, cells: Cells) -> Column:
    told = (
        "it looks like an identifier: it is not modelled, and gaps and new rows get fresh ones; kinds="
        f"{{{column.name!r}: 'category'}} models it, 'ignore' leaves it alone"
    )
    values = cells.distinct
    whole = all(isinstance(v, int) or (isinstance(v, float) and v.is_integer()) for v in values)
    limits = (int(min(values)), int(max(values))) if whole else ()
    patterns = () if whole else ids.patterns_of(values)
    return replace(
        column,
        treatment=RENEWED,
        quantiles=limits,
        patterns=patterns,
        warnings=(*column.warnings, *(() if column.named else (told,))),
    )


def _category(column: Column, cells: Cells, most: int) -> Column:
    texts = [word(v) for v in cells.distinct]
    order = sorted(range(len(texts)), key=lambda i: (-cells.counts[i], texts[i]))
    told = column.warnings
    if len(order) > most:
        told = (
            *told,
            f"it has {len(order)} categories; the {most} commonest are modelled, the others count as missing where they are read",
        )
    if (
        column.kind == "category"
        and not column.named
        and cells.all_text
        and ids.unique_enough(len(order), int(cells.counts.sum()))
    ):
        told = (*told, f"almost every cell differs ({len(order)} of {int(cells.counts.sum())}), and new rows repeat them; kinds="
                f"{{{column.name!r}: 'id'}} gives fresh ones, 'ignore' leaves it out")  # fmt: skip
    kept = sorted(order[:most], key=lambda i: (texts[i], str(type(cells.distinct[i]))))
    total = sum(int(cells.counts[i]) for i in kept)
    shares = tuple(float(cells.counts[i] / total) for i in kept)
    return replace(column, levels=tuple(cells.distinct[i] for i in kept), shares=shares, warnings=told)


def _counted(column: Column, cells: Cells) -> Column:
    """A date, time, duration or period: its unit and origin."""
    if column.kind == "period":
        unit = str(cells.dtype)[7:-1] if isinstance(cells.dtype, pd.PeriodDtype) else cells.distinct[0].freqstr
        known = periods(cells, unit)[cells.known]
    else:
        usable = cells if not column.odd else cells.without(odd_cells(column, cells))
        found = moments(column.name, column.kind, usable, column.format, zone_of(column.memory))[usable.known]
        unit = unit_of(found, column.kind)
        known = counts_of(found, unit, column.kind)
    distinct, counts = np.unique(known, return_counts=True)
    return odd_dates(_placed(replace(column, unit=unit), distinct, counts, whole=True), distinct, counts)


def _numeric(column: Column, cells: Cells) -> Column:
    usable = cells if not column.odd else cells.without(odd_cells(column, cells))
    found = numbers.numbers_of(usable, column.notation)
    numbers.offsets(column.name, usable, 0, 1.0, column.notation, odd=False)  # raises for cells that are none
    known = found[usable.known] if isinstance(found, np.ndarray) else None
    if known is not None:
        distinct, counts = np.unique(known, return_counts=True)
    else:
        merged: dict[Any, int] = {}
        for value, count in zip(found, usable.counts, strict=True):
            merged[value] = merged.get(value, 0) + int(count)
        ordered = sorted(merged)
        distinct, counts = np.array(ordered, dtype=object), np.array([merged[v] for v in ordered])
    floats = distinct.astype(float)
    single = isinstance(cells.dtype, np.dtype) and cells.dtype.kind == "f" and cells.dtype.itemsize < 8
    decimals = numbers.decimals_of(floats, single)
    if column.kind == "integer":
        decimals = 0
    elif known is None and all(isinstance(v, str) for v in usable.distinct):
        decimals = max(numbers.places_of(t, column.notation) for t in usable.distinct) if decimals is not None else None
    if column.kind == "float" and not column.named and decimals == 0:
        column = replace(column, kind="integer")
    column = replace(column, decimals=decimals, step=numbers.step_of(floats, decimals))
    return _placed(
        column, distinct, counts, whole=column.kind == "integer" and bool((floats == np.floor(floats)).all())
    )


def _placed(column: Column, distinct: np.ndarray, counts: np.ndarray, *, whole: bool) -> Column:
    """The origin and scale, quantiles and few levels of (D,) sorted distinct numbers."""
    base = int(distinct[len(distinct) // 2]) if whole else 0
    if distinct.dtype == object:
        relative = np.array([float(v - base) for v in distinct])
    else:
        relative = numbers.array_offsets(distinct, base)
    origin, scale = numbers.origin_and_scale(relative, base, whole)
    levels = tuple(_level(v) for v in distinct) if len(distinct) <= FEW_LEVELS else ()
    shares = tuple((counts / counts.sum()).tolist()) if levels else ()
    # quantiles need the shares of the values, not their counts: a million rows are not laid out again
    many = np.repeat(distinct, np.minimum(counts, 1 + counts * 1000 // counts.sum()))
    return replace(
        column,
        origin=origin,
        scale=scale,
        levels=levels,
        shares=shares,
        distinct=len(distinct),
        quantiles=tuple(_level(v) for v in quantiles_of(many)),
    )


def _level(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def odd_cells(column: Column, cells: Cells) -> np.ndarray:
    """(N,) bool: the cells of a column of numbers or dates that are none."""
    if column.kind in COUNTED:
        read = DateFormat(column.format).read if column.format else None
        odd = [not isinstance(v, str) or read is None or read(v) is None for v in cells.distinct]
        if not column.format:
            odd = [isinstance(v, str) for v in cells.distinct]
    else:
        found = numbers.numbers_of(cells, column.notation)
        if isinstance(found, np.ndarray):
            return np.zeros(len(cells), bool)
        odd = [v is None for v in found]
    return np.array([*odd, False])[cells.place]
