"""kill -9 of flows at bad moments, and two at once: nothing is left at work, a rerun heals, the model loads.

BIGLEARN_FAULT_ROUNDS sets the rounds of each test (default 1). The long form, with a table of where each kill hit, is
`python -m tests.flows.fault_rounds --rounds 20`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from flows.dvc_tasks import run_dvc
from tests.flows.fault_rounds import Project, Round, cache_state, rounds_of
from tests.helpers.projects import state

ROUNDS = int(os.environ.get("BIGLEARN_FAULT_ROUNDS", "1"))
PAIRS = (  # the longest first
    ("train", "retrain"),
    ("commit", "retrain"),
    ("together", "retrain"),
    ("train", "reproduce"),
    ("commit", "reproduce"),
)
Rounds = dict[tuple[str, str], Future]


@pytest.fixture(scope="module")
def rounds(model_template, tmp_path_factory, prefect_environment) -> Iterator[Rounds]:
    """(kind, flow) → its rounds, under way or done: three at a time, each in a project of its own."""
    folder = tmp_path_factory.mktemp("faults")

    def work(kind: str, flow: str) -> list[Round]:
        root = shutil.copytree(model_template, folder / f"{kind}-{flow}", symlinks=True)
        done: list[Round] = []
        rounds_of(Project(root, flow, prefect_environment), kind, range(ROUNDS), done.append)
        return done

    with ThreadPoolExecutor(3) as pool:
        yield {pair: pool.submit(work, *pair) for pair in PAIRS}


def check(future: Future, hits: set[str]) -> None:
    """Every round was run, hit what it may hit, and left nothing wrong."""
    done = future.result()
    assert [line for round_ in done for line in round_.wrong] == []
    assert len(done) == ROUNDS
    assert {round_.hit for round_ in done} <= hits


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("flow", ["reproduce", "retrain"])
def test_killed_during_train(flow, rounds):
    check(rounds["train", flow], {"training"})


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("flow", ["reproduce", "retrain"])
def test_killed_during_a_commit(flow, rounds):
    check(rounds["commit", flow], {"commit", "after the commit"})


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_retrains_together(rounds):
    check(rounds["together", "retrain"], {"none killed; one Skipped", "none killed; one Unchanged"})


def test_a_damaged_file_of_the_cache_is_found(tmp_path):
    whole, broken = tmp_path / "5d" / "41402abc4b2a76b9719d911017c592", tmp_path / "5d" / ("0" * 30)
    whole.parent.mkdir()
    whole.write_text("hello")
    broken.write_text("hello")
    assert cache_state(tmp_path) == (2, [broken.name])


def test_a_project_that_is_not_clean_is_found(model_project):
    assert state(model_project)[0].keys() == {"fetch", "train", "evaluate"}  # nothing has run
    assert run_dvc(model_project, ["repro", "--quiet"], print, timeout_s=100) == 0
    assert state(model_project) == ({}, {})
    (model_project / "data" / "models" / "ballast").write_text("changed")
    status, uncommitted = state(model_project)
    assert status.keys() == {"train"} and set(uncommitted) == {"modified"}
