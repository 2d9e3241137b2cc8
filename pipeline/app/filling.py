"""Fills the missing cells of a table block by block: in this process, or on the workers of a Dask cluster.

A block is filled alike wherever it is filled, and draws are seeded by block, so the output is the same for any number
of workers. It is there when every block is written, or not at all.

Shapes: N rows of a block, C columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.estimators.filling import block_seed, fill_frame

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.sources.blocks import Block, Source
    from pipeline.sources.places import Place
    from pipeline.tables.renewing import Renewer

FIT_ROWS = 250_000  # rows of a table that a model is fitted on, at most; a training reads fewer


@dataclass
class Outcome:
    """Cells that were missing, and of these the cells that still are, by column; rows of the table."""

    rows: int
    missing: int = 0
    left: dict[str, int] | None = None


def fit_rows(source: Source, most: int, seed: int, tell: Any) -> pd.DataFrame:
    """The rows of a source to fit on: all, or a random sample that is announced; columns without a value left out."""
    from pipeline.sources.blocks import sampled

    if source.rows > most:
        tell(f"fitting on {most} of {source.rows} rows, drawn at random with seed {seed} (--fit-rows)")
    frame = sampled(source, most, seed)
    for name in [n for n in frame.columns if frame[n].isna().all()]:
        tell(f"note: column {name!r} has no value{' in these rows' if source.rows > most else ''}: it stays as it is.")
        frame = frame.drop(columns=name)
    return frame


def renewer_of(source: Source, imputer: Any, seed: int) -> Renewer | None:
    """What gives the table its fresh identifiers, in the order of its rows; None where no identifier is missing.

    Blocks are filled apart, so none of them knows which identifiers another one has or gets.
    """
    from pipeline.tables.columns import RENEWED
    from pipeline.tables.renewing import Renewer

    columns = [c for c in imputer.columns_ if c.treatment == RENEWED and c.name in source.names]
    if not columns:
        return None
    renewer = Renewer(columns, source.rows, seed)
    frames = source.frames(renewer.names) if hasattr(source, "frames") else (b.frame for b in source.blocks())
    for frame in frames:
        renewer.see(frame)
    return renewer if renewer.gaps else None


def write_filled(
    source: Source,
    place: Place,
    filler: Any,
    *,
    draws: int,
    seed: int,
    force: bool,
    stamps: tuple[str, str] | None,
    renewer: Renewer | None = None,
) -> Outcome:
    """Writes the table with its missing cells filled by `filler`, once, or `draws` times with draw and row in front.

    filler: gives (block, filled frame) for blocks and their seeds, in order; None: there is nothing to fill.
    """
    from tqdm import tqdm

    from pipeline.sources.opening import explained, open_sink

    outcome, bar_rows = Outcome(source.rows, 0, {}), source.rows * max(draws, 1)
    with (
        explained(place),
        open_sink(place, source, stamps, force=force) as sink,
        tqdm(total=bar_rows, desc="impute", unit="row", unit_scale=True, dynamic_ncols=True, disable=None) as bar,
    ):
        for draw in range(max(draws, 1)):
            pairs = ((b, block_seed(seed, draw, b.number) if draws else None) for b in source.blocks())
            for block, filled in ((b, b.frame) for b, _ in pairs) if filler is None else filler(pairs):
                filled = filled if renewer is None else renewer.renew(block.frame, filled)
                sink.write(block, filled, draw if stamps else None)
                if draw == 0:
                    _count(outcome, block, filled)
                bar.update(len(block.frame))
    return outcome


def _count(outcome: Outcome, block: Block, filled: pd.DataFrame) -> None:
    for name, gaps in block.frame.isna().sum().items():
        outcome.missing += int(gaps)
        left = int(filled[name].isna().sum()) if name in filled.columns else int(gaps)
        if left:
            outcome.left[name] = outcome.left.get(name, 0) + left


class HereFiller:
    """Fills blocks one after the other in this process."""

    def __init__(self, imputer: Any) -> None:
        self.imputer = imputer

    def __call__(self, pairs: Iterator[tuple[Block, int | None]]) -> Iterator[tuple[Block, pd.DataFrame]]:
        for block, seed in pairs:
            yield block, fill_frame(self.imputer, block.frame, seed)


def filler(imputer: Any, runner: str, address: str | None, workers: int) -> Any:
    """A context that gives a filler: of this process, or of the Dask cluster at `address` or on this machine."""
    if runner == "here":
        return nullcontext(HereFiller(imputer))
    if runner != "dask":
        raise ValueError(f"--runner must be here or dask. Got {runner!r}.")
    from pipeline.app.dask_filling import dask_filler

    return dask_filler(imputer, address, workers)
