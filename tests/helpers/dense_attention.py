"""Cases of `attention` in PyTorch's layout, and every derivative of it up to the second order, in every mix of the two modes.

Shapes: B rows, H heads, L queries, S keys, D head dimension.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import jvp, vjp

from kernels.masked_attention import attention, attention_jvp
from tests.helpers.attention_cases import BAND, errors


@dataclass(frozen=True)
class DenseCase:
    """One shape. keys: S, None for L; mask: some keys are hidden, all of them in row 0; rank: random ranks."""

    why: str
    batch: int
    heads: int
    queries: int
    head_dim: int
    keys: int | None = None
    mask: bool = False
    causal: bool = False
    rank: bool = False
    dtype: torch.dtype = torch.float32
    scale: float | None = None

    def __str__(self) -> str:
        return self.why.replace(" ", "-")

    def tensors(self, device: str = "cpu") -> tuple[tuple[Tensor, ...], Tensor, tuple[Tensor, ...]]:
        """((q, k, v), gradient of out, tangents of q, k, v), random."""
        generator = torch.Generator().manual_seed(0)
        keys = self.keys or self.queries
        q = (self.batch, self.heads, self.queries, self.head_dim)
        k = (self.batch, self.heads, keys, self.head_dim)
        x = [torch.randn(s, generator=generator).to(device, self.dtype) for s in (q, k, k, q, q, k, k)]
        return tuple(x[:3]), x[3], tuple(x[4:])

    def seen(self, device: str = "cpu") -> dict:
        """What restricts the queries, as arguments of `attention`."""
        generator, keys = torch.Generator().manual_seed(1), self.keys or self.queries
        out = {"is_causal": self.causal, "scale": self.scale}
        if self.mask:
            mask = torch.rand(self.batch, keys, generator=generator) < 0.7
            mask[0] = False
            out["mask"] = mask.to(device)
        if self.rank:
            draw = lambda n: torch.randint(0, 4, (self.batch, n), generator=generator).to(device)  # noqa: E731
            out |= {"rank": draw(self.queries), "key_rank": draw(keys)}
        return out

    def allowed(self, device: str = "cpu") -> Tensor:
        """(B, 1, L, S) bool, pair by pair: the slow clear form of `seen`."""
        seen, keys = self.seen(device), self.keys or self.queries
        out = torch.ones(self.batch, 1, self.queries, keys, dtype=torch.bool, device=device)
        for b in range(self.batch):
            for i in range(self.queries):
                for j in range(keys):
                    out[b, 0, i, j] = (
                        (not self.mask or bool(seen["mask"][b, j]))
                        and (not self.causal or j <= i)
                        and (not self.rank or int(seen["key_rank"][b, j]) <= int(seen["rank"][b, i]))
                    )
        return out


def textbook(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor, scale: float | None) -> Tensor:
    """Attention as anyone would write it, in the dtype of its inputs; 0 where a query sees nothing."""
    scores = (q @ k.mT) * (q.shape[-1] ** -0.5 if scale is None else scale)
    lonely = ~allowed.any(-1, keepdim=True)
    scores = scores.masked_fill(~allowed & ~lonely, -torch.inf)
    return (scores.softmax(-1) @ v).masked_fill(lonely, 0.0)


def all_orders(function: Callable, primals: tuple, gradient: Tensor, tangents: tuple) -> dict[str, list[Tensor]]:
    """Name → tensors in float64 of out = function(*primals): values and derivatives."""

    def backward(*x_and_g: Tensor) -> tuple[Tensor, ...]:
        return vjp(function, *x_and_g[:-1])[1](x_and_g[-1])

    def forward(*x_and_t: Tensor) -> Tensor:
        return jvp(function, x_and_t[:3], x_and_t[3:])[1]

    out, pull = vjp(function, *primals)
    found = {"out": [out], "reverse": pull(gradient), "forward": [forward(*primals, *tangents)]}
    found["reverse over reverse"] = vjp(backward, *primals, gradient)[1](tangents)
    found["forward over reverse"] = jvp(backward, (*primals, gradient), (*tangents, 0.5 * gradient))[1]
    found["reverse over forward"] = vjp(forward, *primals, *tangents)[1](gradient)
    return {name: [x.detach().double() for x in tensors] for name, tensors in found.items()}


def assert_all_orders_within_budget(case: DenseCase, device: str, backend: str) -> None:
    """Asserts every derivative: at most twice what the textbook makes of it in the same dtype, and a rounding band."""
    given, seen, allowed = case.tensors(device), case.seen(device), case.allowed(device)
    primals, gradient, tangents = given
    wide = tuple(x.double() for x in primals), gradient.double(), tuple(x.double() for x in tangents)
    true = all_orders(lambda q, k, v: textbook(q, k, v, allowed, case.scale), *wide)
    eager = all_orders(lambda q, k, v: textbook(q, k, v, allowed, case.scale), *given)
    found = all_orders(lambda q, k, v: attention(q, k, v, backend=backend, **seen), *given)
    found["by attention_jvp"] = [x.double() for x in attention_jvp(primals, tangents, backend=backend, **seen)]
    true["by attention_jvp"], eager["by attention_jvp"] = ([*x["out"], *x["forward"]] for x in (true, eager))
    for name in found:
        own, budget = errors(found[name], true[name]), errors(eager[name], true[name])
        for i, (error, allowance) in enumerate(zip(own, budget, strict=True)):
            limit = 2 * (allowance + BAND.get(case.dtype, 1e-13))
            assert error <= limit, f"{case.why}: {name} {i} is off by {error:.2e}, more than {limit:.2e}"
