"""What the doctor says of places that are no project, no repository, or somebody else's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipeline.app.doctor import Finding, examine
from pipeline.base import paths
from pipeline.base.machine import source_state
from pipeline.base.revisions import git_trouble, ignored_by_git, resolve
from tests.helpers.imports import ROOT


def named(root: Path) -> dict[str, Finding]:
    return {f.name: f for f in examine(root)}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """params.yaml and .dvc, and no git."""
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    return tmp_path


def git(root: Path, *words: str) -> None:
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@localhost", *words], cwd=root, check=True)


def test_an_empty_folder_is_no_project_and_no_failure(tmp_path):
    found = named(tmp_path)
    assert not [f for f in found.values() if f.status == "fail"]
    assert all("no project" in found[name].detail for name in ("params.yaml", "dvc project"))


def test_an_installed_package_takes_the_current_folder(tmp_path, monkeypatch):
    """In site-packages there is no params.yaml beside the packages."""
    monkeypatch.delenv("BIGLEARN_ROOT", raising=False)
    monkeypatch.setattr(paths, "__file__", str(tmp_path / "site-packages" / "pipeline" / "base" / "paths.py"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    assert paths.default_root() == Path.cwd()


def test_a_zip_without_git_is_named_with_both_ways_out(project):
    found = named(project)["dvc project"]
    assert found.status == "fail" and "git init" in found.fix and "core.no_scm true" in found.fix
    (project / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n")
    assert named(project)["dvc project"].status == "ok"
    git(project, "init", "-q")
    assert "--unset core.no_scm" in named(project)["dvc project"].fix


def test_a_folder_of_another_user_is_named_with_the_mend(project, monkeypatch):
    git(project, "init", "-q")
    assert git_trouble(project) == ""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    assert "safe.directory" in named(project)["git"].fix
    with pytest.raises(ValueError, match="belongs to another user: git config --global --add safe.directory"):
        resolve(project, "first", "HEAD")


def test_comparing_without_git_says_so(project):
    with pytest.raises(ValueError, match="is no git repository: `git init"):
        resolve(project, "first", "HEAD")
    assert "not in a git repository" in source_state(project)


def test_data_that_git_ignores_are_named(project):
    git(project, "init", "-q")
    (project / ".gitignore").write_text("/inputs/*\n")
    (project / "inputs").mkdir()
    (project / "inputs" / "t.csv").write_text("a\n1\n")
    assert ignored_by_git(project, "inputs/t.csv") and not ignored_by_git(project, "params.yaml")
    assert not ignored_by_git(project, "") and not ignored_by_git(project, "/somewhere/else.csv")
    text = (project / "params.yaml").read_text()
    (project / "params.yaml").write_text(
        text.replace("path: ''", "path: inputs/t.csv").replace('path: ""', "path: inputs/t.csv")
    )
    assert "--copy-paths inputs/t.csv" in named(project)["own data"].fix


def test_broken_links_of_a_moved_cache_are_counted(project):
    (project / "data" / "raw").mkdir(parents=True)
    (project / "data" / "raw" / "manifest.json").symlink_to("/no/such/place")
    found = named(project)["links"]
    assert found.status == "warn" and found.detail.startswith("1 ") and "dvc checkout" in found.fix
