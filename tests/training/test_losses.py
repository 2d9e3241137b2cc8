"""Losses: penalties against closed forms, likelihood terms against loops, mismatched sources cell by cell."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kernels.task_sampling import HIDDEN, SOURCE, TARGET
from pipeline.base.model_groups import NetworkParams
from pipeline.model.discriminator import Discriminator
from pipeline.rows.image_schema import image_label_schema
from pipeline.training.losses import approximate_penalty, exact_penalty, likelihood_terms, mismatched_source

SCHEMA = image_label_schema(4, 4, 1, 2, 0.0, 16.0, ["a", "b", "c"])


def test_exact_penalty_of_a_quadratic():
    x = torch.randn(5, 7)
    found = exact_penalty(lambda f, role: (f**2).sum(1), x, torch.zeros(5, 1))
    torch.testing.assert_close(found, 4 * x.square().sum(1))


def test_exact_penalty_gradient_matches_finite_differences():
    torch.manual_seed(0)
    critic = Discriminator(SCHEMA, NetworkParams(width=8, depth=2, heads=2), minibatch_group=2).double()
    x = torch.randn(4, SCHEMA.n_features, dtype=torch.float64)
    role = torch.tensor(np.random.default_rng(0).integers(0, 3, (4, SCHEMA.n_tokens)))
    weight = critic.body.blocks[0].query_key_value.weight

    def value_moved_by(i: int, j: int, step: float) -> float:
        with torch.no_grad():
            weight[i, j] += step
        value = exact_penalty(critic, x, role).mean().item()
        with torch.no_grad():
            weight[i, j] -= step
        return value

    exact_penalty(critic, x, role).mean().backward()
    for i, j in ((0, 0), (9, 3), (17, 5), (23, 7)):
        slope = (value_moved_by(i, j, 1e-6) - value_moved_by(i, j, -1e-6)) / 2e-6
        assert math.isclose(float(weight.grad[i, j]), slope, rel_tol=1e-5, abs_tol=1e-9)


def test_approximate_penalty_is_exact_for_linear_functions_in_the_mean():
    torch.manual_seed(0)
    slope = torch.randn(6)
    x, noise = torch.randn(20000, 6), torch.randn(20000, 6)
    found = approximate_penalty(lambda f, role: f @ slope, x, torch.zeros(20000, 1), 0.1, noise)
    assert math.isclose(float(found.mean()), float(slope.square().sum()), rel_tol=0.05)


@pytest.mark.parametrize(("error", "of"), [("absolute", torch.abs), ("squared", torch.square)])
def test_likelihood_terms_match_a_loop(error, of):
    rng = np.random.default_rng(1)
    rows = np.concatenate([rng.integers(0, 17, (12, 16)), rng.integers(0, 3, (12, 1))], 1)
    x, raw = torch.from_numpy(SCHEMA.encode(rows)), torch.randn(12, SCHEMA.n_features)
    role = torch.from_numpy(rng.integers(0, 3, (12, SCHEMA.n_tokens)).astype(np.uint8))
    errors = {"categorical": [], "continuous": []}
    for b in range(12):
        if (role[b] == SOURCE).sum() < 0.25 * SCHEMA.n_tokens:
            continue
        for i, token in enumerate(SCHEMA.tokens):
            if role[b, i] == TARGET:
                part = slice(int(SCHEMA.offsets[i]), int(SCHEMA.offsets[i + 1]))
                if token.modality == "categorical":
                    errors["categorical"].append(-float(raw[b, part].log_softmax(0)[x[b, part].argmax()]))
                else:
                    errors["continuous"].append(float(of(raw[b, part] - x[b, part]).mean()))
    categorical, continuous = likelihood_terms(raw, x, role, SCHEMA.groups, 0.25, error)
    assert math.isclose(float(categorical), np.mean(errors["categorical"]), rel_tol=1e-5)
    assert math.isclose(float(continuous), np.mean(errors["continuous"]), rel_tol=1e-5)


def test_likelihood_terms_without_a_target_are_zero():
    x = torch.zeros(3, SCHEMA.n_features)
    role = torch.full((3, SCHEMA.n_tokens), SOURCE)
    assert [float(t) for t in likelihood_terms(x, x, role, SCHEMA.groups, 0.0)] == [0.0, 0.0]


@pytest.mark.parametrize("kept", [HIDDEN, TARGET])
def test_mismatched_source_takes_only_sources_from_the_donor(kept):
    x, donor = torch.zeros(1, SCHEMA.n_features), torch.ones(1, SCHEMA.n_features)
    role = torch.full((1, SCHEMA.n_tokens), kept)
    role[0, 1] = SOURCE
    token_of_feature = torch.as_tensor(SCHEMA.token_of_feature)
    found = mismatched_source(x, donor, role, token_of_feature)[0]
    assert torch.equal(found, (token_of_feature == 1).float())
