"""Checks of the arguments of masked attention; each error names the argument, the rule and what came."""

from __future__ import annotations

import torch
from torch import Tensor

from kernels.masked_attention.packing import Packing

LARGEST_HEAD_DIM = 128  # that the kernels take
KERNEL_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
THIRD_DERIVATIVE = (
    "masked_attention has no third derivative: a backward of its second derivative ran with 'create_graph=True'. "
    "Only the first and the second derivative exist."
)


def check_packed(q: Tensor, k: Tensor, v: Tensor, packing: Packing, rank: Tensor | None) -> None:
    """None if q, k, v are (M, H, D) of one floating dtype and device, and rank fits."""
    if q.ndim != 3 or q.shape[0] != packing.total:
        raise ValueError(f"'q' must be (M, H, D) with M = {packing.total} packed tokens. Got shape {tuple(q.shape)}.")
    _check_alike(q, k, v)
    if rank is not None:
        _check_rank(rank, (packing.total,), "(M,)")


def check_joint(qkv: Tensor, packing: Packing, rank: Tensor | None) -> None:
    """None if qkv is a floating (M, 3, H, D) tensor and rank fits."""
    if qkv.ndim != 4 or qkv.shape[1] != 3 or qkv.shape[0] != packing.total:
        raise ValueError(
            f"'qkv' must be (M, 3, H, D) with M = {packing.total} packed tokens. Got shape {tuple(qkv.shape)}."
        )
    if not qkv.is_floating_point():
        raise TypeError(f"'qkv' must be floating point. Got {qkv.dtype}.")
    if rank is not None:
        _check_rank(rank, (packing.total,), "(M,)")


def check_padded(q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None, rank: Tensor | None) -> None:
    """None if q, k, v are (B, H, L, D) of one floating dtype and device, and visible and rank fit."""
    if q.ndim != 4:
        raise ValueError(f"'q' must be (B, H, L, D). Got shape {tuple(q.shape)}.")
    _check_alike(q, k, v)
    grid = (q.shape[0], q.shape[2])
    if visible is not None and (visible.dtype != torch.bool or visible.shape != grid):
        raise ValueError(f"'visible' must be bool (B, L) = {grid}. Got {visible.dtype} {tuple(visible.shape)}.")
    if rank is not None:
        _check_rank(rank, grid, "(B, L)")


def _check_alike(q: Tensor, k: Tensor, v: Tensor) -> None:
    if not q.is_floating_point():
        raise TypeError(f"'q' must be floating point. Got {q.dtype}.")
    for name, x in (("k", k), ("v", v)):
        if x.shape != q.shape:
            raise ValueError(f"'{name}' must have the shape of 'q', {tuple(q.shape)}. Got {tuple(x.shape)}.")
        if x.dtype != q.dtype or x.device != q.device:
            raise TypeError(f"'{name}' must be {q.dtype} on {q.device}, like 'q'. Got {x.dtype} on {x.device}.")


def _check_rank(rank: Tensor, shape: tuple[int, ...], name: str) -> None:
    if rank.is_floating_point() or rank.dtype == torch.bool:
        raise TypeError(f"'rank' must be an integer tensor. Got {rank.dtype}.")
    if tuple(rank.shape) != shape:
        raise ValueError(f"'rank' must be {name} = {shape}. Got shape {tuple(rank.shape)}.")
