"""A run that starts anew beside checkpoints of others says so, and which parameter did it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.base.runs import RUN_FILE, differences, other_runs, remove_runs, run_of, start_sentence, write_run


def run(tmp_path: Path, lr: float = 0.1, data: str = "rows", code: str = "x = 1"):
    (tmp_path / "step.py").write_text(code)
    return run_of(
        {"seed": 0, "train": {"lr": lr, "steps": 9}}, {"the training rows": data}, {"step.py": tmp_path / "step.py"}
    )


def saved(folder: Path, a_run, step: int, age_s: int = 0) -> None:
    place = folder / a_run.key / f"step-{step:08d}"
    place.mkdir(parents=True)
    (place / "state.json").write_bytes(bytes(1000))
    os.utime(place, (1_000_000 - age_s, 1_000_000 - age_s))
    write_run(folder / a_run.key / RUN_FILE, a_run)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"lr": 0.2}, ["train.lr was 0.1, is 0.2"]),
        ({"data": "others"}, ["the training rows changed"]),
        ({"code": "x = 2"}, ["the code changed (step.py)"]),
        ({}, []),
    ],
)
def test_what_differs_is_named(tmp_path, changes, said):
    old, folder = run(tmp_path), tmp_path / "checkpoints"
    saved(folder, old, 400)
    noted = other_runs(folder)[0].run
    new = run(tmp_path, **changes)
    assert differences(noted, new) == said and (new.key == old.key) == (not said)


def test_a_start_beside_other_runs_says_which_and_why(tmp_path):
    folder, new = tmp_path / "checkpoints", run(tmp_path, lr=0.3)
    assert start_sentence(new, 0, other_runs(folder, new.key)) == ""
    saved(folder, run(tmp_path, lr=0.1), 700, age_s=50)
    saved(folder, run(tmp_path, lr=0.2), 400)
    said = start_sentence(new, 0, other_runs(folder, new.key))
    assert said.startswith("starts anew at step 0. The checkpoint of step 400 from 1970-01-1")
    assert "belongs to another run: train.lr was 0.2, is 0.3. 2 unfinished runs in" in said
    saved(folder, new, 5)
    assert start_sentence(new, 5, other_runs(folder, new.key)) == "goes on from its checkpoint of step 5"
    assert len(other_runs(folder, new.key)) == 2


def test_checkpoints_without_a_note_are_named_too(tmp_path):
    folder, new = tmp_path / "checkpoints", run(tmp_path)
    (folder / "0123" / "step-00000007").mkdir(parents=True)
    (folder / "times").mkdir()
    (folder / ".train.lock").write_text("")
    assert "what it depended on was not noted" in start_sentence(new, 0, other_runs(folder, new.key))
    assert remove_runs(other_runs(folder)).startswith("removed the checkpoints of 1 unfinished tries (step 7;")
    assert (
        sorted(p.name for p in folder.iterdir()) == [".train.lock", "times"] and remove_runs(other_runs(folder)) == ""
    )
