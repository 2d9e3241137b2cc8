"""Masked attention on a GPU, differentiable twice: the launches as Functions of autograd. The wiring that makes it exact:

    _Attention.backward → _AttentionBackward.apply(qkv, gradient, …); _AttentionBackward.backward is the last.

torch.compile takes the same launches as operators (operators.py), which cost the host more a call.
Shapes: M packed tokens, H heads, D head dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd import Function

from kernels.masked_attention.launches import (
    attention_backward,
    attention_double_backward,
    attention_forward,
    check_kernel_input,
)
from kernels.masked_attention.packing import Packing
from kernels.masked_attention.validation import THIRD_DERIVATIVE


def attention_triton(qkv: Tensor, packing: Packing, rank: Tensor | None, scale: float) -> Tensor:
    """(M, H, D) attention of packed tokens. qkv: (M, 3, H, D); rank: (M,) integer or None.

    Raises: TypeError, ValueError for what the kernels do not take.
    """
    check_kernel_input(qkv)
    if rank is not None:
        rank = rank.to(torch.int16).contiguous()
    if scale < 0:  # the kernels take the maximum of a row before they scale it
        qkv, scale = torch.cat([-qkv[:, :1], qkv[:, 1:]], 1), -scale
    qkv = qkv.contiguous()
    if torch.compiler.is_compiling():  # a Function would break the graph; operators cost more on the host
        from kernels.masked_attention import operators

        out, _ = operators.forward(qkv, packing.cu_seqlens, rank, packing.max_length, packing.padded, scale)
        return out
    return _Attention.apply(qkv, packing, rank, scale)


class _Attention(Function):
    @staticmethod
    def forward(ctx, qkv: Tensor, packing: Packing, rank: Tensor | None, scale: float) -> Tensor:
        ctx.fixed = (packing.cu_seqlens, rank, packing.max_length, packing.padded, scale)
        out, lse = attention_forward(qkv, *ctx.fixed)
        ctx.save_for_backward(qkv, out, lse)
        return out

    @staticmethod
    def backward(ctx, gradient: Tensor):
        qkv, out, lse = ctx.saved_tensors
        # contiguous() out here, where it is part of the graph: inside forward it would cut the second order off
        d_qkv = _AttentionBackward.apply(qkv, gradient.contiguous(), out.detach(), lse, ctx.fixed)
        return d_qkv, None, None, None


class _AttentionBackward(Function):
    """∂qkv as a function of qkv and G alone; out and lse are values already computed from qkv."""

    @staticmethod
    def forward(ctx, qkv: Tensor, gradient: Tensor, out: Tensor, lse: Tensor, fixed: tuple) -> Tensor:
        ctx.fixed = fixed
        ctx.save_for_backward(qkv, gradient, out, lse)
        return attention_backward(qkv, gradient, out, lse, *fixed)

    @staticmethod
    def backward(ctx, cotangent: Tensor):
        if torch.is_grad_enabled():
            raise RuntimeError(THIRD_DERIVATIVE)
        d_qkv, d_gradient = attention_double_backward(*ctx.saved_tensors, cotangent.contiguous(), *ctx.fixed)
        return d_qkv, d_gradient, None, None, None
