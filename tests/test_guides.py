"""Every block and command of README, landing page and guides runs, in the order of its page, in a short form.

`test_a_page_from_top_to_bottom` takes blocks of Python and commands of `biglearn`, in this process; what needs a shell,
a checkout or a server of its own is left to the slow test below it. LEFT says which and why, NEVER what no test can run.
"""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

import pandas as pd
import psycopg
import pytest

from pipeline.base.params import load_params
from pipeline.datasets import table
from tests.helpers.commands import biglearn
from tests.helpers.credit import credit
from tests.helpers.guides import PAGES, Step, commands, people, shortened, shortened_python, steps, surroundings
from tests.helpers.imports import ROOT
from tests.helpers.postgres_server import postgres_server
from tests.helpers.promises import PROMISES, check
from tests.helpers.random_pictures import mixed
from tests.helpers.reader import Reader, project
from tests.helpers.small_presets import shrink

NEVER = {
    "make environment": "loads and installs packages; every other command of the tests runs in what it has made",
    "make test": "is this test, and all the others",
}
LEFT = {  # pattern of a command → why the quick test leaves it to the slow one
    r"(source|export) ": "a shell",
    r"biglearn demo ": "a server",
    r"biglearn impute postgresql:": "a PostgreSQL server",
    r"biglearn impute .*--runner dask": "a Dask cluster",
    r"biglearn (init|compare) ": "a checkout under git and DVC",
    r"python -m flows\.sweep ": "many builds",
    r"(dvc|git|make|python -m flows\.\w+)( |$)": "a checkout under git and DVC",
}
LONG = ("a PostgreSQL server", "a Dask cluster", "many builds")  # left to the long form of the slow tests
MIRRORED = "biglearn inspect adult_train.csv.gz"  # needs the mirror of public data: a test of its own


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def is_left(command: str) -> bool:
    return any(re.match(pattern, command) for pattern in LEFT)


def run(command: str, folder: Path) -> str:
    """What a command of `biglearn` prints, which has done what it is for."""
    words = shlex.split(shortened(command))
    assert words[0] == "biglearn" and not set("|<>$`") & set(re.sub(r"'[^']*'", "", command)), command
    code, printed, error = biglearn(*words[1:])
    assert code == 0, f"{command}\n{error}"
    check(words[1:], printed, folder)
    return printed


def page_shows(step: Step, printed: str) -> None:
    """What a page shows is what came out, blanks at the ends of lines aside."""
    assert [line.rstrip() for line in step.text.splitlines()] == [line.rstrip() for line in printed.splitlines()]


@pytest.mark.filterwarnings("default")  # they are part of what a reader sees
@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_page_from_top_to_bottom(page, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(table, "FEWEST_STEPS", 10)  # a fit of seconds
    shrink(monkeypatch)
    monkeypatch.chdir(tmp_path)
    surroundings(page, tmp_path)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    every = steps(page)
    walk = [
        step
        for before, step in pairwise([Step("", ""), *every])
        if MIRRORED not in (before.text, step.text)
        and (step.kind != "command" or not is_left(step.text) and step.text not in NEVER)
    ]
    printed = ""
    for number, step in enumerate(walk):
        if step.kind == "shown":
            page_shows(step, printed)
        elif step.kind == "python":
            capsys.readouterr()
            exec(compile(shortened_python(step.text), f"{named(page)}, block {number}", "exec"), {})
            printed = capsys.readouterr().out
        elif number + 1 < len(walk) and walk[number + 1].kind == "shown":  # on the example that the page describes
            printed = _on_the_example(step.text, tmp_path / f"example_{number}", monkeypatch)
            monkeypatch.chdir(tmp_path)
        else:
            printed = run(step.text, tmp_path)


def _on_the_example(command: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    folder.mkdir()
    monkeypatch.chdir(folder)
    mixed(folder / "photos")
    credit().to_csv(folder / "credit.csv", index=False)
    return run(command, folder)


@pytest.mark.mirror
def test_a_public_table_is_inspected_as_the_page_shows(tmp_path, monkeypatch, mirror):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "adult_train.csv.gz").symlink_to(mirror / "tabular" / "adult_train.csv.gz")
    every = steps(ROOT / "docs" / "guide" / "tables.md")
    shown = every[1 + every.index(Step("command", MIRRORED))]
    page_shows(shown, run(MIRRORED, tmp_path))


def test_every_command_runs_somewhere():
    """The tables above name what is there and nothing else, and each `--set` and `-S` is a parameter."""
    every = [command for page in PAGES for command in commands(page)]
    assert len(every) > 40
    assert set(NEVER) <= set(every)
    for pattern in LEFT:
        assert any(re.match(pattern, command) for command in every), f"no page has {pattern}"
    for command in every:
        assert command in NEVER or is_left(command) or command.startswith("biglearn "), f"{command} runs nowhere"
        for change in re.findall(r"(?:-S|--set) (?:'([^']+)'|(\S+))", command):
            name = "".join(change)
            if re.match(r"\w+\.\w+=", name) and not re.search(r"=\S+,\S+$", name):
                load_params(ROOT / "params.yaml", [name])


# -- a shell, a checkout, servers -------------------------------------------------------------------------------------
SAYS = {  # pattern of a command → what its output holds
    r"make reproduce|dvc repro|.* && dvc repro": r"Running stage 'evaluate'|Data and pipelines are up to date",
    r"dvc exp run -n slower": r"Ran experiment\(s\): slower",
    r"dvc exp run --queue": r"Queued experiment '\w+' for future execution",
    r"dvc queue start": r"Started '1' new experiments task queue worker",
    r"dvc exp show": r"^(?!.*Failed).*Experiment",
    r"dvc params diff": r"train\.lr +0\.01 +0\.0005",
    r"python -m flows\.retrain": r"retrain: fid .+: the first model",
    r"python -m flows\.registry$": r"v0\.1\.0  [0-9a-f]{12}  fid",
    r"python -m flows\.registry promote": r"promoted v0\.2\.0 \([0-9a-f]{12}\)",
    r"dvc remote add": r"\d+ files? pushed",
    r"(make serve|biglearn demo)": r"http://127\.0\.0\.1:\d+",
}
LEAVES = {  # pattern of a command → a file that it leaves
    r"python -m flows\.sweep": ("data/sweeps/**/table.csv", "data/sweeps/**/pareto.png"),
    r"(make reproduce|dvc repro)": (
        "data/models/generator/model.safetensors",
        "data/metrics/evaluate.json",
        "dvc.lock",
    ),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which no page runs."""
    return project(tmp_path_factory.mktemp("template") / "project")


def left(page: Path, *, long: bool) -> list[str]:
    """The commands that the quick test leaves, of a page. long: those alone that need what LONG names, else the others."""
    every = [command for command in commands(page) if is_left(command) and command not in NEVER]
    why = [next(reason for pattern, reason in LEFT.items() if re.match(pattern, command)) for command in every]
    return [command for command, reason in zip(every, why, strict=True) if (reason in LONG) is long]


def new_pages() -> list[Path]:
    """Pages with a command to run in a shell that no page before them has."""
    out, seen = [], set()
    for page in PAGES:
        typed = set(left(page, long=False))
        out += [page] if typed - seen else []
        seen |= typed
    return out


def type_all(typed: list[str], page: Path, template: Path, folder: Path) -> None:
    root = shutil.copytree(template, folder / "project", symlinks=True)
    surroundings(page, root, trained=True)
    with servers_of(typed, folder) as replaced:
        reader = Reader(root, folder, replaced)
        try:
            for command in typed:
                printed = reader.type(shortened(command))
                print(f"$ {shortened(command)}\n{printed}")
                check_said(command, printed, root)
        finally:
            reader.close()


@pytest.mark.slow(short=True)
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", new_pages(), ids=named)
def test_what_needs_a_shell_or_a_checkout(page, template, tmp_path):
    typed = left(page, long=False)
    assert typed
    type_all(typed, page, template, tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", [page for page in PAGES if left(page, long=True)], ids=named)
def test_what_needs_a_database_a_cluster_or_many_builds(page, template, tmp_path):
    typed = left(page, long=True)
    assert typed
    type_all(typed, page, template, tmp_path)


@contextmanager
def servers_of(typed: list[str], folder: Path) -> Iterator[dict[str, str]]:
    """Text of a page → what stands for it here: a folder for a bucket, a server of PostgreSQL for one elsewhere."""
    replaced = {"s3://bucket/biglearn": str(folder / "store")}
    with ExitStack() as stack:
        if any("postgresql:" in command for command in typed):
            address = stack.enter_context(postgres_server())
            with psycopg.connect(address) as connection:
                connection.execute("CREATE TABLE orders (age integer, state text, income double precision)")
                with connection.cursor().copy("COPY orders FROM STDIN") as rows:
                    for row in people()[["age", "state", "income"]].itertuples(index=False):
                        rows.write_row(
                            [None if pd.isna(v) else v for v in (row[0] if pd.isna(row[0]) else int(row[0]), *row[1:])]
                        )
            replaced["postgresql://me@host/shop"] = address
        yield replaced


def check_said(command: str, printed: str, root: Path) -> None:
    """The output has the shape that its command always has."""
    for pattern, wanted in SAYS.items():
        assert not re.match(pattern, command) or re.search(wanted, printed, re.S), f"{command}\n{printed}"
    for pattern, files in LEAVES.items():
        assert not re.match(pattern, command) or all(any(root.glob(file)) for file in files), command
    words = shlex.split(command.split(" && ")[0])
    if words[0] == "biglearn" and words[1] in PROMISES:
        check(words[1:], printed, root)
