"""Public calls of masked attention: validation and the choice of an implementation, never a silent one.

Shapes: M packed tokens, B rows, L tokens, H heads, D head dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.backend import check_backend
from kernels.masked_attention.packing import Packing
from kernels.masked_attention.reference import attention_reference, attention_reference_padded
from kernels.masked_attention.validation import check_joint, check_packed, check_padded


def masked_attention(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    packing: Packing,
    rank: Tensor | None = None,
    *,
    scale: float | None = None,
    backend: str = "auto",
) -> Tensor:
    """(M, H, D) attention of packed tokens; token i sees token j of its row iff rank[j] <= rank[i].

    q, k, v: (M, H, D), one floating dtype; rank: (M,) integer, or None when all tokens of a row see each other.
    scale: factor of QKᵀ, 1/√D if None. backend: "auto" is "triton" on a GPU and "reference" elsewhere.
    Derivatives: first and second are exact; a third raises.

    Raises: TypeError, ValueError for inputs that do not fit; RuntimeError if the backend cannot run here.
    """
    check_packed(q, k, v, packing, rank)
    return masked_self_attention(torch.stack([q, k, v], 1), packing, rank, scale=scale, backend=backend)


def masked_self_attention(
    qkv: Tensor, packing: Packing, rank: Tensor | None = None, *, scale: float | None = None, backend: str = "auto"
) -> Tensor:
    """(M, H, D) like `masked_attention`, from one (M, 3, H, D) tensor, as a joint projection makes it: no copies."""
    check_joint(qkv, packing, rank)
    if check_backend(backend, qkv.device) == "triton":
        from kernels.masked_attention.functions import attention_triton  # the reference needs no triton

        return attention_triton(qkv, packing, rank, _scale(qkv, scale))
    return attention_reference(qkv, packing, rank, _scale(qkv, scale))


def self_attention_with_residuals(
    qkv: Tensor, packing: Packing, *, scale: float | None = None, backend: str = "auto"
) -> tuple[Tensor, Tensor]:
    """(out (M, H, D), lse (H, M) of `self_attention_gradient`) like `masked_self_attention` without ranks."""
    check_joint(qkv, packing, None)
    if check_backend(backend, qkv.device) == "triton":
        from kernels.masked_attention import operators
        from kernels.masked_attention.launches import check_kernel_input

        check_kernel_input(qkv)
        fixed = packing.cu_seqlens, None, packing.max_length, packing.padded, _scale(qkv, scale)
        return operators.forward(qkv.contiguous(), *fixed)
    out = attention_reference(qkv, packing, None, _scale(qkv, scale))
    return out, out.new_zeros(out.shape[1], out.shape[0], dtype=torch.float32)


def self_attention_gradient(
    qkv: Tensor,
    gradient: Tensor,
    out: Tensor,
    lse: Tensor,
    packing: Packing,
    *,
    scale: float | None = None,
    backend: str = "auto",
) -> Tensor:
    """(M, 3, H, D) gradient of qkv from that of out, as a function of qkv and gradient that has a derivative itself.

    out, lse: what `self_attention_with_residuals` returned for this qkv; their own derivatives are accounted for in
    those of qkv. gradient: (M, H, D). torch.compile traces it with backend "triton".
    """
    check_joint(qkv, packing, None)
    if check_backend(backend, qkv.device) == "triton":
        from kernels.masked_attention import operators

        fixed = packing.cu_seqlens, None, packing.max_length, packing.padded, _scale(qkv, scale)
        gradient = gradient.to(qkv.dtype).contiguous()
        return operators.backward(qkv.contiguous(), gradient, out.detach(), lse.detach(), *fixed)
    out = attention_reference(qkv, packing, None, _scale(qkv, scale))
    return torch.autograd.grad(out, qkv, gradient.to(qkv.dtype), create_graph=True)[0]


def _scale(qkv: Tensor, scale: float | None) -> float:
    return qkv.shape[-1] ** -0.5 if scale is None else float(scale)


def masked_attention_padded(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    visible: Tensor | None = None,
    rank: Tensor | None = None,
    *,
    scale: float | None = None,
) -> Tensor:
    """(B, H, L, D) the same attention in the padded layout (reference only), zeros at hidden tokens.

    q, k, v: (B, H, L, D); visible: (B, L) bool or None (all); rank: (B, L) integer or None.
    """
    check_padded(q, k, v, visible, rank)
    scale = q.shape[-1] ** -0.5 if scale is None else float(scale)
    return attention_reference_padded(q, k, v, visible, rank, scale)
