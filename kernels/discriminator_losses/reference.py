"""Losses on discriminator logits in plain PyTorch: the definition of correctness, and the CPU path.

With r, f the logits of real and generated rows, m of mismatched sources, s = softplus, h = max(0, ·):

    kind            discriminator           generator
    relativistic    s(f − r)                s(r − f)          row by row (R3GAN, 2501.05441)
    non_saturating  s(f) + s(−r)            s(−f)
    hinge           h(1 + f) + h(1 − r)     −f

    mismatch        mean over rows with S ≠ ∅ of s(m − r)      discriminator alone
    communication   u₁ = f(x¹;S₂,T₂) − f(x¹;S₁,T₁), u₂ = f(x²;S₁,T₁) − f(x²;S₂,T₂)
                    discriminator s(−u₁) + s(−u₂), generator s(u₁) + s(u₂)   (arXiv 2407.21319, eq. 6)

Shapes: B rows. Accumulation in float32 or wider.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import softplus

Cross = tuple[Tensor, Tensor, Tensor, Tensor]


class FamilyStatistics(NamedTuple):
    """Per task family, each (n_families,) and detached; 0 where a family has no row, NaN where a logit was NaN."""

    count: Tensor  # rows
    loss_mean: Tensor  # unweighted adversarial loss
    real_mean: Tensor  # logit of real rows
    fake_mean: Tensor  # logit of generated rows
    accuracy: Tensor  # share of rows told apart: r > f (relativistic), else the mean of r > 0 and f < 0


def adversarial_rows(real: Tensor, fake: Tensor, kind: str, *, generator: bool) -> Tensor:
    """(B,) adversarial loss of each row."""
    if kind == "relativistic":
        return softplus(real - fake) if generator else softplus(fake - real)
    if kind == "non_saturating":
        return softplus(-fake) if generator else softplus(fake) + softplus(-real)
    return -fake if generator else (1 + fake).relu() + (1 - real).relu()


def losses_reference(
    real: Tensor,
    fake: Tensor,
    family: Tensor,
    mismatched: Tensor | None,
    has_source: Tensor | None,
    cross: Cross | None,
    *,
    kind: str,
    generator: bool,
    weights: tuple[float, float, float],
    n_families: int,
) -> tuple[Tensor, FamilyStatistics]:
    """(weighted loss, statistics). weights: adversarial, mismatch, communication."""
    adversarial, mismatch, communication = weights
    rows = adversarial_rows(real, fake, kind, generator=generator)
    loss = rows.mean() * adversarial if adversarial != 1 else rows.mean()
    if mismatched is not None and mismatch != 0:
        terms = softplus(mismatched - real)
        if has_source is None:
            term = terms.mean()
        else:
            term = terms.where(has_source, terms.new_zeros(())).sum() / has_source.sum().clamp(min=1)
        loss = loss + mismatch * term
    if cross is not None and communication != 0:
        own_1, other_1, other_2, own_2 = cross
        sign = 1.0 if generator else -1.0
        u = torch.cat([other_1 - own_1, other_2 - own_2])
        loss = loss + (2.0 * communication) * softplus(sign * u).mean()
    return loss, family_statistics(real, fake, rows, family, kind, n_families)


@torch.no_grad()
def family_statistics(
    real: Tensor, fake: Tensor, rows: Tensor, family: Tensor, kind: str, n_families: int
) -> FamilyStatistics:
    """Means of the (B,) tensors over the rows of each family."""
    if kind == "relativistic":
        right = (real > fake).to(rows.dtype)
    else:
        right = 0.5 * ((real > 0).to(rows.dtype) + (fake < 0))
    right = torch.where(torch.isnan(real + fake), float("nan"), right)
    values = torch.stack([torch.ones_like(rows), rows, real, fake, right], 1)
    sums = values.new_zeros(n_families, 5).index_add_(0, family.long(), values)
    means = sums / sums[:, :1].clamp(min=1)
    return FamilyStatistics(sums[:, 0], *means[:, 1:].unbind(1))
