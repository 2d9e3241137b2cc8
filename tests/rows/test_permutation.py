"""The order of a long data set: a bijection, its own in every epoch, without being written down."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.rows.permutation import IN_MEMORY_ROWS, permuted, some_numbers, walked


@settings(deadline=None, max_examples=60)
@given(rows=st.integers(1, 3000), seed=st.integers(0, 2**31 - 1), epoch=st.integers(0, 1000))
def test_every_number_stands_at_one_place(rows, seed, epoch):
    assert np.array_equal(np.sort(walked(np.arange(rows), rows, seed, epoch)), np.arange(rows))
    assert np.array_equal(np.sort(permuted(np.arange(rows), rows, seed, epoch)), np.arange(rows))


def test_a_long_order_depends_on_seed_and_epoch_and_on_nothing_else():
    rows, places = 3 * 10**8, np.arange(1000, 5096)
    first = permuted(places, rows, 1, 0)
    assert rows > IN_MEMORY_ROWS and len(np.unique(first)) == len(places) and 0 <= first.min() <= first.max() < rows
    assert np.array_equal(permuted(places[7:9], rows, 1, 0), first[7:9])
    for other in (permuted(places, rows, 2, 0), permuted(places, rows, 1, 1)):
        assert (other == first).mean() < 0.01


@pytest.mark.parametrize("rows", [IN_MEMORY_ROWS + 1, 10**9 + 7])
def test_a_long_order_looks_random(rows):
    """Uniform over the range (χ² of 64 bins, 63 degrees, p ≈ 0.001) and without correlation between neighbours."""
    drawn = permuted(np.arange(64_000), rows, 5, 3)
    counts = np.bincount(drawn * 64 // rows, minlength=64)
    assert ((counts - 1000.0) ** 2 / 1000.0).sum() < 104
    assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 0.02


@pytest.mark.parametrize("rows", [7, 1000, IN_MEMORY_ROWS + 5])
def test_some_numbers_are_distinct_and_rise(rows):
    chosen = some_numbers(rows, 100, 3)
    assert len(chosen) == min(rows, 100) and (np.diff(chosen) > 0).all() and 0 <= chosen[0] <= chosen[-1] < rows
    assert np.array_equal(chosen, some_numbers(rows, 100, 3))
    assert rows < 100 or not np.array_equal(chosen, some_numbers(rows, 100, 4))
