"""Fresh identifiers for a table that is filled in parts: none repeats, whatever part it is for and whoever fills the rest.

    renewer = Renewer([c for c in imputer.columns_ if c.treatment == RENEWED], rows, seed=0)
    for frame in parts:                          # first over all parts: which identifiers there are
        renewer.see(frame)
    for frame in parts:                          # then in the order of the table
        renewer.renew(frame, filled)

Shapes: N rows of a part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from pipeline.tables import ids
from pipeline.tables.coding import known_cells
from pipeline.tables.columns import Column
from pipeline.tables.filling import filled
from pipeline.tables.values import word

BITS_EACH, FEWEST_BITS, MOST_BITS = 16, 1 << 16, 1 << 30  # of the filter, for an identifier, in all
PROBES = 4


class Seen:
    """A set of texts that may say yes to one that it was never given (about 1 in 400), and never no to one that it was: a
    Bloom filter, so that a table of any length takes at most 128 MB. expected: texts that will be added."""

    def __init__(self, expected: int) -> None:
        bits = max(FEWEST_BITS, min(MOST_BITS, 1 << (BITS_EACH * max(expected, 1) - 1).bit_length()))
        self.mask = np.uint64(bits - 1)
        self.flags = np.zeros(bits // 8, np.uint8)

    def add_all(self, texts: Sequence[str]) -> None:
        place = self._places(texts)
        np.bitwise_or.at(self.flags, place >> np.uint64(3), (1 << (place & np.uint64(7))).astype(np.uint8))

    def add(self, text: str) -> None:
        self.add_all([text])

    def __contains__(self, text: str) -> bool:
        place = self._places([text])
        return bool((self.flags[place >> np.uint64(3)] >> (place & np.uint64(7)).astype(np.uint8) & 1).all())

    def _places(self, texts: Sequence[str]) -> np.ndarray:
        """(n · PROBES,) uint64 bits of n texts."""
        one = pd.util.hash_array(np.asarray(texts, dtype=object), categorize=False)
        other = (one >> np.uint64(32)) | np.uint64(1)
        steps = np.arange(PROBES, dtype=np.uint64)
        return ((one[:, None] + steps * other[:, None]) & self.mask).ravel()


@dataclass
class _Source:
    """Where the fresh values of a column come from. gaps: cells to fill. high: the largest whole number that is known."""

    column: Column
    seen: Seen | None
    high: int
    gaps: int = 0
    texts: Iterator[str] | None = field(default=None, repr=False)


class Renewer:
    """columns: identifiers. rows: of the whole table. seed: of what is drawn; whole numbers go on after the largest."""

    def __init__(self, columns: Sequence[Column], rows: int, seed: int) -> None:
        self.seed = seed
        self.sources = [_Source(c, Seen(rows) if c.patterns else None, int(c.high or 0)) for c in columns]

    @property
    def names(self) -> list[str]:
        return [s.column.name for s in self.sources]

    @property
    def gaps(self) -> int:
        """Cells to fill that were seen."""
        return sum(s.gaps for s in self.sources)

    def see(self, frame: pd.DataFrame) -> None:
        """Notes the identifiers of a part, which has the columns `names`."""
        for source in self.sources:
            cells = known_cells(source.column, frame[source.column.name])
            source.gaps += int((~cells.known).sum())
            known = frame[source.column.name][cells.known]
            if source.seen is not None and len(known):
                source.seen.add_all([word(v) for v in known])
            elif source.seen is None and len(known):
                numbers = pd.to_numeric(known, errors="coerce").dropna()
                source.high = max([source.high, *([int(numbers.max())] if len(numbers) else [])])

    def renew(self, frame: pd.DataFrame, done: pd.DataFrame) -> pd.DataFrame:
        """`done`, a part that was filled, with fresh identifiers where `frame`, as it was before, has none."""
        out = {}
        for source in self.sources:
            series = frame[source.column.name]
            gap = ~known_cells(source.column, series).known
            if gap.any():
                out[source.column.name] = filled(series, gap, self._fresh(source, int(gap.sum())), source.column)
        return done.assign(**out) if out else done

    def _fresh(self, source: _Source, count: int) -> list[Any]:
        column = source.column
        if source.seen is None:
            found: list[Any] = list(range(source.high + 1, source.high + 1 + count))
            source.high += count
            return [str(v) for v in found] if column.memory.is_text else found
        if source.texts is None:
            rng = np.random.default_rng([self.seed, 0x1D, *column.name.encode("utf8", "surrogatepass")])
            uuids = column.memory.cells == "UUID"
            source.texts = (
                iter(lambda: ids.fresh_uuid(rng), None) if uuids else ids.fresh(column.patterns, rng, source.seen)
            )
        return [next(source.texts) for _ in range(count)]
