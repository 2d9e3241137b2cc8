"""impute on a written file changes its missing cells and nothing else; a second time it changes nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings

from pipeline.app.filling import HereFiller, write_filled
from pipeline.sources.opening import open_source
from pipeline.sources.places import place_of
from pipeline.textfiles.reading import Reading
from tests.helpers.table_files import PlainImputer, Written, written_tables


def fill(source: Path, target: Path, **options) -> list[str]:
    """What `biglearn impute` does with a file, with the cheap imputer; what it says."""
    said: list[str] = []
    with open_source(place_of(source), Reading(**options), said.append) as opened:
        frame = next(iter(opened.blocks())).frame
        imputer = PlainImputer().fit(frame.dropna(axis=1, how="all"))
        write_filled(opened, place_of(target), HereFiller(imputer), draws=0, seed=0, force=False, stamps=None)
    return said


def check(written: Written, **options) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source, once, twice = (Path(folder) / name for name in ("in.csv", "once.csv", "twice.csv"))
        source.write_bytes(written.payload)
        fill(source, once, **options)
        fill(once, twice, **options)
        after = once.read_bytes()
        assert after.startswith(written.mark)
        text = after[len(written.mark) :].decode(written.encoding)
        assert written.pattern.fullmatch(text), text
        assert twice.read_bytes() == after
        assert source.read_bytes() == written.payload


@settings(deadline=None, max_examples=60)
@given(written_tables())
def test_only_missing_cells_change_in_a_dialect_that_is_named(written):
    check(written, **written.options)


@settings(deadline=None, max_examples=60)
@given(written_tables())
def test_only_missing_cells_change_in_a_dialect_that_is_detected(written):
    check(written)
