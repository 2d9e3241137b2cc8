"""Masked attention on a GPU: launches of the Triton kernels. functions.py and operators.py make derivatives of them.

Nothing here waits for the device and grids follow from host integers alone, so CUDA graphs capture it.
Shapes: M packed tokens, H heads, D head dimension.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kernels.masked_attention import triton_blocks, triton_tile
from kernels.masked_attention.configurations import architecture_of, block_configuration, tile_configuration
from kernels.masked_attention.validation import KERNEL_DTYPES, LARGEST_HEAD_DIM


def check_kernel_input(qkv: Tensor) -> None:
    """Raises TypeError, ValueError for what the kernels do not take."""
    if qkv.dtype not in KERNEL_DTYPES:
        raise TypeError(f"'qkv' must be float32, float16 or bfloat16 for backend 'triton'. Got {qkv.dtype}.")
    if not 1 <= qkv.shape[-1] <= LARGEST_HEAD_DIM:
        raise ValueError(
            f"'qkv' must have a head dimension of 1 to {LARGEST_HEAD_DIM} for backend 'triton'. Got {qkv.shape[-1]}."
        )


def attention_forward(
    qkv: Tensor,
    cu_seqlens: Tensor,
    rank: Tensor | None,
    max_length: int,
    padded: bool,
    scale: float,
    key_rank: Tensor | None = None,
    causal: bool = False,
) -> tuple[Tensor, Tensor]:
    """(out (M, H, D), lse (H, M) float32). qkv: contiguous (M, 3, H, D); padded: M holds unused places; scale: at
    least 0; rank, key_rank: (M,) integers, token i sees token j of its row iff key_rank[j] <= rank[i], key_rank None: the
    same as rank; causal: and only tokens that are not behind it."""
    tokens, _, heads, dim = qkv.shape
    new = qkv.new_zeros if padded else qkv.new_empty
    out, lse = new(tokens, heads, dim), new(heads, tokens, dtype=torch.float32)
    batch = cu_seqlens.shape[0] - 1
    if tokens == 0 or max_length == 0:
        return out, lse
    at, same = _shared(qkv, rank, causal)
    values = (cu_seqlens, *_ranks(cu_seqlens, rank, key_rank), scale * math.log2(math.e), tokens, heads)
    tile = tile_configuration("forward_tile", max_length, *at)
    if tile is not None:
        triton_tile.forward_tile[(batch * heads,)](
            qkv, out, lse, *values, **same, BLOCK=tile.block_m, num_warps=tile.warps, num_stages=tile.stages
        )
        return out, lse
    to = block_configuration("forward_blocks", *at)
    blocks = -(-max_length // to.block_m)
    triton_blocks.forward_blocks[(batch * heads * blocks,)](qkv, out, lse, *values, blocks, **same, **_sizes(to))
    return out, lse


def attention_backward(
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
    tokens, _, heads, dim = qkv.shape
    d_qkv = torch.zeros_like(qkv) if padded else torch.empty_like(qkv)
    batch = cu_seqlens.shape[0] - 1
    if tokens == 0 or max_length == 0:
        return d_qkv
    at, same = _shared(qkv, rank, causal)
    values = (cu_seqlens, *_ranks(cu_seqlens, rank, key_rank), scale, scale * math.log2(math.e), tokens, heads)
    tile = tile_configuration("backward_tile", max_length, *at)
    if tile is not None:
        triton_tile.backward_tile[(batch * heads,)](
            qkv, gradient, lse, d_qkv, *values, **same,
            BLOCK=tile.block_m, num_warps=tile.warps, num_stages=tile.stages,
        )  # fmt: skip
        return d_qkv
    delta = torch.empty_like(lse)
    to = block_configuration("backward_rows", *at)
    blocks = -(-max_length // to.block_m)
    triton_blocks.backward_rows[(batch * heads * blocks,)](
        qkv, out, gradient, lse, delta, d_qkv, *values, blocks, **same, **_sizes(to)
    )
    to = block_configuration("backward_columns", *at)
    blocks = -(-max_length // to.block_n)
    triton_blocks.backward_columns[(batch * heads * blocks,)](
        qkv, gradient, lse, delta, d_qkv, *values, blocks, **same, **_sizes(to)
    )
    return d_qkv


def attention_double_backward(
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
    """(∂qkv (M, 3, H, D), ∂gradient (M, H, D)) from the cotangent (M, 3, H, D) of the backward's result."""
    tokens, _, heads, dim = qkv.shape
    d_qkv = torch.zeros_like(qkv) if padded else torch.empty_like(qkv)
    d_gradient = torch.zeros_like(gradient) if padded else torch.empty_like(gradient)
    batch = cu_seqlens.shape[0] - 1
    if tokens == 0 or max_length == 0:
        return d_qkv, d_gradient
    at, same = _shared(qkv, rank, causal)
    values = (cu_seqlens, *_ranks(cu_seqlens, rank, key_rank), scale, scale * math.log2(math.e), tokens, heads)
    tile = tile_configuration("double_tile", max_length, *at)
    if tile is not None:
        triton_tile.double_tile[(batch * heads,)](
            qkv, gradient, lse, cotangent, d_qkv, d_gradient, *values, **same,
            BLOCK=tile.block_m, num_warps=tile.warps, num_stages=tile.stages,
        )  # fmt: skip
        return d_qkv, d_gradient
    delta, mean, w = (torch.empty_like(lse) for _ in range(3))
    to = block_configuration("double_constants", *at)
    blocks = -(-max_length // to.block_m)
    triton_blocks.double_constants[(batch * heads * blocks,)](
        qkv, out, gradient, lse, cotangent, delta, mean, w, d_gradient, *values, blocks, **same, **_sizes(to)
    )
    shared = (qkv, gradient, lse, cotangent, delta, mean, w, d_qkv)
    to = block_configuration("double_rows", *at)
    blocks = -(-max_length // to.block_m)
    triton_blocks.double_rows[(batch * heads * blocks,)](*shared, *values, blocks, **same, **_sizes(to))
    to = block_configuration("double_columns", *at)
    blocks = -(-max_length // to.block_n)
    triton_blocks.double_columns[(batch * heads * blocks,)](*shared, *values, blocks, **same, **_sizes(to))
    return d_qkv, d_gradient


def attention_tangent(
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
    """(M, H, D) derivative of out along `tangent`, contiguous (M, 3, H, D), of qkv."""
    tokens, _, heads, _ = qkv.shape
    d_out = torch.zeros_like(out) if padded else torch.empty_like(out)
    batch = cu_seqlens.shape[0] - 1
    if tokens == 0 or max_length == 0:
        return d_out
    at, same = _shared(qkv, rank, causal)
    ranks = _ranks(cu_seqlens, rank, key_rank)
    values = (cu_seqlens, *ranks, scale, scale * math.log2(math.e), tokens, heads)
    tile = tile_configuration("tangent_tile", max_length, *at)
    if tile is not None:
        triton_tile.tangent_tile[(batch * heads,)](
            qkv, lse, tangent, d_out, *values, **same,
            BLOCK=tile.block_m, num_warps=tile.warps, num_stages=tile.stages,
        )  # fmt: skip
        return d_out
    to = block_configuration("tangent_blocks", *at)
    blocks = -(-max_length // to.block_m)
    triton_blocks.tangent_blocks[(batch * heads * blocks,)](
        qkv, out, lse, tangent, d_out, *values, blocks, **same, **_sizes(to)
    )
    return d_out


def _ranks(cu_seqlens: Tensor, rank: Tensor | None, key_rank: Tensor | None) -> tuple[Tensor, Tensor]:
    """Ranks of queries and of keys; without ranks any array, which is not read."""
    if rank is None:
        return cu_seqlens, cu_seqlens
    return rank, rank if key_rank is None else key_rank


def _shared(qkv: Tensor, rank: Tensor | None, causal: bool) -> tuple[tuple[int, int, int], dict]:
    """(place in the table of configurations, compile-time arguments of every kernel)."""
    dim = qkv.shape[-1]
    block_d = max(16, 1 << (dim - 1).bit_length())
    # tf32x3 runs float32 products on tensor cores with float32 accuracy; AMD has no such mode.
    exact = qkv.dtype != torch.float32 or torch.version.hip is not None
    precision = "ieee" if exact else "tf32x3"
    at = block_d, qkv.element_size(), architecture_of(qkv.device)
    same = {"D": dim, "BLOCK_D": block_d, "HAS_RANK": rank is not None, "PRECISION": precision, "CAUSAL": causal}
    return at, same


def _sizes(to) -> dict:
    return {"BLOCK_M": to.block_m, "BLOCK_N": to.block_n} | to.options
