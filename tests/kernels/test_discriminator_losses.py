"""Losses on logits: the formulas, means per family, second derivatives, and errors that name the rule."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.discriminator_losses import discriminator_losses, generator_losses

KINDS = ("relativistic", "non_saturating", "hinge")


def softplus(x: float) -> float:
    return max(0.0, x) + math.log1p(math.exp(-abs(x)))


def row_loss(real: float, fake: float, kind: str, generator: bool) -> float:
    if kind == "relativistic":
        return softplus(real - fake) if generator else softplus(fake - real)
    if kind == "non_saturating":
        return softplus(-fake) if generator else softplus(fake) + softplus(-real)
    return -fake if generator else max(0.0, 1 + fake) + max(0.0, 1 - real)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(KINDS), st.booleans(), st.integers(1, 12), st.integers(0, 999))
def test_losses_and_family_means_equal_a_loop_over_rows(kind, generator, rows, seed):
    random = torch.Generator().manual_seed(seed)
    real, fake = (torch.randn(rows, generator=random, dtype=torch.float64) * 4 for _ in range(2))
    family = torch.randint(3, (rows,), generator=random)
    function = generator_losses if generator else discriminator_losses
    loss, statistics = function(real, fake, family, kind=kind, n_families=4, adversarial_weight=0.5)
    expected = [row_loss(r, f, kind, generator) for r, f in zip(real.tolist(), fake.tolist(), strict=True)]
    # PyTorch takes softplus(x) for x beyond 20, an error of up to 2e-9.
    assert loss.item() == pytest.approx(0.5 * sum(expected) / rows, rel=1e-8)
    for n in range(4):
        own = [i for i in range(rows) if family[i] == n]
        assert statistics.count[n] == len(own)
        mean = sum(expected[i] for i in own) / max(1, len(own))
        assert statistics.loss_mean[n].item() == pytest.approx(mean, rel=1e-8, abs=1e-300)
        assert statistics.fake_mean[n].item() == pytest.approx(float(fake[own].sum()) / max(1, len(own)), rel=1e-12)


def test_terms_of_mismatched_sources_and_of_communication():
    real, fake, wrong = torch.tensor([1.0, 2.0]), torch.tensor([0.0, 0.0]), torch.tensor([3.0, -1.0])
    family = torch.zeros(2, dtype=torch.int64)
    base, _ = discriminator_losses(real, fake, family, n_families=1)
    given_ = {"mismatched": wrong, "mismatch_weight": 2.0, "n_families": 1}
    both, _ = discriminator_losses(real, fake, family, **given_)
    assert (both - base).item() == pytest.approx(2 * (softplus(2.0) + softplus(-3.0)) / 2, rel=1e-6)
    one, _ = discriminator_losses(real, fake, family, has_source=torch.tensor([True, False]), **given_)
    assert (one - base).item() == pytest.approx(2 * softplus(2.0), rel=1e-6)
    cross = tuple(torch.tensor([x, x]) for x in (0.0, 1.0, 2.0, -1.0))  # u₁ = 1, u₂ = 3
    for function, sign in ((discriminator_losses, -1), (generator_losses, 1)):
        plain, _ = function(real, fake, family, n_families=1)
        loss, _ = function(real, fake, family, cross=cross, communication_weight=0.5, n_families=1)
        assert (loss - plain).item() == pytest.approx(0.5 * (softplus(sign * 1.0) + softplus(sign * 3.0)), rel=1e-6)


def test_accuracy_counts_rows_told_apart():
    real, fake = torch.tensor([1.0, -1.0]), torch.tensor([0.0, -2.0])
    family = torch.tensor([0, 1])
    assert discriminator_losses(real, fake, family, n_families=2)[1].accuracy.tolist() == [1.0, 1.0]
    _, hinge = discriminator_losses(real, fake, family, kind="hinge", n_families=2)
    assert hinge.accuracy.tolist() == [0.5, 0.5]


def test_a_nan_logit_surfaces_in_its_family_alone():
    real = torch.tensor([0.5, float("nan"), 1.0])
    loss, statistics = discriminator_losses(real, torch.zeros(3), torch.tensor([0, 1, 0]), n_families=3)
    assert torch.isnan(loss)
    assert torch.isnan(statistics.accuracy).tolist() == [False, True, False]
    assert statistics.count.tolist() == [2.0, 1.0, 0.0]


@pytest.mark.parametrize("kind", KINDS[:2])
def test_second_derivatives(kind):
    logits = [torch.randn(5, dtype=torch.float64, requires_grad=True) for _ in range(7)]

    def function(real, fake, mismatched, *cross):
        return discriminator_losses(
            real, fake, torch.zeros(5, dtype=torch.int64), mismatched=mismatched, cross=cross, kind=kind,
            mismatch_weight=0.7, communication_weight=0.3, n_families=1,
        )[0]  # fmt: skip

    assert torch.autograd.gradcheck(function, logits)
    assert torch.autograd.gradgradcheck(function, logits)


def test_half_precision_accumulates_in_float32():
    real = torch.full((4096,), 3.0, dtype=torch.float16)
    loss, statistics = discriminator_losses(real, -real, torch.zeros(4096).long(), n_families=1)
    assert loss.dtype == statistics.real_mean.dtype == torch.float32
    assert loss.item() == pytest.approx(softplus(-6.0), rel=1e-5)


X, FAMILY = torch.zeros(3), torch.zeros(3, dtype=torch.int64)


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"kind": "wgan"}, ValueError, "'kind' must be one of relativistic, non_saturating, hinge. Got 'wgan'."),
        ({"backend": "gpu"}, ValueError, "'backend' must be one of auto, reference, triton. Got 'gpu'."),
        ({"backend": "triton"}, RuntimeError, "Backend 'triton' needs tensors on a GPU. Got device cpu"),
        ({"fake": torch.zeros(2)}, ValueError, r"'fake' must be floating with the shape of 'real', \(3,\). Got"),
        ({"cross": (X, X)}, ValueError, r"'cross' must hold four \(B,\) logits. Got 2."),
        ({"family": X}, ValueError, "'family' must be integers of shape"),
        ({"has_source": FAMILY}, ValueError, "'has_source' must be bool of shape"),
        ({"n_families": 0}, ValueError, "'n_families' must be at least 1. Got 0."),
        ({"mismatch_weight": 1.0}, ValueError, "'mismatch_weight' must be 0 without 'mismatched'. Got 1.0."),
    ],
)
def test_errors_name_the_argument_the_rule_and_what_came(change, error, words, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    given_ = {"real": X, "fake": X, "family": FAMILY, "n_families": 1} | change
    with pytest.raises(error, match=words):
        discriminator_losses(**given_)
