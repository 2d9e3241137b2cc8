"""A table filled from one place to another with the cheap imputer, as `biglearn impute` does it."""

from __future__ import annotations

import pandas as pd

from pipeline.app.filling import HereFiller, write_filled
from pipeline.sources.blocks import sampled
from pipeline.sources.opening import check_sink, open_source
from pipeline.sources.places import Place, place_of
from pipeline.tables.readable import stamp_names
from pipeline.textfiles.reading import Reading
from tests.helpers.table_files import PlainImputer


def fill(source: Place | object, target: Place | object, draws: int = 0, force: bool = False, **reading) -> list[str]:
    """Fills; what was said."""
    said: list[str] = []
    source = source if isinstance(source, Place) else place_of(source)
    target = target if isinstance(target, Place) else place_of(target)
    check_sink(target, force)
    with open_source(source, Reading(**reading), said.append) as opened:
        frame: pd.DataFrame = sampled(opened, 10**6, 0)
        filler = HereFiller(PlainImputer().fit(frame.dropna(axis=1, how="all")))
        stamps = stamp_names(opened.names) if draws else None
        write_filled(opened, target, filler, draws=draws, seed=0, force=force, stamps=stamps)
    return said
