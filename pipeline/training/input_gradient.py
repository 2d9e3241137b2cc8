"""The discriminator's input gradient as explicit code, so that torch.compile can differentiate it once more.

R1 and R2 need ∂/∂φ ‖∇_x f‖². Compiled code has one derivative, so autograd's `create_graph` leaves the penalty to
eager kernels. Written out, the gradient of a block is ordinary code of first order: compiled forward and gradient,
differentiated by autograd, are the exact second order, with layer norms, GELU and additions fused.

    y = x₂ + W₂ GELU(W₁ n(x₂)), x₂ = x + W_o attention(W_qkv n(x))
    ∂x₂ = ∂y + n'(x₂)[W₁ᵀ (GELU'(h) ∘ W₂ᵀ ∂y)], ∂x = ∂x₂ + n'(x)[W_qkvᵀ attention'(W_oᵀ ∂x₂)]

Shapes: B rows, L tokens, F features, M packed tokens, W model width, H heads, D head dimension, K hidden width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from kernels.masked_attention import Packing, self_attention_gradient, self_attention_with_residuals
from pipeline.model.discriminator import Discriminator
from pipeline.model.transformer import Block

BlockCalls = tuple[Callable, Callable]  # `block_forward` and `block_gradient`, compiled or not


class Residuals(NamedTuple):
    """What a block's gradient reads: x, middle (M, W); hidden (M, K) before GELU; the attention's own."""

    x: Tensor
    qkv: Tensor  # (M, 3, H, D)
    out: Tensor  # (M, H, D)
    lse: Tensor  # (H, M), log-sum-exp of the scores
    middle: Tensor
    hidden: Tensor


def block_forward(block: Block, x: Tensor, packing: Packing) -> tuple[Tensor, Residuals]:
    """((M, W) tokens after a bidirectional block without dropout, residuals). x: (M, W)."""
    m, width = x.shape
    qkv = block.query_key_value(block.attention_norm(x)).view(m, 3, block.heads, width // block.heads)
    out, lse = self_attention_with_residuals(qkv, packing, backend=block.attention_backend)
    middle = x + block.attention_out(out.reshape(m, width))
    hidden = block.mlp_in(block.mlp_norm(middle))
    return middle + block.mlp_out(functional.gelu(hidden)), Residuals(x, qkv, out, lse, middle, hidden)


def block_gradient(block: Block, kept: Residuals, packing: Packing, gradient: Tensor) -> Tensor:
    """(M, W) gradient of the block's input, itself differentiable. gradient: (M, W) of its output."""
    d_hidden = _through(block.mlp_out, gradient) * _gelu_slope(kept.hidden)
    d_middle = gradient + _norm_gradient(block.mlp_norm, kept.middle, _through(block.mlp_in, d_hidden))
    d_out = _through(block.attention_out, d_middle).view_as(kept.out)
    d_qkv = self_attention_gradient(kept.qkv, d_out, kept.out, kept.lse, packing, backend=block.attention_backend).view(
        len(gradient), -1
    )
    return d_middle + _norm_gradient(block.attention_norm, kept.x, _through(block.query_key_value, d_qkv))


def input_gradient(
    discriminator: Discriminator,
    features: Tensor,
    role: Tensor,
    forward: Callable,
    gradient: Callable,
) -> Tensor:
    """(B, F) ∇_x f(x; S, T), differentiable. features: (B, F); role: (B, L); forward, gradient: see `BlockCalls`."""
    body = discriminator.body
    features = features.detach().requires_grad_(True)
    first, packing = body.packed(*discriminator.inputs(features, role), role)
    x, kept = first, []
    for block in body.blocks:
        x, residuals = forward(block, x, packing)
        kept.append(residuals)
    logits = discriminator.logit(*body.unpacked(x, packing), role)
    (d_x,) = torch.autograd.grad(logits.float().sum(), x, create_graph=True)
    for block, residuals in zip(reversed(body.blocks), reversed(kept), strict=True):
        d_x = gradient(block, residuals, packing, d_x)
    return torch.autograd.grad(first, features, d_x, create_graph=True)[0]


def _through(layer: nn.Linear, gradient: Tensor) -> Tensor:
    """Gradient of the layer's input from that of its output."""
    return functional.linear(gradient, layer.weight.t())


def _gelu_slope(x: Tensor) -> Tensor:
    """GELU'(x) = Φ(x) + x φ(x), in at least float32."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    return 0.5 * (1.0 + torch.erf(x * 0.5**0.5)) + x * torch.exp(-0.5 * x * x) * (2.0 * math.pi) ** -0.5


def _norm_gradient(norm: nn.LayerNorm, x: Tensor, gradient: Tensor) -> Tensor:
    """Gradient of a layer norm's input x, in at least float32."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    variance, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
    inverse = (variance + norm.eps).rsqrt()
    standard = (x - mean) * inverse
    weighted = gradient * norm.weight
    return inverse * (
        weighted - weighted.mean(-1, keepdim=True) - standard * (weighted * standard).mean(-1, keepdim=True)
    )
