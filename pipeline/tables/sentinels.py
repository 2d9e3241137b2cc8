"""Values that look like a mark for a missing cell: −999, 0 beside incomes, 365243 days, 1900-01-01, "XNA".

They are only named: what they mean is for the user to say.

Shapes: D distinct values.
"""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np

from pipeline.tables.words import EXPORTED

FEWEST = 3  # cells of a value that stands apart without looking like a mark
MOST_SHARE = 0.5  # of the cells that are a mark of 0: where most are 0, it is a value
ATOM = 10  # times as often as any other value
MARKS = tuple(
    datetime.date(*d)
    for d in (
        (1, 1, 1),
        (1753, 1, 1),
        (1899, 12, 30),
        (1899, 12, 31),
        (1900, 1, 1),
        (1970, 1, 1),
        (2099, 12, 31),
        (9999, 12, 31),
    )
)
"""Dates that programs write for "none"."""


def numbers(distinct: np.ndarray, counts: np.ndarray) -> list[tuple[float, int]]:
    """(value, how often) of the least or greatest of (D,) sorted numbers where it looks like a mark.

    It occurs twice at least and is all nines or eights, away from the others, or −1 below whole numbers from 0 on.
    """
    out = []
    if len(distinct) < 4:
        return []
    spacing = float(np.median(np.diff(distinct[1:-1]))) if len(distinct) > 4 else 0.0
    for place, beside in ((0, 1), (-1, -2)):
        value, count = float(distinct[place]), int(counts[place])
        digits = set(f"{abs(value):.12g}".replace(".", ""))
        repeated = digits == {"9"} or (digits == {"8"} and abs(value) > 80)
        far = abs(value - float(distinct[beside])) > max(3 * spacing, 0.1 * _rest(distinct, place))
        below_counts = (
            value == -1 and len(distinct) > 10 and distinct[1] >= 0 and (distinct == np.floor(distinct)).all()
        )
        if count > 1 and ((repeated and far) or below_counts):
            out.append((value, count))
    return out


def apart(distinct: np.ndarray, counts: np.ndarray) -> list[tuple[float, int]]:
    """(value, how often) of the least or greatest of (D,) sorted numbers that occurs FEWEST times and stands apart.

    Farther away than the others reach; or it is 0 below positive numbers, not of most cells, and either away from them or an
    atom where they have none.
    """
    out = []
    if len(distinct) < 10:
        return []
    spacing = float(np.median(np.diff(distinct[1:-1])))
    for place, beside in ((0, 1), (-1, -2)):
        value, count = float(distinct[place]), int(counts[place])
        rest, gap = _rest(distinct, place), abs(value - float(distinct[beside]))
        zero = value == 0 and place == 0 and count <= MOST_SHARE * counts.sum() and gap > 3 * spacing
        atom = count >= ATOM * int(np.delete(counts, place).max())
        if count >= FEWEST and (gap > rest or (zero and (gap > 0.1 * rest or atom))):
            out.append((value, count))
    return out


def dates(distinct: np.ndarray, counts: np.ndarray, days: list[datetime.date]) -> list[tuple[int, int]]:
    """(place, how often) of the earliest or latest of (D,) sorted counts of a unit, each of `days` where it looks like a mark.

    It occurs twice at least, and is one of MARKS away from the others, or farther away than the others reach.
    """
    out = []
    for place, beside in ((0, 1), (-1, -2)) if len(distinct) >= 4 else ():
        rest, gap = _rest(distinct, place), abs(int(distinct[place]) - int(distinct[beside]))
        known = days[place] in MARKS and gap > 0.1 * rest
        if counts[place] > 1 and (known or gap > rest):
            out.append((place % len(distinct), int(counts[place])))
    return out


def words(values: list[Any], counts: np.ndarray) -> list[tuple[str, int]]:
    """(word, how often) of the words among (D,) values that exports write for "none"."""
    pairs = zip(values, counts, strict=True)
    return [(v, int(n)) for v, n in pairs if isinstance(v, str) and v.strip().lower() in EXPORTED]


def _rest(distinct: np.ndarray, place: int) -> float:
    """How far the values reach without the least or the greatest."""
    return float(distinct[-1] - distinct[1]) if place == 0 else float(distinct[-2] - distinct[0])
