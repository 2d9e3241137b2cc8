"""The command inspect: what `fit` would read in your data, without training."""

from __future__ import annotations

from typing import Annotated

import typer

from pipeline.app.command_group import Data, Settings, app, examples
from pipeline.app.filling import FIT_ROWS
from pipeline.app.model_commands import FitRows
from pipeline.app.table_options import TableInput, reads_tables


@app.command(
    epilog=examples(
        "biglearn inspect photos/ --set prepare.image_size_px=64\n"
        "biglearn inspect digits.npz\n"
        "biglearn inspect survey.csv\n"
        "biglearn inspect survey.csv --set 'kinds={age: float}' --set 'missing={age: [-999]}'\n"
        "biglearn inspect orders.csv --rules          # rules that all rows keep, for --set 'rules=[…]' of fit\n"
        "biglearn inspect survey.csv --set 'formats={born: \"%d/%m/%Y\"}'"
    )
)
@reads_tables
def inspect(
    data: Data,
    settings: Settings = None,
    fit_rows: FitRows = FIT_ROWS,
    every: Annotated[bool, typer.Option("--all", help="Of a folder: name every file that is left out.")] = False,
    rules: Annotated[bool, typer.Option("--rules", help="Of a table: also the rules that its rows keep.")] = False,
    *,
    given: TableInput,
) -> None:
    """Say what is in your data before anything is trained. Pictures, sizes, classes; kinds of columns, missing cells."""
    from pipeline.app.inspection import inspection

    print(inspection(data, settings or [], fit_rows, given, every=every, rules=rules))
