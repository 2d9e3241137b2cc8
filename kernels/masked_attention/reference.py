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

import torch
from torch import Tensor
from torch.autograd import Function

from kernels.masked_attention.packing import Packing


def attention_reference(qkv: Tensor, packing: Packing, rank: Tensor | None, scale: float) -> Tensor:
    """(M, H, D) attention of packed tokens. qkv: (M, 3, H, D); rank: (M,) integer or None."""
    heads = qkv.shape[2]
    key = ("full", heads) if packing.full else ("grid", heads)
    grid = packing.cache.get(key)
    if grid is None:
        grid = packing.cache[key] = (_FullGrid if packing.full else _PackedGrid)(packing, heads)
    bias = _bias(packing, rank, heads, torch.promote_types(qkv.dtype, torch.float32))
    return _Attention.apply(qkv, grid, bias, scale)


def attention_reference_padded(
    q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None, rank: Tensor | None, scale: float
) -> Tensor:
    """(B, H, L, D) attention, zeros at hidden tokens. q, k, v: (B, H, L, D); visible: (B, L) bool; rank: (B, L)."""
    allowed = None if visible is None else visible[:, None, :]
    if rank is not None:
        below = rank[:, None, :] <= rank[:, :, None]
        allowed = below if allowed is None else allowed & below
    bias = None if allowed is None else _as_bias(allowed, q.shape[1], torch.promote_types(q.dtype, torch.float32))
    return _Attention.apply(torch.stack([q, k, v]), _PaddedGrid(q.shape, visible), bias, scale)


def _bias(packing: Packing, rank: Tensor | None, heads: int, dtype: torch.dtype) -> Tensor | None:
    """(N, 1 or L, L) zeros where attention is allowed, else the lowest number; None when all is allowed."""
    if packing.full and rank is None:
        return None
    key = ("bias", heads, dtype)
    made_for, bias = packing.cache.get(key, (None, None))
    if bias is None or made_for is not rank:
        length = packing.max_length
        allowed = (torch.arange(length, device=packing.index.device) < packing.lengths[:, None])[:, None, :]
        if rank is not None:
            ranks = rank[_padded_rows(packing)]
            allowed = allowed & (ranks[:, None, :] <= ranks[:, :, None])
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
    """Packed (M, …) ↔ padded (N, L, D), by row gathers in both directions."""

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
        self.used = None
        if packing.padded:
            self.used = (packing.index < packing.batch * packing.tokens)[:, None]
            place = place.clamp(max=max(length - 1, 0))
        back = (row[:, None] * heads + h) * length + place[:, None]  # (M, H) into (N, L)
        self.write_one = back.reshape(-1)
        self.write_three = (part[:, None] * (n * length) + back[:, None, :]).reshape(-1)  # (M, 3, H)
        visible = torch.arange(length, device=device) < packing.lengths[:, None]
        self.visible = visible.repeat_interleave(heads, 0)[..., None]  # (N, L, 1)

    def qkv(self, x: Tensor) -> Tensor:
        """(3, N, L, D) from (M, 3, H, D); beyond a row's length finite values that no weight touches."""
        return x.reshape(-1, x.shape[-1]).index_select(0, self.read_three).view(3, *self.shape, x.shape[-1])

    def gradient(self, x: Tensor) -> Tensor:
        """(N, L, D) from (M, H, D), zeros beyond a row's length."""
        out = x.reshape(-1, x.shape[-1]).index_select(0, self.read_one).view(*self.shape, x.shape[-1])
        return out.mul_(self.visible)

    def output(self, x: Tensor, like: Tensor) -> Tensor:
        """(M, H, D) from (N, L, D)."""
        out = x.view(-1, x.shape[-1]).index_select(0, self.write_one).view(like.shape[0], like.shape[-2], -1)
        return out if self.used is None else out.mul_(self.used[..., None])

    def gradients(self, x: Tensor, like: Tensor) -> Tensor:
        """(M, 3, H, D) from (3, N, L, D)."""
        out = x.view(-1, x.shape[-1]).index_select(0, self.write_three).view(like.shape)
        return out if self.used is None else out.mul_(self.used[..., None, None])


class _FullGrid:
    """The same when every token is visible: only the order of axes changes."""

    def __init__(self, packing: Packing, heads: int) -> None:
        self.batch, self.length, self.heads = packing.batch, packing.tokens, heads

    def qkv(self, x: Tensor) -> Tensor:
        d = x.shape[-1]
        x = x.reshape(self.batch, self.length, 3, self.heads, d).permute(2, 0, 3, 1, 4)
        return x.reshape(3, self.batch * self.heads, self.length, d)

    def gradient(self, x: Tensor) -> Tensor:
        d = x.shape[-1]
        x = x.reshape(self.batch, self.length, self.heads, d).transpose(1, 2)
        return x.reshape(self.batch * self.heads, self.length, d)

    def output(self, x: Tensor, like: Tensor) -> Tensor:
        d = x.shape[-1]
        x = x.view(self.batch, self.heads, self.length, d).transpose(1, 2)
        return x.reshape(self.batch * self.length, self.heads, d)

    def gradients(self, x: Tensor, like: Tensor) -> Tensor:
        x = x.view(3, self.batch, self.heads, self.length, -1).permute(1, 3, 0, 2, 4)
        return x.reshape(like.shape)


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


def _scores(bias: Tensor | None, q: Tensor, k: Tensor, scale: float) -> Tensor:
    """(N, L, L) c·QKᵀ + bias in one call."""
    if bias is None:
        return torch.baddbmm(q.new_zeros(()), q, k.transpose(1, 2), beta=0, alpha=scale)
    return torch.baddbmm(bias, q, k.transpose(1, 2), alpha=scale)


def _softmax_backward(gradient: Tensor, p: Tensor) -> Tensor:
    """P∘(X − rowsum(P∘X)), fused."""
    return torch._softmax_backward_data(gradient, p, -1, p.dtype)


class _Attention(Function):
    @staticmethod
    def forward(ctx, qkv: Tensor, grid, bias: Tensor | None, scale: float) -> Tensor:
        padded = grid.qkv(qkv).to(torch.promote_types(qkv.dtype, torch.float32))
        q, k, v = padded.unbind(0)
        p = _scores(bias, q, k, scale).softmax(-1)
        out = grid.output(torch.bmm(p, v), qkv)
        ctx.grid, ctx.scale = grid, scale
        ctx.save_for_backward(qkv, padded, p)
        return out.to(qkv.dtype)

    @staticmethod
    def backward(ctx, gradient: Tensor):
        qkv, padded, p = ctx.saved_tensors
        return _AttentionBackward.apply(qkv, gradient, padded, p, ctx.grid, ctx.scale), None, None, None


class _AttentionBackward(Function):
    """∂qkv as a function of qkv and G; `padded` and `p` are values already computed from qkv."""

    @staticmethod
    def forward(ctx, qkv: Tensor, gradient: Tensor, padded: Tensor, p: Tensor, grid, scale: float) -> Tensor:
        q, k, v = padded.unbind(0)
        g = grid.gradient(gradient).to(padded.dtype)
        d_p = torch.bmm(g, v.transpose(1, 2))
        d_s = _softmax_backward(d_p, p)
        out = torch.empty_like(padded)
        torch.baddbmm(out[0], d_s, k, beta=0, alpha=scale, out=out[0])
        torch.baddbmm(out[1], d_s.transpose(1, 2), q, beta=0, alpha=scale, out=out[1])
        torch.bmm(p.transpose(1, 2), g, out=out[2])
        ctx.grid, ctx.scale, ctx.dtype = grid, scale, gradient.dtype
        ctx.save_for_backward(qkv, gradient, padded, p, g, d_p, d_s)
        return grid.gradients(out, qkv).to(qkv.dtype)

    @staticmethod
    def backward(ctx, cotangent: Tensor):
        if torch.is_grad_enabled():
            raise RuntimeError(
                "masked_attention has no third derivative. It was asked for by a second 'create_graph=True'; "
                "only a first and a second derivative exist."
            )
        qkv, gradient, padded, p, g, d_p, d_s = ctx.saved_tensors
        scale = ctx.scale
        q, k, v = padded.unbind(0)
        a, e, c = ctx.grid.qkv(cotangent.contiguous()).to(padded.dtype).unbind(0)
        m = torch.baddbmm(p, a, k.transpose(1, 2), beta=0, alpha=scale)
        m.baddbmm_(q, e.transpose(1, 2), alpha=scale)
        m.sub_((p * m).sum(-1, keepdim=True))
        centred = d_p - (p * d_p).sum(-1, keepdim=True)
        w = centred.mul_(m).baddbmm_(g, c.transpose(1, 2))
        d_s2 = _softmax_backward(w, p)
        p_dot = m.mul_(p)
        out = torch.empty_like(padded)
        torch.baddbmm(out[0], d_s2, k, beta=0, alpha=scale, out=out[0])
        out[0].baddbmm_(d_s, e, alpha=scale)
        torch.baddbmm(out[1], d_s2.transpose(1, 2), q, beta=0, alpha=scale, out=out[1])
        out[1].baddbmm_(d_s.transpose(1, 2), a, alpha=scale)
        torch.bmm(p_dot.transpose(1, 2), g, out=out[2])
        d_gradient = torch.bmm(p_dot, v).baddbmm_(p, c)
        d_qkv = ctx.grid.gradients(out, qkv).to(qkv.dtype)
        return d_qkv, ctx.grid.output(d_gradient, gradient).to(ctx.dtype), None, None, None, None
