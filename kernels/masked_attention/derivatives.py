"""Attention on a GPU as functions of autograd in both modes, under torch.func too. Everything is made of four launches:

    O(x),   B(x, G) = ∇⟨G, O⟩,   T(x, t) = Ȯ along t,   D(x, G, t) = ∇⟨B(x, G), t⟩ by x, and by G, which is T(x, t)

of x = (Q, K, V), G of the shape of O and t of the shape of x. Since ⟨G, T(x, t)⟩ = ⟨B(x, G), t⟩ and second derivatives
commute,

    reverse of O: B          reverse of B: D          reverse of T: by t B(x, G), by x D(x, G, t)
    forward of O: T          forward of B along (t, Ġ): D(x, G, t) + B(x, Ġ)

so that reverse over reverse, forward over reverse and reverse over forward are exact; D itself and T along T raise. out and
lse are values already computed from x: the derivatives above are total, and none flows through them.

The training step takes functions.py, which cost the host less a call. Shapes: M packed tokens, H heads, D head dimension.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from kernels.masked_attention.launches import (
    attention_backward,
    attention_double_backward,
    attention_forward,
    attention_tangent,
)

NO_THIRD = (
    "attention has no third derivative, and no second one forward over forward, with backend 'triton'. "
    "Choose backend='reference', which has every derivative."
)
NO_VMAP = "attention cannot run under torch.func.vmap with backend 'triton'. Choose backend='reference', or add a batch dimension."


class Fixed(NamedTuple):
    """What has no derivative, in the order of the launches' arguments."""

    cu_seqlens: Tensor
    rank: Tensor | None
    max_length: int
    padded: bool
    scale: float
    key_rank: Tensor | None
    causal: bool


def attend(qkv: Tensor, fixed: Fixed) -> Tensor:
    """(M, H, D) attention. qkv: contiguous (M, 3, H, D)."""
    if torch.compiler.is_compiling():
        from kernels.masked_attention import operators

        return operators.forward(qkv, *fixed)[0]
    return _Attend.apply(qkv, *_flat(fixed))[0]


def attend_with_tangent(qkv: Tensor, tangent: Tensor, fixed: Fixed) -> tuple[Tensor, Tensor]:
    """(out, its derivative along `tangent`), (M, H, D) each. tangent: contiguous (M, 3, H, D)."""
    if torch.compiler.is_compiling():
        from kernels.masked_attention import operators

        out, lse = operators.forward(qkv, *fixed)
        return out, operators.tangent(qkv, tangent, out.detach(), lse.detach(), *fixed)
    out, lse = _Attend.apply(qkv, *_flat(fixed))
    return out, _Tangent.apply(qkv, tangent, out.detach(), lse, *_flat(fixed))


def _flat(fixed: Fixed) -> tuple:
    """The last four arguments of every Function: tensors, which torch.func must see, then one tuple of numbers."""
    return fixed.cu_seqlens, fixed.rank, fixed.key_rank, (fixed.max_length, fixed.padded, fixed.scale, fixed.causal)


def _fixed(cu_seqlens: Tensor, rank: Tensor | None, key_rank: Tensor | None, numbers: tuple) -> Fixed:
    max_length, padded, scale, causal = numbers
    return Fixed(cu_seqlens, rank, max_length, padded, scale, key_rank, causal)


class _Launch(Function):
    """A Function that keeps its tensors for both modes."""

    @staticmethod
    def setup_context(ctx, inputs, output):
        *tensors, ctx.numbers = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def vmap(info, in_dims, *arguments):
        raise RuntimeError(NO_VMAP)


def _kept(ctx) -> tuple[list[Tensor], tuple]:
    """(tensors with derivatives, and out and lse; the last four arguments)."""
    *tensors, cu_seqlens, rank, key_rank = ctx.saved_tensors
    return tensors, (cu_seqlens, rank, key_rank, ctx.numbers)


class _Attend(_Launch):
    """(out, lse); lse, (H, M), carries no derivative."""

    @staticmethod
    def forward(qkv: Tensor, *flat):
        return attention_forward(qkv, *_fixed(*flat))

    @staticmethod
    def setup_context(ctx, inputs, output):
        qkv, *others, ctx.numbers = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(qkv, *output, *others)
        ctx.save_for_forward(qkv, *output, *others)

    @staticmethod
    def backward(ctx, gradient: Tensor, _):
        (qkv, out, lse), flat = _kept(ctx)
        return _Backward.apply(qkv, gradient.contiguous(), out.detach(), lse, *flat), *[None] * 4

    @staticmethod
    def jvp(ctx, tangent: Tensor, *_):
        (qkv, out, lse), flat = _kept(ctx)
        return _Tangent.apply(qkv, tangent.contiguous(), out.detach(), lse, *flat), None


class _Backward(_Launch):
    """B(x, G)."""

    @staticmethod
    def forward(qkv: Tensor, gradient: Tensor, out: Tensor, lse: Tensor, *flat) -> Tensor:
        return attention_backward(qkv, gradient, out, lse, *_fixed(*flat))

    @staticmethod
    def backward(ctx, cotangent: Tensor):
        tensors, flat = _kept(ctx)
        return *_DoubleBackward.apply(*tensors, cotangent.contiguous(), *flat), *[None] * 6

    @staticmethod
    def jvp(ctx, tangent: Tensor | None, of_gradient: Tensor | None, *_):
        (qkv, gradient, out, lse), flat = _kept(ctx)
        parts = []
        if tangent is not None:
            parts.append(_DoubleBackward.apply(qkv, gradient, out, lse, tangent.contiguous(), *flat)[0])
        if of_gradient is not None:
            parts.append(_Backward.apply(qkv, of_gradient.contiguous(), out, lse, *flat))
        return sum(parts)


class _Tangent(_Launch):
    """T(x, t)."""

    @staticmethod
    def forward(qkv: Tensor, tangent: Tensor, out: Tensor, lse: Tensor, *flat) -> Tensor:
        return attention_tangent(qkv, tangent, out, lse, *_fixed(*flat))

    @staticmethod
    def backward(ctx, gradient: Tensor):
        (qkv, tangent, out, lse), flat = _kept(ctx)
        gradient = gradient.contiguous()
        d_qkv, _ = _DoubleBackward.apply(qkv, gradient, out, lse, tangent, *flat)
        return d_qkv, _Backward.apply(qkv, gradient, out, lse, *flat), *[None] * 6

    @staticmethod
    def jvp(ctx, *_):
        raise RuntimeError(NO_THIRD)


class _DoubleBackward(_Launch):
    """(D(x, G, t), T(x, t)): the last derivative there is."""

    @staticmethod
    def forward(qkv: Tensor, gradient: Tensor, out: Tensor, lse: Tensor, cotangent: Tensor, *flat):
        return attention_double_backward(qkv, gradient, out, lse, cotangent, *_fixed(*flat))

    @staticmethod
    def backward(ctx, *_):
        raise RuntimeError(NO_THIRD)

    @staticmethod
    def jvp(ctx, *_):
        raise RuntimeError(NO_THIRD)
