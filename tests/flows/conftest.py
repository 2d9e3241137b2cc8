"""Small projects to run flows on, and a server for them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import projects
from tests.helpers.prefect_server import prefect_server


@pytest.fixture
def small_project(tmp_path: Path) -> Path:
    """A fresh project of four stages."""
    return projects.small(tmp_path / "project")


@pytest.fixture(scope="session")
def model_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a model that no test runs in."""
    return projects.with_model(tmp_path_factory.mktemp("template") / "project")


@pytest.fixture
def model_project(model_template: Path, tmp_path: Path) -> Path:
    """A fresh project with a model."""
    return shutil.copytree(model_template, tmp_path / "project", symlinks=True)


@pytest.fixture(scope="session")
def prefect_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of processes that talk to a Prefect server on loopback, which runs for the whole session."""
    with prefect_server(tmp_path_factory.mktemp("prefect")) as environment:
        yield environment
