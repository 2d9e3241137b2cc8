"""What masked attention is measured against, each written as its library intends.

Every side is a function (inputs) → out on tensors that lie as suits it best; building them is not timed.

Shapes: B rows, L tokens, M packed tokens, n longest row, H heads, D head dimension.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from kernels.masked_attention import Packing, attention, attention_jvp, make_packing, masked_self_attention

NOTHING = float("-inf")


@dataclass(frozen=True)
class Problem:
    """One shape: packed inputs and the same ones in a padded layout.

    qkv, cotangent: (M, 3, H, D); gradient: (M, H, D); visible: (B, L); causal: a token sees itself and those before it.
    """

    packing: Packing
    visible: Tensor
    qkv: Tensor
    gradient: Tensor
    cotangent: Tensor
    causal: bool = False

    @property
    def pairs(self) -> int:
        """Pairs of query and key that count, one head: Σ n², or Σ n(n + 1)/2."""
        lengths = self.packing.lengths
        return int((lengths * (lengths + 1) // 2 if self.causal else lengths.square()).sum())

    def first_rows(self, count: int) -> Problem:
        """The problem of its first rows."""
        packing = make_packing(self.visible[:count])
        parts = (x[: packing.total] for x in (self.qkv, self.gradient, self.cotangent))
        return Problem(packing, self.visible[:count], *parts, self.causal)


def make_problem(
    batch: int, heads: int, tokens: int, dim: int, share: float, dtype, device: str, causal: bool = False
) -> Problem:
    """A random problem; every row sees round(share·L) random tokens, plus or minus a quarter of what is left over."""
    generator = torch.Generator().manual_seed(0)
    order = torch.rand(batch, tokens, generator=generator).argsort(1).argsort(1)
    slack = 0.25 * min(share, 1 - share) * tokens
    lengths = (share * tokens + (torch.rand(batch, 1, generator=generator) * 2 - 1) * slack).round().long()
    visible = (order < lengths).to(device)
    packing = make_packing(visible)
    m = packing.total
    shapes = (m, 3, heads, dim), (m, heads, dim), (m, 3, heads, dim)
    generator = torch.Generator(device).manual_seed(1)  # a billion numbers take a CPU longer than all that is measured
    x = [torch.randn(s, generator=generator, device=device).to(dtype) for s in shapes]
    return Problem(packing, visible, *x, causal)


def padded(problem: Problem, packed: Tensor, to_longest: bool) -> Tensor:
    """(B, H, length, D) or (3, B, H, length, D) from packed (M, H, D) or (M, 3, H, D): L tokens a row, or as many as
    the longest row has."""
    p = problem.packing
    grid = packed.new_zeros(p.batch * p.tokens, *packed.shape[1:])
    grid[p.index] = packed
    grid = grid.view(p.batch, p.tokens, *packed.shape[1:])
    if to_longest:
        first = problem.visible.int().argsort(dim=1, descending=True, stable=True)[:, : p.max_length]
        grid = grid.gather(1, first.view(*first.shape, *[1] * (packed.ndim - 1)).expand(-1, -1, *packed.shape[1:]))
    return grid.permute((2, 0, 3, 1, 4) if packed.ndim == 4 else (0, 2, 1, 3)).contiguous()


def key_mask(problem: Problem, to_longest: bool) -> Tensor | None:
    """(B, 1, 1, length) or, of causal rows, (L, L) bool: keys that may be seen; None where all are."""
    if problem.causal:
        return (
            torch.ones(problem.packing.tokens, problem.packing.tokens, dtype=torch.bool)
            .tril()
            .to(problem.visible.device)
        )
    if problem.packing.full:
        return None
    if not to_longest:
        return problem.visible[:, None, None, :]
    places = torch.arange(problem.packing.max_length, device=problem.visible.device)
    return (places < problem.packing.lengths[:, None])[:, None, None, :]


def math_attention(qkv: Tensor, mask: Tensor | None) -> Tensor:
    """(B, H, L, D) attention as textbooks write it, differentiated by autograd. qkv: (3, B, H, L, D)."""
    q, k, v = qkv.unbind(0)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)
    if mask is not None:
        scores = scores.masked_fill(~mask, NOTHING)
    return scores.softmax(-1) @ v


def ours(problem: Problem, backend: str = "auto") -> Callable[[Tensor], Tensor]:
    """Our attention on packed (M, 3, H, D) input; causal by the call that takes q, k and v apart, its copy included."""
    if not problem.causal:
        return lambda qkv: masked_self_attention(qkv, problem.packing, backend=backend)
    return lambda qkv: attention(*qkv.unbind(1), **packed_rows(problem), backend=backend)


def packed_rows(problem: Problem) -> dict:
    """Arguments of `attention` on packed tokens."""
    p = problem.packing
    return {"cu_seqlens": p.cu_seqlens, "max_length": p.max_length, "is_causal": problem.causal}


def forward_mode(problem: Problem, backend: str = "auto") -> Callable[[], tuple[Tensor, Tensor]]:
    """Our value and its derivative along the problem's cotangent."""
    primals, tangents = problem.qkv.unbind(1), problem.cotangent.unbind(1)
    return lambda: attention_jvp(primals, tangents, **packed_rows(problem), backend=backend)


def math_forward_mode(problem: Problem, mask: Tensor | None) -> Callable[[], tuple[Tensor, Tensor]]:
    """The same by torch.func.jvp of math attention on all L tokens."""
    qkv, tangent = (padded(problem, x, False) for x in (problem.qkv, problem.cotangent))
    return lambda: torch.func.jvp(lambda x: math_attention(x, mask), (qkv,), (tangent,))


def sdpa(mask: Tensor | None, causal: bool = False) -> Callable[[Tensor], Tensor]:
    """PyTorch's fused attention on (3, B, H, L, D): first order only."""
    return lambda qkv: scaled_dot_product_attention(*qkv.unbind(0), attn_mask=mask, is_causal=causal)


def varlen(problem: Problem) -> Callable[[Tensor], Tensor]:
    """PyTorch's packed flash attention on (M, 3, H, D), where the installed version has it: first order only."""
    from torch.nn.attention.varlen import varlen_attn

    p = problem.packing
    return lambda qkv: varlen_attn(*qkv.unbind(1), p.cu_seqlens, p.cu_seqlens, p.max_length, p.max_length)


def flex(problem: Problem) -> Callable[[Tensor], Tensor]:
    """FlexAttention with a block mask of the visible keys, on (3, B, H, L, D): first order only."""
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    visible, p = problem.visible, problem.packing
    mask = None
    if not p.full:
        mask = create_block_mask(
            lambda b, h, q, k: visible[b, k], p.batch, None, p.tokens, p.tokens, device=str(visible.device)
        )
    compiled = torch.compile(flex_attention)
    return lambda qkv: compiled(*qkv.unbind(0), block_mask=mask)


def orders(function: Callable[[Tensor], Tensor], inputs: Tensor, gradient: Tensor, cotangent: Tensor) -> dict:
    """Order → call: 0 the forward, 1 with its backward, 2 with the double backward too."""
    qkv, g = inputs.detach().requires_grad_(True), gradient.detach().requires_grad_(True)

    def forward() -> Tensor:
        with torch.no_grad():
            return function(qkv)

    def first() -> tuple[Tensor, ...]:
        return torch.autograd.grad(function(qkv), qkv, gradient)

    def second() -> tuple[Tensor, ...]:
        (d,) = torch.autograd.grad(function(qkv), qkv, g, create_graph=True)
        return torch.autograd.grad(d, (qkv, g), cotangent)

    return {0: forward, 1: first, 2: second}


def compiled_second(
    function: Callable[[Tensor], Tensor], inputs: Tensor, gradient: Tensor, cotangent: Tensor
) -> Callable[[], tuple[Tensor, ...]]:
    """The second order as torch.compile can do it: the inner gradient by torch.func, the outer by autograd."""
    qkv, g = inputs.detach().requires_grad_(True), gradient.detach().requires_grad_(True)

    def inner(qkv: Tensor, g: Tensor) -> Tensor:
        d = torch.func.grad(lambda x: (function(x) * g).sum(dtype=torch.float32))(qkv)
        return (d * cotangent).sum(dtype=torch.float32)

    compiled = torch.compile(inner, dynamic=False)
    return lambda: torch.autograd.grad(compiled(qkv, g), (qkv, g))
