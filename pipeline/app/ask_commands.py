"""Commands that ask a table's model: score (how likely are rows), check (which cells look wrong), pool (estimates with errors);
and the conditions of `sample`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipeline.app.command_group import Force, Model, Seed, app, check_new, examples, made
from pipeline.app.tables import load_imputer

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

Table = Annotated[Path, typer.Argument(help="Table: .csv, .tsv, .parquet.")]
TableOutput = Annotated[Path, typer.Option("--output", "-o", help=".csv, .tsv or .parquet.")]


@app.command(
    epilog=examples(
        "biglearn score model people.csv -o scores.csv\n"
        "biglearn score model people.csv -o scores.csv --of income --given age --given state"
    )
)
def score(
    model: Model,
    data: Table,
    output: TableOutput,
    of: Annotated[list[str] | None, typer.Option(help="A column asked about; default: all. Repeatable.")] = None,
    given: Annotated[list[str] | None, typer.Option(help="A column that is given. Repeatable.")] = None,
    orders: Annotated[int, typer.Option(min=1, max=1000, help="Orders of the columns averaged over.")] = 8,
    seed: Seed = 0,
    force: Force = False,
) -> None:
    """How likely each row is under a table's model: log-density in nats, in the units of the table."""
    from pipeline.sources.opening import write_frame

    imputer, frame = _asked(model, data, output, force)
    found = imputer.log_density(frame, of or None, given or None, orders, seed)
    write_frame(output, frame.assign(**{_free("log_density", frame): found}))
    made(output)
    print(f"score: {len(frame)} rows in {output}, mean {found.mean():.4g} nats")


@app.command(
    epilog=examples(
        "biglearn check model people.csv -o cells.csv                # the 100 cells that look most wrong\n"
        "biglearn check model people.csv -o cells.csv --top 1000"
    )
)
def check(
    model: Model,
    data: Table,
    output: TableOutput,
    top: Annotated[int, typer.Option(min=1, help="Number of cells.")] = 100,
    force: Force = False,
) -> None:
    """Which cells of a table look wrong: the most surprising given the rest of their rows, and what is likely there."""
    from pipeline.sources.opening import write_frame

    imputer, frame = _asked(model, data, output, force)
    found = imputer.wrong_cells(frame, top)
    write_frame(output, found.astype({"value": str, "likely": str}))
    made(output)
    print(f"check: {len(found)} of {frame.size} cells in {output}, the most surprising first (rows count from 0)")


@app.command(
    epilog=examples(
        "biglearn pool draws.csv --mean income -o estimate.csv           # draws.csv: impute … --draws 10\n"
        "biglearn pool draws.csv --share state=CA --model 'income ~ age + hours' -o estimate.csv"
    )
)
def pool(
    draws: Annotated[
        Path, typer.Argument(help="Table with columns `draw` and `row`, as `impute --draws 10` writes it.")
    ],
    output: TableOutput,
    mean: Annotated[list[str] | None, typer.Option(help="Mean of a column. Repeatable.")] = None,
    share: Annotated[list[str] | None, typer.Option(help="Share of rows, as column=word. Repeatable.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="Least squares, as 'y ~ a + b'. Repeatable.")] = None,
    level: Annotated[float, typer.Option(help="Of the intervals, between 0 and 1.")] = 0.95,
    force: Force = False,
) -> None:
    """Estimates from several filled tables with honest errors: Rubin's rules."""
    import pandas as pd

    from pipeline.asking.pooling import pool as pooled
    from pipeline.sources.opening import read_frame, write_frame

    _check_table(output, force)
    estimates = _estimates(mean or [], share or [], model or [])
    frame = read_frame(draws)
    if not {"draw", "row"} <= set(frame.columns):
        raise ValueError(
            f"{draws} must have columns draw and row, as impute --draws 10 writes. Got {list(frame.columns)[:10]}."
        )
    tables = [part.drop(columns=["draw", "row"]) for _, part in frame.groupby("draw")]
    found = pd.concat([pooled(tables, estimate, level) for estimate in estimates])
    write_frame(output, found.reset_index())
    made(output)
    print(found.to_string(float_format=lambda v: f"{v:.4g}"))


def sample_where(
    model: Path, count: int, output: Path, where: list[str], seed: int, force: bool, missing: str = "none"
) -> None:
    """`biglearn sample --where --missing`: rows of a table's model that meet conditions, with gaps or whole."""
    from pipeline.sources.opening import write_frame

    _check_table(output, force)
    frame = _table_model(model).generate(count, seed, where or None, missing=missing)
    write_frame(output, frame)
    made(output)
    if not where:
        print(f"sample: {count} rows in {output}")
        return
    told = frame.attrs
    print(
        f"sample: {count} rows in {output}; the conditions hold for {told['mass']:.3g} of all rows; "
        f"effective sample {told['effective_sample_size']:.0f} of {told['candidates']} candidates"
    )


def _asked(model: Path, data: Path, output: Path, force: bool) -> tuple[Any, pd.DataFrame]:
    """(the imputer, the table), after the cheap checks."""
    from pipeline.sources.opening import read_frame

    _check_table(output, force)
    return _table_model(model), read_frame(data)


def _table_model(model: Path) -> Any:
    """The imputer in `model`. Raises ValueError for a model of anything but a table."""
    if not (model / "imputer.json").is_file():
        raise ValueError(f"{model} must hold a model of a table, as `biglearn fit table.csv -o model` writes it.")
    return load_imputer(model)


def _check_table(output: Path, force: bool) -> None:
    from pipeline.sources.places import is_table

    check_new(output, force)
    if not is_table(output):
        raise ValueError(f"--output must be a table: .csv, .tsv, .parquet, .xlsx and the like. Got {output}.")


def _free(name: str, frame: pd.DataFrame) -> str:
    """`name`, with underscores behind it until no column of the table has it."""
    while name in frame.columns:
        name += "_"
    return name


def _estimates(means: list[str], shares: list[str], models: list[str]) -> list[Callable]:
    from pipeline.asking.pooling import linear_model, mean_of, share_of

    out = [mean_of(column) for column in means]
    for text in shares:
        column, separator, value = text.partition("=")
        if not separator:
            raise ValueError(f"--share must look like column=word. Got {text!r}.")
        out.append(share_of(column.strip(), value.strip()))
    for text in models:
        target, separator, columns = text.partition("~")
        if not separator:
            raise ValueError(f"--model must look like 'y ~ a + b'. Got {text!r}.")
        out.append(linear_model(target.strip(), [c.strip() for c in columns.split("+")]))
    if not out:
        raise ValueError("Something must be estimated: --mean, --share or --model. Got none.")
    return out
