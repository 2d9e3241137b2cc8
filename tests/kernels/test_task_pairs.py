"""Pairs of tasks share their union; missing tokens take no part."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.task_sampling import FAMILIES, HIDDEN, SOURCE, TARGET, Tasks, apply_missing, sample_pairs, sample_tasks
from tests.helpers.task_specs import make_spec, specs


@settings(deadline=None, max_examples=40)
@given(specs(), st.integers(0, 2**63 - 1))
def test_pairs_share_their_union(spec, seed):
    first, second = sample_pairs(spec, 64, seed=seed)
    np.testing.assert_array_equal(first.role, sample_tasks(spec, 64, seed=seed).role)
    np.testing.assert_array_equal(first.role != HIDDEN, second.role != HIDDEN)
    assert (second.role == TARGET).any(1).all() and second.role.max() <= TARGET
    assert not second.rank.any() and set(second.family) == {FAMILIES.index("beta_random")}


def test_pairs_exchange_merge_and_split():
    spec = make_spec(6, 6, weights={"half": 1}, label_visible_share=0.0)
    first, second = sample_pairs(spec, 20_000, seed=0)
    shown = first.role != HIDDEN
    exchanged = ((first.role + second.role == SOURCE + TARGET) | ~shown).all(1)
    merged = ((second.role == TARGET) | ~shown).all(1)
    assert abs(exchanged.mean() - 0.25) < 0.02 and abs(merged.mean() - 0.25) < 0.04
    rest = (second.role[~exchanged & ~merged] == SOURCE).sum(1)
    assert len(np.unique(rest)) > 30  # the third kind splits anew, at every size


@settings(deadline=None, max_examples=40)
@given(specs(), st.integers(0, 2**63 - 1), st.floats(0.0, 0.95))
def test_missing_tokens_take_no_part(spec, seed, share):
    """Poison: whatever a missing cell holds cannot reach a loss, for its token is neither source nor target."""
    rng = np.random.default_rng(seed)
    missing = rng.random((64, spec.n_tokens)) < share
    missing[np.arange(64), rng.integers(0, spec.n_tokens, 64)] = False
    tasks = sample_tasks(spec, 64, seed=seed)
    masked = apply_missing(tasks, missing, seed=seed)
    assert (masked.role[missing] == HIDDEN).all()
    assert (masked.role == TARGET).any(1).all()
    kept = ((tasks.role == TARGET) & ~missing).any(1)
    np.testing.assert_array_equal(masked.role[kept], np.where(missing, HIDDEN, tasks.role)[kept])
    sources = ((tasks.role == SOURCE) & ~missing)[~kept]
    new = masked.role[~kept]
    has_source = sources.any(1)
    n_source = sources.sum(1)
    np.testing.assert_array_equal((new != HIDDEN)[has_source], sources[has_source])
    np.testing.assert_array_equal((new == SOURCE).sum(1)[has_source], n_source[has_source] // 2)
    np.testing.assert_array_equal(new[~has_source] == TARGET, ~missing[~kept][~has_source])
    np.testing.assert_array_equal(apply_missing(tasks, missing, seed=seed).role, masked.role)


def test_missing_seeds_draw_different_targets():
    role = np.full((64, 17), SOURCE, np.uint8)
    role[:, 16] = TARGET
    tasks = Tasks(role, np.zeros((64, 17), np.int16), np.zeros(64, np.uint8))
    missing = np.zeros((64, 17), bool)
    missing[:, 16] = True
    one, other = (apply_missing(tasks, missing, seed=s).role for s in (0, 1))
    assert len(np.unique(one, axis=0)) > 60 and (one != other).any(1).mean() > 0.9


def test_nothing_missing_is_the_same_object():
    tasks = sample_tasks(make_spec(2, 2), 8, seed=0)
    assert apply_missing(tasks, np.zeros((8, 5), bool)) is tasks
