"""The launches of launches.py as operators of torch, with shapes and derivatives that torch.compile can trace.

Eager code takes the Functions of functions.py and derivatives.py instead, which cost the host less a call. The same wiring:
the derivative of `forward` is the operator `backward`, its derivative the operator `double_backward`, which has none; of
`tangent` both. Operators have no forward mode: whoever needs a compiled one calls `attention_jvp`.

Shapes: M packed tokens, H heads, D head dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.library import custom_op

from kernels.masked_attention import launches


@custom_op("biglearn::masked_attention", mutates_args=())
def forward(
    qkv: Tensor,
    cu_seqlens: Tensor,
    rank: Tensor | None,
    max_length: int,
    padded: bool,
    scale: float,
    key_rank: Tensor | None = None,
    causal: bool = False,
) -> tuple[Tensor, Tensor]:
    """(out (M, H, D), lse (H, M) float32). qkv: contiguous (M, 3, H, D)."""
    return launches.attention_forward(qkv, cu_seqlens, rank, max_length, padded, scale, key_rank, causal)


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
    key_rank: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    """(M, 3, H, D) gradient of qkv. gradient, out: contiguous (M, H, D)."""
    fixed = cu_seqlens, rank, max_length, padded, scale, key_rank, causal
    return launches.attention_backward(qkv, gradient, out, lse, *fixed)


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
    key_rank: Tensor | None = None,
    causal: bool = False,
) -> tuple[Tensor, Tensor]:
    """(∂qkv, ∂gradient) from the cotangent (M, 3, H, D) of the backward's result."""
    fixed = cu_seqlens, rank, max_length, padded, scale, key_rank, causal
    return launches.attention_double_backward(qkv, gradient, out, lse, cotangent, *fixed)


@custom_op("biglearn::masked_attention_tangent", mutates_args=())
def tangent(
    qkv: Tensor,
    tangent: Tensor,
    out: Tensor,
    lse: Tensor,
    cu_seqlens: Tensor,
    rank: Tensor | None,
    max_length: int,
    padded: bool,
    scale: float,
    key_rank: Tensor | None = None,
    causal: bool = False,
) -> Tensor:
    """(M, H, D) derivative of out along the tangent (M, 3, H, D) of qkv."""
    fixed = cu_seqlens, rank, max_length, padded, scale, key_rank, causal
    return launches.attention_tangent(qkv, tangent, out, lse, *fixed)


@forward.register_fake
def _(qkv, *fixed):
    tokens, _, heads, dim = qkv.shape
    return qkv.new_empty(tokens, heads, dim), qkv.new_empty(heads, tokens, dtype=torch.float32)


@backward.register_fake
def _(qkv, *arguments):
    return torch.empty_like(qkv)


@double_backward.register_fake
def _(qkv, gradient, *arguments):
    return torch.empty_like(qkv), torch.empty_like(gradient)


@tangent.register_fake
def _(qkv, tangent, out, *arguments):
    return torch.empty_like(out)


def _keep(ctx, tensors, fixed) -> None:
    """Saves tensors, and those among `fixed`: cu_seqlens, rank, max_length, padded, scale, key_rank, causal."""
    cu_seqlens, rank, max_length, padded, scale, key_rank, causal = fixed
    ctx.save_for_backward(*tensors, cu_seqlens, rank, key_rank)
    ctx.plain = max_length, padded, scale, causal


def _kept(ctx) -> tuple[list[Tensor], tuple]:
    *tensors, cu_seqlens, rank, key_rank = ctx.saved_tensors
    max_length, padded, scale, causal = ctx.plain
    return tensors, (cu_seqlens, rank, max_length, padded, scale, key_rank, causal)


def _keep_forward(ctx, inputs, output) -> None:
    _keep(ctx, (inputs[0], *output), inputs[1:])
    ctx.set_materialize_grads(False)


def _differentiate_forward(ctx, gradient, _):
    (qkv, out, lse), fixed = _kept(ctx)
    return backward(qkv, gradient.contiguous(), out.detach(), lse.detach(), *fixed), *[None] * len(fixed)


def _keep_inputs(ctx, inputs, output) -> None:
    _keep(ctx, inputs[:4], inputs[4:])


def _differentiate_backward(ctx, cotangent):
    tensors, fixed = _kept(ctx)
    return *double_backward(*tensors, cotangent.contiguous(), *fixed), *[None] * (2 + len(fixed))


def _differentiate_tangent(ctx, gradient):
    (qkv, along, out, lse), fixed = _kept(ctx)
    gradient = gradient.contiguous()
    d_qkv, _ = double_backward(qkv, gradient, out, lse, along, *fixed)
    return d_qkv, backward(qkv, gradient, out, lse, *fixed), *[None] * (2 + len(fixed))


forward.register_autograd(_differentiate_forward, setup_context=_keep_forward)
backward.register_autograd(_differentiate_backward, setup_context=_keep_inputs)
tangent.register_autograd(_differentiate_tangent, setup_context=_keep_inputs)
