"""The command `biglearn`: fit, init, sample, complete, impute, evaluate, simulate, report, compare, doctor, demo.

    biglearn fit faces/ -o model && biglearn complete model photo.png --given upper --draws 8 -o draws.png

Everything heavy is imported inside the commands, so that `biglearn --help` answers at once. An error is one line on
stderr without a traceback (BIGLEARN_TRACEBACK=1 shows it). Exit codes: 0, 1 bad data or a failure, 2 bad usage or
parameters, 130 Ctrl-C.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import typer.core

if TYPE_CHECKING:
    import pandas as pd

    from pipeline.model.sampler import Sampler

FAILED, BAD_USAGE, INTERRUPTED = 1, 2, 130
_UsageError = typer.BadParameter.__bases__[0]


class _OneLineErrors(typer.core.TyperGroup):
    """A group of commands that ends every error in one line on stderr and an exit code."""

    def main(self, *args: Any, standalone_mode: bool = True, **extra: Any) -> Any:
        code = self._run(*args, **extra)
        if standalone_mode:
            sys.exit(code)
        return code

    def _run(self, *args: Any, **extra: Any) -> int:
        try:
            code = super().main(*args, standalone_mode=False, **extra) or 0
        except _UsageError as error:
            where = f" {error.ctx.info_name}" if error.ctx is not None and error.ctx.parent is not None else ""
            return _say(f"biglearn{where}: {error.format_message()} (see biglearn{where} --help)", BAD_USAGE)
        except (ValueError, OSError, RuntimeError, MemoryError, KeyError) as error:
            if os.environ.get("BIGLEARN_TRACEBACK"):
                raise
            from pipeline.base.params import ParamsError
            from pipeline.base.stopping import Stopped

            if isinstance(error, Stopped):
                return _say(f"biglearn: {error}", error.exit_code)
            text = " ".join(str(error.args[0] if isinstance(error, KeyError) else error).split())
            return _say(
                f"biglearn: {text or type(error).__name__}", BAD_USAGE if isinstance(error, ParamsError) else FAILED
            )
        return (
            _say("biglearn: interrupted; what was saved is intact", INTERRUPTED) if code == INTERRUPTED else int(code)
        )


def _say(message: str, code: int) -> int:
    print(message, file=sys.stderr, flush=True)
    return code


app = typer.Typer(
    cls=_OneLineErrors,
    help="One generative model that samples any part of the data from any other part.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="A MODEL is a folder that `fit` wrote, or a folder with model.safetensors. Every command has --help with examples.",
)

Model = Annotated[Path, typer.Argument(help="Folder that `fit` wrote, or the folder of a saved generator.")]
Data = Annotated[Path, typer.Argument(help="Folder of images, .npz, .npy, .txt, .csv, .tsv or .parquet.")]
Output = Annotated[
    Path,
    typer.Option(
        "--output",
        "-o",
        help=".png, .csv, .tsv, .parquet, .npy, .npz, .txt; without a suffix, a folder of PNG and a CSV.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of every random draw.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite the output if it is there.")]
Draws = Annotated[int, typer.Option(min=1, max=10_000, help="Independent draws of each row.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", help="A parameter, e.g. --set train.steps=2000. Repeatable.")
]
Root = Annotated[Path | None, typer.Option("--project", help="A project folder; default: the current folder.")]
Device = Annotated[str, typer.Option(help="cpu or cuda.")]


def _examples(text: str) -> str:
    """An epilog whose lines stay lines (\\b is how help texts say so)."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in text.strip().splitlines())


@app.command(
    epilog=_examples(
        "biglearn fit photos/ -o model --set prepare.image_size_px=32\n"
        "biglearn fit adult.csv -o model --seed 1\n"
        "biglearn fit digits.npz -o model --set train.steps=4000 --set train.processes=2"
    )
)
def fit(
    data: Data,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder of the new model.")],
    settings: Settings = None,
    seed: Seed = 0,
    force: Force = False,
) -> None:
    """Train a model on your own data, end to end. An interrupted fit goes on where it stopped."""
    from pipeline.app.project import run_stages, source_name, start_project

    source = source_name(data)
    if source == "table":
        _fit_table(data, output, settings or [], seed, force)
        return
    params = start_project(output, source, data, settings or [], seed, force=force)
    print(f"fit: model in {run_stages(params, output)}")


@app.command(
    epilog=_examples(
        "biglearn init adult.csv && dvc repro      # this repository's stages on your table\n"
        "biglearn init photos/ --set prepare.image_size_px=32\n"
        "git checkout params.yaml                  # the digits again"
    )
)
def init(
    data: Data,
    settings: Settings = None,
    project: Root = None,
) -> None:
    """Set params.yaml for your own data, so that `dvc repro` runs on it. Shows what it changes."""
    from pipeline.app.project import configure
    from pipeline.base.paths import default_root

    for name, (before, after) in configure(project or default_root(), data, settings or []).items():
        print(f"{name}: {before} → {after}")
    print("init: params.yaml is set; `dvc repro` runs the stages")


@app.command(
    epilog=_examples(
        "biglearn sample model 64 -o samples.png\n"
        "biglearn sample model 10 --with label=7 -o sevens/\n"
        "biglearn sample table-model 1000 -o synthetic.csv --seed 3"
    )
)
def sample(
    model: Model,
    count: Annotated[int, typer.Argument(min=1, help="Number of rows.")],
    output: Output,
    known: Annotated[
        list[str] | None, typer.Option("--with", help="A known cell, e.g. --with label=7. Repeatable.")
    ] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    force: Force = False,
) -> None:
    """Draw new rows: joint samples, or samples given some cells."""
    import numpy as np

    _check_new(output, force)
    from pipeline.exchange.writing import check_output, write_rows
    from pipeline.tables.parts import assign

    sampler = _sampler(model, device)
    check_output(output, sampler.schema)
    rows = assign(sampler.schema, np.full((count, len(sampler.schema.columns)), np.nan, np.float32), known or [])
    write_rows(output, _drawn(sampler, rows, ~np.isnan(rows), None, 1, seed), sampler.schema)
    print(f"sample: {count} rows in {output}")


@app.command(
    epilog=_examples(
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

    _check_new(output, force)
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
    print(f"complete: {draws} draws of {len(rows)} rows in {output}, {observed.mean():.0%} of the cells given")


@app.command(
    epilog=_examples(
        "biglearn impute survey.csv -o filled.csv                          # fits, then fills\n"
        "biglearn impute survey.csv -o draws.parquet --draws 10\n"
        "biglearn impute new.csv -o filled.csv --model survey-model        # new rows, no refitting"
    )
)
def impute(
    data: Annotated[Path, typer.Argument(help="Table with missing cells: .csv, .tsv, .parquet.")],
    output: Annotated[Path, typer.Option("--output", "-o", help=".csv, .tsv or .parquet.")],
    model: Annotated[
        Path | None, typer.Option(help="Model that `fit` wrote; default: fit on the table itself.")
    ] = None,
    draws: Annotated[int, typer.Option(min=0, max=10_000, help="Independent draws; 0: one best table.")] = 0,
    seed: Seed = 0,
    force: Force = False,
) -> None:
    """Fill the missing cells of a table. By the best values, or by independent draws of what they may be."""
    from pipeline.exchange.reading import read_frame
    from pipeline.exchange.writing import TABLE_SUFFIXES, write_frame

    _check_new(output, force)
    if output.suffix.lower() not in TABLE_SUFFIXES:
        raise ValueError(f"A filled table must end in {', '.join(TABLE_SUFFIXES)}. Got {output}.")
    frame = read_frame(data)
    imputer = _imputer(model) if model is not None else _fitted(frame, seed, [])
    filled = imputer.transform(frame) if draws == 0 else _stacked(imputer.sample(frame, draws=draws))
    write_frame(output, filled)
    print(f"impute: {int(frame.isna().to_numpy().sum())} missing cells of {len(frame)} rows filled in {output}")


@app.command(
    epilog=_examples(
        "biglearn evaluate model\n"
        "biglearn evaluate model --data other-photos/ --set evaluate.draws=5\n"
        "biglearn evaluate table-model --data held-out.csv\n"
        "biglearn evaluate adult.csv                # fits on 70 % of the rows, fills hidden cells of the others\n"
        "biglearn evaluate .                        # the model of this repository"
    )
)
def evaluate(
    project: Annotated[Path, typer.Argument(help="Folder that `fit` wrote, or a table to try it on.")] = Path("."),
    data: Annotated[Path | None, typer.Option(help="Held-out rows from this file; default: the project's own.")] = None,
    settings: Settings = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the trial on a table.")] = 0,
) -> None:
    """Measure a model beside simple baselines. Joint samples, completions, any-part tasks; of a table, filled gaps."""
    from pipeline import evaluate as stage
    from pipeline.app.project import measured_project

    if project.is_file():
        _try_table(project, settings or [], seed)
        return
    with measured_project(project, data, settings or []) as (params, where):
        stage.run(params, where)
        print((where.metrics / "evaluate.json").read_text(encoding="utf8"), end="")


@app.command(epilog=_examples("biglearn simulate --set simulate.seeds=4"))
def simulate(project: Root = None, settings: Settings = None) -> None:
    """Run the paper's simulations: 25-GMM, 2-GMM, BigLearn-EM."""
    from pipeline import simulate as stage

    _run_stage(stage, project, settings)


@app.command(epilog=_examples("biglearn report && xdg-open data/report/index.html"))
def report(project: Root = None, settings: Settings = None) -> None:
    """Write one page with every result of a project."""
    from pipeline import report as stage

    where = _run_stage(stage, project, settings)
    print(f"report: {where.report / 'index.html'}")


@app.command(epilog=_examples("biglearn compare HEAD~1 HEAD -o compare.html"))
def compare(
    first: Annotated[str, typer.Argument(help="Git revision.")],
    second: Annotated[str, typer.Argument(help="Git revision.")] = "HEAD",
    output: Annotated[Path, typer.Option("--output", "-o", help="The page.")] = Path("compare.html"),
    force: Force = False,
) -> None:
    """Compare two git revisions in one page. Parameters, metrics and pictures."""
    _check_new(output, force)
    from pipeline.reporting.compare import compare as write_page

    print(f"compare: {write_page(first, second, output)}")


@app.command(epilog=_examples("biglearn doctor\nbiglearn doctor --network --json"))
def doctor(
    network: Annotated[bool, typer.Option("--network", help="Also ask the data mirrors whether they answer.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Machine-readable.")] = False,
) -> None:
    """Check this machine and say how to fix it. Versions, Triton and CUDA, data folder, DVC, disk, mirrors."""
    from pipeline.app.doctor import examine, show

    findings = examine(network=network)
    print(show(findings, as_json=as_json))
    if any(f.status == "fail" for f in findings):
        raise typer.Exit(FAILED)


@app.command(epilog=_examples("biglearn demo model\nbiglearn demo model --data photos/ --port 8001"))
def demo(
    model: Annotated[Path, typer.Argument(help="Model folder; default: this repository's model.")] = Path("."),
    data: Annotated[Path | None, typer.Option(help="Rows to start from; default: the project's test rows.")] = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; the default is reachable from this machine alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: any free port.")] = 8000,
) -> None:
    """Open a page to play with a model. Draw, erase any part, see diverse completions and their uncertainty."""
    try:
        from pipeline.app.demo import serve
    except ModuleNotFoundError as error:
        raise ValueError(f"The page needs {error.name}: pip install 'biglearn[demo]'.") from error
    serve(model, data, host, port)


# -- what the commands share ---------------------------------------------------------------------------------------
def _check_new(output: Path, force: bool) -> None:
    if output.exists() and not force:
        raise ValueError(f"{output} is already there; --force overwrites it.")
    if output.exists() and output.is_dir() and output.suffix:
        raise ValueError(f"{output} must be a file. Got a folder.")


def _sampler(model: Path, device: str) -> Sampler:
    from pipeline.app.project import model_folder
    from pipeline.model.sampler import Sampler

    if device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise ValueError("--device must be cpu where there is no CUDA device. Got cuda.")
    elif device != "cpu":
        raise ValueError(f"--device must be cpu or cuda. Got {device!r}.")
    return Sampler.load(model_folder(model), device)


def _drawn(sampler: Sampler, rows: Any, observed: Any, targets: Any, draws: int, seed: int) -> Any:
    """(K, N, C) draws, with a bar."""
    from tqdm import tqdm

    with tqdm(total=draws * len(rows), desc="draw", unit="row", unit_scale=True, dynamic_ncols=True) as bar:
        return sampler.complete(rows, observed, draws, seed, targets, progress=bar.update)


def _run_stage(stage: Any, project: Path | None, settings: list[str] | None) -> Any:
    from pipeline.app.project import project_params
    from pipeline.base.paths import default_root
    from pipeline.base.stage import stage_lock

    where = _project_paths(project or default_root())
    params = project_params(where.root, settings or [])
    with stage_lock(stage.__name__.rsplit(".", 1)[-1], where):
        stage.run(params, where)
    return where


def _project_paths(root: Path) -> Any:
    from pipeline.base.paths import Paths

    return Paths(Path(root).resolve())


# -- tables --------------------------------------------------------------------------------------------------------
def _imputer(model: Path) -> Any:
    from pipeline.estimators.imputer import BigLearnImputer

    return BigLearnImputer.load(model)


def _fitted(frame: pd.DataFrame, seed: int, settings: list[str]) -> Any:
    from pipeline.estimators.imputer import BigLearnImputer

    return BigLearnImputer(random_state=seed, **_keywords(settings)).fit(frame)


def _keywords(settings: list[str]) -> dict[str, Any]:
    """Arguments of the imputer from "name=value" texts, read as YAML."""
    import yaml

    pairs = [s.partition("=") for s in settings]
    return {name: yaml.safe_load(value) for name, _, value in pairs}


def _fit_table(data: Path, output: Path, settings: list[str], seed: int, force: bool) -> None:
    from pipeline.exchange.reading import read_frame

    _check_new(output, force)
    _fitted(read_frame(data), seed, settings).save(output)
    print(f"fit: model in {output}")


def _try_table(data: Path, settings: list[str], seed: int) -> None:
    import json

    from pipeline.app.project import source_name
    from pipeline.estimators.imputer import BigLearnImputer
    from pipeline.evaluation.trial import trial
    from pipeline.exchange.reading import read_frame

    if source_name(data) != "table":
        raise ValueError(f"evaluate takes a model's folder, or a table in .csv, .tsv or .parquet. Got {data}.")
    scores = trial(read_frame(data), BigLearnImputer(random_state=seed, **_keywords(settings)), seed)
    print(json.dumps(scores, indent=2))


def _stacked(tables: list[pd.DataFrame]) -> pd.DataFrame:
    """One table of all draws, with columns `draw` and `row` in front."""
    import pandas as pd

    parts = [t.assign(draw=i, row=range(len(t))) for i, t in enumerate(tables)]
    stacked = pd.concat(parts, ignore_index=True)
    return stacked[["draw", "row", *[c for c in stacked.columns if c not in ("draw", "row")]]]


def main() -> None:
    """Entry point `biglearn`."""
    app(prog_name="biglearn")


if __name__ == "__main__":
    main()
