"""The test for copies finds copies, and only copies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from pipeline.evaluation.duplicates import NEAR_SHARE, duplicate_scores, duplicate_test, mean_pairwise_distance, nearest
from pipeline.rows import row_file


def draw(n: int, seed: int, d: int = 6) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 10**6))
def test_new_draws_of_the_truth_are_no_duplicates(seed):
    scores = duplicate_scores(draw(400, seed), draw(300, seed + 1), draw(600, seed + 2))
    assert abs(scores["near_rate"] - NEAR_SHARE) < 0.06 and abs(scores["nearer_train_share"] - 0.5) < 0.12
    assert abs(scores["copying_z"]) < 5 and abs(scores["copy_rate"] - scores["copy_rate_real"]) < 0.06


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1])
def test_copies_with_noise_are_found(noise):
    train = draw(300, 0)
    scores = duplicate_scores(train[:200] + noise * draw(200, 1), train, draw(600, 2))
    assert scores["near_rate"] > 0.9 > scores["near_rate_limit"] and scores["copy_rate"] > 0.8
    assert scores["nearer_train_share"] > 0.95 > scores["nearer_train_share_limit"] and scores["copying_z"] < -10


def test_limits_are_what_chance_stays_below():
    """Of 80 honest samplers about 5 % exceed the limit of the near rate."""
    beyond = 0
    for seed in range(80):
        rows = draw(700, seed, d=2)
        scores = duplicate_scores(rows[:200], rows[200:300], rows[300:])
        beyond += scores["near_rate"] > scores["near_rate_limit"]
    assert beyond / 80 < 0.15


def test_repeats_of_training_rows_are_told_from_those_that_chance_makes():
    """A grid on which every fresh row repeats some training row: chance; a model that knows the training rows alone:
    found; and, of a full grid, held-out rows that by design repeat none."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(20.0), np.arange(15.0)), -1).reshape(-1, 2)
    split = rng.permutation(grid)
    train, held_out = split[:200], split[200:]
    fresh = duplicate_test(grid[rng.integers(0, 300, 400)], train, held_out, 0.1, rng)
    assert fresh["duplicate_rate"] == pytest.approx(2 / 3, abs=0.08) and fresh["duplicate_p"] > 0.01
    assert fresh["duplicate_rate_chance"] == pytest.approx(2 / 3, abs=0.05) and fresh["duplicate_rate_real"] == 0
    learnt_by_heart = duplicate_test(train[rng.integers(0, 200, 400)] + 0.01, train, held_out, 0.1, rng)
    assert learnt_by_heart["duplicate_rate"] == 1 and learnt_by_heart["duplicate_p"] == 0.001
    assert duplicate_test(grid + 0.5, train, held_out, 0.1, rng)["duplicate_rate"] == 0


def test_pairwise_distance_of_two_rows():
    assert mean_pairwise_distance(np.array([[0.0, 0.0], [3.0, 4.0]])) == pytest.approx(5 / np.sqrt(2))


@pytest.mark.parametrize("k", [1, 2])
def test_nearest_rows_in_chunks_are_those_of_all(monkeypatch, k):
    rows, others = draw(11, 0), draw(90, 1)
    expected = np.sort(cdist(rows, others), 1)[:, :k]
    monkeypatch.setattr(row_file, "CHUNK_VALUES", 11 * 8)
    assert np.array_equal(nearest(rows, others, k), expected)


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="'train' must hold 2 rows, the others 1. Got 1, 3, 3."):
        duplicate_scores(draw(3, 0), draw(1, 1), draw(3, 2))
