"""The command inspect: what `fit` would read in your data, without training."""

from __future__ import annotations

from pipeline.app.command_group import Data, Settings, app, examples
from pipeline.app.filling import FIT_ROWS
from pipeline.app.model_commands import FitRows
from pipeline.app.table_options import TableInput, reads_tables


@app.command(
    epilog=examples(
        "biglearn inspect survey.csv\n"
        "biglearn inspect survey.csv --set 'kinds={age: float}' --set 'missing={age: [-999]}'\n"
        "biglearn inspect survey.csv --set 'formats={born: \"%d/%m/%Y\"}'"
    )
)
@reads_tables
def inspect(data: Data, settings: Settings = None, fit_rows: FitRows = FIT_ROWS, *, given: TableInput) -> None:
    """Say what is in your data before anything is trained. Kinds of columns and why, missing cells, what is odd."""
    from pipeline.app.inspection import inspection

    print(inspection(data, settings or [], fit_rows, given))
