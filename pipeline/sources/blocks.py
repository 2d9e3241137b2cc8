"""Blocks: the parts in which a table is read, filled and written; the same whatever reads them.

A block is so many rows of a source in its order, or a row group of a Parquet file. Draws are seeded by block, so
neither the number of workers nor how many blocks are in flight changes a value.

Shapes: N rows of a block, C columns.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

BLOCK_ROWS = 16384


@dataclass
class Block:
    """number: its place in the source. first: row of the source with which it begins. frame: N typed rows, without the
    columns that are copied as they are. raw: what its source keeps, to write it back."""

    number: int
    first: int
    frame: pd.DataFrame
    raw: Any


class Source(Protocol):
    """An opened table. rows: their number. said: how it is read, in one line. notes: sentences for its reader.

    One that can pick rows faster than by making all blocks has `frames_at(chosen)` too: frames of the rows `chosen`
    (n,), sorted, one after the other; one that can read some columns alone has `frames(names)`.
    """

    rows: int
    said: str
    notes: list[str]

    @property
    def names(self) -> list[str]:
        """Of all columns, those that are copied too."""

    def blocks(self) -> Iterator[Block]:
        """All rows, in order; again from the start at every call."""


class Sink(Protocol):
    """An output that takes blocks in order; nothing is there until all of them are."""

    def write(self, block: Block, filled: pd.DataFrame, draw: int | None = None) -> None: ...


def sampled(source: Source, most: int, seed: int) -> pd.DataFrame:
    """The typed rows of a source, or a random sample of `most` of them in their order; constant memory beside it."""
    import numpy as np
    import pandas as pd

    if source.rows <= most:
        return pd.concat([b.frame for b in source.blocks()], ignore_index=True)
    rng = np.random.default_rng([seed, 0x5A3B1E])
    chosen = np.sort(rng.choice(source.rows, most, replace=False))
    if hasattr(source, "frames_at"):
        return pd.concat(source.frames_at(chosen), ignore_index=True)
    parts = []
    for block in source.blocks():
        low, high = np.searchsorted(chosen, [block.first, block.first + len(block.frame)])
        parts.append(block.frame.iloc[chosen[low:high] - block.first])
    return pd.concat(parts, ignore_index=True)
