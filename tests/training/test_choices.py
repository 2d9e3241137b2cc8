"""Scores of all discrete targets in one pass: against pipeline.training.losses, values and gradients, padding and none at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.task_sampling import TARGET
from pipeline.base.model_groups import NetworkParams
from pipeline.model.generator import Generator
from pipeline.rows.schema import Schema
from pipeline.rows.tokens import Token
from pipeline.training.choices import choice_terms, kinds_of, targets_of
from pipeline.training.losses import likelihood_terms, ranked_scores

NETWORK = NetworkParams(width=8, depth=1, heads=2, noise_width=1, order="one_by_one")


def schema_of(bins: list[int], categories: list[int]) -> Schema:
    """A schema of binned numbers, then categories, of those widths."""
    tokens = [
        Token(f"n{i}", "numeric", f"n{i}", (i,), k, scale=1.5, edges=tuple(np.linspace(0, 2 + i, k + 1).tolist()))
        for i, k in enumerate(bins)
    ]
    first = len(bins)
    tokens += [Token(f"c{i}", "categorical", f"c{i}", (first + i,), k) for i, k in enumerate(categories)]
    return Schema(tuple(tokens), tuple(t.name for t in tokens))


def case_of(bins: list[int], categories: list[int], seed: int) -> tuple:
    """(groups, spacing, raw, features, role); features outside the targets are NaN, which nothing may read."""
    schema = schema_of(bins, categories)
    rng = np.random.default_rng(seed)
    columns = [rng.uniform(0, 2 + i, 9) for i in range(len(bins))] + [rng.integers(0, k, 9) for k in categories]
    features = torch.from_numpy(schema.encode(np.stack(columns, 1))).double()
    role = torch.from_numpy(rng.integers(0, 3, (9, schema.n_tokens)).astype(np.uint8))
    features[(role != TARGET)[:, schema.token_of_feature]] = torch.nan
    raw = torch.from_numpy(rng.normal(0, 2, features.shape)).requires_grad_(True)
    generator = Generator(schema, NETWORK)
    return generator.body.groups, generator.spacing.double(), raw, features, role


widths = st.lists(st.integers(1, 9), max_size=3)


@settings(deadline=None, max_examples=25)
@given(bins=widths, categories=widths, seed=st.integers(0, 99))
def test_one_pass_gives_what_the_definitions_give(bins, categories, seed):
    if not bins + categories:
        categories = [2]
    groups, spacing, raw, features, role = case_of(bins, categories, seed)
    nats, ranked = choice_terms(raw, features, role == TARGET, kinds_of(groups, spacing))
    (nats + 5 * ranked).backward()
    found, raw.grad = raw.grad, None
    expected, _ = likelihood_terms(raw, features, role, groups, 0.0)
    scores = ranked_scores(raw, features, role == TARGET, groups, spacing)
    expected_ranked = scores.sum() / (role == TARGET).sum().clamp(min=1)
    (expected + 5 * expected_ranked).backward()
    torch.testing.assert_close(nats, expected)
    torch.testing.assert_close(ranked, expected_ranked)
    torch.testing.assert_close(found, raw.grad)


def test_without_a_target_both_terms_are_zero():
    groups, spacing, raw, features, role = case_of([3, 5], [2], 0)
    terms = choice_terms(raw, features, torch.zeros_like(role, dtype=torch.bool), kinds_of(groups, spacing))
    assert [t.item() for t in terms] == [0.0, 0.0]


@pytest.mark.parametrize("binned", [True, False])
def test_a_padded_choice_is_never_likely(binned):
    groups, spacing, raw, features, _ = case_of([2, 7] if binned else [], [] if binned else [2, 7], 1)
    every = torch.ones(9, 2, dtype=torch.bool)
    features = torch.nan_to_num(features)
    (targets,) = targets_of(kinds_of(groups, spacing), features, every)
    probability = targets.logits(raw).softmax(-1)
    assert targets.binned == binned and probability.shape == (18, 7)
    assert (probability[targets.token == 0, 2:] == 0).all()
    assert (targets.chosen[targets.token == 0] < 2).all()
