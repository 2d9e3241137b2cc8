"""Cells that mean "no value" although they hold something: the usual words, a user's own, and numbers such as −999.

A word such as "?" or "#N/A" can mean nothing else. "NA" and "None" can: Namibia, no alcohol. Among numbers and dates
they mean missing; among words they are values where cells have types (a DataFrame), and mean missing where all cells
are text anyway (a CSV file), unless the other words look like them. Either way the user is told.

Shapes: N rows, D distinct values.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from pipeline.tables.cells import Cells
from pipeline.tables.values import plain, word
from pipeline.textfiles.words import LOOSE, USUAL

DOUBTFUL = frozenset(["na", "none"])
SPOKEN = frozenset(["unknown", "missing", "nil", "not available"])
EXPORTED = SPOKEN | {
    "xna", "xap", "unk", "n.a.", "n.d.", "n.k.", "n/d", "s/d", "k.a.", "k. a.", "tbd", "tba", "-", "--", "#value!", "#ref!",
    "not known", "not applicable", "not stated", "not reported", "not recorded", "not specified", "not answered", "not asked",
    "no data", "no answer", "no response", "no information", "don't know", "dont know", "do not know", "prefer not to say",
    "refused", "undefined", "unspecified", "unbekannt", "keine angabe", "keine angaben", "weiß nicht", "inconnu",
    "non renseigné", "ne sait pas", "desconocido", "sin dato", "sin datos", "no sabe",
}  # fmt: skip
"""Words that exports write where there is no value, and that may be one."""
AMONG_NUMBERS = SPOKEN | DOUBTFUL | set(LOOSE) | {"n.a.", "n.d."}
SURE = frozenset(w.lower() for w in USUAL) - AMONG_NUMBERS
"""Words that mean missing in every column, in lower case."""
_CODE = re.compile(r"[A-Z]{2}")


def usual_marks(cells: Cells, typed: bool, reads: Callable[[str], bool]) -> tuple[tuple[str, ...], str]:
    """(the words of a column that mean missing beside SURE, a warning about those that may be values or "").

    typed: cells have types, so a text is meant as one. reads: whether a text is a number or date.
    """
    texts = [v for v in cells.distinct if isinstance(v, str)]
    doubtful = [t for t in texts if _bare(t) in DOUBTFUL]
    among = [t for t in texts if _bare(t) in AMONG_NUMBERS]
    others = [v for v in cells.distinct if not (isinstance(v, str) and (_bare(v) in SURE | AMONG_NUMBERS))]
    if among and all(not isinstance(v, str) or reads(v) for v in others):
        spoken = ", ".join(repr(t) for t in among if _bare(t) in SPOKEN)
        return tuple(among), f"{spoken} among numbers is read as missing; 'missing' says otherwise" if spoken else ""
    if not doubtful:
        return (), ""
    codes = bool(others) and all(isinstance(v, str) and _CODE.fullmatch(v) for v in others)
    missing = not typed and not (codes and all(t.strip() == "NA" for t in doubtful))
    count = int(sum(n for v, n in zip(cells.distinct, cells.counts, strict=True) if v in doubtful))
    named = ", ".join(map(repr, doubtful))
    if missing:
        told = f"{named} ({count} cells) is read as missing; 'missing' says otherwise"
        return tuple(doubtful), told
    return (), f"{named} ({count} cells) is taken for a value; name it in 'missing' if it means a missing cell"


def marked(cells: Cells, marks: tuple[Any, ...], usual: bool) -> np.ndarray:
    """(N,) bool: the known cells that hold one of `marks`, or a word of SURE where `usual`.

    A text mark is compared with the stripped text of a cell, and as a number or date with cells that are one; a number
    mark also with texts that write it.
    """
    if not marks and not usual:
        return np.zeros(len(cells), bool)
    texts = {m.strip() for m in marks if isinstance(m, str)} | {word(m) for m in marks}
    numbers = {n for n in map(_as_number, marks) if n is not None}
    dtype = cells.dtype
    if (
        not marks
        and not pd.api.types.is_object_dtype(dtype)
        and not isinstance(dtype, pd.StringDtype | pd.CategoricalDtype)
    ):
        return np.zeros(len(cells), bool)  # no cell of it can be a word
    if isinstance(dtype, np.dtype) and dtype.kind in "iuf":
        return np.isin(cells.series.to_numpy(), list(numbers)) if numbers else np.zeros(len(cells), bool)
    dates = {d for d in map(_as_date, marks) if d is not None}
    hit = [_is_mark(v, texts, numbers, dates) or (usual and _is_sure(v)) for v in cells.distinct]
    return np.array([*hit, False])[cells.place]


def found_marks(cells: Cells, gap: np.ndarray) -> tuple[tuple[Any, int], ...]:
    """The marks in the cells of `gap` (N,), and how often each occurs, the commonest first."""
    if not gap.any():
        return ()
    counts = np.bincount(cells.place[gap], minlength=len(cells.distinct))
    found = [(cells.distinct[i], int(counts[i])) for i in np.argsort(-counts, kind="stable") if counts[i]]
    return tuple(found)


def _is_mark(value: Any, texts: set[str], numbers: set[float], dates: set[pd.Timestamp]) -> bool:
    if isinstance(value, str):
        return value.strip() in texts
    if isinstance(value, bool):
        return False
    if isinstance(value, int | float):
        return value in numbers
    if isinstance(value, pd.Timestamp):
        return value.tz_localize(None) in dates
    return word(value) in texts


def _is_sure(value: Any) -> bool:
    return isinstance(value, str) and _bare(value) in SURE


def _bare(text: str) -> str:
    return text.strip().lower()


def _as_number(mark: Any) -> float | int | None:
    mark = plain(mark)
    if isinstance(mark, bool):
        return None
    if isinstance(mark, int | float):
        return mark
    try:
        number = float(mark)
        return int(mark) if re.fullmatch(r"[+-]?\d+", mark.strip()) else number
    except (TypeError, ValueError):
        return None


def _as_date(mark: Any) -> pd.Timestamp | None:
    if isinstance(mark, str) and not re.match(r"\d{1,4}[-/.]\d", mark.strip()):
        return None
    if not isinstance(mark, str | pd.Timestamp) and not hasattr(mark, "year"):
        return None
    found = pd.to_datetime(mark, errors="coerce")
    return None if found is pd.NaT or pd.isna(found) else found.tz_localize(None) if found.tzinfo else found
