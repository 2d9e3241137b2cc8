"""The test for copies finds copies, and only copies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.duplicates import NEAR_SHARE, duplicate_scores, mean_pairwise_distance


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


def test_pairwise_distance_of_two_rows():
    assert mean_pairwise_distance(np.array([[0.0, 0.0], [3.0, 4.0]])) == pytest.approx(5 / np.sqrt(2))


def test_too_few_rows_are_refused():
    with pytest.raises(ValueError, match="'train' must hold 2 rows, the others 1. Got 1, 3, 3."):
        duplicate_scores(draw(3, 0), draw(1, 1), draw(3, 2))
