"""Commands on a project: init, evaluate, simulate, report, compare, doctor, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from pipeline.app.command_group import FAILED, Data, Force, Root, Settings, app, check_new, examples, made
from pipeline.app.table_options import TableInput, reads_tables
from pipeline.app.tables import try_table
from pipeline.sources.places import is_table


@app.command(
    epilog=examples(
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
    from pipeline.base.params import load_params
    from pipeline.base.paths import Paths, default_root
    from pipeline.base.revisions import ignored_by_git

    root = project or default_root()
    for name, (before, after) in configure(root, Path(data), settings or []).items():
        print(f"{name}: {before} → {after}")
    place = load_params(Paths(root).params).dataset.path
    if ignored_by_git(root, place):
        print(f"init: git ignores {place}: `dvc exp run --temp` and `--queue` need --copy-paths {place}")
    print("init: params.yaml is set; `dvc repro` runs the stages")


@app.command(
    epilog=examples(
        "biglearn evaluate model\n"
        "biglearn evaluate model --data other-photos/ --set evaluate.draws=5\n"
        "biglearn evaluate table-model --data held-out.csv\n"
        "biglearn evaluate adult.csv                # fits on 70 % of the rows, fills hidden cells of the others\n"
        "biglearn evaluate .                        # the model of this repository"
    )
)
@reads_tables
def evaluate(
    project: Annotated[str, typer.Argument(help="Folder that `fit` wrote, or a table to try it on.")] = ".",
    data: Annotated[Path | None, typer.Option(help="Held-out rows from this file; default: the project's own.")] = None,
    settings: Settings = None,
    seed: Annotated[int, typer.Option(min=0, max=2**31 - 1, help="Seed of the trial on a table.")] = 0,
    *,
    given: TableInput,
) -> None:
    """Measure a model beside simple baselines. Joint samples, completions, any-part tasks; of a table, filled gaps."""
    from pipeline import evaluate as stage
    from pipeline.app.project import measured_project

    if is_table(project) and not Path(project).is_dir():
        try_table(given.place(project), given, settings or [], seed)
        return
    if Path(project).is_file() or not given.plain:
        raise ValueError(f"evaluate takes a model's folder, or a table and its options. Got {project}.")
    with measured_project(Path(project), data, settings or []) as (params, where):
        stage.run(params, where)
        print((where.metrics / "evaluate.json").read_text(encoding="utf8"), end="")


@app.command(epilog=examples("biglearn simulate --set simulate.seeds=4"))
def simulate(project: Root = None, settings: Settings = None) -> None:
    """Run the paper's simulations: 25-GMM, 2-GMM, BigLearn-EM."""
    from pipeline import simulate as stage

    _run_stage(stage, project, settings)


@app.command(epilog=examples("biglearn report && xdg-open data/report/index.html"))
def report(project: Root = None, settings: Settings = None) -> None:
    """Write one page with every result of a project."""
    from pipeline import report as stage

    where = _run_stage(stage, project, settings)
    print(f"report: {where.report / 'index.html'}")


@app.command(epilog=examples("biglearn compare HEAD~1 HEAD -o compare.html"))
def compare(
    first: Annotated[str, typer.Argument(help="Git revision.")],
    second: Annotated[str, typer.Argument(help="Git revision.")] = "HEAD",
    output: Annotated[Path, typer.Option("--output", "-o", help="The page.")] = Path("compare.html"),
    force: Force = False,
) -> None:
    """Compare two git revisions in one page. Parameters, metrics and pictures."""
    output = check_new(output, force, folder=False)
    from pipeline.reporting.compare import compare as write_page

    page = write_page(first, second, output)
    made(output)
    print(f"compare: {page}")


@app.command(epilog=examples("biglearn doctor\nbiglearn doctor --network --json"))
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


@app.command(epilog=examples("biglearn demo model\nbiglearn demo model --data photos/ --port 8001"))
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
