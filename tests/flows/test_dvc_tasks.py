"""DVC's order and staleness as the flows read them; one stage in a process of its own."""

from __future__ import annotations

import json
import os

import pytest
import yaml

from flows.dvc_tasks import Output, StageFailed, child_environment, run_stage, stage_order, stale_stages
from tests.helpers.imports import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # inside DVC


def run(root, stage, **options):
    """Lines of one stage."""
    lines: list[str] = []
    run_stage(root, stage, lines.append, timeout_s=60, busy_wait_s=options.pop("busy_wait_s", 0), **options)
    return lines


def test_order_is_read_from_this_projects_dvc_yaml():
    order = stage_order(ROOT)
    seen = set()
    for stage, needs in order.items():
        assert set(needs) <= seen
        seen.add(stage)
    assert {"fetch", "prepare", "tasks", "train", "simulate", "evaluate", "report"} <= seen
    assert order["prepare"] == ["fetch"]
    assert order["simulate"] == []  # runs beside the others


def test_stages_run_once_and_only_what_changed_is_stale(small_project):
    root = small_project
    assert stage_order(root) == {"a": [], "c": [], "b": ["a"], "d": ["b", "c"]}
    assert stale_stages(root, "abcd") == set("abcd")
    lines = run(root, "a")
    assert "a done" in lines
    assert not any("git add" in line or "autostage" in line for line in lines)
    assert stale_stages(root, "a") == set()
    assert "a done" not in run(root, "a")
    assert "a done" in run(root, "a", force=True)
    (root / "params.yaml").write_text("seed: 1\n")
    assert stale_stages(root, "a") == {"a"}


def test_a_change_of_the_users_own_file_makes_fetch_stale(small_project):
    """This project's stage fetch depends on what dataset.watch names; `biglearn init` sets it to the user's file."""
    root = small_project
    watched = [d for d in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["fetch"]["deps"] if "$" in d]
    assert watched == ["${dataset.watch}"]
    stage = {"cmd": "echo read > copy", "deps": watched, "params": ["dataset"], "outs": ["copy"]}
    (root / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"fetch": stage}}))
    outside = root.parent / "own.csv"
    outside.write_text("a\n1\n")
    (root / "params.yaml").write_text(yaml.safe_dump({"dataset": {"path": str(outside), "watch": str(outside)}}))
    run(root, "fetch")
    assert stale_stages(root, ["fetch"]) == set()
    outside.write_text("a\n2\n")
    assert stale_stages(root, ["fetch"]) == {"fetch"}


def test_a_failed_stage_is_told_in_its_own_words(small_project):
    (small_project / "c.fault").write_text("'x' must be positive. Got -1.")
    with pytest.raises(StageFailed, match=r"^stage 'c' ended with code \d+: 'x' must be positive. Got -1.$"):
        run(small_project, "c")


def test_an_unknown_stage_is_told_in_dvcs_words(small_project):
    with pytest.raises(StageFailed, match=r"stage 'z' ended with code 255: Stage 'z' not found"):
        run(small_project, "z")


def test_a_busy_workspace_is_waited_for_then_named(small_project):
    """DVC's own lock file says that a living process reads the stage's out."""
    locks = small_project / ".dvc" / "tmp" / "rwlock"
    locks.parent.mkdir(exist_ok=True)
    path = str(small_project / "out" / "c")
    locks.write_text(json.dumps({"read": {path: [{"pid": os.getpid(), "cmd": "dvc push"}]}}))
    with pytest.raises(StageFailed, match="is busy"):
        run(small_project, "c")
    locks.unlink()
    assert "c done" in run(small_project, "c")


def test_the_reason_is_the_stages_then_dvcs_then_the_last_line():
    output = Output(lambda line: None)
    assert output.reason("train") == "no output"
    for line in ("starting", "train: no rows", "ERROR: failed to reproduce 'train'"):
        output(line)
    assert output.reason("train") == "no rows"
    assert output.reason("tasks") == "failed to reproduce 'train'"
    assert output.ending(1, "train") == "ended with code 1: no rows"
    assert output.ending(-15, "train") == "was ended by SIGTERM"
    assert not output.is_busy


def test_children_use_this_interpreter_and_their_own_folder(monkeypatch):
    monkeypatch.setenv("BIGLEARN_ROOT", "/elsewhere")
    child = child_environment()
    assert "BIGLEARN_ROOT" not in child
    assert child["PATH"].split(os.pathsep)[0].endswith("bin")


def test_dvc_finds_the_page_of_its_plots():
    from dvc.config import Config
    from dvc_render.html import HTML

    folder = ROOT / ".dvc"
    page = folder / Config(str(folder)).get("plots", {})["html_template"]
    drawn = HTML(page.read_text(encoding="utf8")).with_scripts("<script></script>").with_element("<p>plot</p>").embed()
    assert "<script></script>" in drawn and "<p>plot</p>" in drawn and "{" + "plot_divs}" not in drawn
