"""What `fit` would read, in words, by the kind of data."""

from __future__ import annotations

from pipeline.app.table_options import TableInput
from pipeline.app.tables import inspect_table


def inspection(data: str, settings: list[str], fit_rows: int, given: TableInput) -> str:
    """The text. Raises ValueError for data that is none of the kinds, and for settings that do not exist."""
    return inspect_table(given.place(data), given, settings, fit_rows)
