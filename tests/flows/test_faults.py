"""kill -9 of flows at bad moments, and two at once: nothing is left at work, a rerun heals, the model loads.

BIGLEARN_FAULT_ROUNDS sets the rounds of each test (default 1). The long form, with a table of where each kill hit, is
`python -m tests.flows.fault_rounds --rounds 20`.
"""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.flows.fault_rounds import Project, Round, cache_state, rounds_of

ROUNDS = int(os.environ.get("BIGLEARN_FAULT_ROUNDS", "1"))


def check(template, folder, environment, pairs) -> list[Round]:
    """Every round, sound; the pairs (kind, flow) run beside one another, each in a project of its own."""
    rounds: list[Round] = []

    def work(pair: tuple[str, str]) -> list[str]:
        kind, flow = pair
        root = shutil.copytree(template, folder / f"{kind}-{flow}", symlinks=True)
        return rounds_of(Project(root, flow, environment), kind, range(ROUNDS), rounds.append)

    with ThreadPoolExecutor(len(pairs)) as pool:
        wrong = [line for lines in pool.map(work, pairs) for line in lines]
    assert wrong == []
    assert len(rounds) == ROUNDS * len(pairs)
    return rounds


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_during_train(model_template, tmp_path, prefect_environment):
    pairs = [("train", "reproduce"), ("train", "retrain")]
    rounds = check(model_template, tmp_path, prefect_environment, pairs)
    assert {r.hit for r in rounds} == {"training"}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_during_a_commit(model_template, tmp_path, prefect_environment):
    pairs = [("commit", "reproduce"), ("commit", "retrain")]
    rounds = check(model_template, tmp_path, prefect_environment, pairs)
    assert {r.hit for r in rounds} <= {"commit", "after the commit"}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_retrains_together(model_template, tmp_path, prefect_environment):
    rounds = check(model_template, tmp_path, prefect_environment, [("together", "retrain")])
    assert all(r.hit in ("none killed; one Skipped", "none killed; one Unchanged") for r in rounds)


def test_a_damaged_file_of_the_cache_is_found(tmp_path):
    whole, broken = tmp_path / "5d" / "41402abc4b2a76b9719d911017c592", tmp_path / "5d" / ("0" * 30)
    whole.parent.mkdir()
    whole.write_text("hello")
    broken.write_text("hello")
    assert cache_state(tmp_path) == (2, [broken.name])
