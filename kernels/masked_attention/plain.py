"""Attention in PyTorch's own layout as plain operations of PyTorch: the definition of `attention`, and its CPU path.

Autograd differentiates it in both modes and to any order, torch.func and torch.compile take it as it stands; half precisions
compute in float32. What training needs is reference.py, whose second derivative is written out and faster.

Shapes: B rows, H heads, L queries, S keys, D head dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor


def allowed_pairs(
    queries: int, keys: int, mask: Tensor | None, is_causal: bool, rank: Tensor | None, key_rank: Tensor | None, device
) -> Tensor | None:
    """Bool, broadcast to (B, 1, L, S): which query sees which key; None: each sees all. mask: (B, S); rank: (B, L);
    key_rank: (B, S)."""
    out = None if mask is None else mask[:, None, None, :]
    if is_causal:
        places = torch.arange(max(queries, keys), device=device)
        before = places[None, :keys] <= places[:queries, None]
        out = before if out is None else out & before
    if rank is not None:
        below = (key_rank[:, None, :] <= rank[:, :, None])[:, None]
        out = below if out is None else out & below
    return out


def attention_plain(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor | None, scale: float) -> Tensor:
    """(B, H, L, D) softmax(c·QKᵀ)·V over the allowed keys; 0 where a query sees none. allowed: as `allowed_pairs` gives."""
    with torch.autocast(q.device.type, enabled=False):
        weights, wide_v = _weights(q, k, allowed, scale), v.to(_wide(v))
        return (weights @ wide_v).to(q.dtype)


def attention_plain_with_tangent(
    q: Tensor, k: Tensor, v: Tensor, tangents: tuple[Tensor, Tensor, Tensor], allowed: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """(O, Ȯ), (B, H, L, D) each: Ȯ = (P∘(Ṡ − rowsum(P∘Ṡ)))V + PV̇ with Ṡ = c(Q̇Kᵀ + QK̇ᵀ). tangents: Q̇, K̇, V̇."""
    with torch.autocast(q.device.type, enabled=False):
        weights = _weights(q, k, allowed, scale)
        wide = _wide(q)
        q_dot, k_dot, v_dot = (x.to(wide) for x in tangents)
        s_dot = scale * (q_dot @ k.to(wide).mT + q.to(wide) @ k_dot.mT)
        p_dot = weights * (s_dot - (weights * s_dot).sum(-1, keepdim=True))
        out, out_dot = weights @ v.to(wide), p_dot @ v.to(wide) + weights @ v_dot
        return out.to(q.dtype), out_dot.to(q.dtype)


def _wide(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _weights(q: Tensor, k: Tensor, allowed: Tensor | None, scale: float) -> Tensor:
    """(B, H, L, S) P. The lowest number instead of −∞: a query that sees nothing gets finite weights, then none."""
    scores = (q.to(_wide(q)) * scale) @ k.to(_wide(k)).mT
    if allowed is None:
        return scores.softmax(-1)
    return scores.masked_fill(~allowed, torch.finfo(scores.dtype).min).softmax(-1).masked_fill(~allowed, 0.0)


def padded_places(cu_seqlens: Tensor, total: int, longest: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """How packed tokens lie in a (B, longest) grid: (B, longest) place of each in the list, (B, longest) bool, there is one;
    (M,) row and (M,) place in it of each token of the list; (M,) bool, it belongs to a row."""
    starts, lengths = cu_seqlens[:-1].long(), cu_seqlens.diff().long()
    i = torch.arange(longest, device=cu_seqlens.device)
    there = i < lengths[:, None]
    places = (starts[:, None] + i).clamp(max=max(total - 1, 0))
    token = torch.arange(total, device=cu_seqlens.device)
    row = torch.searchsorted(cu_seqlens[1:].long(), token, right=True)
    used = row < len(starts)
    row = row.clamp(max=max(len(starts) - 1, 0))
    return places, there, row, (token - starts[row]).clamp(0, max(longest - 1, 0)), used
