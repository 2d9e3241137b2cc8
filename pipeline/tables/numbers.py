"""Columns of numbers: read from any dtype or text, offsets that float32 can hold, and values of the same precision.

An integer keeps every digit: it is subtracted from the column's origin as an integer, never as a float.

Shapes: N rows, D distinct values.
"""

from __future__ import annotations

import decimal
import math
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.tables.cells import Cells
from pipeline.tables.errors import TableError, shown
from pipeline.textfiles.numerals import Marks, Number, NumberFormat, read_number

LARGEST = 1e150  # size of a number: its square is still a float64
MOST_DECIMALS = 12
MOST_DIGITS = 12  # significant digits from which a number is taken for continuous
MOST_ODD_SHARE = 0.1  # of the cells of a column of number texts that may be words


@dataclass(frozen=True)
class Notation:
    """How numbers are written in a column of text. point, thousands: the marks. prefix, suffix: around every number.
    fixed: all have the same number of decimals, trailing zeros included. negative: as in pipeline.textfiles.numerals."""

    point: str = "."
    thousands: str = ""
    prefix: str = ""
    suffix: str = ""
    fixed: bool = False
    negative: str = "-"

    @property
    def marks(self) -> Marks:
        return Marks(self.point, self.thousands)

    def number(self, text: str) -> int | float | None:
        """The number that `text` writes, or None."""
        found = _read(text, self.marks)
        return (
            found.value if found is not None and _affixes(found) == (self.prefix.strip(), self.suffix.strip()) else None
        )

    def write(self, value: float, decimals: int | None) -> str:
        """The text of a number with so many decimals (None: as many as it needs)."""
        if decimals is None and not isinstance(value, int):
            decimals = _decimals_needed(float(value))
            if decimals is None:
                return self.prefix + repr(float(value)).replace(".", self.point) + self.suffix
        most = max(decimals or 0, 0)
        least = most if self.fixed else 0
        form = NumberFormat(self.marks, least, most, 0, bool(self.thousands), self.prefix, self.suffix, self.negative)
        return form.text(value if isinstance(value, int) and not most else float(value))


def _decimals_needed(value: float) -> int | None:
    """Decimals of the shortest text that is read as `value` again; None where that has an exponent."""
    text = repr(value)
    return None if "e" in text or "n" in text else len(text.partition(".")[2].rstrip("0"))


def _read(text: str, marks: Marks) -> Number | None:
    found = read_number(text.strip(), marks)
    return None if found is None or isinstance(found.value, float) and math.isinf(found.value) else found


def _affixes(found: Number) -> tuple[str, str]:
    return found.prefix.strip(), found.suffix.strip()


def notation_of(texts: list[str], point: str = ".", thousands: str = "") -> tuple[Notation, list[int | float | None]]:
    """(how the numbers among `texts` are written, the number of each or None): those with the commonest signs around them."""
    found = [_read(t, Marks(point, thousands)) for t in texts]
    read = [n for n in found if n is not None]
    if not read:
        return Notation(point), [None] * len(texts)
    common = Counter(map(_affixes, read)).most_common(1)[0][0]
    found = [n if n is not None and _affixes(n) == common else None for n in found]
    read = [n for n in found if n is not None]
    places = {0 if n.mantissa else n.decimals for n in read}
    styles = Counter(n.negative for n in read if n.negative)
    notation = Notation(
        point,
        thousands if any(n.grouped for n in read) else "",
        Counter(n.prefix for n in read).most_common(1)[0][0],
        Counter(n.suffix for n in read).most_common(1)[0][0],
        len(places) == 1 and places != {0},
        styles.most_common(1)[0][0] if styles else "-",
    )
    return notation, [None if n is None else n.value for n in found]


def places_of(text: str, notation: Notation) -> int:
    """Decimals that a text of a number shows."""
    found = _read(text, notation.marks)
    return 0 if found is None or found.mantissa else found.decimals


def numbers_of(cells: Cells, notation: Notation) -> np.ndarray | list:
    """What the known cells are as numbers: an (N,) array of a numeric dtype, or a list of D numbers or None.

    The list is by distinct value: a text that is no number, or a cell of another type, gives None.
    """
    dtype = cells.dtype
    if pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_complex_dtype(dtype):
        if isinstance(dtype, np.dtype):
            return cells.series.to_numpy()
        kind = "float64" if dtype.kind == "f" else ("uint8" if dtype.kind == "b" else dtype.numpy_dtype)
        return cells.series.to_numpy(dtype=kind, na_value=np.nan if dtype.kind == "f" else 0)
    return [_number(v, notation) for v in cells.distinct]


def _number(value: Any, notation: Notation) -> Any:
    if isinstance(value, str):
        return notation.number(value)
    if isinstance(value, decimal.Decimal):
        return value if value.is_finite() else math.inf
    return value if isinstance(value, int | float) else None


def offsets(name: str, cells: Cells, origin: float | int, scale: float, notation: Notation, odd: bool) -> np.ndarray:
    """(N,) float64 (value − origin) / scale, NaN where missing.

    odd: a word that is no number counts as missing; else TableError names it. Raises TableError for an infinity and for
    numbers beyond LARGEST.
    """
    found = numbers_of(cells, notation)
    if isinstance(found, list):
        wrong = [i for i, n in enumerate(found) if n is None]
        if wrong and not odd:
            row = int(np.flatnonzero(np.isin(cells.place, wrong))[0])
            raise TableError(
                f"Column {name!r} must hold numbers. Got {shown(cells.distinct[cells.place[row]])} in row {row}. "
                f"Name it in 'missing' if it means a missing cell, or the column's kind in 'kinds'."
            )
        check_size(name, [n for n in found if n is not None])
        whole = float(origin).is_integer()
        relative = [np.nan if n is None else _difference(n, origin, whole) for n in found]
        return np.array([*relative, np.nan], float)[cells.place] / scale
    known = found[cells.known]
    check_size(name, known)
    out = np.full(len(cells), np.nan)
    out[cells.known] = array_offsets(known, origin)
    return out / scale


def array_offsets(known: np.ndarray, origin: float | int) -> np.ndarray:
    """(n,) float64 known − origin; integers are subtracted as integers."""
    if known.dtype.kind in "iub" and origin:
        if known.dtype.itemsize < 8 or abs(int(origin)) + _reach(known) < 2**62:
            return (known.astype(np.int64) - int(origin)).astype(float)
        return np.array([int(v) - int(origin) for v in known], float)
    return known.astype(float) - float(origin)


def _reach(known: np.ndarray) -> int:
    return max(abs(int(known.min())), abs(int(known.max()))) if len(known) else 0


def _difference(number: Any, origin: float | int, whole: bool) -> float:
    if isinstance(number, decimal.Decimal):
        return float(number - decimal.Decimal(origin))
    if isinstance(number, int) and whole:
        return float(number - int(origin))
    return float(number) - float(origin)


def check_size(name: str, numbers: Any) -> None:
    """Raises TableError for a number that is infinite or beyond LARGEST."""
    if len(numbers) == 0:
        return
    largest = max(abs(float(min(numbers))), abs(float(max(numbers)))) if isinstance(numbers, list) else _size(numbers)
    if math.isinf(largest):
        raise TableError(
            f"Column {name!r} must hold finite numbers. Got an infinity. Replace it by a missing cell, or name the "
            f"column's kind 'ignore'."
        )
    if largest > LARGEST:
        raise TableError(
            f"Column {name!r} must hold numbers within ±{LARGEST:g}. Got one of size {largest:g}. Rescale the column, or "
            f"name its kind 'ignore'."
        )


def _size(numbers: np.ndarray) -> float:
    if numbers.dtype.kind == "b":
        return 1.0
    return max(abs(float(numbers.min())), abs(float(numbers.max())))


def decimals_of(distinct: np.ndarray, single: bool = False) -> int | None:
    """Decimals that the (D,) float64 values have, at most MOST_DECIMALS; None where they are continuous.

    single: they were float32, whose own decimals are fewer. Four units in the last place are forgiven.
    """
    distinct = distinct[np.isfinite(distinct)]
    if not len(distinct):
        return 0
    largest = np.abs(distinct).max()
    before = math.floor(math.log10(largest)) + 1 if largest > 0 else 1
    step = np.spacing(distinct.astype(np.float32)).astype(float) if single else np.spacing(np.abs(distinct))
    for decimals in range(MOST_DECIMALS + 1):
        if max(before, 0) + decimals > (6 if single else MOST_DIGITS):
            return 0 if decimals == 0 and (distinct == np.floor(distinct)).all() else None
        if (np.abs(distinct - np.round(distinct, decimals)) <= 4 * np.abs(step)).all():
            return decimals
    return None


def step_of(distinct: np.ndarray, decimals: int | None) -> int:
    """The whole number of units of 10^−decimals that all (D,) values are multiples of: 5 for 3.5, 4.0, 4.5.

    1 where there are fewer than 10 values to tell from, or nothing to tell.
    """
    if decimals is None or len(distinct) < 10 or np.abs(distinct).max() * 10.0**decimals > 2**52:
        return 1
    units = np.abs(np.round(distinct * 10.0**decimals)).astype(np.int64)
    return max(1, int(np.gcd.reduce(units)))


def densest_half(distinct: np.ndarray) -> tuple[float, float]:
    """(middle, half the length) of the shortest stretch that holds more than half of the (D,) sorted values."""
    size = len(distinct) // 2 + 1
    lengths = distinct[size - 1 :] - distinct[: len(distinct) - size + 1]
    first = int(lengths.argmin())
    return float(distinct[first] + lengths[first] / 2), float(lengths[first] / 2)


def origin_and_scale(relative: np.ndarray, base: float | int, whole: bool) -> tuple[float | int, float]:
    """(origin, scale) of (D,) sorted values base + relative, so that (value − origin) / scale keeps their resolution in
    float32; an integer `base` keeps every digit.

    (0, 1) where float32 holds the values well enough as they are. scale is a power of two.
    """
    middle, reach = densest_half(relative)
    size = float(np.abs(relative[[0, -1]] + base).max())
    near = reach if reach > 0 else float(np.abs(relative - middle).max())
    moved = abs(middle + base) > 1e3 * near or (whole and size > 2**23)
    origin = (base + int(middle) if whole else base + middle) if moved else 0
    largest = float(np.abs(relative - float(origin - base)).max()) or 1.0
    fits = 1e-12 < largest < 1e12 and (reach == 0 or reach > 1e-12)
    return origin, 1.0 if fits else 2.0 ** round(math.log2(largest))
