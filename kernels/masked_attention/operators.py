"""The launches of launches.py as operators of torch, with shapes and derivatives that torch.compile can trace.

Eager code takes the Functions of functions.py instead, which cost the host less a call. The same wiring: the
derivative of `forward` is the operator `backward`, its derivative the operator `double_backward`, which has none.

Shapes: M packed tokens, H heads, D head dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.library import custom_op

from kernels.masked_attention import launches


@custom_op("biglearn::masked_attention", mutates_args=())
def forward(
    qkv: Tensor, cu_seqlens: Tensor, rank: Tensor | None, max_length: int, padded: bool, scale: float
) -> tuple[Tensor, Tensor]:
    """(out (M, H, D), lse (H, M) float32). qkv: contiguous (M, 3, H, D)."""
    return launches.attention_forward(qkv, cu_seqlens, rank, max_length, padded, scale)


@custom_op("biglearn::masked_attention_backward", mutates_args=())
def backward(
    qkv: Tensor,
    gradient: Tensor,
    out: Tensor,
    lse: Tensor,
    cu_seqlens: Tensor,
    rank: Tensor | None,
    max_length: int,
    padded: bool,
    scale: float,
) -> Tensor:
    """(M, 3, H, D) gradient of qkv. gradient, out: contiguous (M, H, D)."""
    return launches.attention_backward(qkv, gradient, out, lse, cu_seqlens, rank, max_length, padded, scale)


@custom_op("biglearn::masked_attention_double_backward", mutates_args=())
def double_backward(
    qkv: Tensor,
    gradient: Tensor,
    out: Tensor,
    lse: Tensor,
    cotangent: Tensor,
    cu_seqlens: Tensor,
    rank: Tensor | None,
    max_length: int,
    padded: bool,
    scale: float,
) -> tuple[Tensor, Tensor]:
    """(∂qkv, ∂gradient) from the cotangent (M, 3, H, D) of the backward's result."""
    return launches.attention_double_backward(
        qkv, gradient, out, lse, cotangent, cu_seqlens, rank, max_length, padded, scale
    )


@forward.register_fake
def _(qkv, cu_seqlens, rank, max_length, padded, scale):
    tokens, _, heads, dim = qkv.shape
    return qkv.new_empty(tokens, heads, dim), qkv.new_empty(heads, tokens, dtype=torch.float32)


@backward.register_fake
def _(qkv, gradient, out, lse, cu_seqlens, rank, max_length, padded, scale):
    return torch.empty_like(qkv)


@double_backward.register_fake
def _(qkv, gradient, out, lse, cotangent, cu_seqlens, rank, max_length, padded, scale):
    return torch.empty_like(qkv), torch.empty_like(gradient)


def _keep_forward(ctx, inputs, output) -> None:
    qkv, cu_seqlens, rank, *ctx.fixed = inputs
    ctx.save_for_backward(qkv, *output, cu_seqlens, rank)
    ctx.set_materialize_grads(False)


def _differentiate_forward(ctx, gradient, _):
    qkv, out, lse, cu_seqlens, rank = ctx.saved_tensors
    d_qkv = backward(qkv, gradient.contiguous(), out.detach(), lse.detach(), cu_seqlens, rank, *ctx.fixed)
    return d_qkv, None, None, None, None, None


def _keep_backward(ctx, inputs, output) -> None:
    qkv, gradient, out, lse, cu_seqlens, rank, *ctx.fixed = inputs
    ctx.save_for_backward(qkv, gradient, out, lse, cu_seqlens, rank)


def _differentiate_backward(ctx, cotangent):
    *saved, cu_seqlens, rank = ctx.saved_tensors
    derivatives = double_backward(*saved, cotangent.contiguous(), cu_seqlens, rank, *ctx.fixed)
    return *derivatives, *[None] * 7


forward.register_autograd(_differentiate_forward, setup_context=_keep_forward)
backward.register_autograd(_differentiate_backward, setup_context=_keep_backward)
