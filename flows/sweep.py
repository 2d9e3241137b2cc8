"""Flow sweep: DVC experiments over a grid or a list of parameter versions, some at a time; a Pareto table and plot.

    python -m flows.sweep -S network.width=16,32 -S train.steps=1000,4000 --jobs 2
    python -m flows.sweep --versions versions.json          # [{"train.lr": 0.001}, …]

Each version runs as `dvc exp run` in a workshop (flows/workshop.py), so it shows in `dvc exp show` and can be
applied with `dvc exp apply`. A sweep started again runs only what is missing, and takes up a killed training from
its checkpoint. More machines: --runner dask or ray, where all see the project's folder.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from prefect import flow, get_run_logger, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture, as_completed
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from flows import pareto
from flows.command import run_and_exit
from flows.dvc_tasks import Output, StageFailed, run_dvc
from flows.process import ended_together
from flows.show import data_uri
from flows.workshop import WorkshopBusy, experiment_reference, git, publish, workshop, workshop_folder
from pipeline.base.failures import exit_code, line_of
from pipeline.base.files import write_text
from pipeline.base.params import load_params
from pipeline.base.paths import Paths, default_root

RUNNERS = ("threads", "dask", "ray")
Version = dict[str, Any]  # dotted parameter → value


@flow(name="sweep", persist_result=False)
def sweep(
    grid: dict[str, list[Any]] | None = None,
    versions: list[Version] | None = None,
    jobs: int = 2,
    cost: str = "train.wall_s",
    runner: str = "threads",
    address: str | None = None,
    root: Path | None = None,
) -> list[dict[str, Any]]:
    """One row an experiment: its parameters, quality, cost, and whether it is on the Pareto front.

    grid: every combination of the values; versions: just these. Quality is the metric of the `retrain` group;
    cost is `<stage>.<metric>`. Raises ParamsError before anything runs when a version is not valid, RuntimeError
    after everything has run when some experiments failed.
    """
    root = Path(root or default_root()).resolve()
    every = all_versions(grid, versions)
    gate = load_params(root / "params.yaml").retrain
    for version in every:
        load_params(root / "params.yaml", overrides(version))
    chosen = experiments.with_options(task_runner=task_runner(runner, address, jobs))
    rows, failures = chosen(root, every, jobs, f"evaluate.{gate.metric}", cost)
    if rows:
        on_front = pareto.front([r["cost"] for r in rows], [r["quality"] for r in rows], gate.direction)
        rows = [{**row, "on_front": chosen} for row, chosen in zip(rows, on_front, strict=True)]
        write_results(root, rows, gate.metric, gate.direction, cost)
    if failures:
        raise RuntimeError(f"{len(failures)} of {len(every)} experiments failed. {'; '.join(failures)}")
    return rows


@flow(name="experiments", persist_result=False)
def experiments(
    root: Path, versions: list[Version], jobs: int, quality: str, cost: str
) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of the experiments that succeeded and the messages of the others; at most `jobs` at a time."""
    futures: list[PrefectFuture] = []
    pending: list[PrefectFuture] = []
    with ended_together():
        for version in versions:
            if len(pending) >= jobs:
                pending.remove(next(iter(as_completed(pending))))
            future = experiment_task.submit(root, version, jobs)
            futures.append(future)
            pending.append(future)
        for future in futures:
            future.wait()
    rows, failures = [], []
    for version, future in zip(versions, futures, strict=True):
        if future.state.is_completed():
            name = future.result()
            metrics = experiment_metrics(root, name)
            rows.append({"experiment": name, **version, "quality": metrics[quality], "cost": metrics[cost]})
        else:
            state = future.state  # without a message when a Dask worker took it along
            failures.append(f"{label(version)}: {state.message or state.name}")
    return rows, failures


@task(cache_policy=NO_CACHE, persist_result=False, task_run_name="{version}")
def experiment_task(root: Path, version: Version, jobs: int) -> str:
    """Name of the experiment of `version` at the project's current commit, run unless it is there already."""
    logger, name = get_run_logger(), experiment_name(version)
    commit = git(root, "rev-parse", "HEAD")
    if experiment_reference(root, name, commit):
        logger.info(f"{name} is there already")
        return name
    params = load_params(root / "params.yaml").reproduce
    for slot in slots(root, name, jobs):
        try:
            with workshop(root, slot, logger.info) as folder:
                owner = workshop_folder(root, slot).with_suffix(".owner")
                write_text(owner, name)
                if not experiment_reference(folder, name, commit):
                    arguments = ["exp", "run", "--name", name]
                    for change in overrides(version):
                        arguments += ["--set-param", change]
                    output = Output(logger.info)
                    code = run_dvc(folder, arguments, output, timeout_s=params.stage_timeout_s)
                    if code != 0:
                        raise StageFailed(f"{label(version)} {output.ending(code, 'dvc')}")
                publish(folder, experiment_reference(folder, name, commit))
                owner.unlink()
                return name
        except WorkshopBusy:
            continue
    raise RuntimeError(f"all {jobs} workshops of the sweep are in use: another sweep runs in {root}")


def all_versions(grid: dict[str, list[Any]] | None, versions: list[Version] | None) -> list[Version]:
    """The versions to run: the product of the grid's values, or the list. Raises ValueError unless just one is given."""
    if bool(grid) == bool(versions):
        raise ValueError(
            "just one of 'grid' and 'versions' must be given, and not be empty (-S name=value,value). Got both or none."
        )
    if versions:
        return list(versions)
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def overrides(version: Version) -> list[str]:
    """`key=value` words for `dvc exp run --set-param`."""
    return [f"{key}={json.dumps(value)}" for key, value in version.items()]


def label(version: Version) -> str:
    """`width 32, steps 1000`: the version in few words."""
    return ", ".join(f"{key.rsplit('.', 1)[-1]} {value}" for key, value in version.items())


def experiment_name(version: Version) -> str:
    """A name that only this version has; the same in every sweep."""
    return "sweep-" + hashlib.sha256(json.dumps(version, sort_keys=True).encode()).hexdigest()[:10]


def slots(root: Path, name: str, jobs: int) -> list[str]:
    """Names of the workshops to try: the one where this experiment was cut off first, those of others last."""

    def order(slot: str) -> int:
        owner = workshop_folder(root, slot).with_suffix(".owner")
        if not owner.is_file():
            return 1
        return 0 if owner.read_text(encoding="utf8") == name else 2

    return sorted((f"sweep-{i}" for i in range(jobs)), key=order)


def experiment_metrics(root: Path, name: str) -> dict[str, float]:
    """`<stage>.<metric>` → value of an experiment of the current commit."""
    reference = experiment_reference(root, name, git(root, "rev-parse", "HEAD"))
    out = {}
    for file in git(root, "ls-tree", "--name-only", reference, "data/metrics/").splitlines():
        values = json.loads(git(root, "show", f"{reference}:{file}"))
        out |= {f"{Path(file).stem}.{key}": value for key, value in values.items()}
    return out


def write_results(root: Path, rows: list[dict[str, Any]], metric: str, direction: str, cost: str) -> None:
    """data/sweeps/table.csv and pareto.png, and the same as artifacts of the run."""
    folder = Paths(root).data / "sweeps"
    stream = io.StringIO()
    names = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / "table.csv", stream.getvalue())
    fixed = ("experiment", "quality", "cost", "on_front")
    varied = [key for key in names if key not in fixed and len({str(row.get(key)) for row in rows}) > 1]
    shown = [{**row, "label": label({k: row[k] for k in varied if k in row})} for row in rows]
    pareto.plot(folder / "pareto.png", shown, cost, metric, direction)
    create_table_artifact(rows, key="sweep", description=f"quality: {metric} ({direction} is better), cost: {cost}")
    picture = f"![Quality against compute]({data_uri(folder / 'pareto.png')})"
    create_markdown_artifact(picture, key="pareto", description="Quality against compute")


def task_runner(kind: str, address: str | None, jobs: int) -> TaskRunner:
    """Where experiments run: threads of this process, or the Dask or Ray cluster at `address`.

    Without an address Dask starts `jobs` processes on this machine, Ray a cluster of its own; both end with the flow.
    """
    if kind not in RUNNERS:
        raise ValueError(f"'runner' must be one of {', '.join(RUNNERS)}. Got {kind!r}.")
    if kind == "threads":
        return ThreadPoolTaskRunner()
    try:
        if kind == "dask":
            from prefect_dask import DaskTaskRunner

            logging.getLogger("distributed").setLevel(logging.WARNING)  # else it tells how each connection closes
            # a process a job, and no page that the whole network could open
            local = {"n_workers": jobs, "threads_per_worker": 1, "host": "127.0.0.1", "dashboard_address": None}
            return DaskTaskRunner(address=address, cluster_kwargs=None if address else local)
        from prefect_ray import RayTaskRunner

        return RayTaskRunner(address=address)
    except ImportError as error:
        raise ValueError(f"'runner' {kind!r} needs the package prefect-{kind}: pip install prefect-{kind}") from error


def parse_grid(words: list[str]) -> dict[str, list[Any]]:
    """`["train.lr=0.1,0.2"]` as a grid: values are JSON where they can be, else text."""
    grid = {}
    for word in words:
        key, separator, values = word.partition("=")
        if not separator or not key or not values:
            raise ValueError(f"'-S' must be name=value,value,…. Got {word!r}.")
        grid[key] = [_value(text) for text in values.split(",")]
    return grid


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def main(
    set_param: Annotated[list[str], typer.Option("--set-param", "-S", help="name=value,value,…; several: a grid")] = (),
    versions: Annotated[Path | None, typer.Option(help="JSON list of versions instead of a grid")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="experiments at a time")] = 2,
    cost: Annotated[str, typer.Option(help="stage.metric on the horizontal axis")] = "train.wall_s",
    runner: Annotated[str, typer.Option(help="threads, dask or ray")] = "threads",
    address: Annotated[str | None, typer.Option(help="of the Dask or Ray cluster")] = None,
) -> None:
    """Runs experiments over parameter versions; writes data/sweeps/table.csv and pareto.png."""
    try:
        given = None if versions is None else json.loads(versions.read_text(encoding="utf8"))
        sweep(parse_grid(set_param), given, jobs, cost, runner, address)
    except Exception as error:
        print(f"sweep: {line_of(error)}", file=sys.stderr)
        raise typer.Exit(exit_code(error)) from error


if __name__ == "__main__":
    app = typer.Typer(add_completion=False)
    app.command()(main)
    run_and_exit(app)
