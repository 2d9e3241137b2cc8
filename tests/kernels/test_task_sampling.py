"""Task sampling: structure and exact counts as properties, the distribution against the reference."""

from __future__ import annotations

from math import factorial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from scipy import stats

from kernels.task_sampling import FAMILIES, HIDDEN, SOURCE, TARGET, numba_kernel, sample_tasks
from kernels.task_sampling.reference import body_layout, sample_tasks_reference
from tests.helpers.task_specs import make_spec, specs, table_spec


@settings(deadline=None, max_examples=40)
@given(specs(), st.integers(0, 2**63 - 1))
def test_every_task_is_well_formed(spec, seed):
    tasks = sample_tasks(spec, 64, seed=seed)
    assert tasks.role.shape == tasks.rank.shape == (64, spec.n_tokens) and tasks.family.shape == (64,)
    assert (tasks.role.dtype, tasks.rank.dtype, tasks.family.dtype) == (np.uint8, np.int16, np.uint8)
    assert tasks.role.max() <= TARGET  # one role a token: S ∩ T = ∅
    assert (tasks.role == TARGET).any(1).all()
    body, _ = body_layout(spec)
    for role, rank, code in zip(tasks.role, tasks.rank, tasks.family, strict=True):
        check_family(spec, FAMILIES[code], role, rank, body)


def check_family(spec, family, role, rank, body):
    """What the definition of a family fixes."""
    n, n_source, n_target = spec.n_tokens, (role == SOURCE).sum(), (role == TARGET).sum()
    outside = np.setdiff1d(np.arange(n), body)
    if family in ("joint", "permutation"):
        assert n_target == n
    if family == "marginal":
        assert n_source == 0
    if family in ("block", "half"):
        assert (role[body] != HIDDEN).all() and len(set(role[outside])) <= 1
    if family == "copied":
        assert ((role == TARGET) == spec.gaps).all(1).any()
    if family in ("modality", "causal", "bert", "mae", "column_missing", "copied", "proportional"):
        assert n_source + n_target == n
    if family == "bert":
        assert n_target == min(n, max(1, np.floor(spec.bert_target_share * n + 0.5)))
    if family == "mae":
        assert n_target == min(len(body), max(1, np.floor(spec.mae_target_share * len(body) + 0.5)))
        assert (role[outside] == SOURCE).all()
    if family == "modality":
        target = role == TARGET
        assert (target == spec.is_label).all() or len(set(spec.group[target])) == 1
    if family == "permutation":
        assert sorted(rank) == list(range(n))
    elif family == "causal":
        assert (rank == np.where(role == TARGET, np.arange(n), 0)).all()
        assert (np.diff(role.astype(int)) >= 0).all()  # sources first
    else:
        assert not rank.any()


def test_block_is_a_rectangle_and_its_edges_keep_to_their_shares():
    spec = make_spec(8, 12, weights={"block": 1}, block_share=(0.25, 0.5))
    both = set()
    for role in sample_tasks(spec, 400, seed=0).role[:, :96].reshape(-1, 8, 12):
        found = []
        for code in (SOURCE, TARGET):
            r, c = np.nonzero(role == code)
            box = (r.max() - r.min() + 1, c.max() - c.min() + 1)
            if box[0] * box[1] == len(r):
                found.append((code, box))
        assert any(2 <= box[0] <= 4 and 3 <= box[1] <= 6 for _, box in found)
        both |= {code for code, _ in found}
    assert both == {SOURCE, TARGET}


def test_block_of_a_table_is_a_contiguous_run():
    for role in sample_tasks(table_spec(20, 2, {"block": 1}), 200, seed=0).role[:, :18]:
        assert np.count_nonzero(np.diff(role)) <= 2


def test_family_shares_follow_the_weights():
    weights = {"joint": 4.0, "half": 1.0, "bert": 0.0, "causal": 3.0}
    family = sample_tasks(make_spec(4, 4, weights=weights), 80_000, seed=3).family
    observed = np.bincount(family, minlength=len(FAMILIES))[[0, 4, 6]]
    assert observed.sum() == 80_000
    assert stats.chisquare(observed, 80_000 * np.array([0.5, 0.125, 0.375])).pvalue > 1e-4


@pytest.mark.parametrize(
    "spec",
    [
        make_spec(3, 3, source_beta=(0.5, 3.0), causal_prefix_share=0.5),
        make_spec(2, 3, labels=2, first=True, target_beta=(1.0, 1.0)),  # the body is not a prefix
        table_spec(7, labels=1),
        make_spec(9, 8, source_beta=(2.0, 2.0)),  # 73 tokens: more than one block of 64
    ],
    ids=["grid", "label-first", "table", "two-blocks"],
)
def test_matches_the_reference(spec):
    kernel = sample_tasks(spec, 60_000, seed=11)
    reference = sample_tasks_reference(spec, 12_000, np.random.default_rng(5))
    for code, name in enumerate(FAMILIES):
        ours, theirs = kernel.role[kernel.family == code], reference.role[reference.family == code]
        for statistic in (n_sources, n_targets, last_and_first, neighbours):
            assert same_distribution(statistic(ours), statistic(theirs)), (name, statistic.__name__)


def n_sources(role):
    return (role == SOURCE).sum(1)


def n_targets(role):
    return (role == TARGET).sum(1)


def last_and_first(role):
    return role[:, 0] * 3 + role[:, -1]


def neighbours(role):
    return (role[:, 0] * 3 + role[:, 1]) * 3 + role[:, len(role[0]) // 2]


def same_distribution(ours, theirs):
    """Two-sample χ² over the values, rare ones pooled."""
    size = int(max(ours.max(), theirs.max())) + 1
    table = np.stack([np.bincount(ours, minlength=size), np.bincount(theirs, minlength=size)])
    rare = table.sum(0) < 40
    table = np.concatenate([table[:, ~rare], table[:, rare].sum(1, keepdims=True)], 1)
    table = table[:, table.sum(0) > 0]
    return table.shape[1] < 2 or stats.chi2_contingency(table).pvalue > 1e-5


@njit(cache=False)
def _subsets(long, n, n_source, n_target, source, target):
    words = np.empty(8, np.uint64)
    for k in range(len(source)):
        state = numba_kernel.mix(np.uint64(k + 1))
        if long:
            numba_kernel.subset_of_words(source, target, k, n, n_source, n_target, words, state)
        else:
            numba_kernel.subset(source, target, k, n, n_source, n_target, words, state)


@pytest.mark.parametrize("long", [False, True], ids=["word", "words"])
@pytest.mark.parametrize(
    ("n", "n_source", "n_target"), [(5, 1, 2), (6, 2, 2), (4, 0, 1), (5, 0, 2), (5, 3, 2), (6, 4, 1)]
)
def test_every_assignment_is_equally_likely(long, n, n_source, n_target):
    """All n! / (…) arrangements, counted: the subset methods are exact, not approximate."""
    source, target = np.zeros(60_000, np.uint64), np.zeros(60_000, np.uint64)
    _subsets(long, n, n_source, n_target, source, target)
    assert not (source & target).any() and (np.bitwise_count(source) == n_source).all()
    assert (np.bitwise_count(target) == n_target).all() and (source | target).max() < 2**n
    distinct = factorial(n) // (factorial(n_source) * factorial(n_target) * factorial(n - n_source - n_target))
    _, observed = np.unique(source << np.uint64(n) | target, return_counts=True)
    assert len(observed) == distinct
    assert stats.chisquare(observed).pvalue > 1e-4


@pytest.mark.parametrize("first", [False, True], ids=["body-first", "label-first"])
def test_every_subset_of_patches_is_equally_likely(first):
    """The same through the whole kernel, many rows at once: 3 of 6 patches, with the label after or before them."""
    spec = make_spec(2, 3, weights={"mae": 1}, mae_target_share=0.5, first=first)
    target = sample_tasks(spec, 60_000, seed=8).role == TARGET
    assert (target.sum(1) == 3).all() and not target[:, spec.is_label].any()
    _, observed = np.unique(np.packbits(target, axis=1), return_counts=True)
    assert len(observed) == 20 and stats.chisquare(observed).pvalue > 1e-4


@pytest.mark.parametrize("n_tokens", [64, 65, 127, 128, 200, 1025])
def test_long_rows_have_exact_counts_and_uniform_tokens(n_tokens):
    """Around the edges of a block of 64: every token is as likely a target as any other."""
    spec = table_spec(n_tokens, weights={"bert": 1}, bert_target_share=0.3)
    target = sample_tasks(spec, 4000, seed=2).role == TARGET
    assert (target.sum(1) == np.floor(0.3 * n_tokens + 0.5)).all()
    expected = target.sum() / n_tokens
    statistic = ((target.sum(0) - expected) ** 2 / (expected * 0.7)).sum()
    assert 1e-4 < stats.chi2.sf(statistic, n_tokens - 1) < 1 - 1e-4


@pytest.mark.parametrize(("a", "b"), [(1, 1), (3, 0.5), (0.5, 3), (0.2, 0.2), (50, 7)])
def test_beta_moments_of_the_counts(a, b):
    """|S|/L, and |T|/L where S is empty, follow the declared Beta: first two moments, to rounding, on 400 tokens."""
    beta = stats.beta(a, b)
    for family, code, changes in (
        ("beta_random", SOURCE, {"source_beta": (a, b)}),
        ("marginal", TARGET, {"target_beta": (a, b)}),
    ):
        role = sample_tasks(table_spec(400, weights={family: 1}, **changes), 20_000, seed=4).role
        share = (role == code).mean(1)
        assert abs(share.mean() - beta.mean()) < 5 * beta.std() / np.sqrt(20_000) + 2e-3
        assert abs(share.std() - beta.std()) < 0.02 * beta.std() + 2e-3
