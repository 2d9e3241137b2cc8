"""Cases of masked attention and what every implementation must match: values, first and second derivatives in float64.

Shapes: B rows, L tokens, M packed tokens, H heads, D head dimension.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kernels.masked_attention import Packing, make_packing, masked_self_attention

NAMES = ("out", "d_qkv", "second d_qkv", "second d_gradient")
# How far rounding of one product may carry a result: float32 products are three tf32 ones on tensor cores.
BAND = {torch.float32: 2.0**-22, torch.float16: 2.0**-10, torch.bfloat16: 2.0**-7}


@dataclass(frozen=True)
class Case:
    """One shape. share: of visible tokens; empty: row 0 sees nothing; spare: unused places of a fixed capacity."""

    why: str
    batch: int
    tokens: int
    heads: int
    head_dim: int
    share: float = 0.6
    rank: bool = False
    empty: bool = False
    spare: int | None = None
    dtype: torch.dtype = torch.float32
    seed: int = 0

    def __str__(self) -> str:
        return self.why.replace(" ", "-")

    def packing(self, device: str = "cpu") -> Packing:
        """Random visible tokens; the last row sees everything, so that the longest row has all L tokens."""
        generator = torch.Generator().manual_seed(self.seed)
        visible = torch.rand(self.batch, self.tokens, generator=generator) < self.share
        visible[-1] = True
        if self.empty:
            visible[0] = False
        capacity = None if self.spare is None else int(visible.sum()) + self.spare
        return make_packing(visible.to(device), None if capacity is None else self.tokens, capacity)

    def tensors(self, packing: Packing) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        """(qkv (M, 3, H, D), gradient (M, H, D), cotangent (M, 3, H, D), rank (M,) or None): exact in `dtype`."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        m, h, d = packing.total, self.heads, self.head_dim
        shapes = (m, 3, h, d), (m, h, d), (m, 3, h, d)
        qkv, gradient, cotangent = (torch.randn(s, generator=generator).to(self.dtype) for s in shapes)
        if packing.padded:  # nothing may come from, or go to, a place that holds no token
            gradient[m - self.spare :] = 0
            cotangent[m - self.spare :] = 0
        rank = torch.randint(0, 4, (m,), generator=generator) if self.rank else None
        device = packing.index.device
        return qkv.to(device), gradient.to(device), cotangent.to(device), None if rank is None else rank.to(device)


def derivatives(function, qkv: Tensor, gradient: Tensor, cotangent: Tensor) -> list[Tensor]:
    """[out, ∂qkv, and the derivatives of ⟨∂qkv, cotangent⟩ by qkv and gradient] of out = function(qkv), float64."""
    qkv, gradient = qkv.detach().requires_grad_(True), gradient.detach().requires_grad_(True)
    out = function(qkv)
    (first,) = torch.autograd.grad(out, qkv, gradient, create_graph=True)
    second = torch.autograd.grad(first, (qkv, gradient), cotangent)
    return [x.detach().double() for x in (out, first, *second)]


def eager_attention(qkv: Tensor, packing: Packing, rank: Tensor | None) -> Tensor:
    """(M, H, D) attention written as anyone would, with autograd's derivatives, row by row."""
    rows = []
    ends = packing.cu_seqlens.tolist()
    for start, end in zip(ends[:-1], ends[1:], strict=True):
        q, k, v = qkv[start:end].permute(1, 2, 0, 3).unbind(0)
        scores = q @ k.transpose(1, 2) * q.shape[-1] ** -0.5
        if rank is not None:
            r = rank[start:end]
            scores = scores.masked_fill(r[None, :] > r[:, None], -torch.inf)
        rows.append((scores.softmax(-1) @ v).transpose(0, 1))
    rows.append(qkv.new_zeros(qkv.shape[0] - ends[-1], *qkv.shape[2:]))
    return torch.cat(rows)


def errors(found: list[Tensor], true: list[Tensor]) -> list[float]:
    """Relative error of each tensor, ‖found − true‖ / ‖true‖; of one that vanishes (a lone token), its root mean square."""
    out = []
    for a, b in zip(found, true, strict=True):
        scale, unit = b.norm().item(), max(1, b.numel()) ** 0.5
        out.append((a - b).norm().item() / (scale if scale > 1e-9 * unit else unit))
    return out


def assert_within_budget(case: Case, device: str, backend: str = "triton") -> None:
    """Asserts the kernels' errors against float64: at most twice what eager math makes in the same dtype, and a
    rounding band. Both read the same rounded inputs."""
    packing = case.packing(device)
    qkv, gradient, cotangent, rank = case.tensors(packing)
    wide = [x.double() for x in (qkv, gradient, cotangent)]
    true = derivatives(lambda x: eager_attention(x, packing, rank), *wide)
    eager = derivatives(lambda x: eager_attention(x, packing, rank), qkv, gradient, cotangent)
    found = derivatives(lambda x: masked_self_attention(x, packing, rank, backend=backend), qkv, gradient, cotangent)
    own, allowed = errors(found, true), errors(eager, true)
    for name, error, budget, x in zip(NAMES, own, allowed, found, strict=True):
        assert torch.isfinite(x).all(), f"{case.why}: {name} is not finite"
        limit = 2 * (budget + BAND[case.dtype])
        assert error <= limit, f"{case.why}: {name} is off by {error:.2e}, more than {limit:.2e}"
