"""Votes: the most frequent code among draws."""

from __future__ import annotations

import numpy as np

from pipeline.rows.votes import most_frequent


def test_most_frequent_code_and_ties():
    codes = np.array([[3, 1], [3, 0], [0, 2]])
    assert most_frequent(codes).tolist() == [3, 0]
