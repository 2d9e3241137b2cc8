"""Masked attention in plain PyTorch, exact to second order: the definition of correctness, and the CPU path.

Packed tokens are gathered into a padded (heads, length) grid, where attention, its backward and its double
backward are batched matrix products written out by hand: autograd would store and revisit every elementwise
step of a softmax backward. Half precisions compute in float32.

    P = softmax(c·QKᵀ + mask), O = PV
    G = ∂O; dP = GVᵀ; D = dP − rowsum(P∘dP); dS = P∘D; dQ = c·dS·K; dK = c·dSᵀ·Q; dV = PᵀG
    A, E, C cotangents of dQ, dK, dV; M = c(AKᵀ + QEᵀ); M' = M − rowsum(P∘M); Ṗ = P∘M'; N = GCᵀ
    W = N + M'∘D; dS₂ = P∘(W − rowsum(P∘W))
    ∂G = ṖV + PC; ∂V = ṖᵀG; ∂Q = c(dS₂·K + dS·E); ∂K = c(dS₂ᵀ·Q + dSᵀ·A)

Trap kept out: whatever `forward` computes and saves (the padded copies, P) has no graph, so the second-order
path always receives the Function's own inputs, and the copies only as cached values of them.

Shapes: M packed tokens, B rows, H heads, N = B·H, L padded length, D head dimension.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor
from torch.autograd import Function

from kernels.masked_attention.packing import Packing
from kernels.masked_attention.validation import THIRD_DERIVATIVE


def attention_reference(qkv: Tensor, packing: Packing, rank: Tensor | None, scale: float) -> Tensor:
    """(M, H, D) attention of packed tokens. qkv: (M, 3, H, D); rank: (M,) integer or None."""
    heads = qkv.shape[2]
    grid = packing.cache.get(("grid", heads))
    if grid is None:
        grid = packing.cache["grid", heads] = _PackedGrid(packing, heads)
    bias = _bias(packing, rank, heads, torch.promote_types(qkv.dtype, torch.float32))
    return _Attention.apply(qkv, grid, bias, scale)


def attention_reference_padded(
    q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None, rank: Tensor | None, scale: float
) -> Tensor:
    """(B, H, L, D) attention, zeros at hidden tokens. q, k, v: (B, H, L, D); visible: (B, L) bool; rank: (B, L)."""
    allowed = None if visible is None else visible[:, :, None]
    if rank is not None:
        below = rank[:, :, None] <= rank[:, None, :]
        allowed = below if allowed is None else allowed & below
    bias = None if allowed is None else _as_bias(allowed, q.shape[1], torch.promote_types(q.dtype, torch.float32))
    return _Attention.apply(torch.stack([q, k, v]), _PaddedGrid(q.shape, visible), bias, scale)


def _bias(packing: Packing, rank: Tensor | None, heads: int, dtype: torch.dtype) -> Tensor | None:
    """(N, L, 1 or L) by key and query: 0 where attention is allowed, else the lowest number; None: all allowed."""
    if packing.full and rank is None:
        return None
    key = ("bias", heads, dtype)
    made_for, bias = packing.cache.get(key, (None, None))
    if bias is None or made_for is not rank:
        length = packing.max_length
        allowed = (torch.arange(length, device=packing.index.device) < packing.lengths[:, None])[:, :, None]
        if rank is not None:
            ranks = rank[_padded_rows(packing)]
            allowed = allowed & (ranks[:, :, None] <= ranks[:, None, :])
        bias = _as_bias(allowed, heads, dtype)
        packing.cache[key] = (rank, bias)
    return bias


def _as_bias(allowed: Tensor, heads: int, dtype: torch.dtype) -> Tensor:
    """Lowest number instead of −inf: a row that sees nothing gets finite weights, which are then dropped, not NaN."""
    bias = torch.zeros(allowed.shape, dtype=dtype, device=allowed.device)
    bias.masked_fill_(~allowed, torch.finfo(dtype).min)
    return bias.repeat_interleave(heads, 0)


def _padded_rows(packing: Packing) -> Tensor:
    """(B, L) packed place of the i-th visible token of row b; beyond its length some valid place."""
    key = "padded_rows"
    if key not in packing.cache:
        starts = packing.cu_seqlens[:-1].long()
        i = torch.arange(packing.max_length, device=starts.device)
        i = torch.minimum(i, (packing.lengths - 1).clamp(min=0)[:, None])
        packing.cache[key] = (starts[:, None] + i).clamp(max=max(packing.total - 1, 0))
    return packing.cache[key]


class _PackedGrid:
    """Packed (M, …) ↔ padded (N, L, D), by row gathers in both directions: on a CPU they beat scatters and permutes."""

    def __init__(self, packing: Packing, heads: int) -> None:
        device, length = packing.index.device, packing.max_length
        n = packing.batch * heads
        h = torch.arange(heads, device=device)
        part = torch.arange(3, device=device)
        rows = _padded_rows(packing)
        one = (rows[:, None, :] * heads + h[:, None]).reshape(-1)  # (B, H, L) into (M, H)
        three = ((rows[:, None, :] * 3)[None] + part[:, None, None, None]) * heads + h[:, None]  # into (M, 3, H)
        self.shape = (n, length)
        self.read_one, self.read_three = one, three.reshape(-1)
        row = packing.gather_index // max(packing.tokens, 1)
        place = torch.arange(packing.total, device=device) - packing.cu_seqlens[row]
        self.used = self.visible = None
        if packing.padded:
            self.used = (packing.index < packing.batch * packing.tokens)[:, None]
            place = place.clamp(max=max(length - 1, 0))
        back = (row[:, None] * heads + h) * length + place[:, None]  # (M, H) into (N, L)
        self.write_one = back.reshape(-1)
        self.write_three = (part[:, None] * (n * length) + back[:, None, :]).reshape(-1)  # (M, 3, H)
        if not packing.full:
            visible = torch.arange(length, device=device) < packing.lengths[:, None]
            self.visible = visible.repeat_interleave(heads, 0)[..., None]  # (N, L, 1)

    def qkv(self, x: Tensor) -> Tensor:
        """(3, N, L, D) from (M, 3, H, D); beyond a row's length finite values that no weight touches."""
        return x.reshape(-1, x.shape[-1]).index_select(0, self.read_three).view(3, *self.shape, x.shape[-1])

    def gradient(self, x: Tensor) -> Tensor:
        """(N, L, D) from (M, H, D), zeros beyond a row's length."""
        out = x.reshape(-1, x.shape[-1]).index_select(0, self.read_one).view(*self.shape, x.shape[-1])
        return out if self.visible is None else out.mul_(self.visible)

    def output(self, x: Tensor, like: Tensor) -> Tensor:
        """(M, H, D) from (N, L, D)."""
        out = x.view(-1, x.shape[-1]).index_select(0, self.write_one).view(like.shape[0], like.shape[-2], -1)
        return out if self.used is None else out.mul_(self.used[..., None])

    def gradients(self, x: Tensor, like: Tensor) -> Tensor:
        """(M, 3, H, D) from (3, N, L, D)."""
        out = x.view(-1, x.shape[-1]).index_select(0, self.write_three).view(like.shape)
        return out if self.used is None else out.mul_(self.used[..., None, None])


class _PaddedGrid:
    """The same for inputs that are padded already: (3, B, H, L, D) and (B, H, L, D)."""

    def __init__(self, shape: torch.Size, visible: Tensor | None) -> None:
        self.shape = shape
        self.visible = None if visible is None else visible[:, None, :, None]

    def _zero_hidden(self, x: Tensor) -> Tensor:
        return x if self.visible is None else x * self.visible

    def qkv(self, x: Tensor) -> Tensor:
        return x.view(3, -1, *self.shape[2:])

    def gradient(self, x: Tensor) -> Tensor:
        return self._zero_hidden(x).reshape(-1, *self.shape[2:])

    def output(self, x: Tensor, like: Tensor) -> Tensor:
        return self._zero_hidden(x.view(self.shape))

    def gradients(self, x: Tensor, like: Tensor) -> Tensor:
        return x.view(like.shape)


def _product(a: Tensor, b: Tensor, scale: float, out: Tensor | None = None) -> Tensor:
    """(N, …) scale·a·b in one call; beta = 0 says that the first argument is not read."""
    return torch.baddbmm(a.new_zeros(()) if out is None else out, a, b, beta=0, alpha=scale, out=out)


def _without_autocast(function: Callable) -> Callable:
    """`function` of a Function, which autocast would otherwise make compute its products in half precision."""

    @wraps(function)
    def call(ctx, x: Tensor, *arguments):
        if not torch.is_autocast_enabled(x.device.type):
            return function(ctx, x, *arguments)
        with torch.autocast(x.device.type, enabled=False):
            return function(ctx, x, *arguments)

    return call


class _Attention(Function):
    @staticmethod
    @_without_autocast
    def forward(ctx, qkv: Tensor, grid, bias: Tensor | None, scale: float) -> Tensor:
        padded = grid.qkv(qkv).to(torch.promote_types(qkv.dtype, torch.float32))
        q, k, v = padded.unbind(0)
        q_t = q.transpose(1, 2)
        p_t = _product(k, q_t, scale) if bias is None else torch.baddbmm(bias, k, q_t, alpha=scale)
        p_t = p_t.softmax(1)
        o = torch.bmm(p_t.transpose(1, 2), v)
        ctx.grid, ctx.scale = grid, scale
        ctx.save_for_backward(qkv, padded, p_t, o)
        return grid.output(o, qkv).to(qkv.dtype)

    @staticmethod
    @_without_autocast
    def backward(ctx, gradient: Tensor):
        qkv, padded, p_t, o = ctx.saved_tensors
        return _AttentionBackward.apply(qkv, gradient, padded, p_t, o, ctx.grid, ctx.scale), None, None, None


class _AttentionBackward(Function):
    """∂qkv as a function of qkv and G alone; `padded`, `p_t` and `o` are values already computed from qkv."""

    @staticmethod
    @_without_autocast
    def forward(ctx, qkv: Tensor, gradient: Tensor, padded: Tensor, p_t: Tensor, o: Tensor, grid, scale) -> Tensor:
        q, k, v = padded.unbind(0)
        g = grid.gradient(gradient).to(padded.dtype)
        delta = torch.linalg.vecdot(g, o).neg_()[:, None, :]
        d_s_t = torch.baddbmm(delta, v, g.transpose(1, 2)).mul_(p_t)
        out = torch.empty_like(padded)
        _product(d_s_t.transpose(1, 2), k, scale, out[0])
        _product(d_s_t, q, scale, out[1])
        torch.bmm(p_t, g, out=out[2])
        ctx.grid, ctx.scale, ctx.dtype = grid, scale, gradient.dtype
        ctx.save_for_backward(qkv, gradient, padded, p_t, g, d_s_t)
        return grid.gradients(out, qkv).to(qkv.dtype)

    @staticmethod
    @_without_autocast
    def backward(ctx, cotangent: Tensor):
        if torch.is_grad_enabled():
            raise RuntimeError(THIRD_DERIVATIVE)
        qkv, gradient, padded, p_t, g, d_s_t = ctx.saved_tensors
        scale = ctx.scale
        q, k, v = padded.unbind(0)
        a, e, c = ctx.grid.qkv(cotangent).to(padded.dtype).unbind(0)
        m_t = _product(k, a.transpose(1, 2), scale)
        m_t.baddbmm_(e, q.transpose(1, 2), alpha=scale)
        m_t.sub_((p_t * m_t).sum(1, keepdim=True))
        p_dot_t = p_t * m_t
        d_g = torch.bmm(p_dot_t.transpose(1, 2), v).baddbmm_(p_t.transpose(1, 2), c)
        w = torch.linalg.vecdot(g, d_g).neg_()[:, None, :]
        d_s2_t = torch.baddbmm(w, c, g.transpose(1, 2)).mul_(p_t).addcmul_(m_t, d_s_t)
        out = torch.empty_like(padded)
        _product(d_s2_t.transpose(1, 2), k, scale, out[0]).baddbmm_(d_s_t.transpose(1, 2), e, alpha=scale)
        _product(d_s2_t, q, scale, out[1]).baddbmm_(d_s_t, a, alpha=scale)
        torch.bmm(p_dot_t, g, out=out[2])
        d_qkv = ctx.grid.gradients(out, qkv).to(qkv.dtype)
        return d_qkv, ctx.grid.output(d_g, gradient).to(ctx.dtype), None, None, None, None, None
