"""Where on a sheet the table lies: below titles, above totals and remarks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pipeline.textfiles.remarks import Totals

MOST_ABOVE = 50  # rows among which the names are looked for
NAMED_SHARE = 0.6  # of the columns that rows usually fill: as many names at least has the row of names


@dataclass
class Layout:
    """top: row of the names, from 0. left: their first column, from 0. names: of the columns, None where a cell has none.
    body: the rows, as wide as the names. notes: what lies around it."""

    top: int
    left: int
    names: list[Any]
    body: list[list[Any]]
    notes: list[str] = field(default_factory=list)


def layout_of(rows: list[list[Any]]) -> Layout | None:
    """The table on a sheet of these values; None where no row has a text.

    Its names are the first row that holds a text and nearly as many cells as the rows below it usually do, that a row
    follows, and behind whose part of the sheet there are not more names; where there is none, the first row that holds a text. Rows of one cell after an empty row, and a last row that
    says "total", are no rows of it.
    """
    filled = np.array([sum(not _empty(v) for v in row) for row in rows])
    texts = [i for i, row in enumerate(rows) if any(isinstance(v, str) and v.strip() for v in row)]
    if not texts:
        return None
    top = next((i for i in texts if i <= texts[0] + MOST_ABOVE and _is_header(i, filled, rows)), texts[0])
    left = next(i for i, v in enumerate(rows[top]) if not _empty(v))
    names = rows[top][left:]
    while names and _empty(names[-1]):
        names.pop()
    out = Layout(top, left, names, [row[left : left + len(names)] for row in rows[top + 1 :]])
    above = int((filled[:top] > 0).sum())
    if above:
        out.notes.append(
            f"row {top + 1} holds the names: {above} above it {'is' if above == 1 else 'are'} no part of the table."
        )
    _cut_below(out)
    return out


def _is_header(i: int, filled: np.ndarray, rows: list[list[Any]]) -> bool:
    below = filled[i + 1 :]
    used = below[below > 0]
    if not len(used) or not below[0]:
        return False
    usual = float(np.median(used))
    if usual > 1 and filled[i] < max(2, NAMED_SHARE * usual):
        return False
    gap = i + 1 + int((below == 0).argmax()) if (below == 0).any() else len(rows)
    after = next((j for j in range(gap, len(rows)) if filled[j]), None)  # the first row behind the next empty one
    names_behind = after is not None and all(isinstance(v, str) for v in rows[after] if not _empty(v))
    return not (names_behind and filled[after] > filled[i])


def _cut_below(table: Layout) -> None:
    """Takes empty rows, remarks and totals from the end of the body."""
    body = table.body
    _drop_empty(body)
    start = len(body)
    while len(table.names) > 1 and start and _says_at_most_one_thing(body[start - 1]):
        start -= 1
    gap = next((i for i in range(start, len(body)) if all(map(_empty, body[i]))), len(body))
    below = sum(not all(map(_empty, row)) for row in body[gap:])
    if below:
        table.notes.append(f"{below} {'row' if below == 1 else 'rows'} below the table: remarks, and left as they are.")
    del body[gap:]
    _drop_empty(body)
    totals = Totals()
    may_be = [totals.may_be(row) for row in body]
    last = len(body)
    while last > 1 and may_be[last - 1]:
        last -= 1
    if last < len(body):
        several = "holds" if last == len(body) - 1 else "and following hold"
        table.notes.append(f"row {table.top + 2 + last} {several} totals: no row, and left as it is.")
    del body[last:]
    _drop_empty(body)


def _drop_empty(body: list[list[Any]]) -> None:
    while body and all(map(_empty, body[-1])):
        body.pop()


def _says_at_most_one_thing(row: list[Any]) -> bool:
    said = [v for v in row if not _empty(v)]
    return not said or len(said) == 1 and isinstance(said[0], str)


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
