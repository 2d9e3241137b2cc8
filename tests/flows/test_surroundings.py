"""Flows on other people's machines: a proxy, an unwritable home, another Prefect's database, paused schedules."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from urllib.request import getproxies, proxy_bypass

import pytest

from flows import database, surroundings
from flows.deployments import _pause, _restore
from flows.temporary_server import wait_until_healthy
from tests.helpers.imports import ROOT


# -- proxy and home ----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("known", ["", "intern.example", "localhost,127.0.0.1"])
def test_loopback_is_never_asked_through_a_proxy(known, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("NO_PROXY", known)
    monkeypatch.setenv("no_proxy", "")
    surroundings.keep_loopback_direct(os.environ)
    assert getproxies()["http"] == "http://proxy.example:3128"
    assert all(proxy_bypass(host) for host in surroundings.LOOPBACK) and not proxy_bypass("data.example")
    assert set(filter(None, known.split(","))) <= set(os.environ["no_proxy"].split(","))


def test_without_a_proxy_nothing_is_set():
    environment: dict[str, str] = {"no_proxy": "x"}
    surroundings.keep_loopback_direct(environment)
    assert environment == {"no_proxy": "x"}


def test_an_unwritable_home_is_replaced_with_a_word(capsys):
    environment = {"PREFECT_HOME": "/proc/nobody/.prefect"}
    surroundings.use_writable_home(environment)
    said = capsys.readouterr().err
    assert environment["PREFECT_HOME"] in said and said.count("\n") == 1 and "Set PREFECT_HOME" in said
    assert Path(environment["PREFECT_HOME"]).is_dir()


def test_a_writable_home_stays(tmp_path, capsys):
    environment = {"PREFECT_HOME": str(tmp_path / "prefect")}
    surroundings.use_writable_home(environment)
    assert environment == {"PREFECT_HOME": str(tmp_path / "prefect")} and capsys.readouterr().err == ""


# -- database ----------------------------------------------------------------------------------------------------
def made_by(file: Path, revision: str | None) -> Path:
    with closing(sqlite3.connect(file)) as there, there:
        if revision is None:
            there.execute("CREATE TABLE notes (text)")
        else:
            there.execute("CREATE TABLE alembic_version (version_num VARCHAR(32))")
            there.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
    return file


def test_the_newest_schema_is_the_one_that_alembic_names():
    import prefect.server.database
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    folder = Path(prefect.server.database.__file__).parent / "_migrations"
    config = Config()
    config.set_main_option("path_separator", "os")
    config.set_main_option("script_location", str(folder))
    config.set_main_option("version_locations", str(folder / "versions" / "sqlite"))
    assert ScriptDirectory.from_config(config).get_current_head() == database.newest()


def test_a_database_of_this_version_or_none_yet_is_used(tmp_path, capsys):
    usual = tmp_path / "prefect.db"
    assert database.choose(usual, "3.8.8") == usual
    usual.write_bytes(b"")
    assert database.choose(usual, "3.8.8") == usual
    made_by(usual, database.newest())
    assert database.choose(usual, "3.8.8") == usual and capsys.readouterr().out == ""


@pytest.mark.parametrize("revision", ["ffffffffffff", "9725c1cbee35", None], ids=["newer", "older", "other tables"])
def test_a_database_of_another_version_is_left_alone(revision, tmp_path, capsys):
    usual = made_by(tmp_path / "prefect.db", revision)
    before = usual.read_bytes()
    own = database.choose(usual, "3.8.8")
    said = capsys.readouterr().out
    assert own == tmp_path / "prefect-3.8.8.db" and said.count("\n") == 1 and str(usual) in said and str(own) in said
    assert (revision or "is no database") in said and usual.read_bytes() == before


def test_a_file_that_is_no_database_is_left_alone(tmp_path):
    (tmp_path / "prefect.db").write_bytes(b"not SQLite" * 100)
    assert database.choose(tmp_path / "prefect.db", "3.8.8").name == "prefect-3.8.8.db"


def test_a_new_database_is_made_by_one_at_a_time(tmp_path, monkeypatch):
    import prefect.settings

    url = SimpleNamespace(get_secret_value=lambda: f"sqlite+aiosqlite:///{tmp_path / 'prefect.db'}")
    server = SimpleNamespace(database=SimpleNamespace(connection_url=url))
    monkeypatch.setattr(prefect.settings, "get_current_settings", lambda: SimpleNamespace(home=tmp_path, server=server))
    inside, most, gate = [], [], threading.Barrier(2)

    def make() -> None:
        gate.wait(30)
        with database.server_database() as chosen:
            inside.append(1)
            most.append(len(inside))
            assert chosen == {}
            threading.Event().wait(0.2)
            inside.pop()

    both = [threading.Thread(target=make) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join(30)
    assert most == [1, 1]


def test_a_configured_database_is_used_as_it_is(tmp_path, monkeypatch):
    import prefect.settings

    url = SimpleNamespace(get_secret_value=lambda: "postgresql+asyncpg://user:password@host/prefect")
    server = SimpleNamespace(database=SimpleNamespace(connection_url=url))
    monkeypatch.setattr(prefect.settings, "get_current_settings", lambda: SimpleNamespace(home=tmp_path, server=server))
    with database.server_database() as chosen:
        assert chosen == {} and list(tmp_path.iterdir()) == []


def test_a_server_that_ended_is_explained_in_one_line(tmp_path):
    said = (tmp_path / "said").open("w+b")
    said.write(
        b"Traceback (most recent call last):\n  File x\nsqlalchemy.exc.OperationalError: no such table\nERROR: bye\n"
    )
    ended = subprocess.Popen([sys.executable, "-c", "raise SystemExit(3)"])
    ended.wait()
    with said, pytest.raises(RuntimeError, match="ended with code 3 before it answered: sqlalchemy.exc.Oper") as caught:
        wait_until_healthy("http://127.0.0.1:9/api", ended, 5.0, said)
    assert "\n" not in str(caught.value)


# -- schedules ---------------------------------------------------------------------------------------------------
class Client:
    """What `_restore` tells the server."""

    def __init__(self) -> None:
        self.paused: list[object] = []

    def update_deployment_schedule(self, deployment: object, schedule: object, *, active: bool) -> None:
        assert not active
        self.paused.append(schedule)

    def pause_deployment(self, deployment: object) -> None:
        self.paused.append(deployment)


def deployment(*schedules: tuple[str, bool], paused: bool = False) -> SimpleNamespace:
    listed = [SimpleNamespace(id=cron, schedule=cron, active=active) for cron, active in schedules]
    return SimpleNamespace(id="nightly", name="nightly", schedules=listed, paused=paused)


@pytest.mark.parametrize(
    ("before", "after", "paused"),
    [
        (deployment(("2:30", True)), deployment(("2:30", True)), []),
        (deployment(("2:30", False)), deployment(("2:30", True)), ["2:30"]),
        (deployment(("2:30", False)), deployment(("4:00", True)), ["4:00"]),  # another time in prefect.yaml
        (deployment(("1:00", True), ("2:30", False)), deployment(("1:00", True), ("2:30", True)), ["2:30"]),
        (deployment(("2:30", True), paused=True), deployment(("2:30", True)), ["nightly"]),
        (deployment(), deployment(("2:30", True)), []),
    ],
)
def test_what_was_paused_stays_paused(before, after, paused):
    client = Client()
    _restore(client, after, _pause(before))
    assert client.paused == paused


@pytest.mark.slow
def test_a_paused_schedule_stays_paused_on_a_server(model_project, prefect_environment):
    """Deploy, pause as the pages do, deploy again: asked of a real server."""
    import shutil

    shutil.copytree(ROOT / "flows", model_project / "flows", dirs_exist_ok=True)
    shutil.copyfile(ROOT / "prefect.yaml", model_project / "prefect.yaml")
    ask = (
        "from prefect.client.orchestration import get_client\n"
        "with get_client(sync_client=True) as client:\n"
        "    for d in client.read_deployments():\n"
        "        for s in d.schedules:\n"
        "            {}\n"
    )

    def run(*command: str) -> str:
        done = subprocess.run(
            [sys.executable, *command], cwd=model_project, env=prefect_environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    run("-m", "flows.scheduler")
    run("-m", "flows.deployments")
    run("-c", ask.format("client.update_deployment_schedule(d.id, s.id, active=False)"))
    assert "stays paused" in run("-m", "flows.deployments")
    assert run("-c", ask.format("print(s.active)")).split() == ["False"]
