"""Workshops, experiments and promoted models, on a project whose model really loads."""

from __future__ import annotations

import json

import pytest

from flows import registry
from flows.dvc_tasks import run_stage, stage_order
from flows.workshop import WorkshopBusy, git, save_experiment, workshop
from pipeline.model.network_files import read_network
from tests.helpers.projects import dvc, run, write_params

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # inside DVC


def build(root, name: str) -> str:
    """Revision of an experiment built in a workshop."""
    with workshop(root, "retrain", print) as folder:
        for stage in stage_order(folder):
            run_stage(folder, stage, print, timeout_s=60, busy_wait_s=0)
        return save_experiment(root, folder, name, print)


def test_a_model_is_built_promoted_and_replaced_without_touching_the_users_folder(model_project):
    root = model_project
    (root / "notes.txt").write_text("not committed")
    first = build(root, "first")
    assert sorted(path.name for path in (root / "data").glob("*")) == []
    assert run(root, "git", "status", "--porcelain").split() == ["??", "notes.txt"]
    assert "first" in dvc(root, "exp", "list", "--name-only")
    assert registry.promoted(root) is None
    one = registry.promote(root, first, "the first")
    assert (one.version, one.revision) == ("v0.1.0", first)
    assert registry.promote(root, "first", "again") == one  # an experiment's name, and no second promotion
    assert read_network(root / "data" / "promoted" / "generator")[1]["trained_on"] == "day 10.01"
    assert registry.metrics_of(root, first) == {"fid": 1.0}

    write_params(root, lr=0.02)
    run(root, "git", "commit", "--quiet", "--all", "--message", "lr")
    second = build(root, "second")
    two = registry.promote(root, second, "better")
    assert [model.version for model in registry.history(root)] == ["v0.2.0", "v0.1.0"]
    assert registry.promoted(root) == two
    assert read_network(root / "data" / "promoted" / "generator")[1]["trained_on"] == "day 10.02"
    back = registry.promote(root, first, "rolled back")
    assert back.version == "v0.1.0" and registry.promoted(root).revision == first

    (root / "data" / "promoted" / "promoted.json").unlink()  # killed between the tag and the export
    registry.export(root, back)
    assert json.loads((root / "data" / "promoted" / "promoted.json").read_text())["version"] == "v0.1.0"


def test_a_workshop_is_held_by_one_and_heals(model_project):
    root = model_project
    with workshop(root, "retrain", print) as folder:
        with pytest.raises(WorkshopBusy, match="another process works in"), workshop(root, "retrain", print):
            pass
        (folder / "params.yaml").write_text("half written")
        (folder / "left.txt").write_text("by a killed run")
        (folder / "data" / "checkpoints").mkdir(parents=True)
        (folder / "data" / "checkpoints" / "step").write_text("kept")
        (folder / ".git" / "index.lock").touch()
    with workshop(root, "retrain", print, built="0" * 40) as folder:  # an experiment that was removed since
        assert (folder / "params.yaml").read_text() == (root / "params.yaml").read_text()
        assert not (folder / "left.txt").exists()
        assert (folder / "data" / "checkpoints" / "step").read_text() == "kept"
        assert (folder / "incoming" / "rows.txt").read_text() == "day 1"
        assert git(folder, "rev-parse", "HEAD") == git(root, "rev-parse", "HEAD")


def test_a_model_that_is_not_there_is_not_promoted(model_project):
    with pytest.raises(ValueError, match=r"the model of [0-9a-f]{12} is not in the DVC cache"):
        registry.promote(model_project, "HEAD", "hope")
    assert registry.history(model_project) == []
    for revision in ("nowhere", "workspace"):
        with pytest.raises(ValueError, match="'revision' must be a"):
            registry.promote(model_project, revision, "hope")


def test_promoting_needs_a_name_for_gits_tags(model_project, monkeypatch, tmp_path):
    for key in ("user.name", "user.email"):
        run(model_project, "git", "config", "--unset", key)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.delenv("GIT_COMMITTER_NAME", raising=False)
    with pytest.raises(RuntimeError, match=r"^git's user.name must be set, since promotions are tags: .* Got none.$"):
        registry.promote(model_project, "HEAD", "hope")
    monkeypatch.setenv("GIT_COMMITTER_NAME", "ci")
    monkeypatch.setenv("GIT_COMMITTER_EMAIL", "ci@localhost")
    registry.check_committer(model_project)
