"""The kind of a column, and why: from its dtype where that tells, else from its cells.

Shapes: N rows, D distinct values.
"""

from __future__ import annotations

import datetime
import decimal
import re
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from pipeline.tables import ids
from pipeline.tables.cells import Cells
from pipeline.tables.dates import DIGITS_ONLY, DateFormat, ambiguous, are_moments, formats_of, is_clock
from pipeline.tables.numbers import MOST_ODD_SHARE, Notation, notation_of, numbers_of
from pipeline.tables.values import can_be_kept
from pipeline.textfiles.numerals import detect_marks

LONG_TEXT = 30  # characters, on average, from which texts that all differ are prose
FEWEST_NUMBERS = 20  # distinct numbers among words from which a column is one of numbers
CODE_WIDTH = 4  # digits from which text of one width is a code: 94103
_SEVERAL = re.compile(r"[(\[]?\s*[-+]?\d*\.\d+(?:\s*[,; ]\s*[-+]?\d*\.\d+)+\s*[)\]]?")  # 52.5200, 13.4050
_PLACE = re.compile(r"(?<![a-z])(plz|zip|post|postal|postcode|zipcode|postleitzahl|pincode)(?![a-z])", re.IGNORECASE)
_LEADING_ZERO = re.compile(r"[+-]?0\d.*|\+.*")


@dataclass(frozen=True)
class Found:
    """A kind and what told it. odd: some words among the numbers or dates are none."""

    kind: str
    why: str
    format: str = ""
    notation: Notation = field(default_factory=Notation)
    odd: bool = False
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def infer(name: str, cells: Cells, *, typed: bool = True, point: str = ".", thousands: str = "") -> Found:
    """The kind of a column with a known cell.

    typed: cells have types, so digits in text may be a code; False where all cells are text, as in a CSV file.
    point, thousands: marks of numbers in text.
    """
    dtype = cells.dtype
    if cells.unhashable:
        return _not_modelled(cells.unhashable)
    if isinstance(dtype, pd.CategoricalDtype):
        return Found("category", "its dtype is category")
    if pd.api.types.is_bool_dtype(dtype) or all(isinstance(v, bool) for v in cells.distinct):
        return Found("boolean", "every cell is True or False")
    if pd.api.types.is_datetime64_any_dtype(dtype):
        return Found("date", f"its dtype is {dtype}")
    if pd.api.types.is_timedelta64_dtype(dtype):
        return Found("duration", f"its dtype is {dtype}")
    if isinstance(dtype, pd.PeriodDtype):
        return Found("period", f"its dtype is {dtype}")
    if pd.api.types.is_complex_dtype(dtype):
        return Found(
            "ignore", "complex numbers", warnings=("complex numbers are not modelled; give two columns, real and imag",)
        )
    if pd.api.types.is_numeric_dtype(dtype):
        return _number_kind(name, cells, f"its dtype is {dtype}")
    if isinstance(dtype, pd.IntervalDtype):
        return Found("category", f"its dtype is {dtype}")
    if not all(map(can_be_kept, cells.distinct)):
        return _not_modelled(next(type(v).__name__ for v in cells.distinct if not can_be_kept(v)))
    if cells.all_text:
        return _text_kind(name, cells, typed, point, thousands)
    return _object_kind(name, cells, point, thousands)


def _not_modelled(kind: str) -> Found:
    told = f"cells of type {kind} are not modelled; turn them into text, numbers or several columns"
    return Found("ignore", f"its cells are of type {kind}", warnings=(told,))


def holds_words(series: pd.Series) -> bool:
    """Whether a column of `comparable` cells holds words: it is no column of numbers."""
    return not pd.api.types.is_numeric_dtype(series.dtype) or pd.api.types.is_bool_dtype(series.dtype)


def _number_kind(name: str, cells: Cells, why: str) -> Found:
    found = numbers_of(cells, Notation())
    known = found[cells.known] if isinstance(found, np.ndarray) else np.array([float(v) for v in found])
    if not np.isfinite(known.astype(float)).all():
        return Found("float", why)
    whole = known.dtype.kind in "iu" or bool((known == np.floor(known)).all())
    if not whole:
        return Found("float", f"{why}, with fractions")
    for form, name_of_form, fewest in (("%Y%m%d", "YYYYMMDD", 3), ("%Y%m", "YYYYMM", 12)):
        if _writes_dates(known, form, fewest):
            return Found("date", f"whole numbers that all are dates written {name_of_form}", format=form)
    few_types = len({type(v) for v in cells.distinct[:1000]}) == 1
    if ids.named_as_id(name) and few_types and ids.unique_enough(len(np.unique(known)), len(known)):
        return Found(
            "id", f"a name of identifiers, and {len(np.unique(known))} different whole numbers in {len(known)} cells"
        )
    return Found("integer", f"{why}, every value is whole" if "int" not in why.lower() else why)


def _writes_dates(known: np.ndarray, form: str, fewest: int) -> bool:
    """Whether whole numbers are all dates of the years 1800 to 2200, `fewest` different ones at least."""
    month = 1 if form == "%Y%m" else 100
    if not len(known) or float(known.min()) < 180001 * month or float(known.max()) >= 220013 * month:
        return False
    distinct = np.unique(known).astype(np.int64)
    return len(distinct) >= fewest and all(DateFormat(form).read(str(d)) for d in distinct.tolist())


def _object_kind(name: str, cells: Cells, point: str, thousands: str) -> Found:
    values = cells.distinct
    types = sorted({type(v).__name__ for v in values})
    if all(isinstance(v, datetime.date) for v in values):
        return Found("date", f"every cell is a {' or '.join(types)}")
    if all(isinstance(v, datetime.time) for v in values):
        return Found("time", "every cell is a time of day")
    if all(isinstance(v, datetime.timedelta) for v in values):
        return Found("duration", "every cell is a timedelta")
    if all(isinstance(v, pd.Period) for v in values) and len({v.freqstr for v in values}) == 1:
        return Found("period", "every cell is a Period")
    if all(isinstance(v, int | float | decimal.Decimal) and not isinstance(v, bool) for v in values):
        return _number_kind(name, cells, f"every cell is {' or '.join(types)}")
    mixed = f"mixed types: {', '.join(types)}"
    numbers = [isinstance(v, int | float | decimal.Decimal) and not isinstance(v, bool) for v in values]
    if _mostly(numbers, cells.counts):
        words = [v for v, n in zip(values, numbers, strict=True) if not n]
        whole = all(float(v).is_integer() for v, n in zip(values, numbers, strict=True) if n)
        return Found(
            "integer" if whole else "float",
            "almost every cell is a number",
            odd=True,
            warnings=(_odd(words, "numbers"),),
        )
    if types == ["UUID"] and ids.unique_enough(len(values), int(cells.counts.sum())):
        return Found("id", f"{len(values)} different {types[0]} in {int(cells.counts.sum())} cells")
    if len(types) == 1:
        return Found("category", f"every cell is a {types[0]}")
    return Found("category", mixed, notes=(f"{mixed}; each value is a category of its own",))


def _text_kind(name: str, cells: Cells, typed: bool, point: str, thousands: str) -> Found:
    texts, counts = cells.distinct, cells.counts
    notation, numbers = notation_of(texts, point, thousands)
    if typed and None in numbers:  # a frame does not say which marks its texts have
        marks = detect_marks([texts], ",")
        told = notation_of(texts, marks.decimal, marks.thousands)
        notation, numbers = told if None not in told[1] else (notation, numbers)
    is_number = [n is not None for n in numbers]
    bare = not (notation.prefix or notation.suffix or notation.thousands)
    code = bare and (
        any(_LEADING_ZERO.fullmatch(t.strip()) and "." not in t for t in texts) or (typed and _one_width(texts))
    )
    formats = formats_of(texts)
    if formats and not (all(is_number) and not code and formats[0] not in DIGITS_ONLY):
        return _date_kind(formats)
    if all(is_number) and not code:
        kind = "integer" if all(isinstance(n, int) for n in numbers) else "float"
        if kind == "integer" and ids.named_as_id(name) and ids.unique_enough(len(texts), int(counts.sum())):
            return Found(
                "id", f"a name of identifiers, and {len(texts)} different whole numbers in {int(counts.sum())} cells"
            )
        note = ("numbers as text; filled cells are text of the same form",) if typed else ()
        return Found(kind, "text that holds numbers", notation=notation, notes=note)
    if not code and _mostly(is_number, counts):
        words = [t for t, n in zip(texts, is_number, strict=True) if not n]
        kind = "integer" if all(isinstance(n, int) for n in numbers if n is not None) else "float"
        return Found(
            kind, "almost every text holds a number", notation=notation, odd=True, warnings=(_odd(words, "numbers"),)
        )
    if not code and _partly(is_number, counts):
        words = [t for t, n in zip(texts, is_number, strict=True) if not n]
        cells_of = int(counts[~np.array(is_number)].sum())
        told = (
            f"most cells are numbers, but {cells_of} of {int(counts.sum())} are not ({_few(words)}), so all are read as words; "
            "name those in 'missing', or write numbers in their place"
        )
        return Found("category", f"text, {len(texts)} different words", warnings=(told,))
    return _mixed_dates(texts, counts) or _word_kind(name, texts, counts, code)


def _date_kind(formats: list[str]) -> Found:
    other = ambiguous(formats)
    told = (f"the dates can be read as {formats[0]} and as {other}; 'formats' says which",) if other else ()
    kind = "time" if is_clock(formats[0]) else "date"
    return Found(kind, f"text that {formats[0]} writes letter for letter", format=formats[0], warnings=told)


def _mixed_dates(texts: list[str], counts: np.ndarray) -> Found | None:
    """A date column some of whose texts are written in another way; None where that is not so."""
    for example in texts[:3]:
        for form in formats_of([example]):
            fits = [DateFormat(form).fits(t) for t in texts]
            if (
                form not in DIGITS_ONLY
                and len(texts) >= 10
                and counts[fits].sum() >= (1 - MOST_ODD_SHARE) * counts.sum()
            ):
                words = [t for t, f in zip(texts, fits, strict=True) if not f]
                why = f"almost every text is written as {form}"
                return Found(
                    "time" if is_clock(form) else "date", why, format=form, odd=True, warnings=(_odd(words, "dates"),)
                )
    return None


def _word_kind(name: str, texts: list[str], counts: np.ndarray, code: bool) -> Found:
    known = int(counts.sum())
    if ids.unique_enough(len(texts), known):
        if are_moments(texts):
            told = (
                "times that no one format writes, such as several offsets from UTC; give them with one, or as datetimes"
            )
            return Found("text", "dates and times in more than one format", warnings=(told,))
        if all(map(_SEVERAL.fullmatch, texts)):
            told = f"several numbers in a cell ({texts[0]!r}): left as they are; columns of their own are modelled"
            return Found("text", "several numbers in each cell", warnings=(told,))
        if ids.looks_like_ids(texts) and not (code and _PLACE.search(name)):
            return Found("id", f"{len(texts)} different codes of one pattern in {known} cells")
        if np.mean([len(t) for t in texts]) > LONG_TEXT:
            return Found(
                "text", f"{len(texts)} different texts of {np.mean([len(t) for t in texts]):.0f} characters on average"
            )
    if code:
        return Found("category", "text of digits that is a code: leading zeros, or one width")
    return Found("category", f"text, {len(texts)} different words")


def _one_width(texts: list[str]) -> bool:
    widths = {len(t) for t in texts}
    return len(widths) == 1 and widths.pop() >= CODE_WIDTH and all(t.isdigit() for t in texts)


def _mostly(found: list[bool], counts: np.ndarray) -> bool:
    """Whether 90 % of the cells are so, with FEWEST_NUMBERS distinct values."""
    hits = np.array(found, bool)
    return hits.sum() >= FEWEST_NUMBERS and counts[hits].sum() >= (1 - MOST_ODD_SHARE) * counts.sum()


def _partly(found: list[bool], counts: np.ndarray) -> bool:
    """Whether half of the cells are so, with FEWEST_NUMBERS distinct values."""
    hits = np.array(found, bool)
    return hits.sum() >= FEWEST_NUMBERS and counts[hits].sum() >= 0.5 * counts.sum()


def _few(words: list) -> str:
    return ", ".join(map(repr, words[:4])) + (", …" if len(words) > 4 else "")


def _odd(words: list, what: str) -> str:
    return f"among {what} it holds {_few(words)}; these cells stay as they are and are not read. Name them in 'missing' to fill them"
