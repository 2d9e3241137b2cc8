"""Task sampling: structure and exact counts as properties, the distribution against the reference, invariances."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
from math import factorial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit
from scipy import stats
from scipy.special import betainc

from kernels.task_sampling import (
    FAMILIES,
    HIDDEN,
    SOURCE,
    TARGET,
    TaskBank,
    Tasks,
    TaskSpec,
    apply_missing,
    bits,
    numba_kernel,
    pack_roles,
    sample_pairs,
    sample_tasks,
    unpack_roles,
    write_bank,
)
from kernels.task_sampling.beta import CELLS, beta_cdf, beta_quantiles
from kernels.task_sampling.reference import body_layout, sample_tasks_reference
from kernels.task_sampling.tables import alias_table, binomial_cdf, compile_spec

ROOT = Path(__file__).resolve().parents[2]
EVERY = dict.fromkeys(FAMILIES, 1.0)
SHARES = {
    "source_beta": (1.0, 1.0),
    "target_beta": (3.0, 0.5),
    "block_share": (0.25, 0.75),
    "bert_target_share": 0.15,
    "mae_target_share": 0.75,
    "column_missing_share": 0.3,
    "label_to_image_share": 0.5,
    "label_visible_share": 0.5,
}


def make_spec(rows: int, columns: int, labels: int = 1, weights: dict | None = None, first: bool = False, **changes):
    """A rows × columns grid of patches and `labels` label tokens after it, or before it."""
    cells = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), -1).reshape(-1, 2)
    parts = [cells, np.full((labels, 2), -1)]
    is_label = [np.zeros(len(cells), bool), np.ones(labels, bool)]
    order = slice(None, None, -1 if first else 1)
    grid, label = np.concatenate(parts[order]), np.concatenate(is_label[order])
    return TaskSpec(len(grid), weights or EVERY, grid, label, **{**SHARES, **changes})


def table_spec(n_tokens: int, labels: int = 0, weights: dict | None = None, **changes):
    """A table: no grid, every column its own group, the last `labels` columns labels."""
    is_label = np.arange(n_tokens) >= n_tokens - labels
    grid = np.full((n_tokens, 2), -1)
    changes = {**SHARES, "group": np.arange(n_tokens), **changes}
    return TaskSpec(n_tokens, weights or EVERY, grid, is_label, **changes)


@st.composite
def specs(draw):
    """Grids with the label after, before or missing; tables; sparse grids; 1 … 200 tokens; extreme shares."""
    changes = {name: draw(st.floats(0.0, 1.0)) for name in SHARES if name.endswith("_share") and name != "block_share"}
    changes["block_share"] = tuple(sorted(draw(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 1.0)))))
    betas = [(1.0, 1.0), (3.0, 0.5), (0.5, 3.0), (1e-3, 1e-3), (1e3, 1e3)]
    changes |= {name: draw(st.sampled_from(betas)) for name in ("source_beta", "target_beta")}
    changes["causal_prefix_share"] = draw(st.sampled_from([0.0, 0.5, 1.0]))
    kind = draw(st.sampled_from(["grid", "table", "sparse"]))
    if kind == "table":
        n = draw(st.integers(1, 70))
        return table_spec(n, draw(st.integers(0, n)), **changes)
    rows, columns = draw(st.integers(1, 13)), draw(st.integers(1, 13))
    spec = make_spec(rows, columns, draw(st.integers(0, 3)), first=draw(st.booleans()), **changes)
    if kind == "sparse":  # every other patch loses its place: holes in the grid, body not a prefix
        spec.grid[1::2] = -1
    return spec


# -- structure ---------------------------------------------------------------------------------------
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
    if family in ("modality", "causal", "bert", "mae", "column_missing"):
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


# -- the distribution --------------------------------------------------------------------------------
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


@settings(deadline=None, max_examples=60)
@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.floats(0.0, 1.0))
def test_beta_cdf_equals_scipy(a, b, x):
    assert abs(beta_cdf(a, b, x) - betainc(a, b, x)) < 1e-11


@pytest.mark.parametrize(("a", "b"), [(1, 1), (3, 0.5), (0.5, 3), (1e-3, 1e-3), (1e3, 1e3), (1e-3, 10), (0.5, 0.5)])
def test_quantile_table_stays_within_its_bound(a, b):
    """The distribution of an interpolated draw differs from Beta's by less than 1 / CELLS (Kolmogorov–Smirnov)."""
    table = beta_quantiles(float(a), float(b))
    assert (np.diff(table) >= 0).all() and table[0] == 0 and table[-1] == 1
    draws = np.interp((np.arange(16 * CELLS) + 0.5) / (16 * CELLS), np.arange(CELLS + 1) / CELLS, table)
    x = np.geomspace(1e-9, 0.5, 500)
    x = np.r_[x, 1 - x]
    ours = np.searchsorted(draws, x, side="right") / len(draws)
    assert np.abs(ours - betainc(a, b, x)).max() < (1 + 1 / 16) / CELLS


@pytest.mark.parametrize(("n", "p"), [(1, 0.3), (17, 0.5), (1025, 0.3), (1025, 0.999), (50, 0.0), (50, 1.0)])
def test_binomial_cdf_equals_scipy(n, p):
    np.testing.assert_allclose(binomial_cdf(n, p), stats.binom.cdf(np.arange(n + 1), n, p), atol=1e-11)


@settings(deadline=None)
@given(st.lists(st.floats(1e-6, 1.0), min_size=1, max_size=40))
def test_alias_table_restores_the_probabilities(weights):
    limit, alias = alias_table(np.array(weights))
    share = limit.astype(np.float64) / 2**32
    restored = share + np.bincount(alias, weights=1 - share, minlength=len(weights))
    np.testing.assert_allclose(restored / len(weights), np.array(weights) / sum(weights), atol=1e-9)


# -- invariance --------------------------------------------------------------------------------------
@settings(deadline=None, max_examples=25)
@given(specs(), st.integers(0, 2**40), st.integers(0, 200), st.integers(1, 50))
def test_a_row_depends_on_seed_stream_and_number_alone(spec, seed, start, rows):
    whole = sample_tasks(spec, start + rows, seed=seed, stream=2)
    part = sample_tasks(spec, rows, seed=seed, stream=2, start=start)
    for name in ("role", "rank", "family"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[start:])


def test_seeds_and_streams_differ():
    spec = make_spec(5, 5)
    drawn = [sample_tasks(spec, 500, seed=s, stream=t).role for s, t in ((0, 0), (1, 0), (0, 1), (1, 1))]
    for one, other in itertools.combinations(drawn, 2):
        assert (one == other).all(1).mean() < 0.3  # joint and template rows coincide by chance


HASH = """
import hashlib, sys
import numpy as np
sys.path.insert(0, {root!r})
from tests.kernels.test_task_sampling import make_spec
from kernels.task_sampling import sample_pairs, apply_missing
np.seterr(over="ignore")
for spec, rows in ((make_spec(4, 4, causal_prefix_share=0.5), 100), (make_spec(9, 8, first=True), {long})):
    first, second = sample_pairs(spec, rows, seed=9, stream=3, start=7)
    missing = np.random.default_rng(0).random(first.role.shape) < 0.7
    missing[:, 0] = False
    masked = apply_missing(first, missing, seed=5)
    arrays = (first.role, first.rank, first.family, second.role, masked.role)
    print(hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest())
"""


def _hashes(long: int, **environment: str) -> list[str]:
    script = HASH.format(root=str(ROOT), long=long)
    result = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_compiled_rows_equal_interpreted_rows():
    """fn == fn.py_func for the whole kernel: the same rows with Numba switched off, vector instructions included."""
    assert _hashes(20, NUMBA_DISABLE_JIT="1") == _hashes(20)


def test_rows_do_not_depend_on_the_number_of_threads():
    assert _hashes(2000, NUMBA_NUM_THREADS="2") == _hashes(2000, NUMBA_NUM_THREADS="1")


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.integers(1, 2**15))
def test_scalar_functions_equal_their_python_form(word, u, n):
    word, u = np.uint64(word), np.uint64(u)
    table = np.sort(np.random.default_rng(0).random(CELLS + 1))
    with np.errstate(over="ignore"):
        for function, arguments in (
            (numba_kernel.mix, (word,)),
            (numba_kernel.below, (u, n)),
            (numba_kernel.unit, (u,)),
            (numba_kernel.interpolate, (table, u)),
        ):
            assert function(*arguments) == function.py_func(*arguments), function.__name__


@njit(cache=False)
def _bits(words, threshold, first, second, out, template):
    bits.blend_bytes(out, 3, template, 5, first, second, np.uint8(7), np.uint8(8))
    return bits.below_bytes(words, 8, threshold), bits.count_ones(first)


@settings(deadline=None, max_examples=50)
@given(st.binary(min_size=128, max_size=128), st.integers(0, 255), st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_vector_instructions_equal_their_numpy_definitions(data, threshold, first, second):
    words, template = np.frombuffer(data, np.uint64).copy(), np.frombuffer(data, np.uint8).copy()
    threshold, first, second = np.uint8(threshold), np.uint64(first), np.uint64(second)
    out = np.zeros((2, 70), np.uint8)
    below, ones = _bits(words, threshold, first, second, out[0], template)
    bits.blend_bytes(out[1], 3, template, 5, first, second, np.uint8(7), np.uint8(8))
    np.testing.assert_array_equal(out[0], out[1])
    assert below == bits.below_bytes(words, 8, threshold) and ones == bits.count_ones(first)


# -- pairs -------------------------------------------------------------------------------------------
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


# -- missing values ------------------------------------------------------------------------------------
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


# -- packing and the bank --------------------------------------------------------------------------------
@settings(deadline=None, max_examples=60)
@given(st.integers(0, 9), st.integers(1, 133), st.integers(0, 2**32 - 1))
def test_packing_round_trip(rows, n_tokens, seed):
    role = np.random.default_rng(seed).integers(0, 3, (rows, n_tokens), np.uint8)
    packed = pack_roles(role)
    assert packed.shape == (rows, (n_tokens + 3) // 4) and packed.dtype == np.uint8
    np.testing.assert_array_equal(unpack_roles(packed, n_tokens), role)
    np.testing.assert_array_equal(unpack_roles(packed[::-1], n_tokens), role[::-1])


def test_bank_holds_the_rows_of_its_stream(tmp_path):
    spec = make_spec(4, 4, causal_prefix_share=0.5)
    seen = []
    bank = write_bank(tmp_path / "bank", spec, 1000, seed=4, stream=1, progress=seen.append)
    assert sum(seen) == len(bank) == 1000 and isinstance(bank.packed, np.memmap)
    first, second = sample_pairs(spec, 1000, seed=4, stream=1)
    for rows in (slice(None), slice(10, 500, 7), np.array([3, 999, 3, -1]), np.empty(0, np.int64)):
        stored, other = TaskBank.open(tmp_path / "bank").pairs(rows)
        for got, want in ((stored, first[rows]), (other, second[rows])):
            for name in ("role", "rank", "family"):
                np.testing.assert_array_equal(getattr(got, name), getattr(want, name))
    assert sorted(p.name for p in (tmp_path / "bank").iterdir()) == ["bank.json", "families.npy", "roles.npy"]


def test_bank_in_chunks_equals_bank_at_once(tmp_path, monkeypatch):
    spec = make_spec(4, 4)
    whole = write_bank(tmp_path / "whole", spec, 500, seed=1)
    monkeypatch.setattr("kernels.task_sampling.bank.CHUNK_BYTES", 17 * 64)
    np.testing.assert_array_equal(write_bank(tmp_path / "chunks", spec, 500, seed=1).packed, whole.packed)


def test_a_failed_write_leaves_the_old_bank(tmp_path):
    spec = make_spec(4, 4)
    write_bank(tmp_path / "bank", spec, 100, seed=1)

    def stop(rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_bank(tmp_path / "bank", spec, 200, seed=2, progress=stop)
    assert len(TaskBank.open(tmp_path / "bank")) == 100
    assert [p.name for p in tmp_path.iterdir()] == ["bank"]


def test_specification_survives_json():
    spec = make_spec(3, 4, labels=2, first=True, causal_prefix_share=0.25)
    again = TaskSpec.from_json(spec.to_json())
    assert again.to_json() == spec.to_json()
    np.testing.assert_array_equal(sample_tasks(again, 50, seed=0).role, sample_tasks(spec, 50, seed=0).role)


# -- errors --------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": {"jiont": 1.0}}, r"'weights' must name families among joint, .* Got \['jiont'\]\."),
        ({"weights": {"joint": 0.0}}, r"'weights' must be finite, ≥ 0 and have a positive sum\. Got \{'joint': 0\.0\}"),
        ({"bert_target_share": 1.5}, r"'bert_target_share' must lie in \[0, 1\]\. Got 1\.5\."),
        ({"label_visible_share": float("nan")}, r"'label_visible_share' must lie in \[0, 1\]\. Got nan\."),
        (
            {"source_beta": (0.0, 1.0)},
            r"'source_beta' must hold two numbers in \[0\.001, 1000\.0\]\. Got \(0\.0, 1\.0\)",
        ),
        ({"block_share": (0.7, 0.2)}, r"'block_share' must not decrease\. Got \(0\.7, 0\.2\)\."),
        ({"group": np.zeros(3)}, r"'group' must have shape \(5,\)\. Got \(3,\)\."),
    ],
)
def test_specification_errors_say_what_came(changes, message):
    with pytest.raises(ValueError, match=message):
        make_spec(2, 2, **changes)


def test_argument_errors_say_what_came(tmp_path):
    spec = make_spec(2, 2)
    with pytest.raises(ValueError, match=r"'n_tokens' must lie in \[1, 32767\]\. Got 0\."):
        table_spec(0)
    with pytest.raises(ValueError, match=r"'seed' must lie in \[0, 2\*\*63\)\. Got -1\."):
        sample_tasks(spec, 4, seed=-1)
    tasks = sample_tasks(spec, 4, seed=0)
    with pytest.raises(ValueError, match=r"'missing' must be a \(4, 5\) bool array, .* Got shape \(4, 4\)"):
        apply_missing(tasks, np.zeros((4, 4), bool))
    missing = np.zeros((4, 5), bool)
    missing[2] = True
    with pytest.raises(ValueError, match=r"'missing' must leave an observed token in every row\. Got none in row 2\."):
        apply_missing(tasks, missing)
    with pytest.raises(ValueError, match=r"'packed' must be a \(N, 2\) uint8 array for 5 tokens\. Got shape \(4, 3\)"):
        unpack_roles(np.zeros((4, 3), np.uint8), 5)
    with pytest.raises(ValueError, match=r"'role' must be a \(N, L\) uint8 array\. .* dtype int64"):
        pack_roles(np.zeros((4, 3), np.int64))
    bank = write_bank(tmp_path / "bank", spec, 10, seed=0)
    with pytest.raises(
        ValueError, match=r"'rows' must be a slice or a 1-D integer array\. Got float64 of shape \(3,\)"
    ):
        bank.tasks(np.zeros(3))
    with pytest.raises(ValueError, match="Not a task specification"):
        TaskSpec.from_json("{}")
    (tmp_path / "bank" / "bank.json").write_text('{"format": 7}')
    with pytest.raises(ValueError, match=r"bank\.json must have format 2\. Got 7\."):
        TaskBank.open(tmp_path / "bank")


def test_compiled_tables_are_kept_per_specification():
    spec = make_spec(2, 2)
    assert compile_spec(spec) is compile_spec(spec)


def test_rows_are_pinned():
    """A change of the random stream changes every trained model: it must be meant, and noted in the changelog."""
    tasks = sample_tasks(make_spec(4, 4, causal_prefix_share=0.5), 1000, seed=0)
    digest = hashlib.sha256(tasks.role.tobytes() + tasks.rank.tobytes() + tasks.family.tobytes()).hexdigest()
    assert digest[:16] == "0a9a70857b26d714"
