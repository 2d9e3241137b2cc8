"""Cases of the losses on discriminator logits, and what every implementation must match in float64."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.discriminator_losses import discriminator_losses, generator_losses

FAMILIES = 5


@dataclass(frozen=True)
class Case:
    """One combination of terms; rows: B."""

    kind: str
    generator: bool = False
    mismatched: bool = False
    has_source: bool = False
    cross: bool = False
    rows: int = 23

    def __str__(self) -> str:
        terms = [n for n in ("generator", "mismatched", "has_source", "cross") if getattr(self, n)]
        return "-".join([self.kind, *terms, str(self.rows)])


CASES = [
    Case("relativistic", mismatched=True, has_source=True, cross=True, rows=300),
    Case("relativistic", mismatched=True, rows=1),
    Case("relativistic", generator=True, cross=True),
    Case("non_saturating", mismatched=True, has_source=True, cross=True),
    Case("non_saturating", generator=True),
    Case("hinge", mismatched=True, has_source=True),
    Case("hinge", generator=True, cross=True, rows=256),
]


def evaluate(case: Case, backend: str, dtype: torch.dtype, device: str = "cpu") -> list[Tensor]:
    """Loss, statistics, gradients of the logits, and the second derivatives along random cotangents, float64."""
    random = torch.Generator().manual_seed(case.rows)
    logits = [(torch.randn(case.rows, generator=random) * 3).to(device, dtype).requires_grad_(True) for _ in range(7)]
    family = torch.randint(FAMILIES, (case.rows,), generator=random).to(device)
    source = (torch.rand(case.rows, generator=random) < 0.6).to(device) if case.has_source else None
    cotangents = [torch.randn(case.rows, generator=random).to(device, dtype) for _ in range(7)]
    given = {"kind": case.kind, "n_families": FAMILIES, "backend": backend, "adversarial_weight": 1.3}
    if case.cross:
        given |= {"cross": tuple(logits[3:]), "communication_weight": 0.4}
    if case.mismatched:
        given |= {"mismatched": logits[2], "has_source": source, "mismatch_weight": 0.7}
    loss, statistics = (generator_losses if case.generator else discriminator_losses)(*logits[:2], family, **given)
    weight = torch.tensor(1.7, dtype=dtype, device=device, requires_grad=True)
    first = torch.autograd.grad(loss, logits, weight, create_graph=True, allow_unused=True)
    along = sum((d * c).sum() for d, c in zip(first, cotangents, strict=True) if d is not None)
    second = torch.autograd.grad(along, [*logits, weight], allow_unused=True)
    return [
        (torch.zeros(case.rows, device=device) if x is None else x).detach().double()
        for x in (loss, *statistics, *first, *second)
    ]


def assert_close_to_float64(case: Case, backend: str, device: str = "cpu") -> None:
    """Asserts every output within a few float32 roundings of the reference in float64."""
    found = evaluate(case, backend, torch.float32, device)
    true = evaluate(case, "reference", torch.float64, device)
    for i, (a, b) in enumerate(zip(found, true, strict=True)):
        assert (a - b).norm() <= 1e-6 * b.norm() + 1e-8, f"{case}: output {i}"
