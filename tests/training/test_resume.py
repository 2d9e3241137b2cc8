"""A training run that was killed or stopped, and restarted, ends bit-identical to one that never was."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path

import pytest

from pipeline import train
from pipeline.base.params import merge_params
from pipeline.base.runs import run_key
from tests.helpers.workspace import Workspace, check_curves, checkpoint_steps, curve_lines, wait_until


def killed_at(work: Workspace, line: int) -> int:
    """The exit code of a run that gets SIGKILL once it has written `line` log lines, or that ended before."""
    process = work.start("train")
    if wait_until(lambda: curve_lines(work) >= line, process):
        process.kill()
    return process.wait(60)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> dict[str, str]:
    work = Workspace(tmp_path_factory.mktemp("uninterrupted")).prepared()
    code, output = work.run("train")
    assert code == 0, output
    check_curves(work)
    return work.results()


def finished(work: Workspace, uninterrupted: dict[str, str]) -> None:
    """Runs the stage to its end from the newest checkpoint, and compares everything."""
    resumed_from = max(checkpoint_steps(work), default=0)
    code, output = work.run("train")
    assert code == 0, output
    metrics = json.loads((work.where.metrics / "train.json").read_text(encoding="utf8"))
    assert metrics["resumed_at_step"] == resumed_from
    check_curves(work)
    assert work.results() == uninterrupted


def test_killed_then_asked_to_stop_then_finished_ends_the_same(tmp_path, uninterrupted):
    work = Workspace(tmp_path).prepared()
    assert killed_at(work, random.Random(0).randint(2, 5)) == -signal.SIGKILL
    process = work.start("train", "train.checkpoint_interval=100000000")
    assert wait_until(lambda: curve_lines(work) >= 8, process)
    process.terminate()
    assert process.wait(60) == 143
    saved = max(checkpoint_steps(work))
    assert saved >= 32 and f"SIGTERM after {saved} steps; saved" in work.output("train")
    assert "Traceback" not in work.output("train")
    finished(work, uninterrupted)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_kill_points(tmp_path, uninterrupted):
    moments = random.Random(1)
    for i in range(10):
        work = Workspace(tmp_path / str(i)).prepared()
        for early, late in ((1, 7), (8, 14)):  # where the first kill came late, the second comes while it starts
            assert killed_at(work, moments.randint(early, late)) in (-signal.SIGKILL, 0)
        finished(work, uninterrupted)


def test_another_parameter_data_or_code_is_another_run(tmp_path):
    file = tmp_path / "step.py"
    file.write_text("a")
    key = run_key({"lr": 1}, "rows", {"step.py": file})
    assert key == run_key({"lr": 1}, "rows", {"step.py": file}) and len(key) == 16
    assert key != run_key({"lr": 2}, "rows", {"step.py": file})
    assert key != run_key({"lr": 1}, "other rows", {"step.py": file})
    file.write_text("b")
    assert key != run_key({"lr": 1}, "rows", {"step.py": Path(file)})


def test_only_how_a_run_is_carried_out_may_change_before_it_is_resumed(tmp_path):
    work = Workspace(tmp_path).prepared()

    def key(**changes: object) -> str:
        return train._run(
            merge_params({**work.settings, "train": {**work.settings["train"], **changes}}), work.where
        ).key

    assert key() == key(processes=2) == key(threads=2) == key(checkpoint_interval=7)
    changed = {key(), key(lr=0.5), key(steps=61), key(seed_offset=1), key(log_interval=5)}
    (work.where.tokens / "schema.json").write_text(
        (work.where.tokens / "schema.json").read_text(encoding="utf8") + " ", encoding="utf8"
    )
    assert len(changed | {key()}) == 6
