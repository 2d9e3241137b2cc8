"""The discriminator's input gradient as explicit code: to second order what autograd gives."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from pipeline.model.discriminator import Discriminator
from pipeline.model.transformer import FixedShapes
from pipeline.training.input_gradient import block_forward, block_gradient, input_gradient
from pipeline.training.losses import exact_penalty
from tests.helpers.training_case import NETWORK, SCHEMA, random_batch


@pytest.mark.parametrize("fixed", [False, True], ids=["exact shapes", "fixed shapes"])
@pytest.mark.parametrize("group", [1, 4])
def test_the_penalty_and_its_gradient_equal_those_of_autograd(group, fixed):
    torch.manual_seed(1)
    critic = Discriminator(SCHEMA, NETWORK, minibatch_group=group, attention_backend="reference").double()
    for norm in (m for m in critic.modules() if isinstance(m, torch.nn.LayerNorm)):
        torch.nn.init.normal_(norm.weight, 1.0, 0.3)
    if fixed:
        critic.body.fixed_shapes = FixedShapes(SCHEMA.n_tokens + 1.0, SCHEMA.n_tokens + 1)
    batch = random_batch(8)
    features, role = batch.features.double(), batch.role
    squares = input_gradient(critic, features, role, block_forward, block_gradient).square().sum(1)
    expected = exact_penalty(critic, features, role)
    torch.testing.assert_close(squares, expected, rtol=1e-12, atol=1e-12)
    weights = list(critic.parameters())
    for a, b in zip(
        torch.autograd.grad(squares.sum(), weights, allow_unused=True),
        torch.autograd.grad(expected.sum(), weights, allow_unused=True),
        strict=True,
    ):
        assert (a is None) == (b is None)
        if b is not None:
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


def test_the_penalty_under_autocast_is_near_that_in_float32():
    """Rounding to bfloat16 must not turn the penalty's gradient away."""
    torch.manual_seed(1)
    critic = Discriminator(SCHEMA, replace(NETWORK, width=64), minibatch_group=4, attention_backend="reference")
    batch, found = random_batch(32), []
    for enabled in (False, True):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
            penalty = exact_penalty(critic, batch.features, batch.role).mean()
        gradients = torch.autograd.grad(penalty, list(critic.parameters()), allow_unused=True)
        found.append(torch.cat([g.flatten() for g in gradients if g is not None]))
    exact, rounded = found
    assert torch.cosine_similarity(exact, rounded, dim=0) > 0.999
    assert 1e-5 < (exact - rounded).norm() / exact.norm() < 0.03
