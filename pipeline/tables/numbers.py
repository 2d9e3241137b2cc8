"""Columns of numbers: read from any dtype or text, offsets that float32 can hold, and values of the same precision.

An integer keeps every digit: it is subtracted from the column's origin as an integer, never as a float.

Shapes: N rows, D distinct values.
"""

from __future__ import annotations

import decimal
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.tables.cells import Cells
from pipeline.tables.errors import TableError, shown

LARGEST = 1e150  # size of a number: its square is still a float64
MOST_DECIMALS = 12
MOST_DIGITS = 12  # significant digits from which a number is taken for continuous
AFFIXES = ("%", "‰", "€", "$", "£", "¥")
MOST_ODD_SHARE = 0.1  # of the cells of a column of number texts that may be words

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?")
_WHOLE = re.compile(r"[+-]?\d+")


@dataclass(frozen=True)
class Notation:
    """How numbers are written in a column of text. point, thousands: the marks. prefix, suffix: around every number.
    fixed: all have the same number of decimals, trailing zeros included."""

    point: str = "."
    thousands: str = ""
    prefix: str = ""
    suffix: str = ""
    fixed: bool = False

    def number(self, text: str) -> int | float | None:
        """The number that `text` writes, or None."""
        text = text.strip()
        if self.prefix or self.suffix:
            if not (text.startswith(self.prefix) and text.endswith(self.suffix)):
                return None
            text = text[len(self.prefix) : len(text) - len(self.suffix)].strip()
        if self.thousands and self.thousands in text:
            whole = text.split(self.point)[0].lstrip("+-")
            groups = whole.split(self.thousands)
            if not 1 <= len(groups[0]) <= 3 or any(len(g) != 3 for g in groups[1:]):
                return None
            text = text.replace(self.thousands, "")
        if self.point != ".":
            if "." in text:
                return None
            text = text.replace(self.point, ".")
        if _WHOLE.fullmatch(text):
            return int(text)
        return float(text) if _NUMBER.fullmatch(text) else None

    def write(self, value: float, decimals: int | None) -> str:
        """The text of a number with so many decimals (None: as many as it needs)."""
        if isinstance(value, int) or decimals is None:
            text = str(value) if isinstance(value, int) else repr(float(value))
        else:
            text = f"{value:.{max(decimals, 0)}f}"
            if not self.fixed and "." in text:
                text = text.rstrip("0").rstrip(".")
        text = "0" if text == "-0" else text
        whole, dot, rest = text.partition(".")
        if self.thousands and whole.lstrip("-").isdigit():
            sign = "-" if whole.startswith("-") else ""
            whole = sign + f"{int(whole.lstrip('-')):,}".replace(",", self.thousands)
        return self.prefix + whole + (self.point if dot else "") + rest + self.suffix


def notation_of(texts: list[str], point: str = ".", thousands: str = "") -> tuple[Notation, list[int | float | None]]:
    """(how the numbers among `texts` are written, the number of each or None)."""
    stripped = [t.strip() for t in texts]
    for affix in ("", *AFFIXES):
        prefix = affix if affix and stripped and all(t.startswith(affix) for t in stripped) else ""
        suffix = affix if affix and not prefix and stripped and all(t.endswith(affix) for t in stripped) else ""
        if affix and not prefix and not suffix:
            continue
        space = " " if suffix and all(t.endswith(" " + suffix) for t in stripped) else ""
        notation = Notation(point, thousands, prefix, space + suffix)
        numbers = [notation.number(t) for t in texts]
        if any(n is not None for n in numbers):
            break
    places = {places_of(t, notation) for t, n in zip(texts, numbers, strict=True) if n is not None}
    fixed = len(places) == 1 and places != {0}
    grouped = thousands if any(thousands and thousands in t for t in texts) else ""
    return Notation(point, grouped, prefix, space + suffix, fixed), numbers


def places_of(text: str, notation: Notation) -> int:
    """Decimals that a text of a number shows."""
    body = text.strip().removesuffix(notation.suffix)
    return len(body.rsplit(notation.point, 1)[1]) if notation.point in body and "e" not in body.lower() else 0


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
