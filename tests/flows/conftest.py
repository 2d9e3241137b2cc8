"""Small projects to run flows on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.flows import projects


@pytest.fixture
def small_project(tmp_path: Path) -> Path:
    """A fresh project of four stages."""
    return projects.small(tmp_path / "project")


@pytest.fixture
def model_project(tmp_path: Path) -> Path:
    """A fresh project with a model."""
    return projects.with_model(tmp_path / "project")
