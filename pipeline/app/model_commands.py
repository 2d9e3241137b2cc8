"""Commands that make a model and draw with it: fit, sample, complete."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from pipeline.app.ask_commands import sample_where
from pipeline.app.command_group import (
    Data,
    Device,
    Draws,
    FitRows,
    Force,
    Model,
    Output,
    Seed,
    Settings,
    app,
    check_new,
    examples,
    made,
)
from pipeline.app.filling import FIT_ROWS
from pipeline.app.table_options import TableInput, reads_tables
from pipeline.app.tables import fit_table, write_sampled
from pipeline.sources.places import is_table


@app.command(
    epilog=examples(
        "biglearn fit photos/ -o model --set prepare.image_size_px=32\n"
        "biglearn fit adult.csv -o model --seed 1\n"
        "biglearn fit digits.npz -o model --set train.steps=4000 --set train.processes=2\n"
        "biglearn fit postgresql://me@host/shop --table orders -o model"
    )
)
@reads_tables
def fit(
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the new model.")],
    settings: Settings = None,
    seed: Seed = 0,
    fit_rows: FitRows = FIT_ROWS,
    force: Force = False,
    *,
    given: TableInput,
) -> None:
    """Train a model on your own data, end to end. An interrupted fit goes on where it stopped."""
    from pipeline.app.project import run_stages, source_name, start_project

    if is_table(data):
        fit_table(given.place(data), output, given, settings or [], seed, fit_rows, force)
        return
    if not given.plain:
        raise ValueError(f"The options of tables must go with a table. Got {data}.")
    params = start_project(output, source_name(Path(data)), Path(data), settings or [], seed, force=force)
    print(f"fit: model in {run_stages(params, output)}")


@app.command(
    epilog=examples(
        "biglearn sample model 64 -o samples.png\n"
        "biglearn sample model 10 --with label=7 -o sevens/\n"
        "biglearn sample table-model 1000 -o synthetic.csv --seed 3\n"
        "biglearn sample table-model 1000 -o some.csv --where 'age >= 30' --where 'state in CA, NY'\n"
        "biglearn sample table-model 1000 -o gaps.csv --missing as-in-the-data   # fit … --set gaps=true"
    )
)
def sample(
    model: Model,
    count: Annotated[int, typer.Argument(min=1, help="Number of rows.")],
    output: Output,
    known: Annotated[
        list[str] | None, typer.Option("--with", help="A known cell, e.g. --with label=7. Repeatable.")
    ] = None,
    where: Annotated[
        list[str] | None, typer.Option(help="A condition on a table's rows, e.g. --where 'age >= 30'. Repeatable.")
    ] = None,
    missing: Annotated[
        str, typer.Option(help="Of a table: none (whole rows), or as-in-the-data, which needs a fit with gaps=true.")
    ] = "none",
    seed: Seed = 0,
    device: Device = "cpu",
    force: Force = False,
) -> None:
    """Draw new rows: joint samples, samples given some cells, or rows of a table under conditions."""
    if where or missing != "none":
        if known or device != "cpu":
            raise ValueError(
                "--where and --missing must stand without --with and --device: write a known cell as a condition."
            )
        sample_where(model, count, output, where or [], seed, force, missing)
        return
    import numpy as np

    output = check_new(output, force)
    from pipeline.exchange.writing import check_output, write_rows
    from pipeline.tables.parts import assign

    sampler = _sampler(model, device)
    check_output(output, sampler.schema)
    if sampler.schema.table and is_table(output):
        write_sampled(sampler, count, output, known or [], seed)
        if output.is_file():
            made(output)
        print(f"sample: {count} rows in {output}")
        return
    rows = assign(sampler.schema, np.full((count, len(sampler.schema.columns)), np.nan, np.float32), known or [])
    write_rows(output, _drawn(sampler, rows, ~np.isnan(rows), None, 1, seed), sampler.schema)
    made(output)
    print(f"sample: {count} rows in {output}")


@app.command(
    epilog=examples(
        "biglearn complete model photo.png --given upper --draws 8 -o draws.png\n"
        "biglearn complete model erased.png -o filled.png          # transparent pixels are unknown\n"
        "biglearn complete model photos/ --given image --ask label -o labels.csv\n"
        "biglearn complete model photo.png --given none --with label=3 -o threes.npy --draws 16\n"
        "biglearn complete table-model people.csv --erase income --draws 5 -o incomes.csv"
    )
)
def complete(
    model: Model,
    data: Annotated[Path, typer.Argument(help="Image, folder of images, .npy, .npz, .csv, .parquet or .txt.")],
    output: Output,
    given: Annotated[
        list[str] | None,
        typer.Option(
            help="Known part: upper, lower, left, right, image, label, none, a token or column. Repeatable; default: all that is known."
        ),
    ] = None,
    erase: Annotated[list[str] | None, typer.Option(help="Part taken away from what is given. Repeatable.")] = None,
    ask: Annotated[list[str] | None, typer.Option(help="Draw this part alone, the rest stays out. Repeatable.")] = None,
    known: Annotated[
        list[str] | None, typer.Option("--with", help="A cell set before drawing, e.g. --with label=3.")
    ] = None,
    draws: Draws = 1,
    seed: Seed = 0,
    device: Device = "cpu",
    force: Force = False,
) -> None:
    """Draw any part of rows from any other part."""
    import numpy as np

    from pipeline.exchange.reading import read_rows
    from pipeline.exchange.writing import check_output, write_rows
    from pipeline.tables.parts import assign, named_columns

    output = check_new(output, force)
    sampler = _sampler(model, device)
    schema = sampler.schema
    check_output(output, schema)
    rows = read_rows(data, schema)
    chosen = named_columns(schema, given) if given is not None else np.ones(len(schema.columns), bool)
    if erase:
        chosen &= ~named_columns(schema, erase)
    rows = assign(schema, np.where(chosen, rows, np.nan), known or [])
    observed = ~np.isnan(rows)
    targets = np.broadcast_to(named_columns(schema, ask), rows.shape) & ~observed if ask else None
    drawn = _drawn(sampler, rows, observed, targets, draws, seed)
    write_rows(output, drawn, schema, given=rows if rows.shape[0] > 1 or draws > 1 else None)
    made(output)
    print(f"complete: {draws} draws of {len(rows)} rows in {output}, {observed.mean():.0%} of the cells given")


def _sampler(model: Path, device: str) -> Any:
    from pipeline.app.samplers import open_sampler

    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ValueError("--device must be cpu where there is no CUDA device. Got cuda.")
    elif device != "cpu":
        raise ValueError(f"--device must be cpu or cuda. Got {device!r}.")
    return open_sampler(model, device)


def _drawn(sampler: Any, rows: Any, observed: Any, targets: Any, draws: int, seed: int) -> Any:
    """(K, N, C) draws, with a bar."""
    from pipeline.base.streams import progress

    with progress(total=draws * len(rows), desc="draw", unit="row", unit_scale=True) as bar:
        return sampler.complete(rows, observed, draws, seed, targets, progress=bar.update)


@app.command(
    epilog=examples(
        "biglearn impute survey.csv -o filled.csv                          # fits, then fills\n"
        "biglearn impute survey.csv -o draws.parquet --draws 10\n"
        "biglearn impute new.xlsx --table 2024 -o filled.xlsx --model survey-model   # new rows, no refitting\n"
        "biglearn impute postgresql://me@host/shop --table orders -o postgresql://me@host/shop --into orders_filled\n"
        "biglearn impute large.parquet -o filled.parquet --model m --runner dask --workers 4"
    )
)
@reads_tables
def impute(
    data: Annotated[str, typer.Argument(help="Table with missing cells: a file, or the address of a database.")],
    output: Annotated[str, typer.Option("--output", "-o", help="File of any kind of table, or address of a database.")],
    into: Annotated[str, typer.Option(help="Name of the new table in a database, or of a new sheet.")] = "",
    model: Annotated[
        Path | None, typer.Option(help="Model that `fit` wrote; default: fit on the table itself.")
    ] = None,
    draws: Annotated[int, typer.Option(min=0, max=10_000, help="Independent draws; 0: one best table.")] = 0,
    seed: Seed = 0,
    fit_rows: FitRows = FIT_ROWS,
    settings: Settings = None,
    runner: Annotated[str, typer.Option(help="here, or dask: on the workers of a cluster.")] = "here",
    dask_address: Annotated[str | None, typer.Option(help="Of a Dask scheduler; default: processes here.")] = None,
    workers: Annotated[int, typer.Option(min=1, max=1024, help="Dask processes on this machine.")] = 2,
    force: Force = False,
    *,
    given: TableInput,
) -> None:
    """Fill the missing cells of a table and change no other. By the best values, or by draws of what they may be."""
    from pipeline.app.tables import Imputing, impute_table
    from pipeline.sources.places import place_of

    options = Imputing(model, draws, seed, fit_rows, tuple(settings or ()), runner, dask_address, workers, force)
    impute_table(given.place(data), place_of(output, into), given, options)
